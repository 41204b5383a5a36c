//! The Elastic IP of a measurement, and the private addresses of two nodes that it moves between.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::pinger::{PATIENCE, Pings};
use super::record::{Record, Spot, lock};
use super::samples::Change;
use super::spots::highest_free;
use crate::cloud::{Association, Ec2};
use crate::config::{GroupSetting, Probe, ResourceSetting};
use crate::daemon::discovery::Membership;
use crate::kernel::lock::FileLock;
use crate::kernel::{addresses, journal};
use crate::types::{AllocationId, ElasticIpInfo, InterfaceInfo, Member, Resource};

/// Time between two requests. They go to hosts on the internet, each in its turn.
const PACE: Duration = Duration::from_millis(10);
/// What the tags of natha's resources begin with.
const TAGS: &str = "natha:";

/// The Elastic IP, and where it is to be.
#[derive(Debug)]
pub(super) struct Address {
    record: Record,
    /// The id of its association.
    association: Option<String>,
    public: Ipv4Addr,
    /// The peer's name.
    name: String,
    targets: Vec<Ipv4Addr>,
    /// What an earlier run has left.
    left: Option<Record>,
    state_dir: PathBuf,
    lock: FileLock,
}

impl Address {
    /// Finds private addresses for the Elastic IP. Changes nothing.
    ///
    /// # Errors
    /// If the Elastic IP is in use, or this host or the cluster does not allow the measurement.
    pub(super) async fn find(
        found: &Membership,
        allocation: &AllocationId,
        peer: &Member,
    ) -> anyhow::Result<Self> {
        let settings = &found.discovery.settings;
        let targets: Vec<Ipv4Addr> = settings.uplink.targets.iter().filter_map(icmp).collect();
        if targets.is_empty() {
            bail!(
                "uplink.targets has no host to ping: add one, for example uplink.targets = \
                 [\"icmp:1.1.1.1\"]"
            );
        }
        let link = uplink(found).await?;
        let state_dir = settings.state_dir.clone();
        let lock = lock(&state_dir)?;
        let left = Record::load(&state_dir)?;
        let public = free_elastic_ip(found, allocation, left.as_ref()).await?;
        let own = spot(found, &found.cluster.me, left.as_ref().map(|left| &left.own)).await?;
        let other = spot(found, peer, left.as_ref().map(|left| &left.peer)).await?;
        let run = getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"))?;
        let record = Record { run, allocation: allocation.clone(), own, link, peer: other };
        let name = found.cluster.roster.node_name(&peer.id);
        Ok(Self { record, association: None, public, name, targets, left, state_dir, lock })
    }

    /// The plan, in lines for people.
    pub(super) fn lines(&self, rounds: u32) -> Vec<String> {
        let Self { record, public, name, targets, left, .. } = self;
        let Record { allocation, own, link, peer, .. } = record;
        let mut lines = Vec::new();
        if let Some(Record { allocation, own, peer, .. }) = left {
            lines.push(format!(
                "remove what an earlier run has left: the association of {allocation} if there is \
                 one, {} of {} and {} of {}",
                own.address, own.interface, peer.address, peer.interface
            ));
        }
        lines.push(format!(
            "assign the private address {} to this node's {}, and {} to {} of {name}",
            own.address, own.interface, peer.address, peer.interface
        ));
        lines.push(format!("add {} to {link} of this host", own.address));
        lines.push(format!(
            "{rounds} times: associate {public} ({allocation}) with {}, move it to {} and back, \
             and disassociate it",
            own.address, peer.address
        ));
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "meanwhile, ping {} from {}, one request every {} ms",
            targets.join(" and "),
            own.address,
            PACE.as_millis()
        ));
        lines.push("at the end, remove the two private addresses".to_owned());
        lines
    }

    pub(super) fn pings(&self) -> Pings {
        Pings { from: Some(self.record.own.address), to: self.targets.clone(), pace: PACE }
    }

    /// Removes what an earlier run has left, and records what this one makes.
    pub(super) async fn announce(&self, ec2: &Ec2) -> anyhow::Result<()> {
        if let Some(left) = &self.left {
            clean(ec2, left).await?;
        }
        self.record.save(&self.state_dir)
    }

    /// Forgets what this run was going to make, as it makes nothing.
    pub(super) fn withdraw(&self) -> anyhow::Result<()> {
        Record::remove(&self.state_dir)
    }

    /// Makes the private addresses.
    pub(super) async fn prepare(&self, ec2: &Ec2) -> anyhow::Result<()> {
        let Record { own, link, peer, .. } = &self.record;
        for Spot { interface, address } in [own, peer] {
            ec2.add_private_ip(*address, interface).await?;
        }
        addresses::add(link, own.address).await?;
        Ok(())
    }

    /// Makes one change, with one call.
    pub(super) async fn make(&mut self, ec2: &Ec2, change: Change) -> anyhow::Result<()> {
        let Record { allocation, own, peer, .. } = &self.record;
        let Spot { interface, address } = match (change, self.association.take()) {
            (Change::Associate | Change::FromPeer, _) => own,
            (Change::ToPeer, _) => peer,
            (Change::Disassociate, Some(association)) => {
                return Ok(ec2.disassociate(&association).await?);
            }
            (other, _) => bail!("an Elastic IP cannot {} now", other.name()),
        };
        self.association = Some(ec2.associate_with(allocation, *address, interface).await?);
        Ok(())
    }

    /// Lets the process that cleans up use the record.
    pub(super) fn hand_over(self) {
        drop(self.lock);
    }

    /// The error if pings are answered too early.
    pub(super) fn answered_before(&self) -> String {
        format!(
            "pings from {} are answered before it has a public address: a NAT rule of this host \
             translates it, and nothing can be measured here",
            self.record.own.address
        )
    }

    /// The error if the first change has no effect.
    pub(super) fn never_answered(&self) -> String {
        format!(
            "no ping from {} was answered within {} s of the association: let this node's security \
             group pass ICMP echo to the internet, or set uplink.targets to hosts that reply",
            self.record.own.address,
            PATIENCE.as_secs()
        )
    }
}

