//! `natha replay` as a program: what it prints and how it exits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A recording of a live node whose peer was killed.
fn case() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/hard_kill.jsonl");
    std::fs::read_to_string(path).unwrap()
}

fn replay(recording: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("run.jsonl");
    std::fs::write(&path, recording).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_natha"));
    command.env_clear().arg("replay").args(arguments).arg(path);
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_recording_is_told_as_a_story_and_exits_0() {
    let output = replay(&case(), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for part in ["heartbeats from nat-a", "suspected (was alive)", "taking it over", "stop nat-a"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().last().unwrap().starts_with("The same "), "{text}");
}

#[test]
fn another_action_exits_3_and_is_shown() {
    let changed = case().replacen("\"do\":\"stop\"", "\"do\":\"start\"", 1);
    let changed = changed.replacen("\"force\":false,", "", 1);
    let output = replay(&changed, &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{text}{}", stderr(&output));
    assert!(text.contains("recorded: {\"action\":\"start\""), "{text}");
    assert!(text.contains("now:      {\"action\":\"stop\""), "{text}");
}

#[test]
fn a_last_line_that_was_cut_short_is_no_error() {
    let case = case();
    let cut = &case[..case.len() - 5];
    let output = replay(cut, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("The last line was cut short"));
}

#[test]
fn a_damaged_line_exits_1_and_is_named() {
    let damaged: String = case()
        .lines()
        .enumerate()
        .map(|(at, line)| if at == 6 { "{\"t\":\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let output = replay(&damaged, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("line 7: "), "{}", stderr(&output));
}

#[test]
fn what_is_no_recording_exits_1_and_wrong_usage_2() {
    for (text, reason) in [
        ("", "the file is empty"),
        ("hello\n", "line 1: this is no recording of natha"),
        ("{\"natha_recording\":99}\n", "line 1: the recording has format 99"),
    ] {
        let output = replay(text, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    assert_eq!(replay(&case(), &["--from", "yesterday"]).status.code(), Some(2));
    assert_eq!(replay(&case(), &["--from", "2", "--to", "1"]).status.code(), Some(2));
}

#[test]
fn a_part_is_told_with_every_timer() {
    let output = replay(&case(), &["--verbose", "--from", "1", "--to", "20"]);
    let text = stdout(&output);
    assert!(text.contains("next deadline: in"), "{text}");
    assert!(text.contains("repair of nat-a at the earliest: in"), "{text}");
    assert!(!text.contains("the first heartbeat"), "{text}");
}

#[test]
fn json_is_one_object_a_line_with_the_result_last() {
    let output = replay(&case(), &["--json"]);
    let text = stdout(&output);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.first().unwrap().get("natha_recording").is_some());
    let kinds = ["input", "event", "action", "folded"];
    for kind in kinds {
        assert!(lines.iter().any(|line| line["kind"] == kind), "{kind}");
    }
    let last = lines.last().unwrap();
    assert_eq!((&last["result"], &last["truncated"]), (&"same".into(), &false.into()));
}
