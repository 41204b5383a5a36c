//! Two nodes.

use std::time::Duration;

use natha::config::{Settings, Timing, least_repair_after};
use natha::failover::{Command, EventKind, Verdict};
use natha::types::{CloudFaultKind, Fault, Fitness, GroupName, InstanceState, RouteTarget};
use natha_prove::sim::{Api, Mutation, Sim, eni, id, table};

const MINUTE: u64 = 60_000;

#[test]
fn two_healthy_nodes_change_nothing() {
    let mut sim = Sim::new(2);
    sim.run(10 * MINUTE);
    assert_eq!(sim.done.len(), 0);
    assert_eq!(sim.verdict(1, 0), Verdict::Alive);
}

#[test]
fn a_panicked_holder_is_taken_over_within_detection_and_one_call() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run(2_000);
    assert_eq!(sim.holder(0), Some(1));
    let most = sim.timing.detection().as_millis() + 25 + 5;
    assert!(sim.outage_ms(0) <= most, "outage {} ms", sim.outage_ms(0));
}

#[test]
fn a_panicked_node_is_stopped_started_and_gets_its_group_back_without_an_outage() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run(2_000);
    let outage = sim.outage_ms(0);
    sim.run_until(3 * MINUTE, |sim| sim.holder(0) == Some(0));
    let order: Vec<_> = sim.done.iter().map(|done| (done.by, done.what.clone())).collect();
    assert!(matches!(&order[0], (1, Mutation::Route(_))));
    assert_eq!(order[1], (1, Mutation::Stop(id(0))));
    assert_eq!(order[2], (1, Mutation::Start(id(0))));
    assert!(
        matches!(&order[3], (1, Mutation::Route(write)) if write.via.interface() == Some(&eni(0)))
    );
    assert_eq!(sim.outage_ms(0), outage, "the hand-back costs nothing");
    sim.run(5 * MINUTE);
    assert_eq!(sim.done.len(), 4, "and then there is rest: {order:?}");
    assert_eq!(sim.events(1, EventKind::RepairDone).len(), 1);
}

#[test]
fn a_stop_that_is_under_way_is_not_told_as_held_and_latches_nothing() {
    let mut timing = Timing::default();
    timing.repair.max_per_hour = 1;
    let mut sim = Sim::with(2, timing);
    sim.panic(0);
    sim.run(2_000);
    sim.run_until(3 * MINUTE, |sim| sim.holder(0) == Some(0));
    assert_eq!(sim.stops().len(), 1);
    let held = sim.events(1, EventKind::RepairBlocked);
    let mut reasons = held.iter().map(|event| event.text.as_str());
    assert!(reasons.all(|reason| reason.ends_with("another node comes first")), "{held:?}");
}

#[test]
fn blocked_echo_alone_changes_nothing() {
    let mut sim = Sim::new(2);
    sim.block_echo(0, 1);
    sim.run(5 * MINUTE);
    assert_eq!(sim.done.len(), 0);
}

#[test]
fn blocked_heartbeats_alone_stop_nobody_and_serve_everybody() {
    let mut sim = Sim::new(2);
    sim.block_heartbeats(0, 1);
    sim.run(10 * MINUTE);
    assert_eq!(sim.stops().len(), 0);
    assert_eq!(sim.outage_ms(0) + sim.outage_ms(1), 0);
}

#[test]
fn a_full_partition_stops_nobody_comes_to_rest_and_heals() {
    let mut sim = Sim::new(2);
    sim.block_heartbeats(0, 1);
    sim.block_echo(0, 1);
    sim.run(2 * MINUTE);
    let quiet = sim.now;
    sim.run(20 * MINUTE);
    assert_eq!(sim.stops().len(), 0);
    assert_eq!(sim.outage_ms(0) + sim.outage_ms(1), 0);
    assert_eq!(sim.writes_since(quiet), 0, "no tug of war: {:?}", sim.done);
    assert_eq!(sim.verdict(1, 0), Verdict::Partitioned);
    assert_eq!(sim.verdict(0, 1), Verdict::Partitioned);
    sim.deaf.clear();
    sim.no_echo.clear();
    sim.run(2 * MINUTE);
    assert_eq!((sim.holder(0), sim.holder(1)), (Some(0), Some(1)));
}