/// Removes all that a run has made, if it is there. Tries everything, and returns the first error.
pub(super) async fn clean(ec2: &Ec2, record: &Record) -> anyhow::Result<()> {
    let released = release(ec2, record).await;
    let mut removed = Ok(());
    for Spot { interface, address } in [&record.own, &record.peer] {
        removed = removed.and(ec2.remove_private_ip(*address, interface).await);
    }
    let taken = addresses::remove(&record.link, record.own.address).await;
    released?;
    removed?;
    taken?;
    Ok(())
}

/// Ends the association that a run has made, if there is one.
async fn release(ec2: &Ec2, record: &Record) -> anyhow::Result<()> {
    let Some((_, association)) = ec2.elastic_ip_at(&record.allocation).await? else {
        return Ok(());
    };
    match association.filter(|association| record.has_made(association)) {
        Some(Association { id, .. }) => Ok(ec2.disassociate(&id).await?),
        None => Ok(()),
    }
}

fn icmp(probe: &Probe) -> Option<Ipv4Addr> {
    match probe {
        Probe::Icmp(address) => Some(*address),
        Probe::Tcp(_) => None,
    }
}

/// The interface of this host that has the node's address, and by which packets to the internet
/// leave.
async fn uplink(found: &Membership) -> anyhow::Result<String> {
    let plan = journal::last_plan(&found.discovery.settings.state_dir)?;
    let uplink = plan.context("this host is not set up: run `natha setup`")?.table.uplink;
    let address = found.cluster.me.address;
    let own = addresses::read().await?;
    let link = own.into_iter().find(|own| own.address == address).map(|own| own.link);
    let link = link.with_context(|| format!("no interface of this host has {address}"))?;
    if link != uplink {
        bail!(
            "packets to the internet leave by {uplink}, and not by the forwarding interface \
             {link}: measure on nodes with one interface for both"
        );
    }
    Ok(link)
}

/// The public address of the Elastic IP, which must be free.
async fn free_elastic_ip(
    found: &Membership,
    id: &AllocationId,
    left: Option<&Record>,
) -> anyhow::Result<Ipv4Addr> {
    let elastic = found.discovery.clouds.ec2().elastic_ip_at(id).await?;
    let (ElasticIpInfo { address, tags, .. }, association) =
        elastic.with_context(|| format!("there is no Elastic IP {id}"))?;
    let remedy = "allocate one for the measurement: `aws ec2 allocate-address`";
    if let Some(tag) = tags.keys().find(|tag| tag.starts_with(TAGS)) {
        bail!("Elastic IP {id} has the tag {tag}, so a cluster may use it: {remedy}");
    }
    let uses = |group: &&GroupSetting| {
        group.resources.iter().any(|resource| resource.elastic_ip() == Some(id))
    };
    if let Some(group) = found.discovery.settings.groups.iter().find(uses) {
        bail!("Elastic IP {id} is a resource of group {}: {remedy}", group.name);
    }
    let is_left =
        |one: &Association| left.is_some_and(|left| left.allocation == *id && left.has_made(one));
    if let Some(association) = association.filter(|one| !is_left(one)) {
        bail!("Elastic IP {id} is associated with {}: {remedy}", association.interface);
    }
    Ok(address)
}

