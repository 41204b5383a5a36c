//! `natha replay` as a program: its output and exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// A recording of a live node whose peer was killed.
fn case() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/hard_kill.jsonl");
    std::fs::read_to_string(path).unwrap()
}

/// The same as the monitor writes it, compressed.
fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn replay(recording: impl AsRef<[u8]>, arguments: &[&str]) -> Output {
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
fn a_recording_is_explained_and_exits_0() {
    let output = replay(case(), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for part in ["heartbeats from nat-a", "suspected (was alive)", "taking it over", "stop nat-a"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let page = include_str!("../docs/recordings.md");
    let sample = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    for shown in sample.lines().filter(|line| *line != "…") {
        assert!(text.lines().any(|line| line == shown), "docs/recordings.md shows: {shown}");
    }
    assert!(sample.lines().last().unwrap().starts_with("The replay came to the same "));
    assert_eq!(stdout(&replay(gzip(&case()), &[])), text, "compressed");
}

#[test]
fn another_action_exits_3_and_is_shown() {
    let changed = case().replacen("\"action\":\"stop\"", "\"action\":\"start\"", 1);
    let changed = changed.replacen("\"force\":false,", "", 1);
    let output = replay(changed, &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{text}{}", stderr(&output));
    assert!(text.contains("recorded: {\"action\":\"start\""), "{text}");
    assert!(text.contains("replayed: {\"action\":\"stop\""), "{text}");
}

#[test]
fn a_last_line_that_was_cut_short_is_not_an_error() {
    let case = case();
    let cut = &case[..case.len() - 5];
    let compressed = gzip(&case);
    for cut in [cut.as_bytes(), &compressed[..compressed.len() / 2]] {
        let output = replay(cut, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("The last line was cut short"));
    }
}

#[test]
fn a_damaged_line_exits_1_and_is_named() {
    let damaged: String = case()
        .lines()
        .enumerate()
        .map(|(at, line)| if at == 6 { "{\"turn\":\n".to_owned() } else { format!("{line}\n") })
        .collect();
    for damaged in [damaged.clone().into_bytes(), gzip(&damaged)] {
        let output = replay(damaged, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("line 7: "), "{}", stderr(&output));
    }
}

#[test]
fn a_foreign_file_exits_1_and_wrong_usage_2() {
    for (text, reason) in [
        ("", "the file is empty"),
        ("hello\n", "line 1: this is not a recording made by natha"),
        (
            "{\"natha_recording\":1,\"natha\":\"0.0.9\",\"me\":\"i-00000001\"}\n",
            "line 1: the recording has format 1, written by natha 0.0.9. This natha (",
        ),
        ("{\"natha_recording\":99}\n", "line 1: the recording has format 99"),
    ] {
        let output = replay(text, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    assert_eq!(replay(case(), &["--from", "yesterday"]).status.code(), Some(2));
    assert_eq!(replay(case(), &["--from", "2", "--to", "1"]).status.code(), Some(2));
}

#[test]
fn a_part_is_shown_with_every_timer() {
    let output = replay(case(), &["--verbose", "--from", "1", "--to", "20"]);
    let text = stdout(&output);
    assert!(text.contains("next deadline: in"), "{text}");
    assert!(text.contains("repair of nat-a at the earliest: in"), "{text}");
    assert!(!text.contains("first heartbeat from"), "{text}");
}

#[test]
fn json_is_one_object_per_line_with_the_result_last() {
    let output = replay(case(), &["--json"]);
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

#[test]
fn a_page_shows_the_selected_part_and_only_the_result_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let file = page.to_str().unwrap();
    let whole = replay(case(), &["--html", file]);
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    let text = stdout(&whole);
    assert!(text.contains("The replay came to the same "), "{text}");
    assert!(!text.contains("heartbeats from"), "only the result is printed: {text}");
    let shown = std::fs::read_to_string(&page).unwrap();
    for part in ["nat-b takes group us-east-1a over", "heartbeats from nat-a", "StopInstances"] {
        assert!(shown.contains(part), "no {part}");
    }
    let begin = replay(case(), &["--html", file, "--to", "2s"]);
    assert_eq!(begin.status.code(), Some(0), "{}", stderr(&begin));
    let shown = std::fs::read_to_string(&page).unwrap();
    assert!(shown.contains("ReplaceRoute") && !shown.contains("StopInstances"), "{shown}");
    let none = replay(case(), &["--html", "/nonexistent/page.html"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("cannot write /nonexistent/page.html"), "{}", stderr(&none));
}