#[test]
fn a_full_partition_stops_nobody_at_the_shortest_patience_that_settings_may_have() {
    let mut timing = Timing::default();
    timing.repair.after = least_repair_after(&Settings::default());
    for (gap, latency) in [(0, 50), (16, 50), (120, 50), (300, 5), (50, 1_500), (7_000, 50)] {
        let mut sim = Sim::with(2, timing.clone());
        sim.latency = Duration::from_millis(latency);
        sim.deaf.insert((0, 1));
        sim.no_echo.insert((0, 1));
        sim.run(gap);
        sim.block_heartbeats(0, 1);
        sim.block_echo(0, 1);
        sim.run(20 * MINUTE);
        assert_eq!(sim.stops().len(), 0, "gap {gap} ms, latency {latency} ms: {:?}", sim.done);
    }
}

#[test]
fn one_way_loss_stops_nobody() {
    for (from, to) in [(0, 1), (1, 0)] {
        let mut sim = Sim::new(2);
        sim.deaf.insert((from, to));
        sim.block_echo(0, 1);
        sim.run(20 * MINUTE);
        assert_eq!(sim.stops().len(), 0, "{from} to {to}");
        assert_eq!(sim.outage_ms(0) + sim.outage_ms(1), 0);
    }
}

#[test]
fn loss_that_starts_at_different_times_in_each_direction_stops_nobody() {
    for gap in [50, 500, 5_000, 12_000, 30_000, 65_000] {
        let mut sim = Sim::new(2);
        sim.block_echo(0, 1);
        sim.deaf.insert((0, 1));
        sim.run(gap);
        sim.deaf.insert((1, 0));
        sim.run(20 * MINUTE);
        assert_eq!(sim.stops().len(), 0, "gap {gap} ms: {:?}", sim.done);
        assert_eq!(sim.outage_ms(0) + sim.outage_ms(1), 0);
    }
}

#[test]
fn a_dead_daemon_is_covered_after_its_grace_without_an_outage_or_a_stop() {
    let mut sim = Sim::new(2);
    sim.kill_daemon(0);
    sim.run(10_000);
    assert_eq!(sim.holder(0), Some(0), "within its grace");
    assert_eq!(sim.verdict(0, 1), Verdict::DaemonDown);
    sim.run(10_000);
    assert_eq!(sim.holder(0), Some(1));
    sim.run(10 * MINUTE);
    assert_eq!(sim.stops().len(), 0);
    assert_eq!(sim.outage_ms(0), 0);
}

#[test]
fn a_frozen_node_writes_nothing_before_it_has_read_again() {
    let mut sim = Sim::new(2);
    sim.freeze(0);
    sim.run(20_000);
    assert_eq!(sim.holder(0), Some(1));
    sim.thaw(0);
    let thawed = sim.now;
    sim.run(10_000);
    assert_eq!(sim.writes_since(thawed), 0);
    assert_eq!(sim.events(0, EventKind::Paused).len(), 1);
    sim.run(MINUTE);
    assert_eq!(sim.holder(0), Some(0), "handed back");
    assert_eq!(sim.done.last().unwrap().by, 1, "given, not taken");
    assert_eq!(sim.stops().len(), 0);
}

#[test]
fn a_node_that_lost_its_uplink_is_relieved_within_a_second_and_never_takes() {
    let mut sim = Sim::new(2);
    sim.run(10_000);
    sim.set_fitness(0, Fitness::unfit(Fault::Uplink));
    sim.nodes[0].api = Api::Hangs;
    sim.run(800);
    assert_eq!(sim.holder(0), Some(1));
    sim.run(10 * MINUTE);
    assert_eq!(sim.stops().len(), 0);
    assert!(sim.done.iter().all(|done| done.by == 1));
}