/// A free private address for a node, by which no landing address of the cluster changes. `left` is
/// one that an earlier run has left.
async fn spot(found: &Membership, member: &Member, left: Option<&Spot>) -> anyhow::Result<Spot> {
    let ec2 = found.discovery.clouds.ec2();
    let name = found.cluster.roster.node_name(&member.id);
    let instance = ec2.instance(&member.id).await?;
    let mut interfaces = instance.into_iter().flat_map(|instance| instance.interfaces);
    let interface = interfaces.find(|interface| interface.id == member.interface);
    let interface = interface.with_context(|| format!("EC2 does not know {name}'s interface"))?;
    let subnet = ec2.subnet(&interface.subnet).await?;
    let subnet = subnet.with_context(|| format!("EC2 does not know {}", interface.subnet))?;
    let mut used = ec2.private_ips_in(&interface.subnet).await?;
    let is_left = |address: &Ipv4Addr| left.is_some_and(|left| left.address == *address);
    used.retain(|address| !is_left(address));
    let groups = &found.discovery.settings.groups;
    used.extend(groups.iter().flat_map(|group| &group.resources).flat_map(addresses_of));
    let mut below = first_in_order(found, member, &interface)?;
    below.retain(|address| !is_left(address));
    let address = highest_free(subnet.cidr, &used, &below).with_context(|| {
        let above = below.last().map(|last| format!(" above the landing address {last}"));
        format!(
            "no private address of {}{} is free: list `landing` for the egress IPs, or measure \
             from another node",
            subnet.id,
            above.unwrap_or_default()
        )
    })?;
    Ok(Spot { interface: interface.id, address })
}

/// The private addresses that a setting names. EC2 may not have assigned them yet.
fn addresses_of(resource: &ResourceSetting) -> Vec<Ipv4Addr> {
    match resource {
        ResourceSetting::EgressIp { landing, .. } => landing.clone(),
        ResourceSetting::PrivateIp { address } | ResourceSetting::Vip { address, .. } => {
            vec![*address]
        }
        ResourceSetting::Eip { on, .. } => on.iter().copied().collect(),
        ResourceSetting::Dns { .. } => Vec::new(),
    }
}

/// The secondary addresses of a node that must stay the first in order: natha uses them as landing
/// addresses for egress IPs without a list, lowest address first.
///
/// # Errors
/// If the node lacks such a landing address: natha would use the address of the measurement.
fn first_in_order(
    found: &Membership,
    member: &Member,
    interface: &InterfaceInfo,
) -> anyhow::Result<BTreeSet<Ipv4Addr>> {
    let is_listed = |id: &AllocationId| {
        let settings = found.discovery.settings.groups.iter().flat_map(|group| &group.resources);
        let mut listed = settings.filter_map(|one| match one {
            ResourceSetting::EgressIp { allocation, landing } if !landing.is_empty() => {
                Some(allocation)
            }
            _ => None,
        });
        listed.any(|listed| listed == id)
    };
    let resources = found.cluster.roster.groups.iter().flat_map(|group| &group.resources);
    let unlisted = resources.filter_map(|one| match one {
        Resource::EgressIp { allocation, .. } if !is_listed(allocation) => Some(allocation),
        _ => None,
    });
    let unlisted: Vec<&AllocationId> = unlisted.collect();
    if let Some(id) = unlisted.iter().find(|id| !member.landings.contains_key(**id)) {
        bail!(
            "{} has no landing address for egress IP {id}, and would use the private address of \
             the measurement: wait until its monitor has had one assigned, or list `landing`",
            found.cluster.roster.node_name(&member.id)
        );
    }
    let secondary = interface.secondary.iter().copied();
    Ok(if unlisted.is_empty() { BTreeSet::new() } else { secondary.collect() })
}
