//! Pauses, restarts, orders and newcomers, at the worst moments.

use std::time::Duration;

use natha::config::Timing;
use natha::failover::{Command, EventKind, Input, Verdict};
use natha::types::{CloudFaultKind, Fault, Fitness, InstanceState, RouteTarget};
use natha_lab::ec2::{Fault as CallFault, FaultRule};
use natha_prove::sim::{Api, Done, Mutation, Sim, eni, id, roster, table};

const MINUTE: u64 = 60_000;

#[test]
fn a_pause_does_not_raise_the_dead() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run_until(2 * MINUTE, |sim| sim.stops().len() == 1);
    sim.run(5_000);
    sim.freeze(1);
    sim.run(1_000);
    sim.thaw(1);
    sim.run(100);
    assert_ne!(sim.verdict(0, 1), Verdict::Alive);
    assert_eq!(sim.events(1, EventKind::RepairDone).len(), 0);
    sim.run_until(3 * MINUTE, |sim| sim.holder(0) == Some(0));
}

#[test]
fn a_pause_does_not_make_a_dead_daemon_a_dead_node() {
    let mut sim = Sim::new(2);
    sim.kill_daemon(0);
    sim.run(5_000);
    sim.freeze(1);
    sim.run(2_000);
    sim.thaw(1);
    sim.run(5_000);
    assert_eq!(sim.holder(0), Some(0), "within its grace");
    assert_eq!(sim.verdict(0, 1), Verdict::DaemonDown);
}

#[test]
fn a_pause_right_after_the_start_makes_nobody_suspected() {
    for ms in (0..400).step_by(20) {
        let mut sim = Sim::new(2);
        sim.boot(1);
        sim.run(ms);
        sim.freeze(1);
        sim.run(50_000);
        sim.nodes[0].frozen = true;
        sim.thaw(1);
        sim.run(290);
        assert!(sim.done.iter().all(|done| done.by == 0), "{ms} ms: {:?}", sim.done);
    }
}

#[test]
fn patience_before_a_stop_starts_anew_after_a_pause() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run(5_000);
    sim.freeze(1);
    sim.run(2 * MINUTE);
    sim.thaw(1);
    let thawed = sim.now;
    sim.run_until(2 * MINUTE, |sim| sim.stops().len() == 1);
    let waited = sim.now.since(thawed);
    assert!(waited >= sim.timing.repair.after, "a stop {waited:?} after the pause");
}

#[test]
fn what_an_earlier_run_stopped_is_forgotten_once_it_is_heard() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run_until(2 * MINUTE, |sim| sim.stops().len() == 1);
    sim.run_until(MINUTE, |sim| sim.nodes[0].power == InstanceState::Pending);
    sim.boot(1);
    sim.run_until(3 * MINUTE, |sim| sim.holder(0) == Some(0));
    sim.run(MINUTE);
    let starts =
        |sim: &Sim| sim.done.iter().filter(|done| matches!(done.what, Mutation::Start(_))).count();
    let before = starts(&sim);
    // A user stops it for good.
    sim.strict = false;
    sim.commit(0, Mutation::Stop(id(0))).unwrap();
    sim.run(5 * MINUTE);
    assert_eq!(sim.nodes[0].power, InstanceState::Stopped);
    assert_eq!(starts(&sim), before);
}

#[test]
fn a_start_that_hangs_is_alerted_once_patience_has_passed() {
    let mut sim = Sim::new(2);
    sim.world_mut().timings_mut().start_ms = 20 * MINUTE;
    sim.stop_by_user(0);
    sim.run(MINUTE);
    sim.start_by_user(0);
    let held = |sim: &Sim| {
        let machine = sim.nodes[1].machine.as_ref().unwrap();
        let repair = machine.view(sim.now).peers[&id(0)].repair.clone();
        repair.is_some_and(|words| words.contains("pending for longer"))
    };
    sim.run(4 * MINUTE);
    assert!(!held(&sim));
    sim.run_until(2 * MINUTE, held);
    assert_eq!(sim.stops().len(), 0);
    assert_eq!(sim.holder(0), Some(1));
}