#[test]
fn api_errors_never_count_as_a_dead_peer() {
    for kind in [CloudFaultKind::Denied, CloudFaultKind::NotFound, CloudFaultKind::Throttled] {
        let mut sim = Sim::new(2);
        sim.nodes[0].api = Api::Fails(kind);
        sim.nodes[1].api = Api::Fails(kind);
        sim.run(5 * MINUTE);
        assert_eq!(sim.verdict(1, 0), Verdict::Alive, "{kind}");
    }
}

#[test]
fn a_takeover_goes_on_when_the_api_comes_back() {
    for kind in [
        CloudFaultKind::Denied,
        CloudFaultKind::Throttled,
        CloudFaultKind::Unreachable,
        CloudFaultKind::Unknown,
        CloudFaultKind::Other,
    ] {
        let mut sim = Sim::new(2);
        sim.nodes[1].api = Api::Fails(kind);
        sim.panic(0);
        sim.run(20_000);
        assert_eq!(sim.holder(0), Some(0), "{kind}");
        sim.nodes[1].api = Api::Works;
        sim.run_until(70_000, |sim| sim.holder(0) == Some(1));
    }
}

#[test]
fn a_lost_reply_is_followed_by_a_read_and_not_by_a_fight() {
    let mut sim = Sim::new(2);
    sim.nodes[1].api = Api::LosesReplies;
    sim.panic(0);
    sim.run(5_000);
    assert_eq!(sim.holder(0), Some(1));
    assert_eq!(sim.done.len(), 1, "the read shows that the write took effect");
}

#[test]
fn a_hung_call_does_not_hold_up_heartbeats_or_verdicts() {
    let mut sim = Sim::new(2);
    sim.nodes[1].api = Api::Hangs;
    sim.run(MINUTE);
    assert_eq!(sim.verdict(1, 0), Verdict::Alive);
    sim.panic(0);
    sim.run(1_000);
    assert!(matches!(sim.verdict(0, 1), Verdict::Suspected | Verdict::Unreachable));
}

#[test]
fn a_peer_stopped_by_a_user_is_covered_and_left_stopped() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.stop_by_user(0);
    sim.run(20 * MINUTE);
    assert_eq!(sim.holder(0), Some(1));
    assert_eq!(sim.done.len(), 1, "one route, no start: {:?}", sim.done);
    let before = sim.reads;
    sim.run(10 * MINUTE);
    let a_minute = (sim.reads - before) / 10;
    assert!(a_minute <= 20, "{a_minute} reads a minute of something that rests");
}

#[test]
fn a_peer_that_ec2_stopped_is_started() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.stop_by_service(0);
    sim.run_until(2 * MINUTE, |sim| sim.holder(0) == Some(0));
    assert_eq!(sim.stops().len(), 0);
}

#[test]
fn a_terminated_peer_is_covered_and_never_started() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.terminate(0);
    sim.run(20 * MINUTE);
    assert_eq!(sim.holder(0), Some(1));
    assert_eq!(sim.done.len(), 1);
}

#[test]
fn a_restart_in_the_middle_of_a_repair_still_starts_the_peer() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run_until(2 * MINUTE, |sim| sim.stops().len() == 1);
    sim.boot(1);
    sim.run_until(3 * MINUTE, |sim| sim.holder(0) == Some(0));
    assert_eq!(sim.stops().len(), 1);
}

#[test]
fn a_restart_at_any_moment_of_a_takeover_ends_in_the_right_routes() {
    for ms in (0..600).step_by(7) {
        let mut sim = Sim::new(2);
        sim.panic(0);
        sim.run(ms);
        sim.boot(1);
        sim.run_until(40_000, |sim| sim.holder(0) == Some(1));
        sim.run(5_000);
        assert_eq!((sim.holder(0), sim.holder(1)), (Some(1), Some(1)), "restart at {ms} ms");
    }
}

