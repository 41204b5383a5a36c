//! `natha setup`: makes this host a NAT, or whatever else its groups need it to be.
//!
//! Everything that can be checked is checked before the first change. Each change is recorded in
//! the undo journal before it is made. If one fails, the earlier ones are undone. At the end
//! everything is read back.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ipnet::Ipv4Net;

use super::report::{GroupRow, Row, RowResult, SetupReport};
use super::source_dest::{SourceDestChecks, ask, word};
use crate::config::{Flags, Host, Settings, load};
use crate::kernel::apply::{Applier, Undone};
use crate::kernel::facts;
use crate::kernel::journal::{JournalEntry, JournalStore};
use crate::kernel::nft::Nft;
use crate::kernel::privilege;
use crate::plan::{
    CloudFacts, HostFacts, HostPlan, Item, ItemState, Subject, TableSpec, diff, warnings,
};

/// Flags of `natha setup`. They override the settings.
#[derive(Debug, Clone, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a command-line flag")]
pub(crate) struct Args {
    /// Show what would change without changing it; exits with 3 if anything would.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// The interface to the internet [default: the one with the default route].
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) uplink: Option<String>,
    /// Source networks to translate; may be repeated [default: the VPC's CIDR blocks].
    #[arg(long = "source", value_name = "CIDR")]
    pub(crate) sources: Vec<Ipv4Net>,
    /// Let established TCP and UDP flows use the kernel's fast path (an nft flowtable).
    #[arg(long)]
    pub(crate) flowtable: bool,
    /// Leave EC2's source/dest check as it is.
    #[arg(long)]
    pub(crate) no_source_dest_check: bool,
}

impl Args {
    /// The host settings with these flags applied.
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

/// Runs `natha setup`. Exit code 0: the host is as planned. 3: it is not, or, with `--dry-run`, it
/// would have to change.
///
/// # Errors
/// If the host cannot be set up. It is then as it was before, or the error lists what could not be
/// undone.
pub(crate) async fn run(args: Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let settings = load(flags, None)?.settings;
    let nft = preflight()?;
    let mut survey = HostSurvey::take(&nft, &args, flags, settings).await?;
    let mut warnings = warnings(&survey.plan.table, &survey.facts.others);
    warnings.extend(survey.tags_unread.clone());
    let items = diff(&survey.plan, &survey.facts);
    refuse_stuck(&items)?;
    nft.check_flowtable(&survey.plan.table).await?;
    let missing = items.iter().any(|item| item.standing == ItemState::Differs);
    if args.dry_run {
        let (result, summary, code) = if missing {
            ("would-change", "This host differs from the plan. Nothing was changed.", 3)
        } else {
            ("nothing-to-do", "Nothing to do: this host is as planned.", 0)
        };
        let rows = items.iter().map(|item| row(item, RowResult::WouldChange)).collect();
        let mut all = warnings;
        all.extend(not_settable(&items));
        let (summary, groups) = (summary.to_owned(), survey.groups);
        SetupReport { result, summary, rows, groups, warnings: all }.print(args.json)?;
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
    SetupReport { groups: survey.groups, ..report }.print(args.json)?;
    Ok(ExitCode::from(if left.is_empty() { 0 } else { 3 }))
}

/// Checks the privileges and finds `nft`.
pub(super) fn preflight() -> anyhow::Result<Nft> {
    if !privilege::may_change_the_network() {
        bail!("root or the capability CAP_NET_ADMIN is required: run this with sudo");
    }
    Ok(Nft::find()?)
}

fn refuse_stuck(items: &[Item]) -> anyhow::Result<()> {
    let stuck: Vec<String> = items
        .iter()
        .filter(|item| item.standing == ItemState::Stuck)
        .map(ToString::to_string)
        .collect();
    if !stuck.is_empty() {
        bail!(
            "{}; /proc/sys is read-only here. Set it on the host that runs this container. Nothing \
             was changed",
            stuck.join("; ")
        );
    }
    Ok(())
}

/// The host as found, and the plan for it.
struct HostSurvey {
    plan: HostPlan,
    facts: HostFacts,
    checks: Option<SourceDestChecks>,
    state_dir: PathBuf,
    /// A warning if the settings in this instance's tags could not be read.
    tags_unread: Option<String>,
    groups: Vec<GroupRow>,
}

impl HostSurvey {
    async fn take(
        nft: &Nft,
        args: &Args,
        flags: &Flags,
        mut settings: Settings,
    ) -> anyhow::Result<Self> {
        let mut facts = facts::gather(nft).await?;
        let mut host = args.over(&settings.host);
        // Report an unknown interface name before any network call.
        if let Some(error) = HostPlan::uplink_error(&host, &facts) {
            return Err(error.into());
        }
        let mut tags_unread = None;
        let mut region = None;
        if let Some(instance) = ask(&host, settings.role(), &settings.api).await? {
            facts.cloud = Some(instance.facts);
            region = Some(instance.region);
            match instance.tags {
                Ok(tags) => {
                    settings = load(flags, Some(&tags))?.settings;
                    host = args.over(&settings.host);
                }
                Err(why) => {
                    tags_unread = Some(format!("ignoring settings in this instance's tags: {why}"));
                }
            }
        }
        let plan = HostPlan::new(&host, settings.role(), &facts)?;
        let state_dir = settings.state_dir.clone();
        let groups = settings.groups.iter().map(GroupRow::from).collect();
        let mut survey = Self { plan, facts, checks: None, state_dir, tags_unread, groups };
        if !survey.plan.unchecked.is_empty() {
            survey.checks = Some(SourceDestChecks::connect(&settings.api, region).await?);
        }
        survey.read_rest().await?;
        Ok(survey)
    }

    /// Reads the facts that depend on the plan.
    async fn read_rest(&mut self) -> anyhow::Result<()> {
        self.facts.sysctls = facts::readings(&self.plan.sysctls)?;
        if let (Some(checks), Some(cloud)) = (&self.checks, self.facts.cloud.as_mut()) {
            checks.fill(&self.plan, cloud).await?;
        }
        Ok(())
    }

    /// Makes the changes. Returns each changed item as it was right before its change.
    async fn apply(&self, applier: &mut Applier, items: &[Item]) -> anyhow::Result<Vec<Item>> {
        let mut changed = applier.kernel(&self.plan, items).await?;
        for item in items.iter().filter(|item| item.standing == ItemState::Differs) {
            if let (Subject::SourceDestCheck(id), Some(checks)) = (&item.subject, &self.checks) {
                applier.record(&item.subject, item.found.clone(), &item.wanted)?;
                checks.set(id, false).await?;
                changed.push(item.clone());
            }
        }
        Ok(changed)
    }

    /// Undoes this run's changes and adds the result to the error.
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
                Ok(()) => error.context("setup failed; its changes were undone"),
                Err(failure) => error.context(format!(
                    "setup failed; its changes were undone, but the journal was not: {failure}"
                )),
            };
        }
        error.context(format!(
            "setup failed, and some changes could not be undone ({}): run `natha teardown`",
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
            // If EC2 refused the change, it would refuse the undo too, which is then not needed.
            if was_on && checks.get(id).await? == Some(false) {
                checks.set(id, true).await?;
            }
            return Ok(());
        }
        // Restore only a table that was natha's, not one that another program had changed.
        let ours = entry.original.is_some();
        match applier.undo(entry, table.filter(|_| ours)).await? {
            Undone::LeftAlone { found } => {
                bail!("it is {found} now: another program is changing it at the same time")
            }
            Undone::Restored | Undone::Already => Ok(()),
        }
    }

