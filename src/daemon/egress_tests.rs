use super::*;
use crate::types::{Egress, InstanceId};

const LANDINGS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 201), Ipv4Addr::new(10, 0, 0, 202)];

fn id() -> EgressId {
    EgressId::from(&"eipalloc-00000001".parse().unwrap())
}

fn group(landings: &[Ipv4Addr], is_complete: bool, strict: bool) -> EgressGroup {
    let ip = |landing: &Ipv4Addr| EgressIp {
        id: id(),
        is_coming: false,
        address: Ipv4Addr::new(192, 0, 2, 1),
        landing: *landing,
        is_here: true,
    };
    let sources = vec!["10.0.100.0/24".parse().unwrap()];
    EgressGroup {
        name: "a".parse().unwrap(),
        egress: Egress { sources, strict },
        ips: landings.iter().map(ip).collect(),
        is_complete,
        relay: None,
    }
}

fn peer() -> InstanceId {
    "i-00000002".parse().unwrap()
}

/// The translation of a group on a host on which these have arrived.
fn rules(
    group: &EgressGroup,
    arrived: &BTreeMap<Ipv4Addr, Time>,
    inserting: &Inserting,
) -> Option<EgressRules> {
    Here { arrived, inserting, answering: &[peer()].into() }.rules(group)
}

#[test]
fn hosts_are_translated_once_every_egress_ip_of_their_group_has_arrived() {
    let has_arrived = |arrived: &[Ipv4Addr]| {
        let arrived = arrived.iter().map(|landing| (*landing, Time::default())).collect();
        rules(&group(&LANDINGS, true, false), &arrived, &Inserting::new()).unwrap().arrived
    };
    assert!(!has_arrived(&[]) && !has_arrived(&LANDINGS[..1]) && has_arrived(&LANDINGS));
}

#[test]
fn a_node_without_a_landing_address_holds_back_the_hosts_of_a_strict_group_alone() {
    let arrived = LANDINGS.map(|landing| (landing, Time::default())).into();
    assert_eq!(rules(&group(&LANDINGS[..1], false, false), &arrived, &Inserting::new()), None);
    for landings in [&LANDINGS[..1], &[]] {
        let rules = rules(&group(landings, false, true), &arrived, &Inserting::new()).unwrap();
        assert!(!rules.arrived && rules.strict && rules.landings == landings);
    }
}

#[test]
fn a_host_that_is_not_set_up_resets_nothing_and_has_nothing_to_complain_of() {
    let directory = tempfile::tempdir().unwrap();
    let mut keeper = Keeper {
        state_dir: directory.path().to_owned(),
        address: Ipv4Addr::LOCALHOST,
        probes: Probes { targets: Vec::new(), mark: EchoMark::new(0), sequence: 0 },
        known: None,
        coming: BTreeMap::new(),
        arrived: BTreeMap::new(),
        inserting: watch::channel(Inserting::new()).1,
        waits: watch::channel(Inserting::new()).0,
        relay: None,
        resets: Resets::new(&Settings::default().host),
        is_ripening: false,
        loaded: None,
        status: LandingState::default(),
    };
    let networks = vec!["10.0.100.0/24".parse().unwrap()];
    let served = ServedGroup { name: "a".parse().unwrap(), networks, since: Time::default() };
    keeper.resets.take(&[served], Time::default());
    for (seconds, is_ripening) in [(10, true), (10_000, false)] {
        let now = Time::from_boot(Duration::from_secs(seconds));
        assert_eq!(keeper.table(&[], now).unwrap(), EgressTable::default());
        assert_eq!(keeper.is_ripening, is_ripening);
    }
}

#[test]
fn a_group_waits_while_its_connections_are_inserted() {
    let arrived = LANDINGS.map(|landing| (landing, Time::default())).into();
    for inserting in [Inserting::new(), Inserting::from([id()])] {
        let rules = rules(&group(&LANDINGS, true, false), &arrived, &inserting).unwrap();
        assert_eq!(rules.inserting, !inserting.is_empty());
    }
}

/// How the hosts of a group are treated while a planned move takes effect: whether they are
/// translated, whether new connections wait, and whether copies are taken.
fn moving(gives: bool, arrived: &[Ipv4Addr], answering: &Answering) -> (bool, bool, bool) {
    let mut group = group(&LANDINGS, true, false);
    group.relay = Some(Relay { peer: peer(), gives });
    let arrived = arrived.iter().map(|landing| (*landing, Time::default())).collect();
    let inserting = Inserting::new();
    let here = Here { arrived: &arrived, inserting: &inserting, answering };
    let rules = here.rules(&group).unwrap();
    (rules.arrived, rules.inserting, here.relay(&group).is_some())
}

#[test]
fn the_owner_of_a_planned_move_translates_and_copies_wherever_the_egress_ips_are() {
    let answering = [peer()].into();
    for arrived in [&LANDINGS[..], &LANDINGS[..1], &[]] {
        assert_eq!(moving(true, arrived, &answering), (true, false, true));
    }
}

#[test]
fn the_receiver_of_a_planned_move_leaves_new_connections_to_the_owner_until_all_have_arrived() {
    let answering = [peer()].into();
    for arrived in [&LANDINGS[..1], &[]] {
        assert_eq!(moving(false, arrived, &answering), (false, true, true));
    }
    assert_eq!(moving(false, &LANDINGS, &answering), (true, false, true));
}

#[test]
fn nothing_changes_with_a_peer_that_does_not_answer_through_the_tunnel() {
    let none = Answering::new();
    for gives in [true, false] {
        assert_eq!(moving(gives, &[], &none), (false, false, false));
        assert_eq!(moving(gives, &LANDINGS, &none), (true, false, false));
    }
}
