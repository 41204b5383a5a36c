//! Groups of several kinds of resources: in which order they move, and what becomes of halves.

use std::collections::BTreeSet;

use super::test_bench::*;
use crate::failover::{Action, Command, EventKind, Input, Verdict};
use crate::types::{
    CloudFaultKind, Group, InstanceState, Location, Member, Resource, ResourceKind, Roster,
    RouteTarget, Time, Traits,
};

pub(super) const PRIVATE: [u8; 4] = [10, 0, 0, 100];

pub(super) fn private() -> Resource {
    Resource::PrivateIp { address: PRIVATE.into() }
}

pub(super) fn eip(on: Option<[u8; 4]>) -> Resource {
    let allocation = "eipalloc-00000001".parse().unwrap();
    Resource::Eip { allocation, address: [192, 0, 2, 1].into(), on: on.map(Into::into) }
}

pub(super) fn record(public: bool) -> Resource {
    let (zone, name) = ("Z0000001".parse().unwrap(), "db.example.com".parse().unwrap());
    Resource::Dns { zone, name, ttl: 60, public }
}

pub(super) fn seen_at(n: usize) -> Location {
    Location::At(RouteTarget::Interface(eni(n)))
}

pub(super) fn told(n: usize) -> Location {
    Location::At(RouteTarget::Address(member(n).address))
}

/// A cluster with one group, `g1`, whose home is node 1.
pub(super) fn cluster(nodes: usize, resources: Vec<Resource>, traits: Traits) -> Roster {
    let group = Group { traits, ..Group::new(group(1).name, Some(id(1)), resources) };
    Roster { members: (0..nodes).map(member).collect(), groups: vec![group] }
}

/// Node 0, three seconds after its start; node `at` holds all of the group.
pub(super) fn bench_of(
    nodes: usize,
    at: usize,
    resources: &[Resource],
    traits: Traits,
) -> TestBench {
    let mut bench = TestBench::of(0, &cluster(nodes, resources.to_vec(), traits), timing());
    bench.routes.insert(table(1), to(at));
    for one in resources.iter().filter(|one| one.kind() != ResourceKind::Route) {
        let seen = if one.kind() == ResourceKind::Dns { told(at) } else { seen_at(at) };
        bench.holders.insert(one.clone(), seen);
    }
    bench.run(3_000);
    bench
}

fn all_kinds() -> Vec<Resource> {
    vec![route(1), private(), eip(Some(PRIVATE)), record(false)]
}

/// When and of which kind the changes were that it asked for.
fn changes(bench: &TestBench) -> Vec<(Time, ResourceKind)> {
    let change = |(at, action): &(Time, Action)| match action {
        Action::WriteRoute { .. } => Some((*at, ResourceKind::Route)),
        Action::Assign { assignment, .. } => Some((*at, assignment.resource.kind())),
        _ => None,
    };
    bench.told.iter().filter_map(change).collect()
}

fn kinds(bench: &TestBench) -> Vec<ResourceKind> {
    changes(bench).into_iter().map(|(_, kind)| kind).collect()
}

/// Whether node `n` holds all that this bench's group has.
fn is_all_at(bench: &TestBench, n: usize) -> bool {
    let holders = bench.holders.values().all(|seen| *seen == seen_at(n) || *seen == told(n));
    holders && bench.routes[&table(1)] == to(n)
}

const IN_ORDER: [ResourceKind; 4] =
    [ResourceKind::Route, ResourceKind::PrivateIp, ResourceKind::Eip, ResourceKind::Dns];

#[test]
fn kinds_are_taken_in_order_each_when_the_one_before_it_is_accepted() {
    let mut bench = bench_of(2, 1, &all_kinds(), Traits::default());
    bench.lose(1);
    bench.run_until(2_000, |bench| is_all_at(bench, 0));
    assert_eq!(kinds(&bench), IN_ORDER);
    let times: Vec<Time> = changes(&bench).into_iter().map(|(at, _)| at).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "one after the other: {times:?}");
    assert!(times[3].since(times[0]) <= millis(200), "and without a pause: {times:?}");
    bench.run(3_000);
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 1, "{:#?}", bench.texts());
}

#[test]
fn resources_of_one_kind_are_taken_side_by_side() {
    let mut bench = bench_of(2, 1, &[route(1), route(2), private()], Traits::default());
    bench.routes.insert(table(2), to(1));
    bench.run(11_000);
    bench.lose(1);
    bench.run_until(2_000, |bench| is_all_at(bench, 0));
    let times: Vec<Time> = changes(&bench).into_iter().map(|(at, _)| at).collect();
    assert!(times[0] == times[1] && times[1] < times[2], "{times:?}");
}