    /// Reads everything again and returns the items that differ from the plan.
    async fn read_back(&mut self, nft: &Nft) -> anyhow::Result<Vec<Item>> {
        let cloud: Option<CloudFacts> = self.facts.cloud.take();
        let read = facts::gather(nft).await.context("cannot read back what was changed")?;
        self.facts = HostFacts { cloud, ..read };
        self.read_rest().await.context("cannot read back what was changed")?;
        let mut items = diff(&self.plan, &self.facts);
        items.retain(|item| matches!(item.standing, ItemState::Differs | ItemState::Stuck));
        Ok(items)
    }
}

fn row(item: &Item, differs: RowResult) -> Row {
    let outcome = match item.standing {
        ItemState::Right => RowResult::Right,
        ItemState::Differs => differs,
        ItemState::NotSettable => RowResult::NotSettable,
        ItemState::Stuck => RowResult::Failed,
    };
    // If a larger value is acceptable, the current one stays.
    let after = match item.standing {
        ItemState::Differs => Some(item.wanted.clone()),
        _ => item.found.clone(),
    };
    Row { what: item.subject.to_string(), before: item.found.clone(), after, outcome }
}

fn not_settable(items: &[Item]) -> Option<String> {
    let list: Vec<String> = items
        .iter()
        .filter(|item| item.standing == ItemState::NotSettable)
        .map(ToString::to_string)
        .collect();
    (!list.is_empty()).then(|| {
        format!(
            "{}; it cannot be set from inside this network namespace. Set it on the host: without \
             it, this host tracks fewer connections than its memory allows",
            list.join("; ")
        )
    })
}

/// What the host does once it is as planned, in a sentence without a full stop.
fn purpose(plan: &HostPlan) -> String {
    fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
        items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
    }
    let HostPlan { table, addresses, unchecked, .. } = plan;
    let mut purposes = Vec::new();
    if table.nat {
        purposes.push(format!("translates {} through `{}`", list(&table.sources), table.uplink));
    }
    let accepted = list(addresses.iter().chain(&table.accept));
    if !accepted.is_empty() {
        purposes.push(format!("accepts packets for {accepted}"));
    }
    if !table.nat && !unchecked.is_empty() {
        purposes.push("receives packets for virtual IPs from the VPC".to_owned());
    }
    if purposes.is_empty() {
        return "This host is not a NAT and needs nothing for its groups".to_owned();
    }
    format!("This host {}", purposes.join(" and "))
}

/// Combines the items as found, as changed and as read back.
fn report(
    plan: &HostPlan,
    items: &[Item],
    shown: &[Item],
    left: &[Item],
    mut warnings: Vec<String>,
) -> SetupReport {
    let rows: Vec<Row> = items
        .iter()
        .map(|item| {
            let before = shown.iter().find(|s| s.subject == item.subject).unwrap_or(item);
            match left.iter().find(|l| l.subject == item.subject) {
                None => row(before, RowResult::Changed),
                Some(bad) => Row { before: before.found.clone(), ..row(bad, RowResult::Failed) },
            }
        })
        .collect();
    let settled: Vec<Item> = items.iter().chain(shown).cloned().collect();
    warnings.extend(not_settable(&settled));
    let what = purpose(plan);
    let changed = rows.iter().filter(|row| row.outcome == RowResult::Changed).count();
    let (result, summary) = if !left.is_empty() {
        let list = left.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let text = format!("Set up, but still not as planned: {list}. Run setup again.");
        ("not-as-planned", text)
    } else if changed == 0 {
        ("nothing-to-do", format!("Nothing to do. {what}."))
    } else {
        ("changed", format!("{what}. Changed: {changed}. Undo with `natha teardown`."))
    };
    SetupReport { result, summary, rows, groups: Vec::new(), warnings }
}