#[test]
fn a_stop_that_ec2_refused_is_not_taken_for_natha_s_own_later() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run(50_000);
    assert_eq!(sim.holder(0), Some(1));
    sim.run_until(MINUTE, |sim| {
        sim.nodes[1].machine.as_ref().is_some_and(|machine| {
            machine.view(sim.now).peers[&id(0)].repair.as_deref() == Some("stopping it")
        })
    });
    sim.nodes[1].api = Api::Fails(CloudFaultKind::Denied);
    sim.run(2_000);
    assert_eq!(sim.stops().len(), 0);
    sim.boot(0);
    sim.nodes[1].api = Api::Works;
    sim.run(MINUTE);
    assert_eq!(sim.events(1, EventKind::RepairDone).len(), 0, "there was no repair");
    sim.strict = false;
    sim.commit(0, Mutation::Stop(id(0))).unwrap();
    sim.run(5 * MINUTE);
    assert_eq!(sim.nodes[0].power, InstanceState::Stopped, "a user stopped it");
}

#[test]
fn a_new_member_is_given_time_to_be_heard() {
    let mut sim = Sim::new(3);
    let all = roster(3);
    let mut two = all.clone();
    two.members.retain(|member| member.id != id(2));
    two.groups.retain(|group| group.home != Some(id(2)));
    sim.kill_daemon(2);
    sim.enrol(two);
    sim.run(5 * MINUTE);
    sim.enrol(all);
    sim.run(10_000);
    assert_eq!(sim.verdict(2, 0), Verdict::Unmet);
    assert_eq!(sim.done.len(), 0, "its routes are left alone: {:?}", sim.done);
}

#[test]
fn a_few_lost_packets_are_no_reason_to_rob_the_holder() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run_until(3 * MINUTE, |sim| {
        sim.nodes[0].power == InstanceState::Running && sim.nodes[0].machine.is_some()
    });
    sim.run(20_000);
    assert_eq!(sim.holder(0), Some(1), "held until the home has been well for long enough");
    sim.deaf.insert((0, 1));
    sim.run(450);
    sim.deaf.clear();
    sim.run(1_000);
    assert!(sim.done.iter().all(|done| done.by == 1), "{:?}", sim.done);
}

#[test]
fn an_order_does_not_keep_a_group_from_being_taken_over() {
    let mut sim = Sim::new(2);
    // The order reaches a node that has just lost the group to the peer it names.
    let at_one = Some(RouteTarget::Interface(eni(1)));
    sim.set_route(&table(0), at_one.as_ref());
    sim.run(12_000);
    sim.command(0, Command::HandOver { group: "g0".parse().unwrap(), to: Some(id(1)) });
    sim.run(1_000);
    sim.panic(1);
    sim.run(2_000);
    assert_eq!((sim.holder(0), sim.holder(1)), (Some(0), Some(0)));
}

#[test]
fn an_order_to_a_node_that_cannot_take_it_is_dropped() {
    let mut sim = Sim::new(2);
    sim.panic(1);
    sim.run(2_000);
    sim.command(0, Command::HandOver { group: "g0".parse().unwrap(), to: Some(id(1)) });
    sim.run_until(4 * MINUTE, |sim| sim.holder(1) == Some(1));
    sim.run(2 * MINUTE);
    let written = |done: &Done| matches!(&done.what, Mutation::Route(w) if w.table == table(0));
    assert!(!sim.done.iter().any(written), "not carried out much later: {:?}", sim.done);
}

#[test]
fn a_third_repair_that_helps_latches_nothing() {
    let mut sim = Sim::new(2);
    let repair = |sim: &mut Sim| {
        sim.panic(0);
        sim.run(5 * MINUTE);
        assert_eq!(sim.holder(0), Some(0));
    };
    (0..3).for_each(|_| repair(&mut sim));
    sim.run(60 * MINUTE);
    repair(&mut sim);
    assert_eq!(sim.stops().len(), 4);
    let held = sim.events(1, EventKind::RepairBlocked);
    assert!(held.is_empty(), "{held:#?}");
}

#[test]
fn each_reason_for_not_stopping_a_peer_is_told_once() {
    let mut sim = Sim::new(2);
    let elsewhere = RouteTarget::Other("nat-0123456789abcdef0".to_owned());
    sim.set_route(&table(0), Some(elsewhere).as_ref());
    sim.run(MINUTE);
    sim.panic(0);
    for _ in 0..20 {
        sim.nodes[1].api = Api::Works;
        sim.run(15_000);
        sim.nodes[1].api = Api::Fails(CloudFaultKind::Throttled);
        sim.run(15_000);
    }
    assert_eq!(
        sim.stops().len(),
        0,
        "a peer that has no group to reclaim cannot show that it lives"
    );
    let held = sim.events(1, EventKind::RepairBlocked);
    assert!((1..=3).contains(&held.len()), "{held:#?}");
}

