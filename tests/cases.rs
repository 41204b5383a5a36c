//! Kept recordings: each says in its header what it keeps from coming back, and still leads to the
//! same actions. After a change of behaviour that is meant, `UPDATE_CASES=1` writes the new actions
//! over the old ones; the difference is then reviewed like any other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use natha::record::{Entry, Reader, Replay, Writer, difference};

/// In bytes. A case that needs more is cut down to what matters when it is recorded.
const SIZE_MAX: usize = 300_000;

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "jsonl")).collect();
    found.sort();
    found
}

/// The recording again, with the actions that come out now; and where they differ first.
fn again(text: &str) -> (String, Option<String>) {
    let mut lines = text.lines();
    let (mut reader, header) = Reader::begin(lines.next().unwrap()).unwrap();
    let mut replay = Replay::new(&header);
    let (mut writer, mut new) = Writer::begin(&header);
    let mut first = None;
    for line in lines {
        match reader.next(line).unwrap() {
            Entry::Turn(mut turn) => {
                let got = replay.turn(&turn);
                let found = difference(&turn.actions, &got);
                let at = reader.line();
                first = first.or_else(|| found.map(|found| format!("line {at}: {found:#?}")));
                turn.actions = got;
                new.push_str(&writer.turn(&turn));
            }
            Entry::End(reason) => new.push_str(&writer.end(&reason)),
        }
    }
    (new, first)
}

#[test]
fn every_kept_case_leads_to_the_same_actions() {
    let cases = cases();
    assert!(!cases.is_empty());
    let mut complaints = Vec::new();
    for path in cases {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let (new, first) = again(&text);
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&path, new).unwrap();
        } else if let Some(first) = first {
            complaints.push(format!("{name}, {first}"));
        } else if new != text {
            complaints.push(format!("{name} is not as it would be written now"));
        }
    }
    assert!(
        complaints.is_empty(),
        "see `natha replay tests/cases/…`, and if it is meant, run this with UPDATE_CASES=1:\n{}",
        complaints.join("\n")
    );
}

#[test]
fn every_kept_case_is_small_and_says_what_it_is_kept_for() {
    for path in cases() {
        let text = fs::read_to_string(&path).unwrap();
        let (_, header) = Reader::begin(text.lines().next().unwrap()).unwrap();
        assert!(header.why.is_some_and(|why| why.len() > 20), "{}: no `why`", path.display());
        assert!(text.len() <= SIZE_MAX, "{}: {} bytes", path.display(), text.len());
    }
}
