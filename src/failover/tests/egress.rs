//! Egress IPs: they move with the routes of their group, to the receiver's own landing address.

use std::net::Ipv4Addr;

use super::kinds::{cluster, eip, seen_at};
use super::test_bench::*;
use crate::failover::{Action, Command, EventKind, Relay};
use crate::types::{
    AllocationId, Claim, Egress, Fault, Fitness, Location, Resource, Roster, RouteTarget, Time,
    Traits,
};

const PUBLIC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn allocation() -> AllocationId {
    "eipalloc-00000001".parse().unwrap()
}

fn egress_ip() -> Resource {
    Resource::EgressIp { allocation: allocation(), address: PUBLIC }
}

fn landing(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, n, 201)
}

fn on(landing: Ipv4Addr) -> Location {
    Location::At(RouteTarget::Address(landing))
}

/// Two nodes, of which these have a landing address.
fn roster(landed: &[u8]) -> Roster {
    let mut roster = cluster(2, vec![route(1), egress_ip()], Traits::default());
    for n in landed {
        roster.members[usize::from(*n)].landings.insert(allocation(), landing(*n));
    }
    let sources = vec!["10.0.100.0/24".parse().unwrap()];
    roster.groups[0].egress = Egress { sources, strict: false };
    roster
}

/// Node 0; node 1 holds the group.
fn bench(landed: &[u8]) -> TestBench {
    let mut bench = TestBench::of(0, &roster(landed), timing());
    bench.routes.insert(table(1), to(1));
    bench.holders.insert(egress_ip(), on(landing(1)));
    bench.run(3_000);
    bench
}

/// Whether node 0 publishes that it has the egress IP; none if that is not known.
fn is_here(bench: &TestBench) -> Option<bool> {
    let groups = bench.machine.egress(bench.now)?;
    assert_eq!(groups[0].egress.sources, ["10.0.100.0/24".parse().unwrap()]);
    let ip = &groups[0].ips[0];
    assert_eq!((ip.address, ip.landing), (PUBLIC, landing(0)));
    Some(ip.is_here)
}

#[test]
fn an_egress_ip_is_taken_beside_the_route_to_the_landing_address_of_the_survivor() {
    let mut bench = bench(&[0, 1]);
    assert_eq!(is_here(&bench), Some(false));
    bench.lose(1);
    bench.run_until(2_000, |bench| bench.holders[&egress_ip()] == on(landing(0)));
    let sent = |wanted: &dyn Fn(&Action) -> bool| {
        bench.told.iter().find(|(_, action)| wanted(action)).map(|(at, _)| *at).unwrap()
    };
    let route = sent(&|action| matches!(action, Action::WriteRoute { .. }));
    let assigned = sent(&|action| matches!(action, Action::Assign { .. }));
    assert_eq!(route, assigned, "both calls go out at once");
    bench.run(2_000);
    assert_eq!(is_here(&bench), Some(true));
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 1, "{:#?}", bench.texts());
}

#[test]
fn before_the_first_read_the_host_keeps_its_translation() {
    let mut bench = TestBench::of(0, &roster(&[0, 1]), timing());
    bench.hidden.insert(egress_ip().kind());
    bench.run(3_000);
    assert_eq!(bench.machine.egress(bench.now), None);
    bench.hidden.clear();
    bench.routes.insert(table(1), to(0));
    bench.holders.insert(egress_ip(), on(landing(0)));
    bench.run_until(15_000, |bench| is_here(bench) == Some(true));
}

#[test]
fn a_node_without_a_landing_address_takes_the_route_alone() {
    let mut bench = bench(&[1]);
    bench.lose(1);
    bench.run_until(2_000, |bench| bench.routes[&table(1)] == to(0));
    bench.run(10_000);
    assert_eq!(bench.holders[&egress_ip()], on(landing(1)), "it has no address for it");
    let [group] = bench.machine.egress(bench.now).unwrap().try_into().unwrap();
    assert!(group.ips.is_empty() && !group.is_complete);
}

/// Whether node 0 publishes that the egress IP is about to be here.
fn is_coming(bench: &TestBench) -> bool {
    bench.machine.egress(bench.now).unwrap()[0].ips[0].is_coming
}

