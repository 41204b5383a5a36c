//! `natha setup`: makes this host a NAT, or whatever else its groups need it to be.
//!
//! Everything that can be known to be wrong is found before the first change. Each change is in
//! the undo journal before it is made; if one fails, those before it are undone. At the end
//! everything is read back.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ipnet::Ipv4Net;

use super::report::{GroupRow, Outcome, Report, Row};
use super::source_dest::{SourceDestChecks, ask, word};
use crate::config::{Flags, Host, PairFlags, Settings, load};
use crate::kernel::apply::{Applier, Undone};
use crate::kernel::facts;
use crate::kernel::journal::{JournalEntry, JournalStore};
use crate::kernel::nft::Nft;
use crate::kernel::privilege;
use crate::plan::{
    CloudFacts, HostFacts, HostPlan, Item, Standing, Subject, TableSpec, diff, warnings,
};

/// Flags of `natha setup`. Each of them goes before the settings.
#[derive(Debug, Clone, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what it is made of")]
pub struct Args {
    /// Show what would be changed and change nothing; exit with 3 if there is something.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// The interface towards the internet [default: the one with the default route].
    #[arg(long, value_name = "INTERFACE")]
    pub uplink: Option<String>,
    /// Whose traffic to translate; may be given several times [default: the VPC's CIDR blocks].
    #[arg(long = "source", value_name = "CIDR")]
    pub sources: Vec<Ipv4Net>,
    /// Let established TCP and UDP flows take the kernel's short way, an nft flowtable.
    #[arg(long)]
    pub flowtable: bool,
    /// Leave EC2's source/dest check as it is.
    #[arg(long)]
    pub no_source_dest_check: bool,
}

impl Args {
    fn over(&self, host: &Host) -> Host {
        let mut host = host.clone();
        if self.uplink.is_some() {
            host.uplink.clone_from(&self.uplink);
        }
        if !self.sources.is_empty() {
            host.sources.clone_from(&self.sources);
        }
        host.flowtable |= self.flowtable;
        host.source_dest_check &= !self.no_source_dest_check;
        host
    }
}

/// Runs it. Exit code 0: the host is as planned. 3: it is not (or would be changed, with
/// `--dry-run`).
///
/// # Errors
/// When the host cannot be set up; it is then as it was before, or the error says what is not.
pub async fn run(args: Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let settings = load(flags, &PairFlags::default(), None)?.settings;
    let nft = preflight()?;
    let mut survey = Survey::take(&nft, &args, flags, settings).await?;
    let mut warnings = warnings(&survey.plan.table, &survey.facts.others);
    warnings.extend(survey.untold.clone());
    let items = diff(&survey.plan, &survey.facts);
    refuse_stuck(&items)?;
    nft.check_flowtable(&survey.plan.table).await?;
    let missing = items.iter().any(|item| item.standing == Standing::Differs);
    if args.dry_run {
        let (result, summary, code) = if missing {
            ("would-change", "This host is not as planned. Nothing was changed.", 3)
        } else {
            ("nothing-to-do", "Nothing to do: this host is as planned.", 0)
        };
        let rows = items.iter().map(|item| row(item, Outcome::WouldChange)).collect();
        let mut all = warnings;
        all.extend(not_settable(&items));
        let (summary, groups) = (summary.to_owned(), survey.groups);
        Report { result, summary, rows, groups, warnings: all }.print(args.json)?;
        return Ok(ExitCode::from(code));
    }
    let store = JournalStore::open(&survey.state_dir)?;
    let mut applier = Applier::new(nft.clone(), store)?;
    let shown = match survey.apply(&mut applier, &items).await {
        Ok(shown) => shown,
        Err(error) => return Err(survey.roll_back(applier, error).await),
    };
    applier.finish(&survey.plan)?;
    let left = if missing { survey.read_back(&nft).await? } else { Vec::new() };
    let report = report(&survey.plan, &items, &shown, &left, warnings);
    Report { groups: survey.groups, ..report }.print(args.json)?;
    Ok(ExitCode::from(if left.is_empty() { 0 } else { 3 }))
}

/// What can be found wrong without a plan.
pub(super) fn preflight() -> anyhow::Result<Nft> {
    if !privilege::may_change_the_network() {
        bail!("this needs root, or the capability CAP_NET_ADMIN: run it with sudo");
    }
    Ok(Nft::find()?)
}

