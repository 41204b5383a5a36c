//! `natha-prove bugs`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;

use super::catalogue::{Bug, Catalogue};
use super::tree::{Found, Tree};

/// A run of the checker that takes longer than this many seconds is not the small one it should be.
const LIMIT: &str = "900";
/// What the simulations are called by.
const SEVERAL: &[&str] = &["sim", "--several"];
const REPLICATION: &[&str] = &["flows"];

/// Which bugs.
#[derive(Debug, Args)]
#[command(
    after_help = "The bugs are put into a copy of the sources, under target/bugs, each behind \
    a switch. While one is on,\nthe check must break the rule that the bug names, and so must the \
    simulations, of bugs that name\none of their rules; while none is on, every run of the check \
    must hold.\n\n\
    Exit status: 0 every bug is caught, 3 one is not, 1 error, 2 wrong usage."
)]
pub struct Options {
    /// Only these bugs; then the copy is not checked first while none is on.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Show what the checker says of each.
    #[arg(long)]
    story: bool,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Jobs of the compiler and threads of the checker; as many as processors if not given.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// What was put to the test, and what came of it.
struct Row<'a> {
    name: &'a str,
    rule: &'a str,
    what: &'a str,
    run: &'a str,
}

/// Runs the command.
///
/// # Errors
/// Where a bug does not fit the sources any more, the sound core breaks a rule, the copy does not
/// compile, or something cannot be written.
pub fn command(options: &Options) -> anyhow::Result<ExitCode> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let mut catalogue = Catalogue::load(&source.join("tests/prove/bugs.toml"))?;
    let known: BTreeSet<_> = catalogue.bugs.iter().map(|bug| bug.name.clone()).collect();
    for name in &options.names {
        ensure!(known.contains(name), "there is no bug `{name}`");
    }
    let mut out = std::io::stdout().lock();
    let begun = Instant::now();
    let tree = Tree::build(&source, &catalogue, options.jobs)?;
    writeln!(out, "all bugs compiled in {:.0} s", begun.elapsed().as_secs_f64())?;
    if options.names.is_empty() {
        check_sound(&tree, &catalogue, options, &mut out)?;
    } else {
        catalogue.bugs.retain(|bug| options.names.contains(&bug.name));
    }
    writeln!(out, "{:<24} {:<30} {:>9} {:>6}", "bug", "caught by", "states", "s")?;
    let mut caught = 0;
    for bug in &catalogue.bugs {
        let checked = match bug.check() {
            Some((rule, run)) => {
                let row = Row { name: &bug.name, rule, what: &bug.what, run };
                row.put(&tree, &bug.switched_on(), options, &mut out)?
            }
            None => true,
        };
        let simulated = simulate(&tree, bug, options, &mut out)?;
        caught += usize::from(checked && simulated);
    }
    let all = catalogue.bugs.len();
    writeln!(out, "{caught} of {all} seeded bugs caught")?;
    if let Some(file) = &options.json {
        let figures = json!({ "prove.seeded_bugs": all, "prove.seeded_bugs_caught": caught });
        let text = serde_json::to_string_pretty(&figures)? + "\n";
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(if caught == all { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// Without a bug every run holds; and without an assumption its rule does not.
fn check_sound(
    tree: &Tree,
    catalogue: &Catalogue,
    options: &Options,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let checks = catalogue.bugs.iter().filter_map(Bug::check);
    let runs: BTreeSet<&str> = checks.map(|(_, run)| run).collect();
    let mut states = 0;
    for run in &runs {
        let found = run_check(tree, "", run, &[], options)?;
        ensure!(found.code == Some(0), "without a bug, check {run}:\n{}", found.text);
        states += found.states;
    }
    let (runs, took) = (runs.len(), begun.elapsed().as_secs_f64());
    writeln!(out, "without a bug: every rule holds in {runs} runs, {states} states, {took:.0} s")?;
    for a in &catalogue.assumptions {
        let row = Row { name: &a.name, rule: &a.rule, what: &a.what, run: &a.run };
        let broken = row.put(tree, "", options, out)?;
        ensure!(broken, "`{}` is not needed: its rule holds without it", a.name);
    }
    Ok(())
}

impl Row<'_> {
    /// Puts it to the test. Says whether its rule is broken, as it must be.
    fn put(
        &self,
        tree: &Tree,
        bugs: &str,
        options: &Options,
        out: &mut impl Write,
    ) -> anyhow::Result<bool> {
        let begun = Instant::now();
        let found = run_check(tree, bugs, self.run, &["--until", self.rule], options)?;
        let caught = found.code == Some(3) && found.broken.iter().any(|rule| rule == self.rule);
        let others: Vec<&str> = found.broken.iter().map(String::as_str).collect();
        let by = match (caught, others.is_empty()) {
            (true, _) => self.rule.to_owned(),
            (false, true) => "NOTHING".to_owned(),
            (false, false) => format!("NOT {}, but {}", self.rule, others.join(", ")),
        };
        let took = begun.elapsed().as_secs_f64();
        writeln!(out, "{:<24} {by:<30} {:>9} {took:>6.1}", self.name, found.states)?;
        if !caught {
            writeln!(out, "  {}\n  natha-prove check {}", self.what, self.run)?;
        }
        if options.story {
            writeln!(out, "{}", found.text)?;
        }
        Ok(caught)
    }
}

/// Simulates a bug where that is asked for. Says whether its rules are broken, as they must be.
fn simulate(
    tree: &Tree,
    bug: &Bug,
    options: &Options,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let several = bug.simulated.as_deref().map(|rule| (rule, SEVERAL));
    let replicated = bug.replicated.as_deref().map(|rule| (rule, REPLICATION));
    let mut all_caught = true;
    for (rule, simulation) in several.into_iter().chain(replicated) {
        let begun = Instant::now();
        let broken = tree.simulate(&bug.switched_on(), simulation, &threads(options), rule)?;
        let caught = broken.iter().any(|line| line.contains(rule));
        let by = if caught { rule } else { "NOTHING" };
        let took = begun.elapsed().as_secs_f64();
        let name = if bug.check().is_some() { "  simulated" } else { &bug.name };
        writeln!(out, "{name:<24} {by:<30} {:>9} {took:>6.1}", "")?;
        if options.story || !caught {
            writeln!(out, "  {}\n{}", bug.what, broken.join("\n"))?;
        }
        all_caught &= caught;
    }
    Ok(all_caught)
}

fn threads(options: &Options) -> String {
    options.jobs.unwrap_or_else(crate::processors).to_string()
}

fn run_check(
    tree: &Tree,
    bugs: &str,
    run: &str,
    more: &[&str],
    options: &Options,
) -> anyhow::Result<Found> {
    let threads = threads(options);
    let more = [more, &["--limit", LIMIT, "--threads", &threads]].concat();
    tree.check(bugs, run, &more)
}
