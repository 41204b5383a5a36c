//! What a machine takes in, and what it makes of it: heartbeats, witnesses, pauses, rosters.

use super::test_bench::*;
use crate::config::Timing;
use crate::failover::{Action, Command, EventKind, Input, Level, Machine, Verdict};
use crate::types::{
    Beat, Claim, Fault, Fitness, Hears, InstanceId, InstanceState, SessionId, Time,
};

fn hears(node: usize, age_ms: u16, failed: bool) -> Hears {
    Hears { node: id(node), session: SessionId(3), age_ms, failed, stopped: false }
}

fn beat_at(bench: &mut TestBench, from: usize, beat: Beat, at: Time) {
    bench.give(Input::Beat { from: id(from), session: SessionId(100), beat, at });
}

fn beats_sent(bench: &TestBench, to: usize) -> Vec<(Time, Beat)> {
    let beat = |(at, action): &(Time, Action)| match action {
        Action::SendBeat { to: node, beat } if *node == id(to) => Some((*at, beat.clone())),
        _ => None,
    };
    bench.told.iter().filter_map(beat).collect()
}

fn echoes_asked(bench: &TestBench, of: usize) -> Vec<Time> {
    let is_it = |action: &Action| *action == Action::SendEcho { to: id(of) };
    bench.told.iter().filter(|(_, action)| is_it(action)).map(|(at, _)| *at).collect()
}

fn reads(bench: &TestBench) -> usize {
    bench.count(|action| matches!(action, Action::ReadRoutes { .. }))
}

#[test]
fn a_heartbeat_goes_to_every_peer_at_every_interval() {
    let mut bench = TestBench::new(3);
    bench.told.clear();
    bench.run(1_000);
    for peer in [1, 2] {
        let at: Vec<Time> = beats_sent(&bench, peer).into_iter().map(|(at, _)| at).collect();
        assert_eq!(at.len(), 10);
        assert!(at.windows(2).all(|two| two[1].since(two[0]) == millis(100)), "{at:?}");
    }
}

#[test]
fn the_next_turn_is_due_when_something_can_change_and_never_at_once() {
    let mut bench = TestBench::new(2);
    for _ in 0..1_000 {
        bench.run(STEP);
        let due = bench.machine.next_deadline();
        assert!(due <= bench.now + millis(100), "it looks around ten times a second");
    }
    let now = bench.now;
    bench.machine.tick(now);
    assert!(bench.machine.next_deadline() >= now + millis(1), "no turn leads to one at once");
}

#[test]
fn a_turn_is_due_at_the_very_moments_at_which_a_peer_is_late_and_lost() {
    let timing = Timing { interval: secs(1), ..timing() };
    let now = Time::from_millis(5_000);
    let mut machine = Machine::new(&id(0), SESSION, timing, DIGEST, &roster(2), now);
    let heard = now + millis(33);
    machine.tick(now);
    let beat = TestBench::fine(0);
    machine.handle(Input::Beat { from: id(1), session: SessionId(3), beat, at: heard }, heard);
    for (turn, due) in [(1_470, 1_500), (1_500, 1_600), (2_950, 3_000), (3_000, 3_100)] {
        machine.tick(heard + millis(turn));
        assert_eq!(machine.next_deadline(), heard + millis(due), "after a turn at {turn} ms");
    }
}

#[test]
fn a_turn_that_is_due_within_the_millisecond_waits_for_the_next() {
    let now = Time::from_millis(5_000);
    let mut machine = Machine::new(&id(0), SESSION, timing(), DIGEST, &roster(2), now);
    let heard = Time::from_boot(std::time::Duration::from_micros(5_000_300));
    let beat = TestBench::fine(0);
    machine.handle(Input::Beat { from: id(1), session: SessionId(3), beat, at: heard }, now);
    let just_before_late = now + millis(150);
    machine.tick(just_before_late);
    assert_eq!(machine.next_deadline(), just_before_late + millis(1));
}

#[test]
fn echo_is_asked_for_rarely_then_twice_as_often_as_heartbeats_and_then_as_often() {
    let mut bench = TestBench::new(2);
    bench.told.clear();
    bench.run(5_000);
    assert_eq!(echoes_asked(&bench, 1).len(), 5, "once a second while all is well");
    let heard = bench.now;
    bench.beats.remove(&1);
    bench.run(1_000);
    let after: Vec<u128> = echoes_asked(&bench, 1)
        .into_iter()
        .filter(|at| *at > heard)
        .map(|at| at.since(heard).as_millis())
        .collect();
    let late = after.into_iter().filter(|after| *after >= 150).collect::<Vec<_>>();
    assert_eq!(late[..5], [150, 200, 250, 350, 450], "it is lost after 300 ms");
    let mut unmet = TestBench::starting(0, 2, timing());
    unmet.lose(1);
    unmet.run(1_000);
    assert!(echoes_asked(&unmet, 1).len() >= 9, "one that was never heard is not left alone");
}

