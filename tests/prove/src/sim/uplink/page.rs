//! The published study: the tables in `docs/evidence/uplink.md`.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::super::report::{self, thousands, three};
use super::super::study::PROMISED;
use super::{Cell, Rounds, default_rounds};

const BEGIN: &str = "<!-- uplink study begin -->\n";
const END: &str = "<!-- uplink study end -->";
const PAGE: &str = "uplink.md";
const JSON: &str = "uplink.json";

/// The content of `docs/evidence/uplink.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Every setting on every network.
    pub cells: Vec<Cell>,
}

impl Published {
    /// Reads `uplink.json` in this directory.
    ///
    /// # Errors
    /// When it cannot be read or parsed.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        report::read(&directory.join(JSON))
    }

    /// Writes `uplink.json` and the tables of `uplink.md` in this directory.
    ///
    /// # Errors
    /// When they cannot be written, or the page lacks the marks around the tables.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        report::write(&directory.join(JSON), self)?;
        let path = directory.join(PAGE);
        std::fs::write(&path, self.page(directory)?)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// The content that `uplink.md` in this directory should have.
    ///
    /// # Errors
    /// When the page cannot be read or lacks the marks around the tables.
    pub fn page(&self, directory: &Path) -> anyhow::Result<String> {
        report::with_table(&directory.join(PAGE), [BEGIN, END], &self.table())
    }

    /// The default settings on the network of the promise.
    #[must_use]
    pub fn promise(&self) -> Option<&Cell> {
        self.cells.iter().find(|it| it.network == PROMISED && it.rounds == default_rounds())
    }

    fn table(&self) -> String {
        let (mut settings, mut networks) = (Vec::new(), Vec::new());
        for cell in &self.cells {
            if !settings.contains(&cell.rounds) {
                settings.push(cell.rounds);
            }
            if !networks.contains(&&*cell.network) {
                networks.push(&*cell.network);
            }
        }
        let mut out = String::new();
        let mut line = |first: &str, rest: Vec<String>| {
            writeln!(out, "| {first} | {} |", rest.join(" | "))
                .expect("writing to a String never fails");
        };
        line("", settings.iter().map(|rounds| title(*rounds)).collect());
        line("---", vec!["---".to_owned(); settings.len()]);
        let mut row = |first: &str, network: &str, of: &dyn Fn(&Cell) -> String| {
            let find = |rounds: &Rounds| {
                let mut cells = self.cells.iter();
                let cell = cells.find(|it| it.network == network && it.rounds == *rounds);
                cell.map_or("–".to_owned(), of)
            };
            line(first, settings.iter().map(find).collect());
        };
        for network in networks {
            row(network, network, &|cell| thousands(cell.rate()));
        }
        for network in ["fair", PROMISED] {
            row(&format!("uplink lost, {network}"), network, &|cell| three(cell.uplink_lost_ms));
            row(&format!("forwarding broken, {network}"), network, &|cell| {
                three(cell.forwarding_lost_ms)
            });
        }
        row("not noticed in a minute, promised", PROMISED, &|cell| thousands(cell.unnoticed));
        row("rounds per hour, fair", "fair", &|cell| thousands(cell.rounds_per_hour));
        row("hours simulated, each", "fair", &|cell| thousands(cell.hours));
        out
    }
}

fn title(rounds: Rounds) -> String {
    let Rounds { interval_ms, pace_ms, lost_after } = rounds;
    let name = format!("{interval_ms} / {pace_ms} × {lost_after}");
    if rounds == default_rounds() { format!("**{name}**") } else { name }
}
