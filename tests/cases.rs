//! Kept recordings. The header of each says which regression it guards against, and its replay
//! must come to the same actions. After an intended change of behaviour, `UPDATE_CASES=1` writes
//! the new actions over the old ones; review the difference like any other. Where natha makes other
//! calls than before, their recorded answers fit no more: `KEEP_CASES=1` with `lab_record` and
//! `sim_record` records the cases anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use natha::failover::{Action, ActionId, Input};
use natha::record::{RecordedLine, RecordingReader, Replay, difference, end_line};

/// In bytes. Cases are plain text, so that a difference can be read. If one is longer, record less.
const SIZE_MAX: usize = 300_000;

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "jsonl")).collect();
    found.sort();
    found
}

/// The recording with the actions of its replay, and the first difference.
fn replayed(text: &str) -> (String, Option<String>) {
    let mut lines = text.lines();
    let (mut reader, header) = RecordingReader::begin(lines.next().unwrap()).unwrap();
    let mut replay = Replay::new(&header);
    let mut new = header.to_line();
    let mut first = None;
    for line in lines {
        match reader.next(line).unwrap() {
            RecordedLine::Turn(mut turn) => {
                let got = replay.turn(&turn);
                let found = difference(&turn.actions, &got);
                let at = reader.line();
                first = first.or_else(|| found.map(|found| format!("line {at}: {found:#?}")));
                turn.actions = got;
                new.push_str(&turn.to_line());
            }
            RecordedLine::End(reason) => new.push_str(&end_line(&reason)),
        }
    }
    (new, first)
}

#[test]
fn the_replay_of_every_case_comes_to_the_same_actions() {
    let cases = cases();
    assert!(!cases.is_empty());
    let mut complaints = Vec::new();
    for path in cases {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let (new, first) = replayed(&text);
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&path, new).unwrap();
        } else if let Some(first) = first {
            complaints.push(format!("{name}, {first}"));
        } else if new != text {
            complaints.push(format!("{name} would be written differently now"));
        }
    }
    assert!(
        complaints.is_empty(),
        "see `natha replay tests/cases/…`; if that is intended, rerun with UPDATE_CASES=1:\n{}",
        complaints.join("\n")
    );
}

/// The calls that a recording has answers to, and that were not made before.
fn unasked(text: &str) -> BTreeSet<ActionId> {
    let mut lines = text.lines();
    let (mut reader, _) = RecordingReader::begin(lines.next().unwrap()).unwrap();
    let (mut made, mut unasked) = (BTreeSet::new(), BTreeSet::new());
    for line in lines {
        let RecordedLine::Turn(turn) = reader.next(line).unwrap() else { break };
        for input in &turn.inputs {
            if let Input::Done { id, .. } = input {
                unasked.extend((!made.contains(id)).then_some(*id));
            }
        }
        made.extend(turn.actions.iter().filter_map(Action::id));
    }
    unasked
}

#[test]
fn every_answer_in_a_case_is_to_a_call_that_was_made() {
    for path in cases() {
        let unasked = unasked(&fs::read_to_string(&path).unwrap());
        let named = path.display();
        assert!(unasked.is_empty(), "{named}: answers to {unasked:?}, see the head of this file");
    }
}

#[test]
fn every_case_is_small_and_says_what_it_guards_against() {
    for path in cases() {
        let text = fs::read_to_string(&path).unwrap();
        let (_, header) = RecordingReader::begin(text.lines().next().unwrap()).unwrap();
        assert!(header.why.is_some_and(|why| why.len() > 20), "{}: no `why`", path.display());
        assert!(text.len() <= SIZE_MAX, "{}: {} bytes", path.display(), text.len());
    }
}
