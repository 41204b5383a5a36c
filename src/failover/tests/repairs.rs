//! The repair rule: when a failed peer is stopped and started, and when it is left alone.

use super::test_bench::*;
use crate::failover::{Action, Command, EventKind, Input, Level};
use crate::types::{
    CloudFaultKind, Fault, Fitness, Hears, InstanceState, PowerReport, SessionId, StopOrigin, Time,
};

/// Long enough for a stop, whatever the stagger.
pub(super) const MINUTES: u64 = 150_000;

fn when(bench: &TestBench, is_it: impl Fn(&Action) -> bool) -> Option<Time> {
    bench.told.iter().find(|(_, action)| is_it(action)).map(|(at, _)| *at)
}

pub(super) fn held(bench: &TestBench) -> Vec<String> {
    bench.events(EventKind::RepairBlocked).into_iter().map(|event| event.text).collect()
}

pub(super) fn repair(bench: &TestBench) -> Option<String> {
    bench.peer(1).repair
}

/// Node 1 is dead; run until it is to be stopped.
pub(super) fn stopped() -> TestBench {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(MINUTES, |bench| bench.stops().len() == 1);
    bench
}

/// What EC2 says of node 1 from now on.
pub(super) fn ec2_says(bench: &mut TestBench, state: InstanceState) {
    let origin = StopOrigin::User;
    let report =
        PowerReport { state: Some(state), stop_origin: origin, impaired: false, reason: None };
    bench.power.insert(id(1), report);
}

#[test]
fn a_dead_peer_is_noted_down_stopped_started_and_welcomed() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(60_000);
    assert_eq!((bench.stops().len(), bench.remembered()), (0, None));
    bench.run(500);
    let noted = when(&bench, |action| matches!(action, Action::Remember { .. })).unwrap();
    let stopped = when(&bench, |action| matches!(action, Action::Stop { .. })).unwrap();
    assert!(noted < stopped, "a restart in between would forget it");
    assert_eq!(bench.stops(), [(1, false)]);
    assert_eq!(bench.remembered(), Some([id(1)].into()));
    let told = bench.events(EventKind::RepairStop);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("heartbeat 60 s ago"), "{told:?}");
    assert_eq!(repair(&bench).as_deref(), Some("stopped, to be started"));
    ec2_says(&mut bench, InstanceState::Stopping);
    bench.run(20_000);
    assert_eq!((bench.stops().len(), bench.starts()), (1, 0));
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run(2_500);
    assert_eq!(bench.starts(), 1);
    let told = bench.events(EventKind::RepairStart);
    assert_eq!((told.len(), told[0].level, told[0].node.clone()), (1, Level::Warning, Some(id(1))));
    ec2_says(&mut bench, InstanceState::Pending);
    bench.run(20_000);
    bench.beats.insert(1, TestBench::fine(0));
    bench.run(1_000);
    let told = bench.events(EventKind::RepairDone);
    assert_eq!((told.len(), told[0].level), (1, Level::Info));
    let took = told[0].took.unwrap();
    assert!(took > secs(40) && took < secs(50), "since the stop: {took:?}");
    assert_eq!(bench.remembered(), Some([].into()));
    assert_eq!((bench.stops().len(), bench.starts(), repair(&bench)), (1, 1, None));
    assert_eq!(held(&bench), Vec::<String>::new());
}

#[test]
fn what_is_under_way_is_shown() {
    let mut bench = TestBench::new(2);
    bench.notes = Answer::Never;
    bench.lose(1);
    bench.run(61_000);
    assert_eq!(repair(&bench).as_deref(), Some("stopping it"));
    let mut bench = TestBench::new(2);
    bench.calls = Answer::Never;
    bench.lose(1);
    bench.run(61_000);
    assert_eq!(repair(&bench).as_deref(), Some("stopping it"));
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run(310_000);
    assert_eq!(repair(&bench).as_deref(), Some("starting it"));
}

/// A dead peer of which one thing makes the stop wrong; why it is held.
fn held_by(nodes: usize, against: impl Fn(&mut TestBench)) -> Vec<String> {
    let mut bench = TestBench::new(nodes);
    against(&mut bench);
    bench.lose(1);
    bench.run(300_000);
    assert_eq!(bench.stops().len(), 0, "{:#?}", held(&bench));
    if let Some(why) = held(&bench).last() {
        let shown = repair(&bench).unwrap();
        assert!(why.ends_with(shown.strip_prefix("blocked: ").unwrap()), "{why}: {shown}");
    }
    held(&bench)
}