#[test]
fn one_kind_that_is_denied_does_not_keep_the_others_back_and_is_alerted() {
    for denied in IN_ORDER {
        let resources = vec![route(1), private(), eip(None), record(false)];
        let mut bench = bench_of(2, 1, &resources, Traits::default());
        bench.denied.insert(denied);
        bench.lose(1);
        bench.run(2_000);
        let elsewhere = |bench: &TestBench| {
            let others = bench.holders.iter().filter(|(one, _)| one.kind() != denied);
            let held = others.into_iter().all(|(_, seen)| *seen == seen_at(0) || *seen == told(0));
            held && (denied == ResourceKind::Route || bench.routes[&table(1)] == to(0))
        };
        assert!(elsewhere(&bench), "{denied}: the rest is moved: {:#?}", bench.texts());
        let alerts = bench.events(EventKind::ApiFailed);
        assert!(!alerts.is_empty(), "{denied}: {:#?}", bench.texts());
        bench.run(120_000);
        assert!(elsewhere(&bench), "{denied}: and stays");
        let times = changes(&bench).into_iter().filter(|(_, kind)| *kind == denied).count();
        assert!(times < 10, "{denied}: tried again ever more rarely, {times} times");
        bench.denied.clear();
        bench.run_until(90_000, |bench| is_all_at(bench, 0));
    }
}

/// There was no time to read before the first write; after it failed there is.
#[test]
fn after_a_failed_write_the_next_kind_waits_for_a_read() {
    for reads in [Answer::Never, Answer::Yes] {
        let mut bench = bench_of(2, 1, &[route(1), eip(None)], Traits::default());
        bench.run(6_000);
        bench.denied.insert(ResourceKind::Route);
        bench.reads = reads;
        bench.lose(1);
        bench.run(2_000);
        let expected = [ResourceKind::Route, ResourceKind::Eip];
        let count = if reads == Answer::Yes { 2 } else { 1 };
        assert_eq!(kinds(&bench), expected[..count], "{reads:?}: {:#?}", bench.texts());
    }
}

#[test]
fn a_node_that_starts_in_the_midst_of_a_takeover_completes_it() {
    // What the run before it had moved: each step, in the order of kinds.
    for moved in 1..4 {
        let mut bench = TestBench::of(0, &cluster(2, all_kinds(), Traits::default()), timing());
        let at = |place: usize| usize::from(place >= moved);
        bench.routes.insert(table(1), to(at(0)));
        bench.holders.insert(private(), seen_at(at(1)));
        // It goes along with the private IP.
        bench.holders.insert(eip(Some(PRIVATE)), seen_at(at(1).min(at(2))));
        bench.holders.insert(record(false), told(at(3)));
        bench.lose(1);
        bench.run(45_000);
        assert_eq!(kinds(&bench), [], "it was never heard, and nothing shows that it is dead");
        bench.power.insert(id(1), impaired());
        bench.run_until(60_000, |bench| is_all_at(bench, 0));
        assert!(kinds(&bench).is_sorted(), "{moved}: {:?}", kinds(&bench));
    }
}

#[test]
fn a_hand_back_in_parts_is_completed_by_a_holder_that_starts_anew() {
    for moved in 1..4 {
        let mut bench = TestBench::of(0, &cluster(2, all_kinds(), Traits::default()), timing());
        let at = |place: usize| usize::from(place < moved);
        bench.routes.insert(table(1), to(at(0)));
        bench.holders.insert(private(), seen_at(at(1)));
        bench.holders.insert(eip(Some(PRIVATE)), seen_at(at(1).max(at(2))));
        bench.holders.insert(record(false), told(at(3)));
        bench.run_until(20_000, |bench| is_all_at(bench, 1));
    }
}

#[test]
fn the_living_node_that_has_a_part_takes_the_rest_before_any_other() {
    for (part_at, soon) in [(2, false), (0, true)] {
        let resources = [route(1), eip(None)];
        let mut bench =
            TestBench::of(0, &cluster(3, resources.to_vec(), Traits::default()), timing());
        bench.routes.insert(table(1), to(part_at));
        bench.holders.insert(eip(None), seen_at(1));
        bench.run(3_000);
        bench.lose(1);
        bench.run(2_500);
        let taken = bench.holders[&eip(None)] == seen_at(0);
        assert_eq!(taken, soon, "the route is at node {part_at}: {:#?}", bench.texts());
        bench.run_until(2_000, |bench| bench.holders[&eip(None)] == seen_at(0));
    }
}

