//! Peers that were never heard, behind a closed security group or dead since before this host
//! booted; and homes that are away for long.

use natha::failover::{EventKind, Level, Verdict};
use natha_prove::sim::Sim;

const MINUTE: u64 = 60_000;

/// Two nodes whose hosts boot with no heartbeat, and perhaps no echo, between them.
fn strangers(echo: bool) -> Sim {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.panic(1);
    sim.block_heartbeats(0, 1);
    if !echo {
        sim.block_echo(0, 1);
    }
    sim.boot(0);
    sim.boot(1);
    sim
}

#[test]
fn two_healthy_nodes_that_never_hear_each_other_keep_their_groups() {
    for echo in [false, true] {
        let mut sim = strangers(echo);
        for round in 0..3 {
            sim.run(10 * MINUTE);
            assert_eq!(sim.done.len(), 0, "echo {echo}, run {round}: {:?}", sim.done);
            for n in 0..2 {
                assert_eq!(sim.verdict(1 - n, n), Verdict::Unmet);
                let is_alert = |level: Level| level == Level::Alert;
                let of_peers = sim.events(n, EventKind::Verdict);
                let alerts = of_peers.iter().filter(|event| is_alert(event.level)).count();
                assert_eq!(alerts, round + 1, "one for each run of the monitor");
            }
            sim.boot(0);
            sim.boot(1);
        }
    }
}

#[test]
fn nodes_that_hear_each_other_at_last_are_like_any() {
    let mut sim = strangers(false);
    sim.run(10 * MINUTE);
    sim.deaf.clear();
    sim.no_echo.clear();
    sim.run(5_000);
    assert_eq!((sim.verdict(0, 1), sim.verdict(1, 0)), (Verdict::Alive, Verdict::Alive));
    sim.panic(0);
    sim.run_until(1_000, |sim| sim.holder(0) == Some(1));
}

#[test]
fn a_peer_that_dies_while_this_monitor_restarts_is_taken_over_after_first_contact() {
    for echo in [false, true] {
        let mut sim = Sim::new(2);
        if !echo {
            sim.block_echo(0, 1);
        }
        sim.run(MINUTE);
        sim.kill_daemon(1);
        sim.panic(0);
        sim.run(2_000);
        sim.boot(1);
        sim.run(29_900);
        assert_eq!(sim.done.len(), 0);
        sim.run_until(500, |sim| sim.holder(0) == Some(1));
    }
}

#[test]
fn a_peer_that_died_before_this_host_booted_is_covered_once_ec2_calls_it_impaired() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.panic(1);
    sim.run(2_000);
    sim.boot(1);
    sim.run(2 * MINUTE);
    assert_eq!(sim.done.len(), 0, "it may be behind a closed security group");
    sim.impair(0, true);
    sim.run_until(6_000, |sim| sim.holder(0) == Some(1));
}

#[test]
fn a_home_that_a_person_keeps_stopped_moves_nothing_until_it_is_back() {
    let mut sim = Sim::new(3);
    sim.run(10_000);
    sim.stop_by_user(0);
    sim.run(3 * MINUTE);
    let (holder, since) = (sim.holder(0), sim.now);
    assert!(holder.is_some_and(|holder| holder != 0));
    sim.run(60 * MINUTE);
    for n in [1, 2] {
        sim.boot(n);
    }
    sim.run(60 * MINUTE);
    assert_eq!((sim.holder(0), sim.writes_since(since)), (holder, 0), "{:?}", sim.done);
    for n in [1, 2] {
        let view = sim.nodes[n].machine.as_ref().unwrap().view(sim.now);
        assert!(!view.groups[&"g0".parse().unwrap()].goes_home);
    }
    sim.start_by_user(0);
    sim.run_until(3 * MINUTE, |sim| sim.holder(0) == Some(0));
    assert_eq!(sim.writes_since(since), 1, "{:?}", sim.done);
}
