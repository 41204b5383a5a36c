use std::path::Path;

use ipnet::Ipv4Net;

use super::*;
use crate::config::Role;
use crate::daemon::host_fixture::{repairs, run};
use crate::daemon::inbox::{self, Inbox};
use crate::kernel::journal::JournalStore;
use crate::plan::{HostFacts, Link, Route};
use crate::types::{Egress, InstanceId};

/// The first address of the forwarding interface.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
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

/// A keeper that knows nothing yet, as after a start, and what it reports.
fn keeper(state_dir: &Path) -> (Keeper, Inbox) {
    let (notes, inbox) = inbox::channel().unwrap();
    let probes = Probes { targets: Vec::new(), mark: EchoMark::new(0), sequence: 0 };
    let keeper = Keeper {
        state_dir: state_dir.to_owned(),
        address: OWN,
        known: None,
        arrivals: Arrivals::new(probes),
        inserting: watch::channel(Inserting::new()).1,
        waits: watch::channel(Inserting::new()).0,
        relay: None,
        resets: Resets::new(&Settings::default().host),
        is_ripening: false,
        loaded: None,
        has_inherited: false,
        put: BTreeSet::new(),
        status: LandingState::default(),
        notes,
    };
    (keeper, inbox)
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
    let (mut keeper, _inbox) = keeper(directory.path());
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

fn at(seconds: u64) -> Time {
    Time::from_boot(Duration::from_secs(seconds))
}

/// Runs a test in a network namespace of its own, as on a host with one interface that is set up.
fn on_a_host(test: impl AsyncFnOnce(&Path)) {
    let in_own_network = async || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("run the tests as root");
        run("ip", "link add ens5 type veth peer name other").await;
        run("ip", "addr add 10.0.0.10/24 dev ens5").await;
        run("ip", "link set ens5 up").await;
        let directory = tempfile::tempdir().unwrap();
        let addresses = vec!["10.0.0.10/24".parse().unwrap()];
        let link = Link { name: "ens5".to_owned(), mac: String::new(), addresses };
        let route =
            Route { destination: Ipv4Net::default(), metric: 0, link: Some(link.name.clone()) };
        let facts = HostFacts { links: vec![link], routes: vec![route], ..HostFacts::default() };
        let mut host = Settings::default().host;
        (host.sources, host.source_dest_check) = (vec!["10.0.0.0/16".parse().unwrap()], false);
        let plan = HostPlan::new(&host, Role { nat: true, vips: false }, &facts).unwrap();
        let store = JournalStore::open(directory.path()).unwrap();
        let mut journal = store.begin();
        journal.plan = Some(plan);
        store.save(&journal).unwrap();
        drop(store);
        test(directory.path()).await;
    };
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(in_own_network());
}

/// A keeper on a host where all egress IPs of a group have arrived, at this time.
async fn settled(state_dir: &Path, now: Time) -> (Keeper, Inbox) {
    let (mut keeper, inbox) = keeper(state_dir);
    keeper.take(Some(vec![group(&LANDINGS, true, true)]), Time::default());
    keeper.round(Some(Cause::Round), now).await.unwrap();
    assert!(keeper.loaded.as_ref().unwrap().groups[0].arrived);
    (keeper, inbox)
}

#[test]
fn a_start_keeps_the_egress_ips_that_the_host_translates_to_without_any_reply() {
    on_a_host(async |state_dir| {
        let (now, nft) = (at(20), Nft::find().unwrap());
        let (first, _) = settled(state_dir, now).await;
        // A monitor that has run for long also resets idle connections, and the next one ends that.
        let reset = vec!["10.0.100.0/24".parse().unwrap()];
        nft.replace(&EgressTable { reset, ..first.loaded.unwrap() }).await.unwrap();
        nft.stop_resets().await.unwrap();
        let (mut next, _inbox) = keeper(state_dir);
        next.take(Some(vec![group(&LANDINGS, true, true)]), now);
        next.round(None, now).await.unwrap();
        assert!(next.loaded.as_ref().unwrap().groups[0].arrived, "{:?}", next.loaded);
        assert_eq!(nft.landings().await.unwrap(), LANDINGS.into());
        assert!(next.status.here.values().all(|(_, proof)| *proof == EgressProof::None));
        next.round(None, at(35)).await.unwrap();
        assert!(next.status.here.values().all(|(_, proof)| *proof == EgressProof::Time));
        assert!(!next.arrivals.is_probing());
        assert_eq!(*next.arrivals.arrived(), LANDINGS.map(|one| (one, now)).into());
        // What comes later has to arrive.
        next.take(Some(Vec::new()), at(40));
        next.take(Some(vec![group(&LANDINGS, true, true)]), at(40));
        next.round(None, at(41)).await.unwrap();
        assert!(!next.loaded.as_ref().unwrap().groups[0].arrived, "{:?}", next.loaded);
    });
}

#[test]
fn a_start_on_a_host_that_translates_to_none_of_them_waits() {
    on_a_host(async |state_dir| {
        let (mut keeper, _inbox) = keeper(state_dir);
        keeper.take(Some(vec![group(&LANDINGS, true, true)]), at(1));
        keeper.round(Some(Cause::Round), at(1)).await.unwrap();
        assert_eq!(keeper.loaded, None, "replies may come");
        keeper.round(None, at(4)).await.unwrap();
        assert!(!keeper.loaded.as_ref().unwrap().groups[0].arrived);
        assert_eq!(Nft::find().unwrap().landings().await.unwrap(), BTreeSet::new());
    });
}

#[test]
fn what_another_program_removes_is_restored_with_an_event_each() {
    on_a_host(async |state_dir| {
        let (mut keeper, mut inbox) = settled(state_dir, at(20)).await;
        assert_eq!(repairs(&mut inbox), [""; 0], "what is new is no drift");
        run("nft", "flush ruleset").await;
        run("ip", "addr del 10.0.0.201/32 dev ens5").await;
        keeper.round(Some(Cause::Round), at(21)).await.unwrap();
        let wanted = [
            "landing address 10.0.0.201 added to ens5, found by a regular check",
            "repaired nft table ip natha_egress, found by a regular check: it was absent",
        ];
        assert_eq!(repairs(&mut inbox), wanted);
        run("nft", "flush chain ip natha_egress guard").await;
        keeper.round(Some(Cause::Round), at(22)).await.unwrap();
        let found = repairs(&mut inbox);
        assert!(found.len() == 1 && found[0].ends_with(": it was changed by another program"));
        keeper.round(Some(Cause::Round), at(23)).await.unwrap();
        assert_eq!(repairs(&mut inbox), [""; 0], "nothing is left to repair");
    });
}
