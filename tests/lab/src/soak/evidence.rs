//! What is kept for whoever looks for the reason of a violation.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Progress;
use super::observer::{Observer, Violation};
use super::schedule::node_name;
use crate::lab::Lab;

/// Violations whose evidence is kept; later ones are only told.
const KEPT: usize = 20;
/// How many lines of the story before a violation are shown.
const SHOWN: usize = 60;
/// Where a node's recordings are, if its monitor makes any.
pub(super) const RECORDINGS: &str = "/var/lib/natha-soak";

/// The directory of one soak, and what is in it.
pub(super) struct Evidence<'a> {
    directory: PathBuf,
    schedule: File,
    /// How to run the same again.
    again: &'a str,
    nodes: usize,
    told: usize,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(directory: &Path, nodes: usize, again: &'a str) -> Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let path = directory.join("schedule.txt");
        let schedule = OpenOptions::new().create(true).append(true).open(&path);
        let schedule = schedule.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { directory: directory.to_owned(), schedule, again, nodes, told: 0 })
    }

    /// Takes down what was done, as it is done.
    pub(super) fn note(&mut self, line: &str) {
        // What cannot be taken down was done all the same.
        let _ = writeln!(self.schedule, "{line}");
    }

    /// Tells the violations that are new, and keeps what belongs to them.
    pub(super) fn keep(
        &mut self,
        lab: &Lab,
        observer: &Observer,
        progress: &Progress,
    ) -> Result<()> {
        for violation in observer.violations().iter().skip(self.told) {
            self.told += 1;
            let Violation { rule, at, text, story } = violation;
            let at = at.as_secs_f64();
            let mut page = format!("VIOLATION {rule:?} at {at:.3} s: {text}\n  {}\n", self.again);
            for line in story.iter().skip(story.len().saturating_sub(SHOWN)) {
                writeln!(page, "  {line}")?;
            }
            progress.say(page.trim_end());
            self.note(&format!("  {at:.1} s: VIOLATION {rule:?}: {text}"));
            if self.told <= KEPT {
                let place = self.directory.join(format!("violation-{}", self.told));
                let all = format!("{page}\nbefore that:\n{}\n", story.join("\n"));
                self.save(lab, &place, &all)?;
                progress.say(&format!("  consoles and logs: {}", place.display()));
            }
        }
        Ok(())
    }

    /// Keeps everything there is.
    pub(super) fn save(&self, lab: &Lab, place: &Path, page: &str) -> Result<()> {
        fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
        let write = |name: &str, text: &str| {
            let path = place.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("violation.txt", page)?;
        let status = lab.status()?;
        write("status.json", &serde_json::to_string_pretty(&status)?)?;
        let timeline = lab.timeline()?;
        write("timeline.json", &serde_json::to_string(&timeline)?)?;
        let log = fs::read_to_string(lab.directory().join("lab.log")).unwrap_or_default();
        write("lab.log", &log)?;
        for node in (0..self.nodes).map(node_name) {
            write(&format!("{node}.log"), &lab.console(&node)?)?;
            // A node that is off keeps its recordings to itself.
            let list = lab.sh(&node, &format!("ls {RECORDINGS} 2>/dev/null || true"));
            for file in list.unwrap_or_default().split_whitespace() {
                if let Ok(text) = lab.sh(&node, &format!("zcat -f {RECORDINGS}/{file} || true")) {
                    write(&format!("{node}-{file}"), &text)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}