#[test]
fn an_older_heartbeat_or_echo_that_comes_late_changes_nothing() {
    let mut bench = TestBench::new(2);
    bench.run(500);
    let mut old = TestBench::fine(0);
    old.fitness = Fitness::unfit(Fault::Uplink);
    let at = bench.now - millis(150);
    beat_at(&mut bench, 1, old, at);
    assert_eq!(bench.peer(1).fitness, Some(Fitness::fit()));
    let age = bench.peer(1).echo_age.unwrap();
    let at = bench.now - secs(60);
    bench.give(Input::Echo { from: id(1), at });
    assert_eq!(bench.peer(1).echo_age, Some(age));
    let now = bench.now;
    bench.give(Input::Echo { from: id(1), at: now });
    assert_eq!(bench.peer(1).echo_age, Some(millis(0)));
}

#[test]
fn of_two_heartbeats_of_one_moment_the_later_one_counts() {
    let mut bench = TestBench::new(2);
    let mut sick = TestBench::fine(0);
    sick.fitness = Fitness::unfit(Fault::Uplink);
    let at = bench.now;
    beat_at(&mut bench, 1, TestBench::fine(0), at);
    beat_at(&mut bench, 1, sick.clone(), at);
    assert_eq!(bench.peer(1).fitness, Some(sick.fitness));
}

#[test]
fn a_heartbeat_of_a_stranger_counts_for_nothing() {
    let mut bench = TestBench::new(2);
    let at = bench.now;
    beat_at(&mut bench, 9, TestBench::fine(0), at);
    bench.give(Input::Echo { from: id(9), at });
    assert_eq!(bench.view().peers.len(), 1);
}

#[test]
fn routes_are_read_at_once_when_a_peer_tells_that_it_holds_something_else() {
    let mut bench = TestBench::new(2);
    bench.run(2_000);
    let before = reads(&bench);
    bench.run(1_000);
    assert_eq!(reads(&bench), before, "nothing is new");
    bench.beat_mut(1).holds = vec![Claim { group: group(1).name, generation: 1, to: None }];
    bench.run(200);
    assert_eq!(reads(&bench), before + 1);
    bench.run(1_000);
    assert_eq!(reads(&bench), before + 1, "once");
}

#[test]
fn verdicts_are_told_once_with_their_evidence_and_as_loud_as_they_matter() {
    let last = |bench: &TestBench| bench.events(EventKind::Verdict).last().unwrap().clone();
    let mut bench = TestBench::new(2);
    let told = last(&bench);
    assert_eq!((told.level, told.node.clone()), (Level::Info, Some(id(1))));
    assert!(told.text.starts_with("alive (was unmet): heartbeat"), "{told:?}");
    let before = bench.events(EventKind::Verdict).len();
    bench.lose(1);
    bench.run_until(400, |bench| bench.events(EventKind::Verdict).len() > before);
    let told = last(&bench);
    assert_eq!((bench.verdict(1), told.level), (Verdict::Suspected, Level::Warning));
    assert!(told.text.starts_with("suspected (was alive): heartbeat 3"), "{told:?}");
    bench.run(15_000);
    bench.routes.insert(table(0), to(1));
    bench.run(4_000);
    assert_eq!((bench.verdict(1), last(&bench).level), (Verdict::Partitioned, Level::Alert));
}

#[test]
fn a_goodbye_is_told_quietly() {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).leaving = true;
    bench.run(200);
    let told = bench.events(EventKind::Verdict);
    assert_eq!((bench.verdict(1), told.last().unwrap().level), (Verdict::Leaving, Level::Info));
}

/// The verdict on node 1, whom node 0 lost, from what node 2 says of it for a second.
fn witnessed(line: Hears) -> Verdict {
    let mut bench = TestBench::new(3);
    bench.lose(1);
    bench.beat_mut(2).hears.push(line);
    bench.run(1_000);
    bench.verdict(1)
}

