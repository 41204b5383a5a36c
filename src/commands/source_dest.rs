//! The source/dest checks of this instance's network interfaces: reads, disables and enables them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

use crate::cloud::{Ec2, Identity, Imds};
use crate::config::{Api, Host, Role};
use crate::plan::{CloudFacts, CloudInterface, HostPlan};
use crate::types::{CloudFaultKind, NetworkInterfaceId};

/// Reads before a change counts as failed. EC2's reads are eventually consistent.
const READS_MAX: u32 = 10;
/// Time between two of these reads.
const READ_EVERY: Duration = Duration::from_millis(500);

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

/// This instance according to the instance metadata and EC2.
pub(super) struct InstanceFacts {
    pub(super) facts: CloudFacts,
    /// The instance's region.
    pub(super) region: String,
    /// The instance's tags, which may hold settings, or why they could not be read.
    pub(super) tags: Result<BTreeMap<String, String>, String>,
}

/// Reads this instance's metadata and tags; `None` if the settings do not need them.
pub(super) async fn ask(
    host: &Host,
    role: Role,
    api: &Api,
) -> anyhow::Result<Option<InstanceFacts>> {
    if !host.source_dest_check && (!host.sources.is_empty() || !role.nat) {
        return Ok(None);
    }
    let identity = Imds::new().identity().await.context(
        "cannot read the VPC's address ranges and this instance's network interfaces from the \
         instance metadata; outside EC2, use --source and --no-source-dest-check",
    )?;
    let tags = tags(api, &identity).await;
    let interfaces = identity
        .interfaces
        .into_iter()
        .map(|own| CloudInterface { id: own.id, mac: own.mac, source_dest_check: None })
        .collect();
    let facts = CloudFacts { vpc_cidrs: identity.vpc_cidrs, interfaces };
    Ok(Some(InstanceFacts { facts, region: identity.region, tags }))
}

async fn tags(api: &Api, identity: &Identity) -> Result<BTreeMap<String, String>, String> {
    let ec2 = Ec2::connect(api, Some(&identity.region)).await.map_err(|error| error.to_string())?;
    let info = ec2.instance(&identity.instance).await.map_err(|fault| fault.to_string())?;
    Ok(info.map(|info| info.tags).unwrap_or_default())
}
