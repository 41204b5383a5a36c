//! How the tests of a run ended, from the report that the test runner writes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{SCENARIOS, Scenario};

/// The file of the tests that name no other.
const OWN: &str = "lab_chaos";

/// How one test ended.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ended {
    passed: bool,
    seconds: f64,
}

/// The figures of a run, and how each staged scenario ended: `chaos.s01.passed` and, of all its
/// tests together, `chaos.s01.seconds`. `junit` is the report of the test runner, in the format
/// that JUnit introduced.
///
/// # Errors
/// When a test of a scenario is missing from the report, or this is no report.
pub fn figures(junit: &str) -> Result<BTreeMap<String, Value>> {
    let tests = ended(junit)?;
    let staged: Vec<&Scenario> = SCENARIOS.iter().filter(|it| !it.tests().is_empty()).collect();
    let mut figures = BTreeMap::new();
    let mut all_passed = 0;
    for scenario in &staged {
        let results = scenario.tests().iter().map(|test| {
            let name = if test.contains("::") { (*test).to_owned() } else { own(test) };
            tests.get(&name).with_context(|| format!("the run lacks {name}"))
        });
        let results: Vec<&Ended> = results.collect::<Result<_>>()?;
        let passed = results.iter().all(|test| test.passed);
        let seconds: f64 = results.iter().map(|test| test.seconds).sum();
        all_passed += usize::from(passed);
        let name = format!("chaos.s{:02}", scenario.number);
        figures.insert(format!("{name}.passed"), json!(u8::from(passed)));
        figures.insert(format!("{name}.seconds"), json!((seconds * 10.0).round() / 10.0));
    }
    figures.insert("chaos.scenarios_total".into(), json!(SCENARIOS.len()));
    figures.insert("chaos.automated".into(), json!(staged.len()));
    figures.insert("chaos.passed".into(), json!(all_passed));
    Ok(figures)
}

/// The tests that a run must contain, as `FILE::TEST`.
#[must_use]
pub fn wanted() -> Vec<String> {
    let tests = SCENARIOS.iter().flat_map(Scenario::tests);
    tests.map(|test| if test.contains("::") { (*test).to_owned() } else { own(test) }).collect()
}

fn own(test: &str) -> String {
    format!("{OWN}::{test}")
}

/// Every test of a report, by its file and its name without modules.
fn ended(junit: &str) -> Result<BTreeMap<String, Ended>> {
    if !junit.contains("<testsuites") {
        bail!("not a report of tests: it has no <testsuites>");
    }
    let mut tests = BTreeMap::new();
    for case in junit.split("<testcase ").skip(1) {
        let (head, body) = case.split_once('>').context("a <testcase> without an end")?;
        let body = if head.ends_with('/') {
            ""
        } else {
            body.split_once("</testcase>").context("a <testcase> without an end")?.0
        };
        let name = attribute(head, "name")?;
        let file = attribute(head, "classname")?;
        let name = name.rsplit("::").next().unwrap_or(name);
        let file = file.rsplit("::").next().unwrap_or(file);
        let seconds = attribute(head, "time")?.parse().context("a time that is no number")?;
        let passed = !body.contains("<failure") && !body.contains("<error");
        tests.insert(format!("{file}::{name}"), Ended { passed, seconds });
    }
    Ok(tests)
}

/// An attribute of an element. What the report quotes inside it are no letters of a test's name.
fn attribute<'a>(head: &'a str, name: &str) -> Result<&'a str> {
    let quoted = format!("{name}=\"");
    let mut words = head.match_indices(&quoted);
    let found = words.find(|(at, _)| *at == 0 || head[..*at].ends_with(' '));
    let (at, _) = found.with_context(|| format!("a <testcase> without {name}: {head}"))?;
    let value = &head[at + quoted.len()..];
    Ok(value.split_once('"').with_context(|| format!("an open {name}: {head}"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(failing: &str) -> String {
        let cases = wanted().into_iter().map(|test| {
            let (file, name) = test.split_once("::").unwrap();
            let head = format!("name=\"a_mod::{name}\" classname=\"natha::{file}\" time=\"1.25\"");
            if test == failing {
                format!("<testcase {head}><failure type=\"x\">a &lt;b&gt;</failure></testcase>")
            } else {
                format!("<testcase {head}/>")
            }
        });
        format!("<testsuites>{}</testsuites>", cases.collect::<String>())
    }

    #[test]
    fn a_run_in_which_all_passed_has_as_many_passed_as_automated() {
        let figures = figures(&report("")).unwrap();
        assert_eq!(figures["chaos.passed"], figures["chaos.automated"]);
        assert_eq!(figures["chaos.scenarios_total"], 50);
        assert_eq!(figures["chaos.s01.passed"], 1);
    }

    #[test]
    fn a_failed_test_fails_its_scenario() {
        let first = wanted().remove(0);
        let figures = figures(&report(&first)).unwrap();
        assert_eq!(figures["chaos.s01.passed"], 0);
        let [passed, automated] =
            ["passed", "automated"].map(|name| figures[&format!("chaos.{name}")].as_u64().unwrap());
        assert_eq!(passed + 1, automated);
    }

    #[test]
    fn a_run_without_a_listed_test_is_refused() {
        let problem = figures("<testsuites></testsuites>").unwrap_err();
        assert!(problem.to_string().contains("the run lacks lab_chaos::s01_"), "{problem}");
        assert!(figures("{}").is_err());
    }
}
