//! The figures as Markdown, for `docs/benchmarks.md`.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figures::{ADDED, ALL, named};

/// Between these lines a document has what [`markdown`] makes.
pub const MARKS: [&str; 2] = ["<!-- figures begin -->", "<!-- figures end -->"];

/// The columns of a line of text.
const WIDTH: usize = 100;

/// What is measured of natha and of the 2013 algorithm alike.
const BESIDE: [(&str, &str, &str); 4] = [
    (
        "outage on a kernel panic, API 50 ms: median, ms",
        "hard_kill.api50.outage_ms.median",
        "yardstick.api50.outage_ms.median",
    ),
    ("the same: longest, ms", "hard_kill.api50.outage_ms.max", "yardstick.api50.outage_ms.max"),
    (
        "ICMP blocked between healthy nodes: instances stopped",
        "icmp_blocked.natha.stops",
        "icmp_blocked.yardstick.stops",
    ),
    (
        "the same: pings of the private hosts lost",
        "icmp_blocked.natha.pings_lost",
        "icmp_blocked.yardstick.pings_lost",
    ),
];

/// The tables of a run, from the object that the run wrote.
///
/// # Errors
/// When that is no object or lacks facts about the run.
pub fn markdown(run: &str) -> Result<String> {
    let run: BTreeMap<String, Value> =
        serde_json::from_str(run).context("not an object of figures")?;
    let mut text = conditions(&run)?;
    text.push_str("\n| | natha | 2013 algorithm |\n|---|--:|--:|\n");
    for (what, natha, yardstick) in BESIDE {
        writeln!(text, "| {what} | {} | {} |", shown(&run, natha), shown(&run, yardstick))?;
    }
    text.push_str("\n| figure | measured | budget | what it is |\n|---|--:|--:|---|\n");
    for figure in ALL.iter().chain(&ADDED) {
        let budget = figure.budget.map_or_else(|| "–".to_owned(), |budget| budget.to_string());
        let (name, value, meaning) = (figure.name, shown(&run, figure.name), figure.meaning);
        writeln!(text, "| `{name}` | {value} | {budget} | {meaning} |")?;
    }
    Ok(text)
}

/// Puts tables into a document, between its marks.
///
/// # Errors
/// When the document has no marks.
pub fn insert(document: &str, tables: &str) -> Result<String> {
    let lacks = || format!("no lines `{}` and `{}`", MARKS[0], MARKS[1]);
    let (head, rest) = document.split_once(MARKS[0]).with_context(lacks)?;
    let (_, tail) = rest.split_once(MARKS[1]).with_context(lacks)?;
    Ok(format!("{head}{}\n{tables}{}{tail}", MARKS[0], MARKS[1]))
}

/// The name of a fact in a listing; none where it does not belong there.
type Pick<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The beginning of the names of how long the parts of a run took.
const PART: &str = "part.";

fn conditions(run: &BTreeMap<String, Value>) -> Result<String> {
    let fact = |name: &str| -> Result<String> {
        let value = run.get(&format!("run.{name}")).with_context(|| format!("no run.{name}"))?;
        Ok(plain(value))
    };
    let kind = if fact("quick")? == "true" { "quick" } else { "full" };
    let mut text = wrapped(&format!(
        "A {kind} run of {} s on {}: Linux {}, {} cores of {}, load {} at the start; natha built \
         with the {} profile.",
        fact("seconds")?,
        fact("date")?,
        fact("kernel")?,
        fact("cores")?,
        fact("cpu")?,
        fact("load_before")?,
        fact("profile")?,
    ));
    let timed = |name: &str| name.strip_suffix("_s").map(str::to_owned);
    let listings: [(&str, &str, Pick<'_>); 3] = [
        ("Rounds", "", &|name| name.strip_prefix("rounds.").map(str::to_owned)),
        ("Watched for a while", " s", &|name| timed(name).filter(|_| !name.starts_with(PART))),
        ("Parts of the run", " s", &|name| timed(name.strip_prefix(PART)?)),
    ];
    for (title, unit, pick) in listings {
        let all = run.iter().filter_map(|(name, value)| {
            let name = pick(name.strip_prefix("run.")?)?;
            Some(format!("`{name}` {}{unit}", plain(value)))
        });
        let all: Vec<String> = all.collect();
        if !all.is_empty() {
            write!(text, "\n\n{}", wrapped(&format!("{title}: {}.", all.join(", "))))?;
        }
    }
    if let Some(note) = run.get("run.note") {
        write!(text, "\n\n{}", plain(note))?;
    }
    text.push('\n');
    Ok(text)
}

/// A value of a fact as text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A paragraph with its lines broken at spaces.
fn wrapped(paragraph: &str) -> String {
    let mut lines = vec![String::new()];
    for word in paragraph.split(' ') {
        let line = lines.last_mut().expect("there is one from the start");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

/// A figure as it stands in a table; bold where it is over its budget.
fn shown(run: &BTreeMap<String, Value>, name: &str) -> String {
    let Some(value) = run.get(name).and_then(Value::as_f64) else { return "–".to_owned() };
    let budget = named(name).and_then(|figure| figure.budget);
    let over = budget.is_some_and(|budget| !budget.allows(value));
    if over { format!("**{value}**") } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::scale::Scale;
    use serde_json::json;

    fn run(figures: Value) -> String {
        let mut all: BTreeMap<String, Value> = serde_json::from_value(figures).unwrap();
        all.extend(Scale::full().facts());
        for fact in ["seconds", "date", "kernel", "cores", "cpu", "load_before", "profile"] {
            all.insert(format!("run.{fact}"), json!(format!("the {fact}")));
        }
        all.insert("run.quick".into(), json!(false));
        serde_json::to_string(&all).unwrap()
    }

    #[test]
    fn a_table_has_every_figure_and_marks_what_is_over_budget() {
        let text = markdown(&run(json!({
            "hard_kill.api50.outage_ms.median": 330.5,
            "yardstick.api50.outage_ms.median": 5000.0,
            "daemon_killed.stops": 2.0,
            "flows.survived_ratio": 0.5,
        })))
        .unwrap();
        assert!(text.contains("A full run of the seconds s on the date: Linux the kernel"));
        assert!(text.contains("\n\nRounds: `broken` 5, "), "{text}");
        assert!(text.contains("`soak` 3600 s"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('|') || line.len() <= WIDTH), "{text}");
        assert!(text.contains("API 50 ms: median, ms | 330.5 | 5000 |"), "{text}");
        assert!(text.contains("| `daemon_killed.stops` | **2** | ≤ 0 |"), "{text}");
        assert!(text.contains("| `binary.mib` | – | – |"), "{text}");
        assert!(text.contains("| `flows.survived_ratio` | **0.5** | ≥ 1 |"), "{text}");
        assert_eq!(text.matches("\n| `").count(), ALL.len() + ADDED.len());
    }

    #[test]
    fn a_run_without_its_conditions_is_no_run() {
        let problem = markdown("{\"binary.mib\": 9}").unwrap_err();
        assert!(problem.to_string().contains("no run."), "{problem}");
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document = format!("# A\n{}\nold\n{}\nend\n", MARKS[0], MARKS[1]);
        let once = insert(&document, "new\n").unwrap();
        assert_eq!(once, format!("# A\n{}\nnew\n{}\nend\n", MARKS[0], MARKS[1]));
        assert_eq!(insert(&once, "new\n").unwrap(), once);
        assert!(insert("# A\n", "new\n").is_err());
    }
}