#[test]
fn a_repair_that_is_switched_off_says_so_once() {
    let why = held_by(2, |bench| {
        let mut timing = timing();
        timing.repair.enabled = false;
        *bench = TestBench::with(2, timing);
    });
    assert_eq!(why, ["it is not stopped: repair is disabled"]);
}

#[test]
fn a_peer_that_would_come_back_without_a_public_address_is_not_stopped() {
    let why = held_by(2, |bench| {
        let mut roster = roster(2);
        roster.members[1].loses_public = true;
        bench.give(Input::Roster { roster });
    });
    let reason = "it would have no public address after the start: associate an Elastic IP with it";
    assert_eq!(why.last(), Some(&format!("it is not stopped: {reason}")));
}

#[test]
fn a_leaving_node_stops_nobody() {
    let why = held_by(2, |bench| bench.command(Command::Leave));
    assert_eq!(why, ["it is not stopped: this node is leaving"]);
}

#[test]
fn what_a_node_did_not_hear_before_it_was_fit_counts_for_nothing() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(59_000);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    bench.run(10_000);
    bench.fitness(Fitness::fit());
    bench.run(59_000);
    assert_eq!(bench.stops().len(), 0);
    bench.run(2_000);
    assert_eq!(bench.stops().len(), 1, "{:#?}", held(&bench));
    assert_eq!(held(&bench), ["it is not stopped: this node is not fit"]);
    let told = bench.events(EventKind::RepairBlocked);
    assert_eq!((told[0].level, told[0].node.clone()), (Level::Warning, Some(id(1))));
}

#[test]
fn without_ec2_s_word_on_the_peer_or_on_this_node_nobody_is_stopped() {
    let why = held_by(2, |bench| bench.reads = Answer::Never);
    assert_eq!(why, ["it is not stopped: EC2 has not reported its state"]);
    let why = held_by(2, |bench| {
        bench.power.insert(id(0), report(InstanceState::Stopping));
    });
    assert_eq!(why, ["it is not stopped: EC2 does not report this node as running"]);
    let why = held_by(2, |bench| {
        bench.power.insert(id(0), PowerReport { state: None, ..report(InstanceState::Running) });
    });
    assert_eq!(why, ["it is not stopped: EC2 does not report this node as running"]);
}

#[test]
fn ec2_s_word_is_good_for_as_long_as_a_read_is_valid() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(50_000);
    bench.reads = Answer::Never;
    bench.run(60_000);
    assert_eq!(bench.stops().len(), 0);
    assert_eq!(held(&bench), ["it is not stopped: EC2 has not reported its state"]);
}

#[test]
fn a_peer_that_this_boot_has_not_heard_is_stopped_only_if_ec2_finds_it_broken() {
    for impaired in [false, true] {
        let mut bench = TestBench::starting(0, 2, timing());
        bench.machine.recognize([].into(), [id(1)].into());
        bench.lose(1);
        bench.power.insert(id(1), PowerReport { impaired, ..report(InstanceState::Running) });
        bench.run(200_000);
        assert_eq!(bench.stops().len(), usize::from(impaired));
        assert_eq!(bench.moved().is_empty(), !impaired, "nor is anything taken from it");
    }
}

#[test]
fn a_peer_with_other_settings_is_not_stopped() {
    let why = held_by(2, |bench| {
        bench.beat_mut(1).settings_digest = DIGEST + 1;
        bench.run(200);
    });
    assert_eq!(why, ["it is not stopped: its settings differ from this node's"]);
}

#[test]
fn while_a_route_leads_elsewhere_or_was_not_settled_nobody_is_stopped() {
    let unsettled = "it is not stopped: not every resource has been observed on this side for \
                     repair.settle yet";
    let why = held_by(2, |bench| bench.writes = Answer::Never);
    assert_eq!(why, [unsettled]);
    let why = held_by(2, |bench| {
        let mut roster = roster(2);
        roster.groups.iter_mut().for_each(|group| group.resources.clear());
        bench.give(crate::failover::Input::Roster { roster });
    });
    let mute = "it is not stopped: it has no group of its own to reclaim if it is alive";
    assert_eq!(why, [mute], "no route that could tell");
    let why = held_by(2, |bench| {
        bench.routes.extend([(table(0), abroad()), (table(1), abroad())]);
        bench.run(11_000);
    });
    assert_eq!(why, [mute], "nor any that the peer would take back");
    let why = held_by(2, |bench| {
        bench.routes.insert(table(1), abroad());
        bench.run(11_000);
    });
    assert_eq!(why, [mute]);
}