#[test]
fn an_egress_ip_is_coming_from_the_turn_that_asks_for_it_until_it_is_here() {
    let mut bench = bench(&[0, 1]);
    assert!(!is_coming(&bench));
    bench.lose(1);
    let is_sent = |action: &Action| matches!(action, Action::Assign { .. });
    bench.run_until(2_000, |bench| bench.told.iter().any(|(_, action)| is_sent(action)));
    assert!(is_coming(&bench));
    bench.run(2_000);
    assert!(!is_coming(&bench) && is_here(&bench) == Some(true));
}

#[test]
fn an_egress_ip_is_coming_while_nothing_is_known_of_the_request_for_it() {
    let mut bench = bench(&[0, 1]);
    bench.writes = Answer::Lost;
    bench.hidden.insert(egress_ip().kind());
    bench.lose(1);
    let failed = |bench: &TestBench| !bench.events(EventKind::ApiFailed).is_empty();
    bench.run_until(2_000, failed);
    assert!(is_coming(&bench), "{:#?}", bench.texts());
    // A read that is not answered is given up after a while.
    bench.hidden.clear();
    bench.run_until(60_000, |bench| is_here(bench) == Some(true));
    assert!(!is_coming(&bench), "{:#?}", bench.texts());
}

#[test]
fn an_announced_egress_ip_is_coming() {
    let mut bench = bench(&[0, 1]);
    let mut claim = Claim { group: group(1).name, generation: 1, to: None };
    for (to, wanted) in [(None, false), (Some(id(0)), true), (None, false)] {
        claim.to = to;
        bench.beat_mut(1).holds = vec![claim.clone()];
        bench.run(300);
        assert_eq!(is_coming(&bench), wanted, "{:?}", claim.to);
    }
}

/// Node 0, which is the home of the group and holds all of it.
fn holding() -> TestBench {
    let mut roster = roster(&[0, 1]);
    roster.groups[0].home = Some(id(0));
    roster.groups[0].prefer = vec![id(0)];
    let mut bench = TestBench::of(0, &roster, timing());
    bench.routes.insert(table(1), to(0));
    bench.holders.insert(egress_ip(), on(landing(0)));
    bench.run(3_000);
    bench
}

/// Since when node 0 serves the group's hosts; none if it does not.
fn served_since(bench: &TestBench) -> Option<Time> {
    let served = bench.machine.served(bench.now);
    served.first().map(|group| group.since)
}

#[test]
fn a_group_is_served_since_the_last_of_its_resources_came_here() {
    let mut bench = bench(&[0, 1]);
    assert_eq!(served_since(&bench), None, "node 1 holds it");
    bench.lose(1);
    let lost = bench.now;
    bench.run_until(2_000, |bench| bench.holders[&egress_ip()] == on(landing(0)));
    bench.run(2_000);
    let since = served_since(&bench).unwrap();
    assert!(since > lost, "{since:?}, not after {lost:?}");
    assert_eq!(bench.machine.served(bench.now)[0].networks, ["10.0.100.0/24".parse().unwrap()]);
}

#[test]
fn a_group_of_which_a_part_was_elsewhere_for_a_while_is_served_anew() {
    let mut bench = holding();
    let first = served_since(&bench).unwrap();
    bench.routes.insert(table(1), abroad());
    bench.run_until(15_000, |bench| served_since(bench).is_none());
    let away = bench.now;
    bench.routes.insert(table(1), to(0));
    bench.run_until(15_000, |bench| served_since(bench).is_some());
    assert!(served_since(&bench).unwrap() > away && away > first);
}

#[test]
fn a_group_is_not_served_while_reads_are_too_old_to_show_it() {
    let mut bench = holding();
    bench.hidden.insert(egress_ip().kind());
    bench.run(45_000);
    assert!(served_since(&bench).is_some());
    bench.run(45_000);
    assert_eq!(served_since(&bench), None);
    bench.hidden.clear();
    bench.run_until(60_000, |bench| served_since(bench).is_some());
}

#[test]
fn a_pause_of_this_node_begins_the_service_of_its_groups_anew() {
    let mut bench = holding();
    let before = served_since(&bench).unwrap();
    bench.pause(5_000);
    let resumed = bench.now;
    bench.run(3_000);
    let since = served_since(&bench).unwrap();
    assert!(before < resumed && since >= resumed, "{since:?}, not after {resumed:?}");
}