#[test]
fn a_node_with_nothing_to_give_says_that_it_leaves_before_it_goes() {
    let mut sim = Sim::new(2);
    sim.set_fitness(0, Fitness::unfit(Fault::Uplink));
    // It has read that it holds nothing any more.
    sim.run(15_000);
    assert_eq!(sim.holder(0), Some(1));
    sim.run(42);
    let now = sim.now;
    let machine = sim.nodes[0].machine.as_mut().unwrap();
    machine.handle(Input::Command { command: Command::Leave }, now);
    machine.tick(now);
    sim.run(2_000);
    assert!(sim.nodes[0].machine.is_none());
    assert_eq!(sim.verdict(0, 1), Verdict::Leaving);
}

#[test]
fn with_slow_heartbeats_an_age_beyond_telling_does_not_count_as_heard() {
    let interval = Duration::from_secs(10);
    let timing = Timing { interval, lost_after: 20, ..Timing::default() };
    let mut sim = Sim::with(2, timing);
    sim.run(MINUTE);
    assert!(sim.nodes[0].machine.as_ref().unwrap().view(sim.now).peers[&id(1)].hears_me);
    sim.deaf.insert((0, 1));
    sim.run(100_000);
    assert!(!sim.nodes[0].machine.as_ref().unwrap().view(sim.now).peers[&id(1)].hears_me);
}

#[test]
fn an_api_that_is_down_for_an_hour_does_not_fill_the_log() {
    let mut sim = Sim::new(2);
    sim.nodes[1].api = Api::Fails(CloudFaultKind::Unreachable);
    sim.panic(0);
    sim.run(60 * MINUTE);
    let told = sim.nodes[1].events.len();
    assert!(told <= 40, "{told} events");
    sim.nodes[1].api = Api::Works;
    sim.run(10_000);
    assert_eq!(sim.holder(0), Some(1));
}

/// Seed 3613 of the random faults: the answer to a write that was sent before the pause was taken
/// for a read after it.
#[test]
fn what_a_person_did_during_a_pause_is_seen_before_anything_is_written() {
    let mut sim = Sim::new(2);
    sim.command(0, Command::HandOver { group: "g0".parse().unwrap(), to: Some(id(1)) });
    sim.run(10);
    sim.freeze(0);
    sim.run(500);
    assert_eq!(sim.holder(0), Some(1), "the write was on its way");
    sim.set_route(&table(0), Some(RouteTarget::Other("igw".to_owned())).as_ref());
    sim.panic(1);
    sim.run(2_000);
    // It sees nothing but the death of its peer, and has no reads for a while.
    sim.nodes[0].api = Api::LosesReplies;
    let rule = FaultRule::on("Describe*", CallFault::Hang);
    sim.world_mut().faults_mut().add(rule);
    sim.thaw(0);
    let thawed = sim.now;
    sim.run(3_000);
    assert_eq!(sim.writes_since(thawed), 0, "{:?}", sim.done);
}

#[test]
fn a_request_out_of_date_delays_a_takeover_by_half_a_second_at_most() {
    let mut sim = Sim::new(2);
    sim.run(MINUTE);
    sim.nodes[1].api = Api::Fails(CloudFaultKind::OutOfDate);
    sim.panic(0);
    // It loses the peer, writes, and is refused.
    sim.run(500);
    assert_eq!(sim.holder(0), Some(0));
    sim.nodes[1].api = Api::Works;
    sim.run(500);
    assert_eq!(sim.holder(0), Some(1));
}

#[test]
fn one_answered_echo_while_its_heartbeat_is_late_saves_a_peer_from_being_suspected() {
    let mut sim = Sim::new(2);
    sim.run_until(1_000, |sim| {
        let view = sim.nodes[1].machine.as_ref().map(|machine| machine.view(sim.now));
        view.is_some_and(|view| view.peers[&id(0)].heartbeat_age == Some(Duration::ZERO))
    });
    sim.deaf.insert((0, 1));
    sim.block_echo(0, 1);
    // At heartbeat pace from the first late one on, none would be asked for in this time.
    sim.run(260);
    sim.no_echo.clear();
    sim.run(20);
    sim.block_echo(0, 1);
    sim.run(250);
    assert_eq!(sim.verdict(0, 1), Verdict::DaemonDown);
    assert_eq!(sim.done.len(), 0);
}
