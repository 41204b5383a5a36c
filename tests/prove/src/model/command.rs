//! `natha-prove check`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use natha::config::{least_repair_after, least_settle, least_stagger};
use serde_json::{Value, json};

use super::bounds::settings;
use super::check::{Effort, Report, check};
use super::rule::Rule;
use super::scope::{Kind, Pattern, Scope};
use super::scopes;
use super::story::tell;
use crate::processors;

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    natha-prove check --quick               a few minutes' worth of states\n  \
    natha-prove check --scope n2-deep       one of the runs of the full space\n  \
    natha-prove check --scope n2-any-one --with Overdue\n\
    \x20                                         without the timing assumption: S1 is broken\n\n\
    Exit status: 0 all rules hold in every state, 3 one is broken, 1 error, 2 wrong usage.")]
pub struct Options {
    /// A bounded part of the space.
    #[arg(long)]
    quick: bool,
    /// Only the runs of this name.
    #[arg(long, value_name = "NAME")]
    scope: Option<String>,
    /// One more kind of fault in every run.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    with: Option<Kind>,
    #[command(flatten)]
    custom: Custom,
    /// End a run at the first breach.
    #[arg(long)]
    first: bool,
    /// End a run at the first breach of this rule.
    #[arg(long, value_name = "RULE", value_parser = rule)]
    until: Option<Rule>,
    /// End a run after this many seconds; it then counts as incomplete.
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u64>,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads; as many as processors if not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// A run of its own.
#[derive(Debug, Args)]
struct Custom {
    /// A run with these kinds of faults, instead of those that have names.
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', value_parser = kind)]
    kinds: Vec<Kind>,
    /// Its nodes.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "kinds")]
    nodes: usize,
    /// The tables of each node's home group.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "kinds")]
    tables: usize,
    #[command(flatten)]
    groups: Groups,
    /// How many things may go wrong.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "kinds")]
    strikes: u8,
    /// For how many seconds a fault lasts, one of these; any time if not given.
    #[arg(long, value_name = "SECONDS,…", value_delimiter = ',', requires = "kinds")]
    lasts: Vec<u8>,
    /// All monitors start at the beginning, with the routes in every position.
    #[arg(long, requires = "kinds")]
    booting: bool,
}

/// What its groups are.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Groups {
    /// Each group is a virtual IP's routes and an Elastic IP.
    #[arg(long, requires = "kinds")]
    eip: bool,
    /// Each group is a default route and an egress IP.
    #[arg(long, requires = "kinds", conflicts_with = "eip")]
    egress: bool,
    /// Each group has a service check.
    #[arg(long, requires = "kinds")]
    checked: bool,
    /// There is one group alone, whose home is the first node.
    #[arg(long, requires = "kinds")]
    single: bool,
}

impl Custom {
    fn scope(&self) -> Scope {
        Scope {
            name: "custom",
            nodes: self.nodes,
            tables: self.tables,
            pattern: self.groups.pattern(),
            kinds: self.kinds.clone(),
            strikes: self.strikes,
            lasts: Some(self.lasts.clone()).filter(|lasts| !lasts.is_empty()),
            booting: self.booting,
        }
    }
}

impl Groups {
    fn pattern(&self) -> Pattern {
        let Self { eip, egress, checked, single } = *self;
        Pattern { eip, egress, checked, single }
    }
}

