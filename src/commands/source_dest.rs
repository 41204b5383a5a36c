//! What setup and teardown ask of AWS: this instance's metadata and tags, and the source/dest
//! checks of its network interfaces, which they read, disable and enable.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use crate::cloud::{Ec2, Identity, Imds};
use crate::config::{Api, Host, Role};
use crate::plan::{CloudFacts, HostPlan};
use crate::types::{CloudFaultKind, NetworkInterfaceId};

/// Reads before a change counts as failed. EC2's reads are eventually consistent.
const READS_MAX: u32 = 10;
/// Time between two of these reads.
const READ_EVERY: Duration = Duration::from_millis(500);
/// No attempt to read the tags begins later than this after the first one.
const TAGS_LIMIT: Duration = Duration::from_secs(8);
/// The pause after the first attempt; it doubles with each.
const TAGS_PAUSE: Duration = Duration::from_millis(250);

/// The EC2 calls that setup and teardown need.
#[derive(Debug)]
pub(super) struct SourceDestChecks {
    ec2: Ec2,
}

impl SourceDestChecks {
    /// Connects to the configured region, else to `known`, else to the instance's own region
    /// according to the instance metadata.
    pub(super) async fn connect(api: &Api, known: Option<String>) -> anyhow::Result<Self> {
        let region = match api.region.clone().or(known) {
            Some(region) => region,
            None => Imds::new().identity().await.context("cannot determine the region")?.region,
        };
        let ec2 = Ec2::connect(api, Some(&region)).await.context("cannot use the EC2 API")?;
        Ok(Self { ec2 })
    }

    /// Whether an interface's check is on; `None` if there is no such interface.
    pub(super) async fn get(&self, id: &NetworkInterfaceId) -> anyhow::Result<Option<bool>> {
        match self.ec2.source_dest_check(id).await {
            Ok(on) => Ok(Some(on)),
            Err(fault) if fault.kind == CloudFaultKind::NotFound => Ok(None),
            Err(fault) => Err(fault).with_context(|| {
                format!(
                    "cannot read the source/dest check of {id}: grant the instance's role \
                     ec2:DescribeNetworkInterfaces, or leave the check alone with \
                     --no-source-dest-check"
                )
            }),
        }
    }

    /// Turns an interface's check on or off and waits until EC2 reports the new state.
    pub(super) async fn set(&self, id: &NetworkInterfaceId, on: bool) -> anyhow::Result<()> {
        let word = word(on);
        self.ec2.set_source_dest_check(id, on).await.with_context(|| {
            format!(
                "cannot turn {word} the source/dest check of {id}: grant the instance's role \
                 ec2:ModifyNetworkInterfaceAttribute"
            )
        })?;
        let mut reads = tokio::time::interval(READ_EVERY);
        for _ in 0..READS_MAX {
            reads.tick().await;
            if self.get(id).await? == Some(on) {
                return Ok(());
            }
        }
        anyhow::bail!(
            "EC2 accepted the request but still does not report the check of {id} as {word}"
        )
    }

    /// Reads the checks of the plan's interfaces into `facts`.
    pub(super) async fn fill(&self, plan: &HostPlan, facts: &mut CloudFacts) -> anyhow::Result<()> {
        for unchecked in &plan.unchecked {
            let on = self.get(&unchecked.interface).await?;
            facts
                .interfaces
                .iter_mut()
                .filter(|interface| interface.id == unchecked.interface)
                .for_each(|interface| interface.source_dest_check = on);
        }
        Ok(())
    }
}

/// A check's state as it is printed and as the journal stores it.
pub(super) fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// Whether the settings need the instance metadata: for the sources to translate, or for the
/// interfaces whose source/dest check is to be off.
pub(super) fn is_needed(host: &Host, role: Role) -> bool {
    host.source_dest_check || (host.sources.is_empty() && role.nat)
}

/// This instance according to the instance metadata.
pub(super) async fn identity() -> anyhow::Result<Identity> {
    Imds::new().identity().await.context(
        "cannot read the VPC's address ranges and this instance's network interfaces from the \
         instance metadata; outside EC2, use --source and --no-source-dest-check",
    )
}

/// Why the tags could not be read.
#[derive(Debug)]
pub(super) struct TagsFault {
    /// The reason.
    pub(super) what: String,
    /// Whether another attempt is of no use until someone changes the role or the credentials.
    pub(super) lasts: bool,
}

/// The settings in this instance's tags. Fails only after several attempts within 8 s: at boot EC2
/// may throttle, or not know the instance yet.
pub(super) async fn tags(
    api: &Api,
    identity: &Identity,
) -> Result<BTreeMap<String, String>, TagsFault> {
    let fault = |what: String| TagsFault { what, lasts: false };
    let ec2 = Ec2::connect(api, Some(&identity.region)).await.map_err(|e| fault(e.to_string()))?;
    let deadline = Instant::now() + TAGS_LIMIT;
    let mut pause = TAGS_PAUSE;
    loop {
        let fault = match ec2.instance(&identity.instance).await {
            Ok(Some(info)) => return Ok(settings_of(info.tags)),
            Ok(None) => fault(format!("EC2 does not know this instance, {}", identity.instance)),
            Err(error) => {
                let lasts = error.kind == CloudFaultKind::Denied;
                TagsFault { what: error.to_string(), lasts }
            }
        };
        if fault.lasts || Instant::now() + pause > deadline {
            return Err(fault);
        }
        pause_for(pause).await;
        pause *= 2;
    }
}

/// The tags that hold settings.
fn settings_of(mut tags: BTreeMap<String, String>) -> BTreeMap<String, String> {
    tags.retain(|name, _| name.starts_with("natha:"));
    tags
}

#[expect(
    clippy::disallowed_methods,
    reason = "EC2 does not announce that it answers again; the number of pauses is bounded"
)]
async fn pause_for(pause: Duration) {
    tokio::time::sleep(pause).await;
}
