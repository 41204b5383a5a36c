//! The host as found, the plan for it, and the changes that make it so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::Ipv4Net;
use tokio::time::timeout;

use super::Args;
use crate::cloud::OwnInterface;
use crate::commands::report::GroupRow;
use crate::commands::source_dest::{SourceDestChecks, TagsFault, identity, is_needed, tags};
use crate::config::{AcceptMode, EgressMode, Flags, Host, Settings, load};
use crate::daemon::{EgressOutlook, Outlook, outlook};
use crate::kernel::apply::{Applier, Undone};
use crate::kernel::egress::{EgressRecord, load_guard};
use crate::kernel::facts;
use crate::kernel::journal::{self, InstanceRecord, JournalEntry};
use crate::kernel::nft::Nft;
use crate::plan::{
    CloudFacts, CloudInterface, EgressRules, EgressTable, HostFacts, HostPlan, Item, ItemState,
    Link, Subject, TableSpec, diff,
};
use crate::types::Group;

/// How long the instance metadata may take where setup works without it.
const OPTIONAL_LIMIT: Duration = Duration::from_secs(2);

/// What an earlier setup of this instance left on the disk.
#[derive(Debug, Default)]
pub(super) struct LastKnown {
    /// Its plan.
    pub(super) plan: Option<HostPlan>,
    /// The settings in the instance's tags, as last read.
    tags: Option<BTreeMap<String, String>>,
}

impl LastKnown {
    /// Reads the journal. What another instance wrote, from whose disk this one's was made, does
    /// not count: no two instances have an interface with the same MAC address.
    pub(super) fn read(state_dir: &Path, facts: &HostFacts) -> anyhow::Result<Self> {
        let Some(journal) = journal::peek(state_dir)? else { return Ok(Self::default()) };
        let Some(record) = journal.instance else { return Ok(Self::default()) };
        if mac_of(facts, &record.uplink) != Some(&record.mac) {
            return Ok(Self::default());
        }
        Ok(Self { plan: journal.plan, tags: record.tags })
    }
}

fn mac_of<'a>(facts: &'a HostFacts, link: &str) -> Option<&'a String> {
    facts.links.iter().find(|there: &&Link| there.name == link).map(|there| &there.mac)
}

/// What the instance metadata and the tags say, and the settings that follow.
struct Told {
    settings: Settings,
    cloud: Option<CloudFacts>,
    region: Option<String>,
    /// The settings in the tags; those of the last setup if they cannot be read.
    tags: Option<BTreeMap<String, String>>,
    /// Whether too little is known for a plan other than the last one.
    keeps_plan: bool,
    problems: Vec<String>,
    notes: Vec<String>,
    /// The cluster, as far as it can be discovered now.
    outlook: Outlook,
}

impl Told {
    /// Asks the metadata service and EC2, if the settings need them. No answer and a refusal are
    /// problems; what was last known counts instead.
    ///
    /// # Errors
    /// If the metadata service does not answer and there is no last plan, or the settings in the
    /// tags are wrong.
    async fn by_aws(
        args: &Args,
        flags: &Flags,
        settings: Settings,
        last: &LastKnown,
    ) -> anyhow::Result<Self> {
        let host = args.over(&settings.host);
        let mut told = Self {
            settings,
            cloud: None,
            region: None,
            tags: last.tags.clone(),
            keeps_plan: false,
            problems: Vec::new(),
            notes: Vec::new(),
            outlook: Outlook::default(),
        };
        if !is_needed(&host, told.settings.role()) {
            told.cloud = interfaces(&host).await;
            return Ok(told);
        }
        let identity = match identity().await {
            Ok(identity) => identity,
            Err(error) if last.plan.is_some() => {
                told.keeps_plan = true;
                told.problems.push(format!("{error:#}; natha uses the plan of the last setup"));
                return Ok(told);
            }
            Err(error) => return Err(error),
        };
        match tags(&told.settings.api, &identity).await {
            Ok(tags) => told.tags = Some(tags),
            Err(fault) => {
                // A role that may not read tags never could: there are no settings in them.
                let harmless = fault.lasts && !host.source_dest_check && last.tags.is_none();
                let text = unread(&fault, last.tags.is_some());
                if harmless { told.notes.push(text) } else { told.problems.push(text) }
            }
        }
        if let Some(tags) = &told.tags {
            let resolved = load(flags, Some(tags))?;
            told.settings = resolved.settings;
            told.notes.extend(resolved.warnings.iter().map(ToString::to_string));
        }
        // Not where EC2 has just failed to answer: a boot must not wait for it again.
        if told.problems.is_empty() {
            let outlook = Box::pin(outlook(&told.settings, &identity)).await;
            told.notes.extend(outlook.findings.iter().map(ToString::to_string));
            told.outlook = outlook;
        }
        told.cloud = Some(CloudFacts {
            vpc_cidrs: identity.vpc_cidrs,
            interfaces: identity.interfaces.into_iter().map(interface).collect(),
        });
        told.region = Some(identity.region);
        Ok(told)
    }
}

