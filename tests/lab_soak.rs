//! A short soak: a fixed seed, so that the same faults come every time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `natha-lab soak` as `scripts/soak` does.
#[expect(clippy::disallowed_methods, reason = "nextest ends a test that takes too long")]
fn soak(arguments: &[&str], directory: &Path) -> Output {
    Command::new(natha_lab::lab::program().expect("the workspace is built"))
        .args(["soak", "--json", "figures.json", "--logs", "logs"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("natha-lab runs")
}

#[test]
fn random_faults_break_no_rule_and_the_cluster_finds_back_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let natha = env!("CARGO_BIN_EXE_natha");
    let done = soak(&["1.5", "--nodes", "2", "--seed", "4", "--natha", natha], directory.path());
    let said = String::from_utf8_lossy(&done.stderr);
    let schedule =
        std::fs::read_to_string(directory.path().join("logs/seed-4-nodes-2/schedule.txt"));
    assert_eq!(done.status.code(), Some(0), "{said}\n{}", schedule.unwrap_or_default());
    let text = std::fs::read_to_string(directory.path().join("figures.json")).unwrap();
    let figures: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    for name in natha_lab::soak::NAMES {
        assert!(figures.get(name).is_some_and(Value::is_number), "no {name} in {text}");
    }
    assert_eq!(figures["soak.violations"], 0);
    assert_eq!(figures["soak.seed"], 4);
    for counted in ["soak.faults", "soak.takeovers", "soak.hand_backs", "soak.orders"] {
        assert!(figures[counted].as_f64() >= Some(1.0), "{counted}: {text}");
    }
    assert!(figures["soak.pings_sent"].as_f64() > Some(10_000.0), "{text}");
}

#[test]
fn a_soak_that_cannot_run_is_an_error_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let done = soak(&["1", "--natha", "/nonexistent/natha"], directory.path());
    assert_eq!(done.status.code(), Some(1));
    let done = soak(&["soon"], directory.path());
    assert_eq!(done.status.code(), Some(2), "no number of minutes");
}
