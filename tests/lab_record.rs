//! Recordings of a live cluster, replayed: the same inputs at the same times must result in the
//! same actions, which shows that nothing else enters the decisions.
//!
//! With `KEEP_CASES=1` the recordings are kept as the cases of `tests/cases.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use natha::failover::{Action, EventKind};
use natha::record::{RecordedLine, RecordingReader, Replay, difference};
use natha_lab::scene::{self, QUICK, Scene};
use natha_lab::{NetChange, Traffic};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
/// On each node.
const FILE: &str = "/var/lib/natha/run.jsonl.gz";

fn recorded() -> String {
    format!("{QUICK}\n[record]\nfile = \"{FILE}\"\n")
}

/// The text of a recording, as far as it can be decompressed.
fn read(scene: &Scene, node: &str, file: &str) -> String {
    // zcat fails at the end of a file that was cut off, after it has printed everything.
    scene.sh(node, &format!("zcat {file} || true")).unwrap()
}

/// Ends a node's monitor and returns its whole recording.
fn end(scene: &Scene, node: &str, file: &str) -> String {
    scene.terminate(node).unwrap();
    scene.wait_for(|| Ok(read(scene, node, file).contains("\"end\""))).unwrap();
    read(scene, node, file)
}

/// Keeps a recording as a case, if `KEEP_CASES` is set.
fn keep(name: &str, why: &str, text: &str) {
    if std::env::var_os("KEEP_CASES").is_none() {
        return;
    }
    let (first, rest) = text.split_once('\n').unwrap();
    let (_, mut header) = RecordingReader::begin(first).unwrap();
    header.why = Some(why.to_owned());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/{name}.jsonl"));
    std::fs::write(path, header.to_line() + rest).unwrap();
}

/// Replays a recording, up to a last line that may have been cut short, and checks the actions.
/// Returns all of them.
fn replayed(text: &str) -> Vec<Action> {
    let mut lines = text.lines();
    let (mut reader, header) = RecordingReader::begin(lines.next().unwrap()).unwrap();
    let mut replay = Replay::new(&header);
    let mut actions = Vec::new();
    while let Some(line) = lines.next() {
        let turn = match reader.next(line) {
            Ok(RecordedLine::Turn(turn)) => turn,
            Ok(RecordedLine::End(_)) => break,
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

fn count(actions: &[Action], test: fn(&Action) -> bool) -> usize {
    actions.iter().filter(|action| test(action)).count()
}

fn is_write(action: &Action) -> bool {
    matches!(action, Action::WriteRoute { .. })
}

fn is_stop(action: &Action) -> bool {
    matches!(action, Action::Stop { .. })
}

fn is_pause(action: &Action) -> bool {
    let Action::Report { event } = action else { return false };
    event.kind == EventKind::Paused
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
    // nat-a's monitor was killed with its host; the restarted one has a file of its own.
    replayed(&read(&scene, "nat-a", FILE));
    replayed(&end(&scene, "nat-a", &format!("{FILE}.1")));
    let text = end(&scene, "nat-b", FILE);
    assert_eq!(scene.sh("nat-b", &format!("stat -c %a {FILE}")).unwrap().trim(), "600");
    let actions = replayed(&text);
    assert_eq!(count(&actions, is_stop), 1);
    assert_eq!(count(&actions, |action| matches!(action, Action::Start { .. })), 1);
    assert!(count(&actions, is_write) >= 2);
    keep(
        "hard_kill",
        "A peer that panics is covered, stopped and started, and served again.",
        &text,
    );
}

#[test]
fn blocked_heartbeats_replay_to_the_same_actions() {
    let config = format!("failover.daemon_grace = \"3s\"\n{}", recorded());
    let scene = Scene::start(&scene::spec(2, NATHA, &config)).unwrap();
    for (from, to) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        scene.block(from, to, Traffic::Udp(6284)).unwrap();
    }
    scene.watch(Duration::from_secs(26), || scene.nobody_stopped()).unwrap();
    scene.net(NetChange::Clear).unwrap();
    scene.wait_well().unwrap();
    let texts = ["nat-a", "nat-b"].map(|node| end(&scene, node, FILE));
    for text in &texts {
        assert_eq!(count(&replayed(text), is_stop), 0);
    }
    let why = "A healthy peer whose heartbeats are blocked, and whose host answers echo, is not \
               stopped, for longer than repair.after.";
    keep("blocked_heartbeats", why, &texts[0]);
}

#[test]
fn a_thawed_node_replays_to_the_same_actions() {
    let scene = Scene::start(&scene::spec(2, NATHA, &recorded())).unwrap();
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.pass(Duration::from_secs(6));
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    replayed(&end(&scene, "nat-b", FILE));
    let text = end(&scene, "nat-a", FILE);
    let actions = replayed(&text);
    let pause = actions.iter().position(is_pause).unwrap();
    let after = &actions[pause..];
    let first = after.iter().find(|one| matches!(one, Action::ReadRoutes { .. }) || is_write(one));
    assert!(matches!(first, Some(Action::ReadRoutes { .. })), "{first:?}");
    keep("thawed", "A node that was frozen notices it, and reads before it writes.", &text);
}
