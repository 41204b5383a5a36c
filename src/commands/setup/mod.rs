//! `natha setup`: makes this host a NAT, or whatever else its groups need it to be.
//!
//! The last plan of this instance is applied first: it needs neither the network nor AWS, so a host
//! that boots while EC2 is down forwards all the same. Then everything that can be checked is
//! checked before the first change. Each change is recorded in the undo journal before it is made.
//! If a change of the host fails, the earlier ones are undone. EC2's source/dest check comes last:
//! if EC2 refuses or does not answer, the host stays as planned and setup must run again. At the
//! end everything is read back.

mod landings;
mod summary;
mod survey;

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use ipnet::Ipv4Net;

use self::summary::{Outcome, not_settable, row};
use self::survey::{HostSurvey, LastKnown};
use super::needs_attention;
use super::report::{RowResult, SetupReport};
use crate::config::{Flags, Host, load};
use crate::kernel::addresses;
use crate::kernel::apply::Applier;
use crate::kernel::facts;
use crate::kernel::forwarding::{check_plan, reassert};
use crate::kernel::journal::JournalStore;
use crate::kernel::nft::Nft;
use crate::kernel::privilege;
use crate::plan::{Item, ItemState, diff, misrouted, warnings};

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

/// Runs `natha setup`. Exit code 0: the host is as planned. 3: it is not, or the tags or the
/// source/dest check are unknown because EC2 did not answer, or, with `--dry-run`, the host would
/// have to change.
///
/// # Errors
/// If the host cannot be set up. It is then as it was before, or as the last setup left it, or the
/// error lists what could not be undone.
pub(crate) async fn run(args: Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let settings = load(flags, None)?.settings;
    let nft = preflight()?;
    let mut facts = facts::gather(&nft).await?;
    let last = LastKnown::read(&settings.state_dir, &facts)?;
    let mut shown = Vec::new();
    if last.plan.is_some() && !args.dry_run {
        shown = restore(&settings.state_dir).await;
        if !shown.is_empty() {
            facts = facts::gather(&nft).await?;
        }
    }
    let mut survey = Box::pin(HostSurvey::take(facts, &args, flags, settings, last)).await?;
    let mut warnings = warnings(&survey.plan.table, &survey.facts.others);
    warnings.extend(misrouted(&survey.plan.table, &survey.facts.links, &survey.facts.routes));
    let items = diff(&survey.plan, &survey.facts);
    refuse_stuck(&items)?;
    nft.check_flowtable(&survey.plan.table).await?;
    if args.dry_run {
        return dry_run(survey, &items, warnings, args.json).await;
    }
    let differs = items.iter().any(|item| item.standing == ItemState::Differs);
    let store = JournalStore::open_patiently(&survey.state_dir).await?;
    let applier = Applier::new(nft.clone(), store)?;
    shown.extend(survey.apply(applier, &items).await?);
    shown.extend(survey.turn_checks_off(&items).await);
    let left = if differs { survey.read_back(&nft).await? } else { Vec::new() };
    let done = left.is_empty() && survey.problems.is_empty();
    for problem in &survey.problems {
        tracing::error!("{problem}");
    }
    warnings.extend(survey.notes);
    let (landings, missing) = landings::rows(&survey.egress, &addresses::read().await?);
    warnings.extend(missing);
    let outcome = Outcome { items: &items, shown: &shown, left: &left, problems: &survey.problems };
    let mut report = outcome.report(&survey.plan, warnings);
    report.rows.extend(landings);
    SetupReport { groups: survey.groups, ..report }.print(args.json)?;
    Ok(if done { ExitCode::SUCCESS } else { needs_attention() })
}

/// Checks the privileges and finds `nft`.
pub(super) fn preflight() -> anyhow::Result<Nft> {
    if !privilege::may_change_the_network() {
        bail!("root or the capability CAP_NET_ADMIN is required: run this with sudo");
    }
    Ok(Nft::find()?)
}

/// Applies the last plan. Returns what was changed. A failure is only logged: the plan that follows
/// may not need what failed.
async fn restore(state_dir: &Path) -> Vec<Item> {
    let restored = match check_plan(state_dir).await {
        Ok(drifted) if drifted.is_empty() => return Vec::new(),
        Ok(_) => reassert(state_dir).await,
        Err(error) => Err(error),
    };
    match restored {
        Ok(changed) => {
            let count = changed.len();
            tracing::info!("applied the plan of the last setup: {count} differences");
            changed
        }
        Err(error) => {
            tracing::warn!(%error, "cannot apply the plan of the last setup");
            Vec::new()
        }
    }
}

async fn dry_run(
    survey: HostSurvey,
    items: &[Item],
    mut warnings: Vec<String>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let differs = items.iter().any(|item| item.standing == ItemState::Differs);
    let (result, summary) = if differs {
        ("would-change", "This host differs from the plan. Nothing was changed.")
    } else {
        ("nothing-to-do", "Nothing to do: this host is as planned.")
    };
    let (landings, missing) = landings::rows(&survey.egress, &addresses::read().await?);
    let rows = items.iter().map(|item| row(item, RowResult::WouldChange)).chain(landings).collect();
    let sure = survey.problems.is_empty() && !differs;
    warnings.extend(survey.problems);
    warnings.extend(survey.notes);
    warnings.extend(missing);
    warnings.extend(not_settable(items));
    let (summary, groups) = (summary.to_owned(), survey.groups);
    SetupReport { result, summary, rows, groups, warnings }.print(json)?;
    Ok(if sure { ExitCode::SUCCESS } else { needs_attention() })
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
