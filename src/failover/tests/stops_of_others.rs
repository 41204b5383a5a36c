//! What another member stopped, and does not live to start again.

use super::repairs::{held, repair};
use super::test_bench::*;
use crate::failover::Action;
use crate::types::{Fault, Fitness, Hears, InstanceState, SessionId, StopOrigin};

/// What node 2 says of node 1: that it stopped it, or not.
fn line(stopped: bool) -> Hears {
    Hears { node: id(1), session: SessionId(5), age_ms: u16::MAX, failed: true, stopped }
}

/// Node 0 of three. Node 1 was lost, and node 2 stopped it and said so.
fn with_a_stop_by_another() -> TestBench {
    let mut bench = TestBench::new(3);
    bench.lose(1);
    bench.run(30_000);
    bench.beat_mut(2).hears.push(line(true));
    bench.run(1_000);
    bench.power.insert(id(1), stopped_by(StopOrigin::User));
    bench.run(3_000);
    bench
}

#[test]
fn while_the_member_that_stopped_it_lives_it_is_that_members_to_start() {
    let mut bench = with_a_stop_by_another();
    bench.run(600_000);
    assert_eq!((bench.starts(), held(&bench)), (0, Vec::new()));
    assert_eq!(repair(&bench).as_deref(), Some("stopped by another member, to be started"));
}

#[test]
fn when_that_member_is_silent_for_longer_than_a_restart_takes_another_starts_it_and_notes_it() {
    let mut bench = with_a_stop_by_another();
    bench.lose(2);
    let grace = timing().detection() + timing().daemon_grace;
    let passed = bench.run_until(60_000, |bench| bench.starts() == 1);
    assert!(passed + millis(200) > grace && passed < grace + secs(3), "{passed:?}");
    assert_eq!(bench.remembered(), Some([id(1)].into()), "a restart of this monitor knows it");
    bench.power.insert(id(1), report(InstanceState::Running));
    bench.beats.insert(1, TestBench::fine(0));
    bench.run(5_000);
    assert_eq!((bench.remembered(), repair(&bench)), (Some([].into()), None));
}

#[test]
fn a_leaving_member_leaves_its_stop_to_the_others() {
    let mut bench = with_a_stop_by_another();
    bench.beat_mut(2).leaving = true;
    bench.run(20_000);
    assert_eq!(bench.starts(), 1);
}

#[test]
fn a_member_that_cannot_reach_ec2_leaves_its_stop_to_the_others() {
    let mut bench = with_a_stop_by_another();
    bench.beat_mut(2).fitness = Fitness::unfit(Fault::Uplink);
    bench.run(20_000);
    assert_eq!(bench.starts(), 1);
}

#[test]
fn each_further_member_in_the_order_waits_longer() {
    let mut bench = TestBench::starting(2, 3, timing());
    bench.run(3_000);
    bench.lose(1);
    bench.run(30_000);
    bench.beat_mut(0).hears.push(line(true));
    bench.run(1_000);
    bench.power.insert(id(1), stopped_by(StopOrigin::User));
    bench.lose(0);
    let wait = timing().detection() + timing().daemon_grace + timing().repair.stagger * 2;
    let passed = bench.run_until(90_000, |bench| bench.starts() == 1);
    assert!(passed + millis(200) > wait && passed < wait + secs(3), "{passed:?}");
}

#[test]
fn a_peer_that_ran_since_and_that_a_person_stopped_stays_stopped() {
    // It was heard, or EC2 said that it ran.
    for heard in [true, false] {
        let mut bench = with_a_stop_by_another();
        bench.lose(2);
        bench.power.insert(id(1), report(InstanceState::Running));
        if heard {
            bench.beats.insert(1, TestBench::fine(0));
        }
        bench.run(20_000);
        bench.lose(1);
        bench.power.insert(id(1), stopped_by(StopOrigin::User));
        bench.run(300_000);
        assert_eq!(bench.starts(), 0, "heard: {heard}");
    }
}

#[test]
fn a_member_that_is_told_of_no_stop_takes_it_for_a_persons() {
    let mut bench = TestBench::new(3);
    bench.lose(1);
    bench.run(30_000);
    bench.beat_mut(2).hears.push(line(false));
    bench.power.insert(id(1), stopped_by(StopOrigin::User));
    bench.run(5_000);
    bench.lose(2);
    bench.run(300_000);
    assert_eq!(bench.starts(), 0);
    assert_eq!(held(&bench)[0], "it is not started: a user stopped it");
}

#[test]
fn the_others_are_told_of_a_stop_before_it_is_sent() {
    let mut bench = TestBench::new(3);
    bench.lose(1);
    bench.beat_mut(2).hears.push(line(false));
    bench.run_until(150_000, |bench| bench.stops().len() == 1);
    let (sent, _) = bench.told.iter().rfind(|(_, action)| is_stop(action)).unwrap();
    let told = bench.told.iter().find(|(_, action)| tells_of_a_stop(action)).unwrap().0;
    assert!(told <= *sent, "{told:?} {sent:?}");
    let order = |is_it: fn(&Action) -> bool| bench.told.iter().position(|(_, one)| is_it(one));
    assert!(order(tells_of_a_stop) < order(is_stop));
}

fn is_stop(action: &Action) -> bool {
    matches!(action, Action::Stop { .. })
}

fn tells_of_a_stop(action: &Action) -> bool {
    matches!(action, Action::SendBeat { beat, .. } if beat.hears.iter().any(|line| line.stopped))
}