#[test]
fn a_table_that_leads_out_of_the_cluster_does_not_keep_a_peer_from_being_repaired() {
    let mut bench = TestBench::new(2);
    bench.routes.insert(table(0), abroad());
    bench.run(11_000);
    bench.lose(1);
    bench.run(62_000);
    assert_eq!((bench.moved(), bench.stops()), (vec![(1, 0)], vec![(1, false)]));
    // One that has just been led out has not been seen so for long enough.
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(55_000);
    bench.routes.insert(table(0), abroad());
    bench.run(10_000);
    assert_eq!(bench.stops(), []);
    bench.run(10_000);
    assert_eq!(bench.stops(), [(1, false)]);
}

#[test]
fn a_member_that_a_person_stopped_or_that_is_gone_is_no_voter() {
    for state in [stopped_by(StopOrigin::User), report(InstanceState::Terminated)] {
        let mut bench = TestBench::new(3);
        bench.lose(2);
        bench.power.insert(id(2), state);
        bench.run(620_000);
        bench.lose(1);
        bench.run(120_000);
        assert_eq!(bench.stops(), [(1, false)], "{:?}", bench.texts());
    }
    // EC2 gives the same reason for another member's repair, which ends sooner.
    let mut bench = TestBench::new(3);
    bench.lose(2);
    bench.power.insert(id(2), stopped_by(StopOrigin::User));
    bench.run(20_000);
    bench.lose(1);
    bench.run(120_000);
    assert_eq!(bench.stops(), []);
    // One that shut itself down comes back.
    let mut bench = TestBench::new(3);
    bench.calls = Answer::No(CloudFaultKind::Denied);
    bench.lose(2);
    bench.power.insert(id(2), stopped_by(StopOrigin::Guest));
    bench.run(620_000);
    bench.lose(1);
    bench.run(120_000);
    assert_eq!(bench.stops(), []);
}

#[test]
fn routes_that_were_not_read_lately_settle_nothing() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(50_000);
    bench.hides_routes = true;
    bench.run(60_000);
    assert_eq!(bench.stops().len(), 0);
    let unsettled = "it is not stopped: not every resource has been observed on this side for \
                     repair.settle yet";
    assert_eq!(held(&bench), [unsettled]);
}

#[test]
fn routes_must_have_been_on_this_side_for_the_settle_time() {
    let mut timing = timing();
    timing.repair.after = secs(15);
    timing.repair.settle = secs(10);
    let mut bench = TestBench::with(2, timing);
    bench.lose(1);
    bench.run(8_000);
    // A late write of the dead node, which this node takes back at once.
    bench.routes.insert(table(1), to(1));
    let holds = |bench: &TestBench| bench.view().groups[&group(1).name].holder == Some(id(0));
    bench.run_until(3_000, |bench| !holds(bench));
    bench.run_until(3_000, holds);
    bench.run(9_900);
    assert_eq!(bench.stops().len(), 0);
    bench.run(800);
    assert_eq!(bench.stops().len(), 1);
}

#[test]
fn the_lower_node_comes_first_and_the_next_waits_its_stagger() {
    for (me, other, wait) in [(0, 1, 60), (1, 0, 80)] {
        let mut bench = TestBench::starting(me, 2, timing());
        bench.run(3_000);
        bench.lose(other);
        let begun = bench.now;
        bench.run_until(MINUTES, |bench| bench.stops() == [(other, false)]);
        let waited = bench.now.since(begun);
        assert!(waited >= secs(wait) && waited < secs(wait + 1), "node {me}: {waited:?}");
    }
}

/// Three nodes, of which node 1 is dead; node 2 says this of it.
fn of_three(line: Option<Hears>) -> TestBench {
    let mut bench = TestBench::new(3);
    bench.lose(1);
    bench.beat_mut(2).hears.extend(line);
    bench.run(MINUTES);
    bench
}

#[expect(clippy::unnecessary_wraps, reason = "a node may also say nothing of it")]
fn line(failed: bool) -> Option<Hears> {
    Some(Hears { node: id(1), session: SessionId(5), age_ms: u16::MAX, failed, stopped: false })
}

#[test]
fn of_three_a_majority_must_judge_the_peer_failed() {
    assert_eq!(of_three(line(true)).stops().len(), 1);
    let why = "it is not stopped: no majority of the members considers it failed";
    for silent in [line(false), None] {
        let bench = of_three(silent);
        assert_eq!(bench.stops().len(), 0);
        assert_eq!(held(&bench).last().map(String::as_str), Some(why));
    }
}

