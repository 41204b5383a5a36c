//! A simulated node is recorded like a live monitor, and the replay comes to the same actions. With
//! `KEEP_CASES=1` the recording is kept as a case of `tests/cases.rs`.

use std::path::Path;

use natha::config::Failover;
use natha::failover::{Action, Input, Outcome};
use natha::record::{RecordedLine, RecordingReader, Replay, Turn, difference};
use natha::types::Roster;
use natha_lab::ec2::{Fault, FaultRule};
use natha_prove::sim::{Sim, documented, id};

const WHY: &str = "Groups of every kind of resource, one with a service check: the service fails \
                   on its holder, which then dies, and a route cannot be written at first.";

/// Two nodes, by turns the homes of the groups of four.
fn roster() -> Roster {
    let Roster { mut members, mut groups } = documented(4);
    members.truncate(2);
    for (g, group) in groups.iter_mut().enumerate() {
        group.home = Some(id(g % 2));
        group.prefer = vec![id(g % 2)];
    }
    Roster { members, groups }
}

fn recording() -> String {
    let mut sim = Sim::of(roster(), Failover::default(), 1);
    sim.record(1, WHY);
    sim.run(3_000);
    sim.set_failing(0, &[2]);
    sim.run_until(2_000, |sim| sim.holder(2) == Some(1));
    sim.run(1_000);
    let rule = FaultRule::on("ReplaceRoute", Fault::Throttle).by(sim.principal(1));
    sim.world_mut().faults_mut().add(FaultRule { times: Some(1), ..rule });
    sim.panic(0);
    sim.run_until(20_000, |sim| (0..4).all(|of| sim.holder(of) == Some(1)));
    sim.run(5_000);
    sim.recording(1).expect("it was started")
}

#[test]
fn a_simulated_failover_of_every_kind_replays_to_the_same_actions() {
    let text = recording();
    let mut lines = text.lines();
    let (mut reader, header) = RecordingReader::begin(lines.next().unwrap()).unwrap();
    let mut replay = Replay::new(&header);
    let mut turns: Vec<Turn> = Vec::new();
    for line in lines {
        if let RecordedLine::Turn(turn) = reader.next(line).unwrap() {
            assert_eq!(difference(&turn.actions, &replay.turn(&turn)), None, "{line}");
            turns.push(turn);
        }
    }
    let inputs = || turns.iter().flat_map(|turn| &turn.inputs);
    let holders = |input: &&Input| {
        matches!(input, Input::Done { outcome: Outcome::Holders { result: Ok(_) }, .. })
    };
    assert!(inputs().any(|input| matches!(input, Input::ServiceChecks { .. })));
    assert!(inputs().filter(holders).count() >= 6);
    let assigned = turns.iter().flat_map(|turn| &turn.actions);
    assert!(assigned.filter(|action| matches!(action, Action::Assign { .. })).count() >= 2);
    assert_eq!(recording(), text, "a run is the same for the same seed");
    if std::env::var_os("KEEP_CASES").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases/several_kinds.jsonl");
        std::fs::write(path, text).unwrap();
    }
}