#[test]
fn a_group_without_egress_ips_serves_the_subnets_of_its_tables() {
    let networks = vec!["10.0.7.0/24".parse().unwrap()];
    let mut with_route = cluster(2, vec![route(1)], Traits::default());
    with_route.groups[0].networks.clone_from(&networks);
    let mut without = cluster(2, vec![eip(None)], Traits::default());
    without.groups[0].networks.clone_from(&networks);
    for (roster, served) in [(with_route, true), (without, false)] {
        let mut bench = TestBench::of(1, &roster, timing());
        bench.routes.insert(table(1), to(1));
        bench.holders.insert(eip(None), seen_at(1));
        bench.run(3_000);
        let found = bench.machine.served(bench.now);
        let found: Vec<_> = found.into_iter().map(|group| group.networks).collect();
        assert_eq!(found, if served { vec![networks.clone()] } else { Vec::new() });
    }
}

/// Nodes 0 and 1 of a cluster that announces planned moves. Node 1 holds the group.
fn prepared(me: usize) -> TestBench {
    let mut roster = roster(&[0, 1]);
    roster.groups[0].traits.prepared = true;
    let mut bench = TestBench::of(me, &roster, timing());
    bench.routes.insert(table(1), to(1));
    bench.holders.insert(egress_ip(), on(landing(1)));
    bench.run(3_000);
    bench
}

/// With which node this one copies the group's packets, and whether it gives the group to it.
fn relay(bench: &TestBench) -> Option<(usize, bool)> {
    let relay = bench.machine.egress(bench.now)?[0].relay.clone();
    relay.map(|Relay { peer, gives }| ((0..3).find(|n| id(*n) == peer).unwrap(), gives))
}

#[test]
fn the_owner_of_a_planned_move_copies_from_its_announcement_until_a_while_after_it() {
    let mut bench = prepared(1);
    assert_eq!(relay(&bench), None);
    let order = Command::HandOver { group: group(1).name, to: Some(id(0)) };
    bench.command(order);
    bench.run(10);
    assert_eq!(relay(&bench), Some((0, true)), "before the first write: {:?}", bench.told);
    assert_eq!(bench.holders[&egress_ip()], on(landing(1)));
    let done = |bench: &TestBench| !bench.events(EventKind::HandOverDone).is_empty();
    bench.run_until(10_000, done);
    assert_eq!(is_here_of(&bench), Some(false));
    bench.run(19_000);
    assert_eq!(relay(&bench), Some((0, true)));
    bench.run(1_500);
    assert_eq!(relay(&bench), None);
}

/// The same as [`is_here`], of whichever node it is.
fn is_here_of(bench: &TestBench) -> Option<bool> {
    Some(bench.machine.egress(bench.now)?[0].ips[0].is_here)
}

#[test]
fn the_receiver_of_a_planned_move_copies_while_it_is_announced_and_a_while_longer() {
    let mut bench = prepared(0);
    let mut claim = Claim { group: group(1).name, generation: 1, to: Some(id(0)) };
    bench.beat_mut(1).holds = vec![claim.clone()];
    bench.run(300);
    assert_eq!(relay(&bench), Some((1, false)));
    claim.to = None;
    bench.beat_mut(1).holds = vec![claim];
    bench.run(19_000);
    assert_eq!(relay(&bench), Some((1, false)));
    bench.run(1_500);
    assert_eq!(relay(&bench), None);
}

