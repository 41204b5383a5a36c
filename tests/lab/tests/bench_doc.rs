//! The published figures are those of a run, and not edited by hand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use natha_lab::bench::{survival, table};
use serde_json::Value;

/// The patterns of `docs/patterns.md`, by heading and by the beginning of their figures' names.
const PATTERNS: [(&str, &str); 5] = [
    ("Virtual IP", "vip"),
    ("Private IP", "private_ip"),
    ("Elastic IP", "eip"),
    ("Name", "dns"),
    ("keepalived", "keepalived_natha"),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn read(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()))
}

/// A figure of the run; none where it was not measured.
fn figure(run: &Value, name: &str) -> Option<f64> {
    run.get(name).and_then(Value::as_f64)
}

fn shown(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

fn seconds(run: &Value, name: &str) -> String {
    shown(figure(run, name), |ms| format!("{:.2} s", ms / 1000.0))
}

/// Compares a document with what it should be, or writes that.
fn compare(name: &str, fresh: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(name), fresh).expect("the document can be written");
    } else {
        assert!(
            fresh == read(name),
            "{name} differs from docs/benchmarks.json: run this test with UPDATE_DOCS=1"
        );
    }
}

/// `docs/patterns.md` with the times of a run.
fn with_times(page: &str, run: &Value) -> String {
    let rounds = shown(figure(run, "run.rounds.patterns"), |rounds| rounds.to_string());
    PATTERNS.iter().fold(page.to_owned(), |page, (heading, name)| {
        let heading = format!("\n## {heading}\n");
        let (before, section) = page.split_once(&heading).expect("the pattern has a section");
        let (head, rest) = section.split_once("**How fast.** ").expect("the section has a time");
        let (_, rest) = rest.split_once("; the longest of ").expect("it has the longest");
        let (_, tail) = rest.split_once(" s").expect("the longest is in seconds");
        let median = seconds(run, &format!("{name}.outage_ms.median"));
        let longest = seconds(run, &format!("{name}.outage_ms.max"));
        let times = format!("**How fast.** {median}; the longest of {rounds}: {longest}");
        format!("{before}{heading}{head}{times}{tail}")
    })
}

/// The README's table of a run.
fn summary(run: &Value) -> String {
    let tenths = |name: &str| shown(figure(run, name), |ms| format!("{:.1} s", ms / 1000.0));
    let count = |name: &str| shown(figure(run, name), |count| count.to_string());
    let percent = |name: &str| {
        shown(figure(run, name), |ratio| format!("{} %", (ratio * 1000.0).floor() / 10.0))
    };
    let rows = [
        [String::new(), "natha".to_owned(), "2013 algorithm".to_owned()],
        ["---".to_owned(), "--:".to_owned(), "--:".to_owned()],
        [
            format!(
                "outage of a private host on a kernel panic: median of {} and {}",
                count("run.rounds.hard_kill.api50"),
                count("run.rounds.yardstick.api50")
            ),
            seconds(run, "hard_kill.api50.outage_ms.median"),
            tenths("yardstick.api50.outage_ms.median"),
        ],
        [
            "the longest of them".to_owned(),
            seconds(run, "hard_kill.api50.outage_ms.max"),
            tenths("yardstick.api50.outage_ms.max"),
        ],
        [
            format!(
                "ICMP blocked for {} s between healthy nodes: instances stopped",
                count("run.blocked_s")
            ),
            count("icmp_blocked.natha.stops"),
            count("icmp_blocked.yardstick.stops"),
        ],
        [
            "connections that survive a kernel panic, with an egress IP and replication".to_owned(),
            percent("flows.survived_ratio"),
            "–".to_owned(),
        ],
    ];
    let lines: Vec<String> = rows.iter().map(|row| format!("| {} |", row.join(" | "))).collect();
    let table = lines.join("\n");
    let lost = count("hand_back.pings_lost");
    let cpu = shown(figure(run, "monitor.cpu_percent"), |percent| format!("{percent} %"));
    let memory = shown(figure(run, "monitor.rss_mib"), |mib| format!("{mib:.0} MiB"));
    format!(
        "\n{table}\n\nA hand-back loses {lost} of 1,000 pings. An idle monitor uses {cpu} of a \
         core and {memory}.\n"
    )
}

/// Fails unless a document has between its marks what `markdown` makes of the published run.
fn assert_fresh(name: &str, option: &str, markdown: fn(&str) -> Result<String>) {
    let document = read(name);
    let tables = markdown(&read("docs/benchmarks.json")).expect("the run has its figures");
    let fresh = table::insert(&document, &tables).expect("the document has marks");
    assert!(
        fresh == document,
        "{name} differs from docs/benchmarks.json: run \
         `natha-lab bench-table docs/benchmarks.json {option}--into {name}`"
    );
}

#[test]
fn the_document_shows_the_figures_of_its_run() {
    assert_fresh("docs/benchmarks.md", "", table::markdown);
}

#[test]
fn the_comparison_of_ways_to_keep_connections_is_that_of_the_run() {
    assert_fresh("docs/connections.md", "--survival ", survival::table::markdown);
}

#[test]
fn the_readme_and_the_patterns_show_the_figures_of_the_same_run() {
    let run: Value = serde_json::from_str(&read("docs/benchmarks.json")).unwrap();
    let readme = table::insert(&read("README.md"), &summary(&run)).unwrap();
    compare("README.md", &readme);
    let patterns = with_times(&read("docs/patterns.md"), &run);
    compare("docs/patterns.md", &patterns);
}

#[test]
fn another_time_of_a_pattern_is_noticed() {
    let page = read("docs/patterns.md");
    let run = serde_json::json!({"vip.outage_ms.median": 12_340.0, "run.rounds.patterns": 7});
    let changed = with_times(&page, &run);
    assert!(changed.contains("**How fast.** 12.34 s; the longest of 7: –. A planned"), "{changed}");
    assert!(changed != page);
}

#[test]
fn a_figure_that_was_not_measured_is_a_dash() {
    let run = serde_json::json!({
        "hard_kill.api50.outage_ms.median": 465.0, "flows.survived_ratio": 0.9996
    });
    let text = summary(&run);
    assert!(text.contains("median of – and – | 0.47 s | – |"), "{text}");
    assert!(text.contains("with an egress IP and replication | 99.9 % | – |"), "{text}");
    assert!(text.contains("uses – of a core and –"), "{text}");
}