#[test]
fn halves_at_two_living_nodes_come_together_at_the_first_in_the_order() {
    let resources = [route(1), eip(None), record(false)];
    let mut bench = bench_of(2, 1, &resources, Traits::default());
    bench.holders.insert(eip(None), seen_at(0));
    bench.run_until(20_000, |bench| is_all_at(bench, 1));
    assert_eq!(kinds(&bench), [ResourceKind::Eip], "only what is here is given");
}

#[test]
fn an_elastic_ip_goes_with_its_private_ip() {
    let resources = [private(), eip(Some(PRIVATE))];
    let mut bench = bench_of(2, 1, &resources, Traits::default());
    bench.lose(1);
    bench.run(2_000);
    assert!(bench.holders.values().all(|seen| *seen == seen_at(0)), "{:?}", bench.holders);
    let assigned = bench.told.iter().find_map(|(_, action)| match action {
        Action::Assign { assignment, .. } => Some(assignment.clone()),
        _ => None,
    });
    let assigned = assigned.unwrap();
    assert_eq!((assigned.resource, assigned.interface), (private(), eni(0)));
}

/// One request of a peer's former life moves both, and shows no life.
#[test]
fn an_elastic_ip_that_went_along_is_no_second_deed() {
    for (on, resources) in [(Some(PRIVATE), 2), (None, 2)] {
        let all = [private(), eip(on)];
        let mut bench = bench_of(2, 0, &all[..resources], Traits::default());
        bench.run(10_000);
        bench.lose(1);
        bench.run(5_000);
        bench.writes = Answer::Never;
        bench.holders.insert(private(), seen_at(1));
        bench.holders.insert(eip(on), seen_at(1));
        bench.run(4_000);
        let is_partitioned = bench.verdict(1) == crate::failover::Verdict::Partitioned;
        assert_eq!(is_partitioned, on.is_none(), "{on:?}: {:#?}", bench.texts());
    }
}

#[test]
fn a_hand_back_begins_only_once_all_of_the_group_is_known_and_goes_on_in_order() {
    let mut bench = bench_of(2, 0, &all_kinds(), Traits::default());
    bench.hidden.insert(ResourceKind::Dns);
    bench.pause(1_000);
    bench.run(60_000);
    assert_eq!(kinds(&bench), [], "the record cannot be read: {:#?}", bench.texts());
    bench.hidden.clear();
    bench.run_until(60_000, |bench| is_all_at(bench, 1));
    assert_eq!(kinds(&bench), IN_ORDER);
    bench.run(3_000);
    let (begun, done) = (EventKind::HandOverBegun, EventKind::HandOverDone);
    assert_eq!(
        (bench.events(begun).len(), bench.events(done).len()),
        (1, 1),
        "{:#?}",
        bench.texts()
    );
    assert!(bench.events(done)[0].text.contains("handed back"), "one hand-back, as a whole");
}

#[test]
fn neither_dns_records_that_settle_nor_routes_beside_them_are_read_in_a_hurry() {
    let resources = [route(1), record(false)];
    let mut bench = bench_of(2, 1, &resources, Traits::default());
    bench.lose(1);
    bench.run_until(2_000, |bench| is_all_at(bench, 0));
    // Route 53 takes a minute until it is everywhere.
    bench.holders.insert(record(false), Location::Pending);
    let begun = bench.told.len();
    bench.run(60_000);
    let reads = |bench: &TestBench, is_dns: bool| -> Vec<Time> {
        let of = |(at, action): &(Time, Action)| match action {
            Action::ReadRoutes { .. } if !is_dns => Some(*at),
            Action::ReadHolders { .. } if is_dns => Some(*at),
            _ => None,
        };
        bench.told[begun..].iter().filter_map(of).collect()
    };
    for is_dns in [true, false] {
        let times = reads(&bench, is_dns);
        assert!((20..=31).contains(&times.len()), "{is_dns}: {}", times.len());
        let short = times.windows(2).filter(|two| two[1].since(two[0]) < millis(1_900)).count();
        assert!(short <= 1, "{is_dns}: {times:?}");
    }
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 0, "not before it is everywhere");
    bench.holders.insert(record(false), told(0));
    bench.run(3_000);
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 1);
}

#[test]
fn a_dns_record_that_was_hurried_for_again_and_again_is_still_read_once_a_second() {
    let mut bench = bench_of(2, 1, &[record(false)], Traits::default());
    let begun = bench.told.len();
    for generation in 0..50 {
        let group = group(1).name;
        bench.beat_mut(1).holds = vec![crate::types::Claim { group, generation, to: None }];
        bench.run(100);
    }
    let reads = bench.told[begun..].iter();
    let reads = reads.filter(|(_, action)| matches!(action, Action::ReadHolders { .. })).count();
    assert!((4..=6).contains(&reads), "{reads} reads in five seconds");
}