/// The host as found, and the plan for it.
pub(super) struct HostSurvey {
    pub(super) plan: HostPlan,
    pub(super) facts: HostFacts,
    checks: Option<SourceDestChecks>,
    pub(super) state_dir: PathBuf,
    /// What is unknown because the metadata service or EC2 did not answer. Setup must run again.
    pub(super) problems: Vec<String>,
    /// What the operator should know but cannot mend by running setup again.
    pub(super) notes: Vec<String>,
    pub(super) groups: Vec<GroupRow>,
    record: Option<InstanceRecord>,
    /// The guard of a host on which no monitor has run yet.
    guard: EgressTable,
    /// The egress IPs of the groups.
    pub(super) egress: Vec<EgressOutlook>,
}

impl HostSurvey {
    pub(super) async fn take(
        mut facts: HostFacts,
        args: &Args,
        flags: &Flags,
        settings: Settings,
        last: LastKnown,
    ) -> anyhow::Result<Self> {
        let host = args.over(&settings.host);
        // Report an unknown interface name before any network call.
        if let Some(error) = HostPlan::uplink_error(&host, &facts) {
            return Err(error.into());
        }
        let told = Told::by_aws(args, flags, settings, &last).await?;
        facts.cloud = told.cloud;
        let (settings, host) = (&told.settings, args.over(&told.settings.host));
        let plan = match &last.plan {
            Some(plan) if told.keeps_plan => plan.clone(),
            last => {
                let plan = HostPlan::new(&host, settings.role(), &facts)?;
                plan.after(last.as_ref(), &facts).protected(settings)
            }
        };
        let mut notes = told.notes;
        notes.extend(plan.table.newly_closed(last.plan.as_ref().map(|plan| &plan.table)));
        facts.sysctls = facts::readings(&plan.sysctls)?;
        let record = mac_of(&facts, &plan.table.uplink).map(|mac| InstanceRecord {
            uplink: plan.table.uplink.clone(),
            mac: mac.clone(),
            tags: told.tags,
        });
        let guard = first_guard(&plan.table, settings, told.outlook.groups.as_deref());
        let mut survey = Self {
            plan,
            facts,
            checks: None,
            state_dir: settings.state_dir.clone(),
            problems: told.problems,
            notes,
            groups: settings.groups.iter().map(GroupRow::from).collect(),
            record,
            guard,
            egress: told.outlook.egress,
        };
        if survey.facts.cloud.is_some()
            && !survey.plan.unchecked.is_empty()
            && let Err(error) = survey.read_checks(settings, told.region).await
        {
            survey.problems.push(format!("{error:#}"));
        }
        Ok(survey)
    }

    /// Reads the source/dest checks of the plan's interfaces.
    async fn read_checks(
        &mut self,
        settings: &Settings,
        region: Option<String>,
    ) -> anyhow::Result<()> {
        let checks = SourceDestChecks::connect(&settings.api, region).await?;
        if let Some(cloud) = self.facts.cloud.as_mut() {
            checks.fill(&self.plan, cloud).await?;
        }
        self.checks = Some(checks);
        Ok(())
    }

    /// Changes the host and writes the plan to the journal, which is free again afterwards. Returns
    /// each changed item as it was right before its change.
    ///
    /// # Errors
    /// If a change fails. The changes before it are undone, or the error lists what could not be.
    pub(super) async fn apply(
        &self,
        mut applier: Applier,
        items: &[Item],
    ) -> anyhow::Result<Vec<Item>> {
        let changed = match self.change(&mut applier, items).await {
            Ok(changed) => changed,
            Err(error) => return Err(roll_back(applier, error).await),
        };
        if let Some(record) = &self.record {
            applier.keep_instance(record);
        }
        applier.finish(&self.plan)?;
        Ok(changed)
    }

    async fn change(&self, applier: &mut Applier, items: &[Item]) -> anyhow::Result<Vec<Item>> {
        if EgressRecord::load(&self.state_dir)?.is_none() {
            load_guard(&applier.nft, &self.guard).await?;
        }
        let changed = applier.kernel(&self.plan, items).await?;
        for item in self.checks_that_are_on(items) {
            applier.record(&item.subject, item.found.clone(), &item.wanted)?;
        }
        Ok(changed)
    }

