//! The source/dest checks of this instance's interfaces: asked of EC2, and turned off and on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

use crate::cloud::{Ec2, Identity, Imds};
use crate::config::{Api, Host, Role};
use crate::plan::{CloudFacts, CloudInterface, HostPlan};
use crate::types::{CloudFaultKind, NetworkInterfaceId};

/// How often a change is read back before it counts as not done. EC2's answers may lag behind.
const READS_MAX: u32 = 10;
/// Time between two such reads.
const READ_EVERY: Duration = Duration::from_millis(500);

/// EC2, as far as setup and teardown need it.
#[derive(Debug)]
pub(super) struct SourceDestChecks {
    ec2: Ec2,
}

impl SourceDestChecks {
    /// Connects to the region that is set, or else to the instance's own: `known`, or what the
    /// instance metadata names.
    pub(super) async fn connect(api: &Api, known: Option<String>) -> anyhow::Result<Self> {
        let region = match api.region.clone().or(known) {
            Some(region) => region,
            None => Imds::new().identity().await.context("cannot tell the region")?.region,
        };
        let ec2 = Ec2::connect(api, Some(&region)).await.context("cannot use the EC2 API")?;
        Ok(Self { ec2 })
    }

    /// Whether an interface's check is on; none where there is no such interface.
    pub(super) async fn get(&self, id: &NetworkInterfaceId) -> anyhow::Result<Option<bool>> {
        match self.ec2.source_dest_check(id).await {
            Ok(on) => Ok(Some(on)),
            Err(fault) if fault.kind == CloudFaultKind::NotFound => Ok(None),
            Err(fault) => Err(fault).with_context(|| {
                format!(
                    "cannot read the source/dest check of {id}; the instance's role needs \
                     ec2:DescribeNetworkInterfaces, or leave the check alone with \
                     --no-source-dest-check"
                )
            }),
        }
    }

    /// Turns an interface's check on or off, and waits until EC2 says so.
    pub(super) async fn set(&self, id: &NetworkInterfaceId, on: bool) -> anyhow::Result<()> {
        let word = word(on);
        self.ec2.set_source_dest_check(id, on).await.with_context(|| {
            format!(
                "cannot turn the source/dest check of {id} {word}; the instance's role needs \
                 ec2:ModifyNetworkInterfaceAttribute for it"
            )
        })?;
        let mut reads = tokio::time::interval(READ_EVERY);
        for _ in 0..READS_MAX {
            reads.tick().await;
            if self.get(id).await? == Some(on) {
                return Ok(());
            }
        }
        anyhow::bail!("EC2 took the request, but does not show the check of {id} as {word}")
    }

    /// Fills in what the checks of the plan's interfaces are.
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

/// As it is shown and kept in the journal.
pub(super) fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What AWS tells of this instance.
pub(super) struct InstanceFacts {
    pub(super) facts: CloudFacts,
    /// Its region.
    pub(super) region: String,
    /// Its tags, which may hold settings, or why they are not known.
    pub(super) tags: Result<BTreeMap<String, String>, String>,
}

/// What AWS tells of this instance, if the settings need it.
pub(super) async fn ask(
    host: &Host,
    role: Role,
    api: &Api,
) -> anyhow::Result<Option<InstanceFacts>> {
    if !host.source_dest_check && (!host.sources.is_empty() || !role.nat) {
        return Ok(None);
    }
    let identity = Imds::new().identity().await.context(
        "cannot ask the instance metadata for the VPC's address ranges and this instance's \
         network interfaces; off EC2, give --source and --no-source-dest-check",
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
