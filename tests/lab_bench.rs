//! The bench itself: a cheap part of it runs, and writes what it promises.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `natha-lab bench` as `scripts/bench` does.
#[expect(clippy::disallowed_methods, reason = "nextest ends a test that takes too long")]
fn bench(file: &Path, only: &[&str]) -> Output {
    Command::new(natha_lab::lab::program().expect("the workspace is built"))
        .args(["bench", "--quick", "--natha", env!("CARGO_BIN_EXE_natha"), "--json"])
        .arg(file)
        .arg("--only")
        .args(only)
        .output()
        .expect("natha-lab runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_bench_writes_the_figures_that_were_asked_for_and_facts_about_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    let done = bench(&file, &["setup", "monitor.start_ms", "daemon_killed"]);
    // 3: a busy machine may take a time over its budget, and that is no fault of the bench.
    assert!(matches!(done.status.code(), Some(0 | 3)), "{}", said(&done));
    let text = std::fs::read_to_string(&file).unwrap();
    let all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let (facts, figures): (Vec<_>, Vec<_>) =
        all.iter().partition(|(name, _)| name.starts_with("run."));
    let names: Vec<_> = figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "daemon_killed.pings_lost",
            "daemon_killed.stops",
            "monitor.start_ms",
            "monitor.start_ms.max",
            "setup.unchanged_ms",
            "setup.unchanged_ms.max",
        ]
    );
    assert!(figures.iter().all(|(_, value)| value.is_number()), "{figures:?}");
    assert_eq!(all["daemon_killed.stops"], 0, "{}", said(&done));
    assert!(all["monitor.start_ms"].as_f64() > Some(0.0));
    for fact in ["run.date", "run.kernel", "run.cores", "run.profile", "run.rounds.setup"] {
        assert!(all.contains_key(fact), "no {fact} in {facts:?}");
    }
    assert_eq!(all["run.quick"], true);
}

#[test]
fn a_figure_that_cannot_be_measured_fails_the_run_and_is_absent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    let done = bench(&file, &["binary.mib"]);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(said(&done).contains("is not a release build"), "{}", said(&done));
    let text = std::fs::read_to_string(&file).unwrap();
    let all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    assert!(!all.contains_key("binary.mib") && all.contains_key("run.date"));
}

#[test]
fn an_unknown_figure_is_refused_before_anything_runs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    let done = bench(&file, &["hard_kil"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("no figure begins with hard_kil; there are"), "{}", said(&done));
    assert!(!file.exists());
}
