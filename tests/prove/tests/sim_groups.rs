//! Groups of several kinds: the order of a move, a move of which a part fails, and a monitor that
//! is restarted in the midst of one.

use std::time::Duration;

use natha::config::Timing;
use natha::failover::EventKind;
use natha::types::ResourceKind;
use natha_lab::ec2::{Fault, FaultRule, Principal};
use natha_prove::sim::{Done, Mutation, Sim, documented, egress, id};

const MINUTE: u64 = 60_000;

/// The calls that move routes, private IPs, Elastic IPs and DNS records.
const CALLS: [(ResourceKind, &str); 4] = [
    (ResourceKind::Route, "ReplaceRoute"),
    (ResourceKind::PrivateIp, "AssignPrivateIpAddresses"),
    (ResourceKind::Eip, "AssociateAddress"),
    (ResourceKind::Dns, "ChangeResourceRecordSets"),
];

fn cluster(nodes: usize) -> Sim {
    Sim::of(documented(nodes), Timing::default(), 1)
}

/// Calls like this of node `n` meet a fault, so many of them.
fn stage(sim: &mut Sim, n: usize, call: &str, fault: Fault, times: Option<u64>) {
    let rule = FaultRule::on(call, fault).by(Principal::Instance(id(n).to_string()));
    sim.world_mut().faults_mut().add(FaultRule { times, ..rule });
}

fn mend(sim: &mut Sim) {
    sim.world_mut().faults_mut().rules.clear();
}

/// The kind of what was moved.
fn kind(done: &Done) -> Option<ResourceKind> {
    match &done.what {
        Mutation::Route(_) => Some(ResourceKind::Route),
        Mutation::Assign(assignment) => Some(assignment.resource.kind()),
        Mutation::Stop(_) | Mutation::Start(_) => None,
    }
}

/// Who holds the parts of group `of` of one kind.
fn of_kind(sim: &Sim, of: usize, kind: ResourceKind) -> Vec<Option<usize>> {
    let parts = sim.parts(of).filter(|part| part.resource.kind() == kind);
    parts.map(|part| part.holder).collect()
}

#[test]
fn a_group_of_any_kinds_moves_in_order_and_alone_and_comes_back_whole() {
    for dead in 0..4 {
        let mut sim = cluster(4);
        sim.label = format!("node {dead} dies");
        sim.rests(10_000).unwrap();
        sim.panic(dead);
        sim.run_until(5_000, |sim| sim.holder(dead).is_some_and(|holder| holder != dead));
        let heir = sim.holder(dead).unwrap();
        let kinds: Vec<_> = sim.done.iter().filter_map(kind).collect();
        assert!(kinds.is_sorted(), "{:?}", sim.done);
        let moved: usize = sim.parts(dead).count();
        // The Elastic IP went with the private IP that it is on.
        let expected = if dead == 0 { moved - 1 } else { moved };
        assert_eq!((kinds.len(), sim.outage_ms(dead) < 1_000), (expected, true), "{:?}", sim.done);
        assert!((0..4).all(|of| of == dead || sim.holder(of) == Some(of)), "nothing else moves");
        sim.run_until(10_000, |sim| sim.events(heir, EventKind::TakeoverDone).len() == 1);
        sim.rests(5_000).unwrap();
    }
}

#[test]
fn egress_ips_move_beside_the_route_and_come_home() {
    for dead in 0..3 {
        let mut sim = Sim::of(egress(3), Timing::default(), 1);
        sim.label = format!("node {dead} dies");
        sim.rests(10_000).unwrap();
        sim.panic(dead);
        sim.run_until(5_000, |sim| sim.holder(dead).is_some_and(|holder| holder != dead));
        // The calls run side by side: none waits for another.
        assert_eq!(sim.done.len(), 3, "{:?}", sim.done);
        let (first, last) = (sim.done[0].at, sim.done[2].at);
        assert!(last.since(first) < sim.latency, "{:?}", sim.done);
        sim.run(1_000);
        sim.rests(30_000).unwrap();
        sim.run_until(4 * MINUTE, |sim| sim.holder(dead) == Some(dead));
        sim.run(20_000);
        sim.rests(10_000).unwrap();
    }
}

