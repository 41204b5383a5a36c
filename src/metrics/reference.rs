//! The reference of all metrics, as Markdown.

use super::metric::Metric;
use super::{catalogue, host_catalogue};

/// The reference of all metrics, as two Markdown tables: the monitor's, and the host's. A gauge
/// names its age, unless that is the one of most gauges in its table.
#[must_use]
pub fn reference() -> String {
    let monitor = table(catalogue::ALL, &catalogue::REPORT_AGE);
    let host = table(host_catalogue::ALL, &host_catalogue::HOST_AGE);
    format!("What the monitor knows and does:\n\n{monitor}\nWhat the host counts:\n\n{host}")
}

fn table(metrics: &[&Metric], usual_age: &Metric) -> String {
    let head = "| metric | kind | unit | meaning | source |\n|---|---|---|---|---|\n";
    let rows: String = metrics.iter().map(|metric| row(metric, usual_age)).collect();
    format!("{head}{rows}")
}

fn row(metric: &Metric, usual_age: &Metric) -> String {
    let Metric { name, kind, labels, unit, source, help, ages } = metric;
    let labels = match labels {
        [] => String::new(),
        labels => format!("{{{}}}", labels.join(", ")),
    };
    let kind = kind.name();
    let unusual = ages.iter().filter(|age| age.name != usual_age.name);
    let names: Vec<String> = unusual.map(|age| format!("`{}`", age.name)).collect();
    let age = match &names[..] {
        [] => String::new(),
        names => format!(" Age: {}.", names.join(", ")),
    };
    format!("| `{name}{labels}` | {kind} | {unit} | {help}{age} | {source} |\n")
}