#[test]
fn a_group_goes_home_once_the_copies_of_the_move_to_this_node_have_ended() {
    let mut roster = roster(&[0, 1]);
    roster.groups[0].traits.prepared = true;
    roster.groups[0].traits.hold = Some(secs(1));
    let mut bench = TestBench::of(0, &roster, timing());
    bench.routes.insert(table(1), to(1));
    bench.holders.insert(egress_ip(), on(landing(1)));
    bench.run(3_000);
    let mut claim = Claim { group: group(1).name, generation: 1, to: Some(id(0)) };
    bench.beat_mut(1).holds = vec![claim.clone()];
    bench.run(300);
    claim.to = None;
    bench.beat_mut(1).holds = Vec::new();
    bench.routes.insert(table(1), to(0));
    bench.holders.insert(egress_ip(), on(landing(0)));
    bench.run(18_000);
    assert_eq!(relay(&bench), Some((1, false)));
    assert!(bench.machine.view(bench.now).groups[&group(1).name].copies_end.is_some());
    assert_eq!(bench.holders[&egress_ip()], on(landing(0)), "{:?}", bench.told);
    let is_back = |bench: &TestBench| bench.holders[&egress_ip()] == on(landing(1));
    bench.run_until(10_000, is_back);
}

/// A drained giver says in one heartbeat that it is leaving and to whom it gives the group.
#[test]
fn the_receiver_copies_with_a_giver_that_is_being_drained_as_long_as_it_is_heard() {
    let mut bench = prepared(0);
    let beat = bench.beat_mut(1);
    beat.leaving = true;
    beat.holds = vec![Claim { group: group(1).name, generation: 1, to: Some(id(0)) }];
    bench.run(300);
    assert_eq!(relay(&bench), Some((1, false)));
    bench.run(10_000);
    assert_eq!(relay(&bench), Some((1, false)));
    bench.beats.remove(&1);
    bench.run(1_000);
    assert_eq!(relay(&bench), None, "its host is off");
}

#[test]
fn a_giver_about_to_be_interrupted_announces_and_copies_before_its_first_write() {
    let mut bench = prepared(1);
    bench.fitness(Fitness::unfit(Fault::Departing));
    bench.run_until(1_000, |bench| relay(bench) == Some((0, true)));
    assert_eq!((bench.writes().len(), &bench.holders[&egress_ip()]), (0, &on(landing(1))));
    let done = |bench: &TestBench| !bench.events(EventKind::HandOverDone).is_empty();
    bench.run_until(10_000, done);
    assert_eq!(bench.holders[&egress_ip()], on(landing(0)));
    assert_eq!(relay(&bench), Some((0, true)));
}

#[test]
fn a_notice_that_is_withdrawn_before_the_first_write_moves_nothing() {
    let mut bench = prepared(1);
    // The giver waits until its announcement is confirmed.
    bench.beat_mut(0).hears.clear();
    bench.fitness(Fitness::unfit(Fault::Departing));
    bench.run_until(1_000, |bench| relay(bench).is_some());
    bench.fitness(Fitness::fit());
    bench.run(60_000);
    assert_eq!((bench.writes().len(), &bench.holders[&egress_ip()]), (0, &on(landing(1))));
    assert_eq!(relay(&bench), None);
}

/// What the giver could not give is taken, and the copies go on.
#[test]
fn the_receiver_copies_with_a_giver_about_to_be_interrupted_and_takes_the_rest() {
    let mut bench = prepared(0);
    let beat = bench.beat_mut(1);
    beat.fitness = Fitness::unfit(Fault::Departing);
    beat.holds = vec![Claim { group: group(1).name, generation: 1, to: Some(id(0)) }];
    bench.run(300);
    assert_eq!((relay(&bench), is_coming(&bench)), (Some((1, false)), true));
    bench.run_until(10_000, |bench| bench.holders[&egress_ip()] == on(landing(0)));
    assert_eq!(relay(&bench), Some((1, false)));
}

#[test]
fn nothing_is_copied_to_a_node_that_is_not_alive() {
    let mut bench = prepared(0);
    bench.beat_mut(1).holds = vec![Claim { group: group(1).name, generation: 1, to: Some(id(0)) }];
    bench.run(300);
    assert!(relay(&bench).is_some());
    bench.lose(1);
    bench.run_until(2_000, |bench| relay(bench).is_none());
    bench.run(5_000);
    assert_eq!(relay(&bench), None, "a takeover copies nothing");
    assert_eq!(is_here(&bench), Some(true));
}

#[test]
fn without_announcements_nothing_is_copied() {
    let mut bench = bench(&[0, 1]);
    bench.beat_mut(1).holds = vec![Claim { group: group(1).name, generation: 1, to: Some(id(0)) }];
    bench.run(300);
    assert_eq!(relay(&bench), None);
}