#[test]
fn a_peer_that_another_live_member_hears_is_cut_off_and_not_dead() {
    assert_eq!(witnessed(hears(1, 0, false)), Verdict::Partitioned);
    assert_eq!(witnessed(hears(1, 190, false)), Verdict::Partitioned);
    for not_a_witness in [
        hears(1, 300, false),
        hears(1, 301, false),
        hears(1, u16::MAX, false),
        hears(1, 0, true),
        hears(0, 0, false),
    ] {
        let verdict = witnessed(not_a_witness.clone());
        assert_eq!(verdict, Verdict::Unreachable, "{not_a_witness:?}");
    }
}

#[test]
fn the_age_of_a_witness_s_word_adds_to_the_age_in_it() {
    let mut bench = TestBench::new(3);
    bench.run(500);
    bench.lose(1);
    bench.beat_mut(2).hears.push(hears(1, 150, false));
    bench.run(620);
    assert_eq!(bench.verdict(1), Verdict::Partitioned);
    // The witness was heard 20 ms ago, and says nothing for a while.
    bench.beats.remove(&2);
    for (ms, cut_off) in [(129, true), (1, false)] {
        bench.pause(ms);
        let now = bench.now;
        bench.machine.tick(now);
        assert_eq!(
            bench.verdict(1) == Verdict::Partitioned,
            cut_off,
            "its word is 300 ms old by now"
        );
    }
    assert_eq!(bench.verdict(2), Verdict::Alive);
}

#[test]
fn nobody_bears_witness_of_himself_and_the_dead_bear_none() {
    let mut bench = TestBench::new(3);
    let own = hears(1, 0, false);
    bench.beat_mut(1).hears.push(own.clone());
    bench.run(200);
    bench.lose(1);
    bench.run(1_000);
    assert_eq!(bench.verdict(1), Verdict::Unreachable);
    let mut bench = TestBench::new(3);
    bench.beat_mut(2).hears.push(own);
    bench.run(200);
    bench.lose(1);
    bench.lose(2);
    bench.run(1_000);
    assert_eq!(bench.verdict(1), Verdict::Unreachable);
}

#[test]
fn a_turn_that_is_late_by_more_than_half_the_detection_time_was_a_pause() {
    for (late, pauses) in [(150, 0), (160, 1)] {
        let mut bench = TestBench::new(2);
        let due = bench.machine.next_deadline();
        bench.pause((due + millis(late)).since(bench.now).as_millis().try_into().unwrap());
        let now = bench.now;
        bench.machine.tick(now);
        bench.poll();
        assert_eq!(bench.events(EventKind::Paused).len(), pauses, "{late} ms late");
        let known = bench.view().groups[&group(0).name].holder.is_some();
        assert_eq!(known, pauses == 0, "what was read before a pause is void");
    }
}

#[test]
fn an_input_after_a_pause_is_enough_to_notice_it_and_it_is_told_once() {
    let mut bench = TestBench::new(2);
    bench.pause(5_000);
    let at = bench.now;
    bench.give(Input::Echo { from: id(1), at });
    bench.poll();
    let told = bench.events(EventKind::Paused);
    assert_eq!((told.len(), told[0].level), (1, Level::Warning));
    assert!(told[0].text.contains("paused for 4"), "{told:?}");
    bench.run(1_000);
    assert_eq!(bench.events(EventKind::Paused).len(), 1);
}

#[test]
fn after_a_pause_everything_is_read_again_at_once() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(5_000);
    bench.pause(30_000);
    let before = reads(&bench);
    let powers =
        |bench: &TestBench| bench.count(|action| matches!(action, Action::ReadPower { .. }));
    let asked = powers(&bench);
    bench.run(20);
    assert_eq!((reads(&bench), powers(&bench)), (before + 1, asked + 2));
    assert_eq!(bench.moved(), [(1, 0)], "and nothing is written before");
}

#[test]
fn three_pauses_within_ten_seconds_make_a_node_unfit_until_they_are_past() {
    let mut bench = TestBench::new(2);
    let late = |bench: &TestBench| bench.machine.fitness().faults.contains(&Fault::Late);
    for pauses in 1..=3 {
        bench.pause(500);
        bench.run(2_000);
        assert_eq!(late(&bench), pauses == 3);
    }
    // The first of them is five seconds old.
    bench.run(2_900);
    assert!(late(&bench));
    bench.run(400);
    assert!(!late(&bench));
    let told: Vec<Level> = bench.events(EventKind::Fitness).iter().map(|one| one.level).collect();
    assert_eq!(told, [Level::Alert, Level::Info]);
}

