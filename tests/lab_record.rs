//! What a monitor records in a live cluster, replayed: the same inputs at the same times lead to
//! the same actions, so that nothing else enters the decisions.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha::failover::Action;
use natha::record::{Entry, Reader, Replay, difference};
use natha_lab::scene::{self, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
/// On each node.
const FILE: &str = "/var/lib/natha/run.jsonl";

fn recorded() -> String {
    format!("{QUICK}\n[record]\nfile = \"{FILE}\"\n")
}

fn read(scene: &Scene, node: &str, file: &str) -> String {
    scene.sh(node, &format!("cat {file}")).unwrap()
}

/// Replays a recording, up to a last line that a power cut may have cut short; all actions that came out, which are those that were recorded.
fn replayed(text: &str) -> Vec<Action> {
    let mut lines = text.lines();
    let (mut reader, header) = Reader::begin(lines.next().unwrap()).unwrap();
    let mut replay = Replay::new(&header);
    let mut actions = Vec::new();
    while let Some(line) = lines.next() {
        let turn = match reader.next(line) {
            Ok(Entry::Turn(turn)) => turn,
            Ok(Entry::End(_)) => break,
            Err(_) if lines.next().is_none() && !text.ends_with('\n') => break,
            Err(error) => panic!("{error}"),
        };
        let got = replay.turn(&turn);
        let found = difference(&turn.actions, &got);
        assert_eq!(found, None, "line {}: {line}", reader.line());
        actions.extend(got);
    }
    actions
}

#[test]
fn a_live_failover_replays_to_the_same_actions() {
    let scene = Scene::start(&scene::spec(2, NATHA, &recorded())).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    // nat-a's monitor was killed with its host; its second life has a file of its own.
    let second = format!("{FILE}.1");
    for (node, file) in [("nat-b", FILE), ("nat-a", &second)] {
        scene.terminate(node).unwrap();
        scene.wait_for(|| Ok(read(&scene, node, file).contains("\"end\""))).unwrap();
        assert_eq!(scene.sh(node, &format!("stat -c %a {file}")).unwrap().trim(), "600");
    }
    replayed(&read(&scene, "nat-a", FILE));
    replayed(&read(&scene, "nat-a", &second));
    let actions = replayed(&read(&scene, "nat-b", FILE));
    let count = |test: fn(&Action) -> bool| actions.iter().filter(|action| test(action)).count();
    assert_eq!(count(|action| matches!(action, Action::Stop { .. })), 1);
    assert_eq!(count(|action| matches!(action, Action::Start { .. })), 1);
    assert!(count(|action| matches!(action, Action::WriteRoute { .. })) >= 2);
}