#[test]
fn what_is_missing_of_a_third_member_s_group_does_not_keep_a_peer_from_being_repaired() {
    let mut bench = TestBench::new(3);
    bench.beat_mut(2).hears.extend(line(true));
    bench.routes.remove(&table(2));
    bench.run(11_000);
    bench.lose(1);
    bench.run(MINUTES);
    assert_eq!(bench.stops(), [(1, false)], "{:?}", held(&bench));
    // What the peer itself has may be what it serves.
    let mut bench = TestBench::new(3);
    bench.beat_mut(2).hears.extend(line(true));
    bench.writes = Answer::Never;
    bench.routes.extend([(table(1), to(0)), (table(2), to(1))]);
    bench.run(11_000);
    bench.lose(1);
    bench.run(MINUTES);
    assert_eq!(bench.stops(), []);
}

#[test]
fn what_points_to_a_member_that_never_spoke_does_not_keep_a_peer_from_being_repaired() {
    let mut bench = TestBench::starting(0, 3, timing());
    // It answers echo, as another NAT does.
    bench.beats.remove(&2);
    bench.routes.insert(table(1), to(2));
    bench.run(60_000);
    bench.lose(1);
    bench.run(MINUTES);
    assert_eq!(bench.routes[&table(1)], to(2), "it stays there");
    assert_eq!(bench.stops(), [(1, false)], "{:?}", held(&bench));
}

#[test]
fn of_four_half_is_no_majority() {
    let lost = |agreeing: usize| {
        let mut bench = TestBench::new(4);
        for n in [2, 3] {
            bench.routes.insert(table(n), to(0));
        }
        // What this node holds for others does not go back meanwhile.
        for n in [2, 3] {
            bench.beat_mut(n).hears.clear();
        }
        for n in 0..agreeing {
            let line = line(true).unwrap();
            bench.beat_mut(2 + n).hears.push(line);
        }
        bench.run(11_000);
        bench.lose(1);
        bench.run(MINUTES);
        bench.stops().len()
    };
    assert_eq!((lost(0), lost(1), lost(2)), (0, 0, 1));
}

#[test]
fn of_five_three_are_a_majority() {
    for agreeing in [1, 2] {
        let mut bench = TestBench::new(5);
        for n in 2..5 {
            bench.routes.insert(table(n), to(0));
            // What this node holds for others does not go back meanwhile.
            bench.beat_mut(n).hears.clear();
        }
        for n in 0..agreeing {
            let line = line(true).unwrap();
            bench.beat_mut(2 + n).hears.push(line);
        }
        bench.run(11_000);
        bench.lose(1);
        bench.run(MINUTES);
        assert_eq!(bench.stops().len(), usize::from(agreeing == 2));
    }
}

#[test]
fn routes_on_a_node_that_is_not_well_settle_nothing() {
    let mut bench = TestBench::new(3);
    bench.beat_mut(2).hears.extend(line(true));
    bench.writes = Answer::Never;
    bench.fitness(Fitness::fit());
    bench.routes.insert(table(1), to(0));
    bench.run(11_000);
    bench.lose(1);
    bench.run(100);
    bench.beat_mut(2).fitness = Fitness::unfit(Fault::Uplink);
    bench.run(MINUTES);
    assert_eq!(bench.stops().len(), 0);
}

/// Found by the model check: where a peer died and both others were restarted, neither could tell
/// the other that it judges the peer failed, and so nobody ever repaired it.
#[test]
fn a_judgement_of_a_peer_that_was_never_heard_is_told() {
    let mut bench = TestBench::starting(0, 3, timing());
    bench.lose(1);
    let told = |bench: &TestBench| {
        let beats = bench.told.iter().rev().find_map(|(_, action)| match action {
            Action::SendBeat { beat, .. } => Some(beat.hears.clone()),
            _ => None,
        });
        beats.unwrap().into_iter().find(|line| line.node == id(1))
    };
    bench.run(5_000);
    assert_eq!(told(&bench), None, "an unmet peer is not judged");
    bench.run(MINUTES);
    assert_eq!(told(&bench), None, "nor one that nothing shows to be dead");
    bench.power.insert(id(1), impaired());
    bench.run(5_000);
    let line = told(&bench).unwrap();
    assert_eq!((line.failed, line.age()), (true, None));
}