#[test]
fn pauses_far_apart_do_not_add_up() {
    let mut bench = TestBench::new(2);
    for _ in 0..6 {
        bench.pause(500);
        bench.run(6_000);
        assert!(bench.machine.fitness().is_fit());
    }
}

#[test]
fn fitness_is_told_when_it_changes_and_goes_out_in_the_heartbeat() {
    let mut bench = TestBench::new(2);
    assert_eq!(bench.events(EventKind::Fitness).len(), 0);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    bench.fitness(Fitness::unfit(Fault::Uplink));
    bench.run(200);
    let told = bench.events(EventKind::Fitness);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("uplink lost"), "{told:?}");
    let (_, beat) = beats_sent(&bench, 1).pop().unwrap();
    assert_eq!(beat.fitness, Fitness::unfit(Fault::Uplink));
}

#[test]
fn a_roster_brings_and_removes_peers_and_groups_and_keeps_the_rest() {
    let mut bench = TestBench::new(3);
    bench.lose(1);
    bench.run(11_000);
    bench.routes.insert(table(1), to(1));
    let mut two = roster(3);
    two.members.remove(1);
    two.groups.remove(1);
    bench.give(Input::Roster { roster: two });
    let view = bench.view();
    assert_eq!(view.peers.keys().cloned().collect::<Vec<InstanceId>>(), [id(2)]);
    assert_eq!(view.groups.len(), 2);
    assert_eq!(view.peers[&id(2)].verdict, Verdict::Alive, "what was known of it stays");
    assert_eq!(view.groups[&group(2).name].holder, Some(id(2)));
    bench.give(Input::Roster { roster: roster(3) });
    assert_eq!(bench.verdict(1), Verdict::Unmet);
    assert_eq!(bench.view().groups[&group(1).name].holder, None, "not read yet");
    bench.run(200);
    assert_eq!(bench.view().groups[&group(1).name].holder, Some(id(1)), "read at once");
}

#[test]
fn a_roster_without_this_node_is_not_believed() {
    let mut bench = TestBench::new(2);
    let mut wrong = roster(2);
    wrong.members.remove(0);
    wrong.groups.clear();
    let before = bench.view();
    bench.give(Input::Roster { roster: wrong });
    assert_eq!(bench.view(), before);
}

#[test]
fn a_roster_tells_a_peer_s_new_interface() {
    let mut bench = TestBench::new(2);
    let mut moved = roster(2);
    moved.members[1].interface = eni(5);
    bench.give(Input::Roster { roster: moved });
    bench.routes.insert(table(1), to(5));
    bench.run(12_000);
    assert_eq!(bench.view().groups[&group(1).name].holder, Some(id(1)));
    assert_eq!(bench.verdict(1), Verdict::Alive);
}

#[test]
fn a_group_that_gets_another_route_keeps_what_is_known_of_the_old_one() {
    let mut bench = TestBench::new(2);
    let mut wider = roster(2);
    wider.groups[0].resources = vec![route(5), route(0)];
    wider.groups[1].home = Some(id(0));
    bench.give(Input::Roster { roster: wider });
    let view = bench.view();
    assert_eq!(view.groups[&group(1).name].home, Some(id(0)));
    let targets = &view.groups[&group(0).name].targets;
    assert_eq!(targets[&table(0).to_string()], to(0).map(|entry| entry.target));
    assert_eq!(targets[&table(5).to_string()], None);
}

#[test]
fn a_leaving_node_sends_a_goodbye_at_once_and_says_that_it_may_go_only_once() {
    let mut bench = TestBench::new(2);
    bench.routes.insert(table(0), to(1));
    bench.run(11_040);
    bench.told.clear();
    bench.command(Command::Leave);
    let now = bench.now;
    bench.machine.tick(now);
    bench.poll();
    let sent = beats_sent(&bench, 1);
    assert_eq!((sent.len(), sent[0].1.leaving), (1, true), "between two heartbeats");
    assert_eq!(bench.told.last().unwrap().1, Action::MayExit, "the goodbye comes first");
    bench.run(1_000);
    assert_eq!(bench.count(|action| *action == Action::MayExit), 1);
}

#[test]
fn actions_have_numbers_of_their_own() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(10_000);
    let mut ids = Vec::new();
    for (_, action) in &bench.told {
        match action {
            Action::ReadRoutes { id, .. }
            | Action::ReadPower { id, .. }
            | Action::WriteRoute { id, .. } => ids.push(id.0),
            _ => {}
        }
    }
    assert!(ids.len() > 5 && ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
    assert_eq!(bench.power[&id(1)].state, Some(InstanceState::Running));
}