#[test]
fn repair_can_be_switched_off() {
    let mut timing = Timing::default();
    timing.repair.enabled = false;
    let mut sim = Sim::with(2, timing);
    sim.panic(0);
    sim.run(20 * MINUTE);
    assert_eq!(sim.holder(0), Some(1));
    assert_eq!(sim.done.len(), 1);
}

#[test]
fn a_peer_that_never_comes_up_is_repaired_three_times_an_hour_and_no_more() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    for (minutes, stops) in [(55, 3), (35, 6)] {
        for _ in 0..minutes {
            sim.run(MINUTE);
            if sim.nodes[0].power == InstanceState::Running {
                sim.panic(0);
            }
        }
        assert_eq!(sim.stops().len(), stops);
    }
    assert_eq!(sim.holder(0), Some(1));
}

#[test]
fn a_foreign_target_is_respected() {
    let mut sim = Sim::new(2);
    sim.set_route(&table(0), Some(RouteTarget::Other("nat-0123456789abcdef0".to_owned())).as_ref());
    sim.run(5 * MINUTE);
    sim.panic(0);
    sim.run(5 * MINUTE);
    assert_eq!(sim.done.len(), 0);
    assert_eq!(sim.events(1, EventKind::Foreign).len(), 1);
}

#[test]
fn a_foreign_target_is_adopted_where_that_is_configured() {
    let mut sim = Sim::with(2, Timing { adopt: true, ..Timing::default() });
    sim.set_route(&table(0), Some(RouteTarget::Other("nat-0123456789abcdef0".to_owned())).as_ref());
    sim.run(MINUTE);
    assert_eq!(sim.holder(0), Some(0));
}

#[test]
fn a_deleted_route_is_created_again_by_its_home() {
    let mut sim = Sim::new(2);
    sim.set_route(&table(0), None);
    sim.run(MINUTE);
    assert_eq!(sim.holder(0), Some(0));
    assert_eq!(sim.done.len(), 1);
}

#[test]
fn a_leaving_node_hands_over_first_and_gets_its_group_back_when_it_returns() {
    let mut sim = Sim::new(2);
    sim.command(0, Command::Leave);
    sim.run(2_000);
    assert_eq!(sim.holder(0), Some(1));
    assert!(sim.nodes[0].machine.is_none(), "it may exit");
    assert_eq!(sim.done[0].by, 0, "given, not taken");
    sim.run(10 * MINUTE);
    assert_eq!(sim.stops().len(), 0, "a node that left on purpose is not repaired");
    sim.boot(0);
    sim.run(MINUTE);
    assert_eq!(sim.holder(0), Some(0));
    assert_eq!(sim.outage_ms(0), 0);
}

#[test]
fn a_node_about_to_be_interrupted_hands_over_first_and_gets_its_group_back_without_an_outage() {
    let mut sim = Sim::new(2);
    sim.run(10_000);
    sim.set_fitness(0, Fitness::unfit(Fault::Departing));
    sim.run(2_000);
    assert_eq!(sim.holder(0), Some(1));
    sim.run(MINUTE);
    assert!(sim.done.iter().all(|done| done.by == 0), "given, not taken, and it stays there");
    sim.set_fitness(0, Fitness::fit());
    sim.run(MINUTE);
    assert_eq!(sim.holder(0), Some(0));
    assert_eq!((sim.outage_ms(0), sim.stops().len()), (0, 0));
}

#[test]
fn the_groups_of_a_node_about_to_be_interrupted_that_cannot_write_are_taken() {
    let mut sim = Sim::new(2);
    sim.run(10_000);
    sim.nodes[0].api = Api::Hangs;
    sim.set_fitness(0, Fitness::unfit(Fault::Departing));
    sim.run(5_000);
    assert_eq!((sim.holder(0), sim.outage_ms(0)), (Some(1), 0));
    assert!(sim.done.iter().all(|done| done.by == 1));
}