    /// The source/dest checks that EC2 shows as on.
    fn checks_that_are_on<'a>(
        &self,
        items: &'a [Item],
    ) -> impl Iterator<Item = &'a Item> + use<'a> {
        let known = self.checks.is_some();
        items.iter().filter(move |item| {
            let differs = known && item.standing == ItemState::Differs;
            differs && matches!(item.subject, Subject::SourceDestCheck(_))
        })
    }

    /// Turns the source/dest checks off. Returns those that were on; what fails is a problem.
    pub(super) async fn turn_checks_off(&mut self, items: &[Item]) -> Vec<Item> {
        let mut changed = Vec::new();
        for item in self.checks_that_are_on(items) {
            let (Subject::SourceDestCheck(id), Some(checks)) = (&item.subject, &self.checks) else {
                continue;
            };
            if let Err(error) = checks.set(id, false).await {
                self.problems.push(format!("{error:#}"));
                continue;
            }
            let attached = self.facts.cloud.iter_mut().flat_map(|cloud| &mut cloud.interfaces);
            for interface in attached.filter(|interface| interface.id == *id) {
                interface.source_dest_check = Some(false);
            }
            changed.push(item.clone());
        }
        changed
    }

    /// Reads the host again and returns the items that differ from the plan. A source/dest check is
    /// not read again: EC2 has shown it as off since its change.
    pub(super) async fn read_back(&mut self, nft: &Nft) -> anyhow::Result<Vec<Item>> {
        let cloud = self.facts.cloud.take();
        let read = async {
            let facts = facts::gather(nft).await?;
            let sysctls = facts::readings(&self.plan.sysctls)?;
            anyhow::Ok(HostFacts { sysctls, cloud, ..facts })
        };
        self.facts = read.await.context("cannot read back what was changed")?;
        let mut items = diff(&self.plan, &self.facts);
        items.retain(|item| matches!(item.standing, ItemState::Differs | ItemState::Stuck));
        Ok(items)
    }
}

/// The guard of a host on which no monitor has run yet: for the hosts of the strict groups or,
/// while these are not known, for all sources if the settings have such a group.
fn first_guard(table: &TableSpec, settings: &Settings, groups: Option<&[Group]>) -> EgressTable {
    let has_strict = || settings.groups.iter().any(|one| one.egress == EgressMode::Strict);
    let held: Vec<Vec<Ipv4Net>> = match groups {
        _ if !table.nat => Vec::new(),
        Some(groups) => {
            let strict = groups.iter().filter(|group| group.egress.strict);
            strict.map(|group| group.egress.sources.clone()).collect()
        }
        None if has_strict() => vec![table.sources.clone()],
        None => Vec::new(),
    };
    let groups = held
        .into_iter()
        .filter(|sources| !sources.is_empty())
        .map(|sources| EgressRules { sources, strict: true, ..EgressRules::default() });
    let (uplink, vpc_networks) = (table.uplink.clone(), table.vpc_networks.clone());
    EgressTable { uplink, vpc_networks, groups: groups.collect(), reset: Vec::new() }
}

/// The interfaces as the instance metadata has them, if packets are redirected to their primary
/// addresses. None if the metadata does not answer, as outside EC2.
async fn interfaces(host: &Host) -> Option<CloudFacts> {
    if host.accept.is_empty() || host.accept_mode != AcceptMode::Redirect {
        return None;
    }
    let identity = timeout(OPTIONAL_LIMIT, identity()).await.ok()?.ok()?;
    let interfaces = identity.interfaces.into_iter().map(interface).collect();
    Some(CloudFacts { vpc_cidrs: Vec::new(), interfaces })
}

fn interface(own: OwnInterface) -> CloudInterface {
    let primary = own.addresses.first().copied();
    CloudInterface { id: own.id, mac: own.mac, primary, source_dest_check: None }
}

/// The problem of tags that could not be read.
fn unread(fault: &TagsFault, known: bool) -> String {
    let instead = if known {
        "natha uses the settings that it last read from them"
    } else {
        "natha never read them and uses the other settings of this host alone"
    };
    format!("cannot read the settings in this instance's tags: {}; {instead}", fault.what)
}

/// Undoes this run's changes and adds the result to the error.
async fn roll_back(applier: Applier, error: anyhow::Error) -> anyhow::Error {
    let before = applier.last_plan().map(|plan| plan.table.clone());
    let mut failures = Vec::new();
    for entry in applier.done() {
        if let Err(failure) = undo(&applier, &entry, before.as_ref()).await {
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
    applier: &Applier,
    entry: &JournalEntry,
    table: Option<&TableSpec>,
) -> anyhow::Result<()> {
    // Restore only a table that was natha's, not one that another program had changed.
    let ours = entry.original.is_some();
    match applier.undo(entry, table.filter(|_| ours)).await? {
        Undone::LeftAlone { found } => {
            bail!("it is {found} now: another program is changing it at the same time")
        }
        Undone::Restored | Undone::Already => Ok(()),
    }
}
