//! The alert rules for Prometheus fire when they should, and only then: `promtool` evaluates them
//! on series that `tests/rules/cases.yaml` gives.

use std::path::Path;
use std::process::Command;

#[test]
fn the_rules_fire_on_the_series_of_the_cases_and_only_then() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/cases.yaml");
    #[expect(clippy::disallowed_methods, reason = "promtool ends with its cases")]
    let done = Command::new("promtool").args(["test", "rules"]).arg(cases).output().unwrap();
    let text = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&text));
}