#[test]
fn a_notice_that_is_withdrawn_at_any_moment_costs_no_outage() {
    for ms in (0..4_000).step_by(170) {
        let mut sim = Sim::new(2);
        sim.run(10_000);
        sim.set_fitness(0, Fitness::unfit(Fault::Departing));
        sim.run(ms);
        sim.set_fitness(0, Fitness::fit());
        sim.run(2 * MINUTE);
        assert_eq!((sim.holder(0), sim.outage_ms(0)), (Some(0), 0), "after {ms} ms");
        assert_eq!((sim.holder(1), sim.stops().len()), (Some(1), 0), "after {ms} ms");
    }
}

#[test]
fn what_both_nodes_hold_stays_where_it_is_while_both_are_about_to_be_interrupted() {
    let mut sim = Sim::new(2);
    sim.run(10_000);
    sim.set_fitness(0, Fitness::unfit(Fault::Departing));
    sim.run(2_000);
    sim.set_fitness(1, Fitness::unfit(Fault::Departing));
    sim.run(10 * MINUTE);
    assert_eq!([0, 1].map(|group| sim.holder(group)), [Some(1); 2]);
    assert_eq!([0, 1].map(|group| sim.outage_ms(group)), [0; 2]);
    assert_eq!(sim.done.len(), 1);
}

#[test]
fn a_flapping_home_waits_longer_each_time() {
    let mut sim = Sim::new(2);
    let mut waits = Vec::new();
    for _ in 0..3 {
        sim.set_fitness(0, Fitness::unfit(Fault::Forwarding));
        sim.run(1_000);
        assert_eq!(sim.holder(0), Some(1));
        sim.set_fitness(0, Fitness::fit());
        let since = sim.now;
        sim.run_until(10 * MINUTE, |sim| sim.holder(0) == Some(0));
        waits.push(sim.now.since(since).as_secs());
        sim.run(1_000);
    }
    assert!(waits[1] >= 2 * waits[0] - 2 && waits[2] >= 2 * waits[1] - 2, "{waits:?}");
}

#[test]
fn a_straggling_write_of_the_dead_node_is_taken_back() {
    for ms in [400, 1_000, 3_000, 8_000] {
        let mut sim = Sim::new(2);
        sim.panic(0);
        sim.run(ms);
        sim.set_route(&table(0), Some(RouteTarget::Interface(eni(0))).as_ref());
        sim.run(15_000);
        assert_eq!(sim.holder(0), Some(1), "a write that landed after {ms} ms");
    }
}

#[test]
fn both_booting_at_once_leave_routes_where_they_are() {
    let mut sim = Sim::new(2);
    sim.set_route(&table(0), Some(RouteTarget::Interface(eni(1))).as_ref());
    sim.boot(0);
    sim.boot(1);
    sim.run(20_000);
    assert_eq!(sim.done.len(), 0, "nothing is grabbed at boot");
    sim.run(MINUTE);
    assert_eq!(sim.holder(0), Some(0), "and the holder hands back");
}

#[test]
fn a_peer_that_was_never_heard_is_never_stopped() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.boot(1);
    sim.run(15 * MINUTE);
    assert_eq!(sim.holder(0), Some(1), "but its group is covered");
    assert_eq!(sim.stops().len(), 0);
}

#[test]
fn a_node_that_is_given_a_group_knows_it_before_its_next_regular_read() {
    let mut sim = Sim::new(2);
    sim.run(MINUTE);
    let group: GroupName = "g0".parse().unwrap();
    sim.command(0, Command::HandOver { group: group.clone(), to: Some(id(1)) });
    sim.run_until(5_000, |sim| sim.holder(0) == Some(1));
    sim.run(1_000);
    let view = sim.nodes[1].machine.as_ref().unwrap().view(sim.now);
    assert_eq!(view.groups[&group].holder, Some(id(1)));
    sim.run(20_000);
    assert_eq!(sim.holder(0), Some(1), "it does not bounce back");
    sim.run(20_000);
    assert_eq!(sim.holder(0), Some(0), "its home gets it back after the hold");
}