fn refuse_stuck(items: &[Item]) -> anyhow::Result<()> {
    let stuck: Vec<String> = items
        .iter()
        .filter(|item| item.standing == Standing::Stuck)
        .map(ToString::to_string)
        .collect();
    if !stuck.is_empty() {
        bail!(
            "{}; it cannot be set from here: /proc/sys is read-only. Set it on the host that this \
             container runs on. Nothing was changed",
            stuck.join("; ")
        );
    }
    Ok(())
}

/// What was found of the host, and what is to become of it.
struct Survey {
    plan: HostPlan,
    facts: HostFacts,
    checks: Option<SourceDestChecks>,
    state_dir: PathBuf,
    /// What settings may lack, in a sentence.
    untold: Option<String>,
    /// The groups of the settings.
    groups: Vec<GroupRow>,
}

impl Survey {
    async fn take(
        nft: &Nft,
        args: &Args,
        flags: &Flags,
        mut settings: Settings,
    ) -> anyhow::Result<Self> {
        let mut facts = facts::gather(nft).await?;
        let mut host = args.over(&settings.host);
        // A name that is not there is told before anything is asked over the network.
        if let Some(problem) = HostPlan::wrong_links(&host, &facts) {
            return Err(problem.into());
        }
        let mut untold = None;
        let mut region = None;
        if let Some(told) = ask(&host, settings.role(), &settings.api).await? {
            facts.cloud = Some(told.facts);
            region = Some(told.region);
            match told.tags {
                Ok(tags) => {
                    settings = load(flags, &PairFlags::default(), Some(&tags))?.settings;
                    host = args.over(&settings.host);
                }
                Err(why) => {
                    untold = Some(format!("settings in this instance's tags do not count: {why}"));
                }
            }
        }
        let plan = HostPlan::new(&host, settings.role(), &facts)?;
        let state_dir = settings.state_dir.clone();
        let groups = settings.groups.iter().map(GroupRow::from).collect();
        let mut survey = Self { plan, facts, checks: None, state_dir, untold, groups };
        if !survey.plan.unchecked.is_empty() {
            survey.checks = Some(SourceDestChecks::connect(&settings.api, region).await?);
        }
        survey.read_rest().await?;
        Ok(survey)
    }

    /// Reads what the plan makes it necessary to know.
    async fn read_rest(&mut self) -> anyhow::Result<()> {
        self.facts.sysctls = facts::readings(&self.plan.sysctls)?;
        if let (Some(checks), Some(cloud)) = (&self.checks, self.facts.cloud.as_mut()) {
            checks.fill(&self.plan, cloud).await?;
        }
        Ok(())
    }

    /// Makes the changes. Returns how each thing stood right before its change.
    async fn apply(&self, applier: &mut Applier, items: &[Item]) -> anyhow::Result<Vec<Item>> {
        let mut changed = applier.kernel(&self.plan, items).await?;
        for item in items.iter().filter(|item| item.standing == Standing::Differs) {
            if let (Subject::SourceDestCheck(id), Some(checks)) = (&item.subject, &self.checks) {
                applier.record(&item.subject, item.found.clone(), &item.wanted)?;
                checks.set(id, false).await?;
                changed.push(item.clone());
            }
        }
        Ok(changed)
    }

    /// Undoes what this run has done, and adds to the error what came of that.
    async fn roll_back(&self, applier: Applier, error: anyhow::Error) -> anyhow::Error {
        let before = applier.last_plan().map(|plan| plan.table.clone());
        let mut failures = Vec::new();
        for entry in applier.done() {
            if let Err(failure) = self.undo(&applier, &entry, before.as_ref()).await {
                failures.push(format!("{}: {failure:#}", entry.subject));
            }
        }
        if failures.is_empty() {
            return match applier.forget() {
                Ok(()) => error.context("setup failed, and what it had changed is undone"),
                Err(failure) => error.context(format!(
                    "setup failed; what it had changed is undone, but the journal is not: {failure}"
                )),
            };
        }
        error.context(format!(
            "setup failed, and not everything could be undone ({}); run `natha teardown`",
            failures.join("; ")
        ))
    }