#[test]
fn dns_records_are_read_no_more_often_than_routes_while_all_is_well() {
    let mut bench = bench_of(2, 1, &[route(1), record(false)], Traits::default());
    bench.run(10_000);
    let begun = bench.told.len();
    bench.run(60_000);
    let count = |is_it: fn(&Action) -> bool| {
        bench.told[begun..].iter().filter(|(_, action)| is_it(action)).count()
    };
    let routes = count(|action| matches!(action, Action::ReadRoutes { .. }));
    let records = count(|action| matches!(action, Action::ReadHolders { .. }));
    assert!((5..=7).contains(&routes), "every ten seconds: {routes}");
    assert!(records.abs_diff(routes) <= 1, "{records} reads of records, {routes} of routes");
}

/// A kind that is not under way yet, because nothing is known of it, is waited for as well.
#[test]
fn a_kind_that_waits_for_its_read_holds_up_the_next_one() {
    let mut bench = bench_of(2, 0, &[route(1), eip(None)], Traits::default());
    bench.hides_routes = true;
    bench.run(6_000);
    bench.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    bench.run(3_000);
    assert_eq!(kinds(&bench), [], "{:#?}", bench.texts());
    bench.hides_routes = false;
    bench.run_until(60_000, |bench| is_all_at(bench, 1));
    assert_eq!(kinds(&bench), [ResourceKind::Route, ResourceKind::Eip]);
}

/// Node 0 of three, which has given node 1 the route of its group, and has the record still.
fn half_given(traits: Traits) -> TestBench {
    half_given_by(Command::HandOver { group: group(1).name, to: Some(id(1)) }, traits)
}

fn half_given_by(command: Command, traits: Traits) -> TestBench {
    let mut bench = bench_of(3, 0, &[route(1), record(false)], traits);
    bench.give(Input::ServiceChecks { failing: BTreeSet::new() });
    bench.run(6_000);
    bench.command(command);
    bench.run_until(2_000, |bench| bench.routes[&table(1)] == to(1));
    assert_eq!(bench.holders[&record(false)], told(0));
    bench
}

#[test]
fn an_order_in_the_midst_of_a_hand_over_leads_the_rest_elsewhere() {
    let mut bench = half_given(Traits::default());
    bench.command(Command::HandOver { group: group(1).name, to: Some(id(2)) });
    bench.run_until(5_000, |bench| bench.holders[&record(false)] != told(0));
    assert_eq!(bench.holders[&record(false)], told(2), "{:#?}", bench.texts());
}

#[test]
fn the_rest_is_kept_from_a_receiver_that_cannot_serve_any_more() {
    let mut bench = half_given(Traits::default());
    bench.beat_mut(1).fitness = crate::types::Fitness::unfit(crate::types::Fault::Uplink);
    bench.run(2_000);
    assert_eq!(bench.holders[&record(false)], told(0), "{:#?}", bench.texts());
}

#[test]
fn the_rest_is_kept_from_a_receiver_that_fell_silent() {
    let mut bench = half_given(Traits::default());
    bench.lose(1);
    // Nothing is known of the record until the receiver is suspected.
    let was = bench.holders.insert(record(false), Location::Pending).unwrap();
    bench.run_until(2_000, |bench| bench.verdict(1) != Verdict::Alive);
    bench.holders.insert(record(false), was);
    bench.run_until(5_000, |bench| {
        assert_ne!(bench.holders[&record(false)], told(1), "{:#?}", bench.texts());
        bench.routes[&table(1)] != to(1)
    });
}

/// A leaving node takes nothing back: the receiver's part is another's to take, and so is the rest.
#[test]
fn the_rest_of_what_a_leaving_node_gives_to_one_that_fails_goes_to_another() {
    for silent in [true, false] {
        let traits = Traits { checked: true, ..Traits::default() };
        let mut bench = half_given_by(Command::Leave, traits);
        bench.denied.insert(ResourceKind::Dns);
        if silent {
            bench.lose(1);
            bench.run_until(2_000, |bench| bench.verdict(1) != Verdict::Alive);
        } else {
            bench.beat_mut(1).unfit_for = [group(1).name].into();
            bench.run(200);
        }
        bench.denied.clear();
        bench.run_until(60_000, |bench| bench.holders[&record(false)] != told(0));
        assert_eq!(bench.holders[&record(false)], told(2), "{silent}: {:#?}", bench.texts());
    }
}