/// Runs the command.
///
/// # Errors
/// Where there is no such run or kind, or nothing can be written.
pub fn command(options: &Options) -> anyhow::Result<ExitCode> {
    check_assumption()?;
    let scopes = chosen(options)?;
    let effort = Effort {
        threads: options.threads.unwrap_or_else(processors),
        limit: options.limit.map(Duration::from_secs),
        first: options.first,
        until: options.until,
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<14} {:>5} {:>12} {:>6} {:>8}  result",
        "run", "nodes", "states", "depth", "s"
    )?;
    let mut reports = Vec::new();
    for scope in scopes {
        let report = check(&scope, effort);
        writeln!(
            out,
            "{:<14} {:>5} {:>12} {:>6} {:>8.1}  {}",
            scope.name,
            scope.nodes,
            report.states,
            report.depth,
            report.took.as_secs_f64(),
            result(&report)
        )?;
        for (rule, schedule) in &report.broken {
            writeln!(out, "\nBROKEN: {rule}\n{}", tell(&scope, schedule))?;
        }
        reports.push((scope, report));
    }
    tell_rules(&mut out, &reports)?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&figures(&reports))?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    let sound = reports.iter().all(|(_, report)| report.broken.is_empty());
    let complete = reports.iter().all(|(_, report)| report.complete);
    Ok(if sound && complete { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn result(report: &Report) -> String {
    match (report.broken.len(), report.complete) {
        (0, true) => "every rule holds in every state".to_owned(),
        (0, false) => "not complete: no rule broken so far".to_owned(),
        (broken, _) => format!("{broken} rules broken"),
    }
}

/// S1 rests on a timing assumption that natha checks of its settings when it starts. The settings
/// of the model must keep it too, or the check would say nothing about natha.
fn check_assumption() -> anyhow::Result<()> {
    let settings = settings();
    let repair = &settings.timing.repair;
    ensure!(repair.stagger >= least_stagger(&settings), "the model's stagger is refused by natha");
    ensure!(repair.after >= least_repair_after(&settings), "the model's repair.after is refused");
    ensure!(repair.settle >= least_settle(&settings), "the model's repair.settle is refused");
    Ok(())
}

fn kind(name: &str) -> Result<Kind, String> {
    let others = [Kind::Overdue, Kind::Service, Kind::Unlisted, Kind::Drain];
    let more = Kind::PROBES.into_iter().chain(Kind::EGRESS);
    let mut all = Kind::ALLOWED.into_iter().chain(others).chain(more);
    let kind = all.find(|kind| format!("{kind:?}") == name);
    kind.ok_or_else(|| format!("there is no kind of fault `{name}`"))
}

fn rule(name: &str) -> Result<Rule, String> {
    let rule = Rule::ALL.into_iter().find(|rule| rule.name() == name);
    rule.ok_or_else(|| format!("there is no rule `{name}`"))
}

fn chosen(options: &Options) -> anyhow::Result<Vec<Scope>> {
    let mut scopes = if options.quick { scopes::quick() } else { scopes::full() };
    if !options.custom.kinds.is_empty() {
        scopes = vec![options.custom.scope()];
    }
    if let Some(name) = &options.scope {
        if !scopes.iter().any(|scope| scope.name == name) {
            scopes = scopes::quick();
        }
        scopes.retain(|scope| scope.name == name);
        if scopes.is_empty() {
            bail!("there is no run `{name}`");
        }
    }
    if let Some(kind) = &options.with {
        for scope in &mut scopes {
            scope.kinds.push(*kind);
        }
    }
    Ok(scopes)
}

/// Each rule, in how many states it was looked at, and for how long.
fn tell_rules(out: &mut impl Write, reports: &[(Scope, Report)]) -> std::io::Result<()> {
    let states: usize = reports.iter().map(|(_, report)| report.states).sum();
    let took: f64 = reports.iter().map(|(_, report)| report.took.as_secs_f64()).sum();
    writeln!(out, "\n{states} states in {took:.0} s; in each of them:")?;
    for rule in Rule::ALL {
        let broken = reports.iter().any(|(_, report)| report.broken.contains_key(rule.name()));
        let word = if broken { "BROKEN" } else { "holds" };
        let tried: u64 = reports.iter().map(|(_, report)| report.tried[rule.index()]).sum();
        writeln!(out, "  {word:<6} {:<30} put to the test {tried} times", rule.name())?;
        writeln!(out, "         {}", rule.statement())?;
    }
    Ok(())
}

fn figures(reports: &[(Scope, Report)]) -> Value {
    let mut figures = BTreeMap::new();
    for nodes in [2, 3] {
        let of = |get: fn(&Report) -> usize| {
            let some = reports.iter().filter(|(scope, _)| scope.nodes == nodes);
            some.map(|(_, report)| get(report)).sum::<usize>()
        };
        figures.insert(format!("prove.n{nodes}.states"), json!(of(|report| report.states)));
        let depth = reports.iter().filter(|(scope, _)| scope.nodes == nodes);
        let depth = depth.map(|(_, report)| report.depth).max().unwrap_or(0);
        figures.insert(format!("prove.n{nodes}.depth"), json!(depth));
    }
    let seconds: f64 = reports.iter().map(|(_, report)| report.took.as_secs_f64()).sum();
    let violations: usize = reports.iter().map(|(_, report)| report.broken.len()).sum();
    figures.insert("prove.properties".to_owned(), json!(Rule::ALL.len()));
    figures.insert("prove.violations".to_owned(), json!(violations));
    figures.insert("prove.seconds".to_owned(), json!(seconds.round()));
    figures.insert("prove.runs".to_owned(), json!(reports.len()));
    json!(figures)
}