    async fn undo(
        &self,
        applier: &Applier,
        entry: &JournalEntry,
        table: Option<&TableSpec>,
    ) -> anyhow::Result<()> {
        if let (Subject::SourceDestCheck(id), Some(checks)) = (&entry.subject, &self.checks) {
            let was_on = entry.original.as_deref() == Some(word(true));
            // Where the change itself was refused, undoing it would be too, and is not needed.
            if was_on && checks.get(id).await? == Some(false) {
                checks.set(id, true).await?;
            }
            return Ok(());
        }
        // A table that someone else had changed is not brought back, only one that was natha's.
        let ours = entry.original.is_some();
        match applier.undo(entry, table.filter(|_| ours)).await? {
            Undone::LeftAlone { found } => {
                bail!("it is {found} now: someone else changes it at the same time")
            }
            Undone::Restored | Undone::Already => Ok(()),
        }
    }

    /// Reads everything anew and returns what is not as planned.
    async fn read_back(&mut self, nft: &Nft) -> anyhow::Result<Vec<Item>> {
        let cloud: Option<CloudFacts> = self.facts.cloud.take();
        let read = facts::gather(nft).await.context("cannot read back what was changed")?;
        self.facts = HostFacts { cloud, ..read };
        self.read_rest().await.context("cannot read back what was changed")?;
        let mut items = diff(&self.plan, &self.facts);
        items.retain(|item| matches!(item.standing, Standing::Differs | Standing::Stuck));
        Ok(items)
    }
}

fn row(item: &Item, differs: Outcome) -> Row {
    let outcome = match item.standing {
        Standing::Right => Outcome::Right,
        Standing::Differs => differs,
        Standing::NotSettable => Outcome::NotSettable,
        Standing::Stuck => Outcome::Failed,
    };
    // Where a larger value is as good, the one that is there stays.
    let after = match item.standing {
        Standing::Differs => Some(item.wanted.clone()),
        _ => item.found.clone(),
    };
    Row { what: item.subject.to_string(), before: item.found.clone(), after, outcome }
}

fn not_settable(items: &[Item]) -> Option<String> {
    let list: Vec<String> = items
        .iter()
        .filter(|item| item.standing == Standing::NotSettable)
        .map(ToString::to_string)
        .collect();
    (!list.is_empty()).then(|| {
        format!(
            "{}; it cannot be set from inside this network namespace. Set it on the host, or \
             fewer connections can be open at once than this host's memory allows",
            list.join("; ")
        )
    })
}

/// What the host is for once it is as planned.
fn purpose(plan: &HostPlan) -> String {
    fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
        items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
    }
    let HostPlan { table, addresses, unchecked, .. } = plan;
    let mut purposes = Vec::new();
    if table.nat {
        purposes.push(format!("translates {} towards `{}`", list(&table.sources), table.uplink));
    }
    let accepted = list(addresses.iter().chain(&table.accept));
    if !accepted.is_empty() {
        purposes.push(format!("answers on {accepted}"));
    }
    if !table.nat && !unchecked.is_empty() {
        purposes.push("gets packets for virtual IPs from the VPC".to_owned());
    }
    if purposes.is_empty() {
        return "This host is no NAT and needs nothing for its groups".to_owned();
    }
    format!("This host {}", purposes.join(" and "))
}

/// Puts together what was found, what was changed and what came of it.
fn report(
    plan: &HostPlan,
    items: &[Item],
    shown: &[Item],
    left: &[Item],
    mut warnings: Vec<String>,
) -> Report {
    let rows: Vec<Row> = items
        .iter()
        .map(|item| {
            let before = shown.iter().find(|s| s.subject == item.subject).unwrap_or(item);
            match left.iter().find(|l| l.subject == item.subject) {
                None => row(before, Outcome::Changed),
                Some(bad) => Row { before: before.found.clone(), ..row(bad, Outcome::Failed) },
            }
        })
        .collect();
    let settled: Vec<Item> = items.iter().chain(shown).cloned().collect();
    warnings.extend(not_settable(&settled));
    let what = purpose(plan);
    let changed = rows.iter().filter(|row| row.outcome == Outcome::Changed).count();
    let (result, summary) = if !left.is_empty() {
        let list = left.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let text = format!("Set up, but not as planned when read back: {list}. Run setup again.");
        ("not-as-planned", text)
    } else if changed == 0 {
        ("nothing-to-do", format!("Nothing to do. {what}."))
    } else {
        ("changed", format!("{what}. Changed: {changed}. Undo with `natha teardown`."))
    };
    Report { result, summary, rows, groups: Vec::new(), warnings }
}
