//! The demo: what `scripts/demo` runs once all is built.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the demo ends by itself, as each step has a limit")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Every step, in order.
const STEPS: [&str; 12] = [
    "ready",
    "served",
    "killed",
    "noticed",
    "taken-over",
    "carried-on",
    "stopped",
    "started",
    "rejoined",
    "handed-back",
    "nothing-lost",
    "well-again",
];

fn demo(directory: &Path, arguments: &[&str]) -> (Output, Value) {
    let json = directory.join("facts.json");
    let output = Command::new(natha_lab::lab::program().unwrap())
        .arg("demo")
        .arg("--json")
        .arg(&json)
        .arg("--logs")
        .arg(directory.join("logs"))
        .args(arguments)
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&json).unwrap_or_default();
    let facts = serde_json::from_str(&text)
        .unwrap_or_else(|problem| panic!("{problem}: {}", String::from_utf8_lossy(&output.stderr)));
    (output, facts)
}

fn steps(facts: &Value) -> Vec<(&str, bool)> {
    let steps = facts["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["name"].as_str().unwrap(), step["ok"] == true)).collect()
}

#[test]
fn every_step_of_the_demo_happens_and_is_in_its_json() {
    let directory = tempfile::tempdir().unwrap();
    let (output, facts) = demo(directory.path(), &["--natha", NATHA]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let expected = STEPS.map(|name| (name, true));
    assert_eq!(steps(&facts), expected);
    assert_eq!(facts["ok"], true);
    assert!(facts["summary"]["outage_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(facts["summary"]["hand_back"]["lost"], 0);
    assert!(facts["summary"]["hand_back"]["sent"].as_u64().unwrap() > 1000);
    for told in ["suspected", "StopInstances by nat-b: nat-a", "handed back"] {
        assert!(text.contains(told), "`{told}` is not in {text}");
    }
    assert!(!text.contains('\u{1b}'), "colours are for terminals");
    let times: Vec<f64> = facts["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["at_ms"].as_f64().unwrap())
        .collect();
    assert!(times.is_sorted() && times[0] == 0.0, "{times:?}");
}

#[test]
fn a_demo_whose_natha_does_nothing_fails_at_its_first_step_and_leaves_logs() {
    let directory = tempfile::tempdir().unwrap();
    let (output, facts) = demo(directory.path(), &["--natha", "/bin/true", "--patience", "3"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(facts["failed"], "ready");
    assert_eq!(steps(&facts), [("ready", false)]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("FAILED at step `ready`") && text.contains("console"), "{text}");
    let log = directory.path().join("logs/nat-a.console");
    assert!(std::fs::read_to_string(log).unwrap().contains("booted"));
}

#[test]
fn a_demo_without_repair_fails_at_the_stop_that_does_not_come() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("natha.toml");
    std::fs::write(&config, "[repair]\nenabled = false\n").unwrap();
    let config = config.to_str().unwrap();
    let (output, facts) =
        demo(directory.path(), &["--natha", NATHA, "--config", config, "--patience", "15"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert_eq!(facts["failed"], "stopped", "{text}");
    assert_eq!(steps(&facts)[5], ("carried-on", true));
}
