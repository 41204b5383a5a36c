//! The scenarios and their results as Markdown, for `docs/evidence/chaos.md`.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{SCENARIOS, Scenario, Shown};

/// Between these lines a document has what [`markdown`] makes.
pub const MARKS: [&str; 2] = ["<!-- chaos begin -->", "<!-- chaos end -->"];

/// The table, with the results of the run that wrote this object.
///
/// # Errors
/// When that is no object.
pub fn markdown(run: &str) -> Result<String> {
    let run: BTreeMap<String, Value> =
        serde_json::from_str(run).context("not an object of figures")?;
    let passed = run.get("chaos.passed").and_then(Value::as_u64);
    let passed = passed.map_or_else(|| "–".to_owned(), |passed| passed.to_string());
    let staged = SCENARIOS.iter().filter(|scenario| !scenario.tests().is_empty()).count();
    let mut text = format!(
        "{} scenarios, {staged} of them staged, {passed} of these passed.\n\n",
        SCENARIOS.len()
    );
    text.push_str("| | what happens | what natha does | test | result |\n|--:|---|---|---|---|\n");
    for scenario in &SCENARIOS {
        let (shown, result) = match scenario.shown {
            Shown::By(tests) => (names(tests), result(&run, scenario)),
            Shown::Nothing(reason) => (format!("not staged: {reason}"), "–".to_owned()),
        };
        let Scenario { number, name, expected, .. } = scenario;
        writeln!(text, "| {number} | {name} | {expected} | {shown} | {result} |")?;
    }
    Ok(text)
}

/// Puts the table into a document, between its marks.
///
/// # Errors
/// When the document has no marks.
pub fn insert(document: &str, table: &str) -> Result<String> {
    let lacks = || format!("no lines `{}` and `{}`", MARKS[0], MARKS[1]);
    let (head, rest) = document.split_once(MARKS[0]).with_context(lacks)?;
    let (_, tail) = rest.split_once(MARKS[1]).with_context(lacks)?;
    Ok(format!("{head}{}\n{table}{}{tail}", MARKS[0], MARKS[1]))
}

fn names(tests: &[&str]) -> String {
    let names: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
    names.join(", ")
}

fn result(run: &BTreeMap<String, Value>, scenario: &Scenario) -> String {
    let of = |what: &str| run.get(&format!("chaos.s{:02}.{what}", scenario.number));
    match of("passed").and_then(Value::as_u64) {
        None => "not run".to_owned(),
        Some(0) => "**failed**".to_owned(),
        Some(_) => match of("seconds").and_then(Value::as_f64) {
            Some(seconds) => format!("passed, {seconds:.0} s"),
            None => "passed".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_scenario_and_shows_what_passed_failed_and_was_not_run() {
        let text = markdown(r#"{"chaos.s01.passed": 0, "chaos.passed": 7}"#).unwrap();
        assert!(text.contains("7 of these passed"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("| 1 |") && line.contains("**failed**")));
        assert_eq!(text.matches("\n| ").count(), SCENARIOS.len() + 1);
        let passed = markdown(r#"{"chaos.s01.passed": 1, "chaos.s01.seconds": 12.4}"#).unwrap();
        assert!(passed.contains("| passed, 12 s |"), "{passed}");
        assert!(markdown("[]").is_err());
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document = format!("# A\n{}\nold\n{}\nend\n", MARKS[0], MARKS[1]);
        let once = insert(&document, "new\n").unwrap();
        assert_eq!(once, format!("# A\n{}\nnew\n{}\nend\n", MARKS[0], MARKS[1]));
        assert!(insert("# A\n", "new\n").is_err());
    }
}