#[test]
fn the_rest_is_kept_from_a_receiver_whose_service_fails() {
    let mut bench = half_given(Traits { checked: true, ..Traits::default() });
    bench.beat_mut(1).unfit_for = [group(1).name].into();
    bench.run_until(2_000, |bench| {
        assert_ne!(bench.holders[&record(false)], told(1), "{:#?}", bench.texts());
        bench.routes[&table(1)] != to(1)
    });
    assert_eq!(bench.verdict(1), Verdict::Alive);
}

#[test]
fn a_leaving_node_does_not_wait_until_a_record_is_everywhere_nor_for_what_is_gone() {
    let resources = [route(1), eip(None), record(false)];
    let mut bench = bench_of(2, 0, &resources, Traits::default());
    bench.command(Command::Leave);
    bench.run_until(2_000, |bench| bench.holders[&record(false)] == told(1));
    bench.holders.insert(record(false), Location::Pending);
    bench.run_until(2_000, |bench| bench.count(|action| *action == Action::MayExit) == 1);
    assert!(bench.holders[&eip(None)] == seen_at(1) && bench.routes[&table(1)] == to(1));

    let mut bench = bench_of(2, 1, &resources, Traits::default());
    bench.holders.remove(&eip(None));
    bench.run(11_000);
    bench.command(Command::Leave);
    bench.run(2_000);
    assert_eq!(bench.count(|action| *action == Action::MayExit), 1, "an absent one is not here");
}

/// A record with a public address can only be held by a node that has one.
#[test]
fn what_a_node_can_never_hold_it_does_not_want() {
    let resources = [route(1), record(true)];
    let public = |n: u8| Some([192, 0, 2, n].into());
    let mut roster = cluster(2, resources.to_vec(), Traits::default());
    roster.members[1] = Member { public: public(9), ..member(1) };
    for (own, done) in [(None, 0), (public(8), 1)] {
        roster.members[0].public = own;
        let mut bench = TestBench::of(0, &roster, timing());
        bench.routes.insert(table(1), to(1));
        let at_home = Location::At(RouteTarget::Address([192, 0, 2, 9].into()));
        bench.holders.insert(record(true), at_home);
        bench.run(3_000);
        bench.lose(1);
        bench.run(10_000);
        assert_eq!(bench.routes[&table(1)], to(0), "the rest is taken");
        let expected = [ResourceKind::Route, ResourceKind::Dns];
        assert_eq!(kinds(&bench), expected[..=done], "{own:?}");
        let kind = [EventKind::TakeoverFailed, EventKind::TakeoverDone][done];
        let ended = bench.events(kind);
        assert!(ended[0].text.starts_with(["not taken", "taken over"][done]), "{ended:?}");
    }
}

#[test]
fn what_nobody_holds_is_taken_by_the_first_heir_and_what_leads_out_is_told() {
    let resources = [route(1), private(), eip(None), record(false)];
    let group = crate::types::Group {
        home: Some(id(0)),
        ..cluster(2, resources.to_vec(), Traits::default()).groups[0].clone()
    };
    let roster = Roster { groups: vec![group], ..cluster(2, Vec::new(), Traits::default()) };
    let mut bench = TestBench::of(0, &roster, timing());
    bench.routes.insert(table(1), None);
    for one in &resources[1..] {
        bench.holders.insert(one.clone(), Location::Vacant);
    }
    bench.run_until(10_000, |bench| is_all_at(bench, 0));
    assert_eq!(kinds(&bench), IN_ORDER);
    bench.holders.insert(eip(None), Location::At(RouteTarget::Interface(eni(7))));
    // What cannot be read does not hold the alert up.
    bench.hidden.insert(ResourceKind::Dns);
    bench.pause(1_000);
    bench.run(12_000);
    let told = bench.events(EventKind::Foreign);
    assert!(told.len() == 1 && told[0].text.contains("192.0.2.1"), "{told:?}");
    assert_eq!(bench.power[&id(1)], report(InstanceState::Running));
}

#[test]
fn what_ec2_refuses_to_all_resources_alike_is_reported_once_at_each_doubling() {
    for (kind, reports) in [(CloudFaultKind::Throttled, 1), (CloudFaultKind::NotFound, 3)] {
        let routes = [route(1), route(2), route(3)];
        let mut bench = bench_of(2, 1, &routes, Traits::default());
        bench.routes.extend([2, 3].map(|n| (table(n), to(1))));
        bench.run(11_000);
        bench.writes = Answer::No(kind);
        bench.lose(1);
        bench.run_until(2_000, |bench| kinds(bench).len() == routes.len());
        bench.run(20);
        assert_eq!(bench.events(EventKind::ApiFailed).len(), reports, "{:#?}", bench.texts());
    }
}
