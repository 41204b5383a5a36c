//! The end of the story, good or bad.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::stage::{Colour, seconds};
use super::{CONSOLE_LINES, Missed, Story};
use crate::story::scene::{CLIENT, HEIR, VICTIM};

impl Story<'_> {
    /// Sums up, or says what did not happen and what is known about it.
    pub(super) fn close(&mut self, ended: Result<()>) -> Result<()> {
        let origin = self.killed.unwrap_or(f64::INFINITY);
        let since = self.record.iter().filter(|moment| moment.at_ms >= origin);
        self.facts.timeline = since.cloned().collect();
        for moment in &mut self.facts.timeline {
            moment.at_ms -= origin;
        }
        match ended {
            Ok(()) => {
                self.facts.ok = true;
                self.sum_up()?;
            }
            Err(problem) => self.mourn(&problem)?,
        }
        if self.options.keep { self.show_around() } else { Ok(()) }
    }

    fn sum_up(&mut self) -> Result<()> {
        let at = |name: &str| {
            let step = self.facts.steps.iter().find(|step| step.name == name);
            step.and_then(|step| step.at_ms).unwrap_or_default()
        };
        let total = at("handed-back");
        let summary = &mut self.facts.summary;
        summary.total_ms = Some(total);
        let outage = summary.outage_ms.unwrap_or_default();
        let allowed = summary.outage_allowed_ms;
        let verdict = if outage <= allowed {
            format!("allowed: {}", seconds(allowed))
        } else {
            format!("OVER the allowed {}: is this machine busy?", seconds(allowed))
        };
        let words =
            |pings: Option<super::Pings>| pings.map(super::Pings::words).unwrap_or_default();
        let (takeover, back) = (words(summary.takeover), words(summary.hand_back));
        let run = seconds(summary.run_ms);
        let repair = seconds(at("rejoined") - at("stopped"));
        let text = format!(
            "
  outage of {CLIENT}           {:<8} ({takeover}; {verdict})
  from kill to takeover      {}
  off and on again           {repair}
  from takeover to hand-back {back}
  everything as before       {} after the kill
  whole run                  {run}
",
            seconds(outage),
            seconds(at("taken-over")),
            seconds(total),
        );
        let headline = self.stage.paint("Every step happened.", Colour::Green);
        self.stage.say(&format!("\n{headline}{text}"))
    }

    fn mourn(&mut self, problem: &anyhow::Error) -> Result<()> {
        let (name, expects) = self.step.unwrap_or(("start", "the lab starts"));
        let found = match problem.downcast_ref::<Missed>() {
            Some(Missed(found)) => found.clone(),
            None => format!("{problem:#}"),
        };
        self.note(false, None, &found);
        self.facts.failed = Some(name.to_owned());
        let patience = self.options.patience.as_secs();
        self.stage
            .cross(name, &format!("expected within {patience} s: {expects}. Found: {found}"))?;
        for host in [VICTIM, HEIR] {
            let console = self.lab.console(host).unwrap_or_else(|problem| format!("{problem:#}"));
            let lines: Vec<&str> = console.lines().collect();
            let last = lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n    ");
            self.stage.say(&format!("\n  The last lines of {host}'s console:\n    {last}"))?;
        }
        let logs = self.save_logs();
        let headline = self.stage.paint(&format!("FAILED at step `{name}`."), Colour::Red);
        self.stage.say(&match logs {
            Ok(()) => format!("\n{headline} Logs: {}", self.options.logs.display()),
            Err(problem) => format!("\n{headline} Logs could not be saved: {problem:#}"),
        })
    }

    /// Saves what ends with the lab.
    fn save_logs(&self) -> Result<()> {
        let logs = &self.options.logs;
        let write = |name: &str, text: &[u8]| {
            let path = logs.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let log = fs::read(self.lab.directory().join("lab.log")).unwrap_or_default();
        write("lab.log", &log)?;
        for host in [VICTIM, HEIR] {
            write(&format!("{host}.console"), self.lab.console(host)?.as_bytes())?;
            if let Some(status) = self.watch.status.get(host) {
                write(&format!("{host}.status.json"), &serde_json::to_vec_pretty(status)?)?;
            }
        }
        write("timeline.json", &serde_json::to_vec_pretty(&self.lab.timeline()?)?)
    }

    /// Says what can be done with a lab that stays.
    fn show_around(&mut self) -> Result<()> {
        let program = crate::lab::program()?;
        let lab = lab_command(&program, self.lab.directory());
        self.stage.say(&format!(
            "\nThe lab keeps running. To explore it:
  lab='{lab}'
  $lab status                        # hosts and routes
  $lab exec {HEIR} natha status     # what natha knows and does
  $lab exec {CLIENT} ping -c 3 203.0.113.10
  $lab exec {HEIR} sh -c 'ip address; nft list table ip natha'
  $lab cut {HEIR} link              # cut a link; `mend {HEIR}` undoes it
  $lab panic {HEIR}                 # this time the other node
  $lab console {VICTIM}
  $lab down                          # end it"
        ))
    }
}

fn lab_command(program: &Path, directory: &Path) -> String {
    format!("{} --lab {}", program.display(), directory.display())
}