#[test]
fn groups_of_a_repaired_node_come_back_whole() {
    let mut sim = cluster(4);
    sim.panic(0);
    sim.run(5_000);
    sim.run_until(4 * MINUTE, |sim| sim.holder(0) == Some(0));
    sim.run(20_000);
    assert_eq!(sim.stops().len(), 1);
    sim.rests(10_000).unwrap();
}

/// Each kind alone fails for a while at the takeover of a group that has it: the rest moves and
/// stays, nobody is stopped meanwhile, and in the end all of it is with one node. Every kind with
/// every fault, at any time, is what `natha-prove sim --several` draws from.
#[test]
fn a_kind_that_cannot_be_written_holds_nobody_up_and_follows_once_it_can() {
    let faults = [Fault::Deny, Fault::Hang, Fault::Throttle, Fault::ServerError];
    for ((kind, call), fault) in CALLS.into_iter().zip(faults) {
        let mut sim = cluster(4);
        sim.label = format!("{call}: {fault:?}");
        let dead = if kind == ResourceKind::Dns { 3 } else { 0 };
        for n in 0..4 {
            stage(&mut sim, n, call, fault, None);
        }
        sim.panic(dead);
        sim.run(20_000);
        let stays = of_kind(&sim, dead, kind);
        // An Elastic IP goes with its private IP whether or not it can be written.
        if kind != ResourceKind::Eip {
            assert!(stays.iter().all(|holder| *holder == Some(dead)), "{}", sim.placed(dead));
        }
        let others = sim.parts(dead).filter(|part| part.resource.kind() != kind);
        let others: Vec<_> = others.map(|part| part.holder).collect();
        let by_itself = kind == ResourceKind::PrivateIp;
        let heir = others[0].filter(|heir| *heir != dead).expect("the rest has moved");
        let with_heir = others.iter().filter(|holder| **holder == Some(heir)).count();
        assert!(with_heir == others.len() || by_itself, "{}", sim.placed(dead));
        sim.run(55_000);
        let is_whole = sim.holder(dead).is_some();
        assert!(is_whole || sim.stops().is_empty(), "stopped with a part of its group");
        mend(&mut sim);
        sim.run_until(MINUTE, |sim| sim.holder(dead).is_some_and(|holder| holder != dead));
    }
}

/// Writes that were carried out and not answered are not repeated blindly.
#[test]
fn a_lost_answer_of_any_kind_delays_a_takeover_by_seconds_at_most() {
    for (kind, call) in CALLS {
        let mut sim = cluster(4);
        let dead = if kind == ResourceKind::Dns { 3 } else { 1 };
        for n in 0..4 {
            stage(&mut sim, n, call, Fault::LostReply, Some(1));
        }
        sim.panic(dead);
        sim.run_until(8_000, |sim| sim.holder(dead).is_some_and(|holder| holder != dead));
        sim.run_until(20_000, |sim| {
            (0..4).any(|n| !sim.events(n, EventKind::TakeoverDone).is_empty())
        });
    }
}

/// A node is paused, the heir gets one part of its group, and then both live: the two halves are
/// joined at the group's home, and nobody takes anything from anybody.
#[test]
fn two_halves_at_two_living_nodes_are_joined() {
    for (kind, call) in &CALLS[..2] {
        let mut sim = cluster(2);
        sim.label = format!("{call} fails");
        stage(&mut sim, 1, call, Fault::Deny, None);
        sim.freeze(0);
        sim.run(20_000);
        let stays = of_kind(&sim, 0, *kind);
        assert!(stays.iter().all(|holder| *holder == Some(0)), "{}", sim.placed(0));
        assert!(sim.holder(0).is_none(), "the rest is with node 1: {}", sim.placed(0));
        sim.thaw(0);
        mend(&mut sim);
        sim.run_until(MINUTE, |sim| sim.holder(0) == Some(0));
        sim.run_until(2 * MINUTE, |sim| sim.holder(1) == Some(1));
        sim.run(20_000);
        sim.rests(10_000).unwrap();
        assert_eq!(sim.stops().len(), 0);
    }
}

