//! The published study: the table and the plot in `docs/evidence/`, and flat figures for scripts.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::chaos::Made;
use super::study::{Cell, PROMISED, SETTINGS, default_beats, weathers};
use super::weather::Beats;

const BEGIN: &str = "<!-- heartbeat study begin -->\n";
const END: &str = "<!-- heartbeat study end -->";

/// The content of `docs/evidence/sim.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Every setting in every weather.
    pub cells: Vec<Cell>,
}

impl Published {
    /// Reads `sim.json` in this directory.
    ///
    /// # Errors
    /// When it cannot be read or parsed.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        read(&directory.join("sim.json"))
    }

    /// Writes `sim.json` in this directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        write(&directory.join("sim.json"), self)
    }

    /// The content that `heartbeat.md` and `sim.svg` in this directory should have, by file name.
    ///
    /// # Errors
    /// When `heartbeat.md` cannot be read or lacks the marks around the table.
    pub fn render(&self, directory: &Path) -> anyhow::Result<BTreeMap<&'static str, String>> {
        let page = with_table(&directory.join("heartbeat.md"), [BEGIN, END], &table(&self.cells))?;
        let plot = super::plot::plot(&self.cells);
        Ok(BTreeMap::from([("heartbeat.md", page), ("sim.svg", plot)]))
    }

    /// The cell of the promise.
    #[must_use]
    pub fn promise(&self) -> Option<&Cell> {
        find(&self.cells, PROMISED, default_beats())
    }
}

/// Reads a study from a file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let reading = || format!("reading {}", path.display());
    let text = std::fs::read_to_string(path).with_context(reading)?;
    serde_json::from_str(&text).with_context(reading)
}

/// Writes a study to a file.
pub(super) fn write<T: Serialize>(path: &Path, study: &T) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(study).context("writing the study as JSON")?;
    std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
}

/// The page at this path with another table between its marks.
pub(super) fn with_table(path: &Path, marks: [&str; 2], table: &str) -> anyhow::Result<String> {
    let [begin, end] = marks;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let lacks = || format!("looking for {} in {}", begin.trim(), path.display());
    let (head, rest) = text.split_once(begin).with_context(lacks)?;
    let (_, tail) = rest.split_once(end).with_context(lacks)?;
    Ok(format!("{head}{begin}{table}{end}{tail}"))
}

/// The measurement of one setting in one weather.
pub(super) fn find<'a>(cells: &'a [Cell], weather: &str, beats: Beats) -> Option<&'a Cell> {
    cells.iter().find(|cell| cell.weather == weather && cell.beats == beats)
}

/// A setting as people write it.
pub(super) fn name(beats: Beats) -> String {
    let Beats { interval_ms, lost_after } = beats;
    if interval_ms >= 1_000 {
        format!("{} s × {lost_after}", interval_ms / 1_000)
    } else {
        format!("{interval_ms} ms × {lost_after}")
    }
}

/// The tables of the study.
#[must_use]
pub fn table(cells: &[Cell]) -> String {
    let mut out = String::new();
    let settings: Vec<Beats> =
        SETTINGS.into_iter().filter(|b| cells.iter().any(|cell| cell.beats == *b)).collect();
    let mut line = |cells: Vec<String>| {
        writeln!(out, "| {} |", cells.join(" | ")).expect("writing to a String never fails");
    };
    let title = |beats: &Beats| {
        let name = name(*beats);
        if *beats == default_beats() { format!("**{name}**") } else { name }
    };
    line(std::iter::once(String::new()).chain(settings.iter().map(title)).collect());
    line(vec!["---".to_owned(); settings.len() + 1]);
    for weather in weathers() {
        let rates = settings.iter().map(|beats| {
            find(cells, weather.name, *beats)
                .map_or("–".to_owned(), |cell| thousands(cell.rate()))
        });
        line(std::iter::once(weather.name.to_owned()).chain(rates).collect());
    }
    let mut row = |name: &str, weather: &str, of: fn(&Cell) -> String| {
        let all =
            settings.iter().map(|beats| find(cells, weather, *beats).map_or("–".to_owned(), of));
        line(std::iter::once(name.to_owned()).chain(all).collect());
    };
    row("detected after, fair", "fair", |cell| three(cell.detection_ms));
    row("routes moved after, fair", "fair", |cell| three(cell.convergence_ms));
    row("routes moved after, promised", PROMISED, |cell| three(cell.convergence_ms));
    row("routes moved after, rough", "rough", |cell| three(cell.convergence_ms));
    row("API calls per hour, promised", PROMISED, |cell| thousands(cell.calls_per_hour));
    row("API calls per failover, fair", "fair", |cell| thousands(cell.calls_per_failover));
    row("hours simulated, promised", PROMISED, |cell| thousands(cell.hours));
    row("hours simulated, fair", "fair", |cell| thousands(cell.hours));
    out
}

pub(super) fn three(spread: super::study::Spread) -> String {
    format!("{} / {} / {}", spread.p50, spread.p99, spread.max)
}

/// A number with commas.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The figures of the seeds and, where it was measured, of the promise, flat, for scripts.
#[must_use]
pub fn flat(cell: Option<&Cell>, made: Made, seeds: usize, hours: f64, failed: bool) -> Value {
    let sim = if made == Made::Several { "sim.several" } else { "sim" };
    let mut all = json!({
        format!("{sim}.seeds"): seeds,
        format!("{sim}.storm_hours"): hours.round(),
        format!("{sim}.seeds_failed"): u8::from(failed),
    });
    if let Some(cell) = cell {
        all["sim.hours"] = json!(cell.hours);
        all["sim.false_takeovers"] = json!(cell.false_takeovers);
        all["detection.false_takeovers_per_1000h"] = json!(cell.rate());
        all["sim.false_stops"] = json!(cell.false_stops);
        all["sim.deaths"] = json!(cell.deaths);
        all["sim.deaths_unrelieved"] = json!(cell.unrelieved);
        for (name, spread) in
            [("detection", cell.detection_ms), ("convergence", cell.convergence_ms)]
        {
            all[format!("sim.{name}_ms.p50")] = json!(spread.p50);
            all[format!("sim.{name}_ms.p99")] = json!(spread.p99);
            all[format!("sim.{name}_ms.max")] = json!(spread.max);
        }
        all["sim.api_calls_per_hour"] = json!(cell.calls_per_hour);
        all["sim.api_calls_per_failover"] = json!(cell.calls_per_failover);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        let shown: Vec<String> = [0, 999, 1_000, 1_234_567].into_iter().map(thousands).collect();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
