//! The published figures are those of a run, and not edited by hand.

use std::fs;
use std::path::{Path, PathBuf};

use natha_lab::bench::table;
use serde_json::Value;

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

/// The README's table of a run.
fn summary(run: &Value) -> String {
    let seconds = |name: &str| shown(figure(run, name), |ms| format!("{:.2} s", ms / 1000.0));
    let tenths = |name: &str| shown(figure(run, name), |ms| format!("{:.1} s", ms / 1000.0));
    let count = |name: &str| shown(figure(run, name), |count| count.to_string());
    let rows = [
        [String::new(), "natha".to_owned(), "2013 algorithm".to_owned()],
        ["---".to_owned(), "--:".to_owned(), "--:".to_owned()],
        [
            "kernel panics measured".to_owned(),
            count("run.rounds.hard_kill.api50"),
            count("run.rounds.yardstick.api50"),
        ],
        [
            "outage of a private host, median".to_owned(),
            seconds("hard_kill.api50.outage_ms.median"),
            tenths("yardstick.api50.outage_ms.median"),
        ],
        [
            "the longest of them".to_owned(),
            seconds("hard_kill.api50.outage_ms.max"),
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

#[test]
fn the_document_shows_the_figures_of_its_run() {
    let document = read("docs/benchmarks.md");
    let tables = table::markdown(&read("docs/benchmarks.json")).unwrap();
    let fresh = table::insert(&document, &tables).unwrap();
    assert!(
        fresh == document,
        "docs/benchmarks.md differs from docs/benchmarks.json: run \
         `natha-lab bench-table docs/benchmarks.json --into docs/benchmarks.md`"
    );
}

#[test]
fn the_readme_shows_the_figures_of_the_same_run() {
    let readme = read("README.md");
    let run: Value = serde_json::from_str(&read("docs/benchmarks.json")).unwrap();
    let fresh = table::insert(&readme, &summary(&run)).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path("README.md"), fresh).unwrap();
    } else {
        assert!(
            fresh == readme,
            "README.md differs from docs/benchmarks.json: run this test with UPDATE_DOCS=1"
        );
    }
}

#[test]
fn a_figure_that_was_not_measured_is_a_dash() {
    let run = serde_json::json!({"hard_kill.api50.outage_ms.median": 465.0});
    let text = summary(&run);
    assert!(text.contains("| outage of a private host, median | 0.47 s | – |"), "{text}");
    assert!(text.contains("uses – of a core and –"), "{text}");
}