/// The monitor that takes a group over is restarted at any moment of it; calls are slow, so that
/// each kind has a moment of its own, and reads may be old.
#[test]
fn a_restart_at_any_moment_of_a_move_ends_with_all_of_it_at_one_node() {
    for lag in [0, 2_000] {
        for ms in (0..4_000).step_by(400) {
            let mut sim = cluster(2);
            sim.label = format!("restart after {ms} ms, reads up to {lag} ms old");
            sim.latency = Duration::from_millis(400);
            sim.read_lag = Duration::from_millis(lag);
            sim.panic(0);
            sim.run(ms);
            sim.boot(1);
            // Who restarts has never heard the dead node.
            sim.run_until(50_000, |sim| sim.holder(0) == Some(1));
            sim.run(10_000);
            sim.rests(5_000).unwrap();
        }
    }
}

/// The Elastic IP has moved and the route has not, or the other way round, when the monitor that
/// moves them is restarted: it goes on from what it reads.
#[test]
fn a_restart_between_two_halves_ends_with_all_of_it_at_one_node() {
    for (kind, call) in &CALLS[..2] {
        for ms in [600, 3_000, 15_000] {
            let mut sim = cluster(2);
            sim.label = format!("{call} fails, restart after {ms} ms");
            stage(&mut sim, 1, call, Fault::Deny, None);
            sim.panic(0);
            sim.run(ms);
            assert!(sim.holder(0).is_none(), "in two halves: {}", sim.placed(0));
            sim.boot(1);
            sim.run(5_000);
            let stays = of_kind(&sim, 0, *kind);
            assert!(stays.iter().all(|holder| *holder == Some(0)), "{}", sim.placed(0));
            mend(&mut sim);
            sim.run_until(MINUTE, |sim| sim.holder(0) == Some(1));
            sim.run(10_000);
            sim.rests(5_000).unwrap();
        }
    }
}

/// The home's monitor is restarted while its group is handed back to it.
#[test]
fn a_restart_at_any_moment_of_a_hand_back_ends_with_all_of_it_at_home() {
    for ms in [200, 700, 1_300, 2_100] {
        for n in 0..2 {
            let mut sim = cluster(2);
            sim.label = format!("node {n} restarts {ms} ms into the hand-back");
            sim.latency = Duration::from_millis(400);
            sim.kill_daemon(0);
            sim.run_until(30_000, |sim| sim.holder(0) == Some(1));
            sim.boot(0);
            let done = sim.done.len();
            sim.run_until(2 * MINUTE, |sim| sim.done.len() > done);
            sim.run(ms);
            sim.boot(n);
            sim.run_until(3 * MINUTE, |sim| sim.holder(0) == Some(0));
            sim.run_until(MINUTE, |sim| sim.holder(1) == Some(1));
            sim.run(20_000);
            sim.rests(5_000).unwrap();
            assert_eq!(sim.stops().len(), 0);
        }
    }
}

/// The service of a group of several resources fails: all of it goes to a node where it works, and
/// comes back once it works again.
#[test]
fn a_service_that_fails_moves_all_of_its_group_and_nothing_else() {
    let mut sim = cluster(4);
    sim.run(30_000);
    sim.set_failing(2, &[2]);
    sim.run_until(2_000, |sim| sim.holder(2).is_some_and(|holder| holder != 2));
    sim.run(30_000);
    assert!([0, 1, 3].iter().all(|of| sim.holder(*of) == Some(*of)), "{:?}", sim.done);
    sim.set_failing(2, &[]);
    sim.run_until(2 * MINUTE, |sim| sim.holder(2) == Some(2));
    sim.run(20_000);
    sim.rests(5_000).unwrap();
    assert_eq!(sim.stops().len(), 0);
}
