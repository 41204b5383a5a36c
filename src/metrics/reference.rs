//! The reference of all metrics, as Markdown.

use super::metric::Metric;
use super::{catalogue, host_catalogue};

/// The reference of all metrics, as two Markdown tables: the monitor's, and the host's.
#[must_use]
pub fn reference() -> String {
    let monitor = table(catalogue::ALL);
    let host = table(host_catalogue::ALL);
    format!("What the monitor knows and does:\n\n{monitor}\nWhat the host counts:\n\n{host}")
}

fn table(metrics: &[&Metric]) -> String {
    let head = "| metric | kind | unit | meaning | source |\n|---|---|---|---|---|\n";
    let rows: String = metrics.iter().map(|metric| row(metric)).collect();
    format!("{head}{rows}")
}

fn row(metric: &Metric) -> String {
    let Metric { name, kind, labels, unit, source, help } = metric;
    let labels = match labels {
        [] => String::new(),
        labels => format!("{{{}}}", labels.join(", ")),
    };
    let kind = kind.name();
    format!("| `{name}{labels}` | {kind} | {unit} | {help} | {source} |\n")
}
