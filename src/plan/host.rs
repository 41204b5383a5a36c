//! Makes the plan from facts and settings: the uplink, the sources to translate, and the interfaces
//! that take part.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::facts::{CloudInterface, HostFacts, Link, Route};
use super::table::{TRANSIT_LINK, is_wide};
use super::{Primaries, Protection, RELAY_LINK, Sysctl, TableSpec, sysctl};
use crate::config::{AcceptMode, Host, Role, Settings};
use crate::types::NetworkInterfaceId;

/// Why no plan can be made. Nothing has been changed at this point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The configured uplink does not exist.
    #[error(
        "there is no interface `{name}`; this host has {}. Set --uplink or `host.uplink` to one \
             of them",
        list(there)
    )]
    UnknownUplink {
        /// The configured name.
        name: String,
        /// The existing interfaces.
        there: Vec<String>,
    },
    /// The configured uplink is the loopback interface.
    #[error(
        "`lo` cannot be the interface to the internet; this host has {}. Set --uplink or \
             `host.uplink` to one of them",
        list(there)
    )]
    LoopbackUplink {
        /// The existing interfaces.
        there: Vec<String>,
    },
    /// No uplink is configured and the host has no default route.
    #[error(
        "cannot determine the interface to the internet: this host has no default route. It has \
             {}. Set the interface with --uplink or `host.uplink`",
        list(there)
    )]
    NoDefaultRoute {
        /// The existing interfaces.
        there: Vec<String>,
    },
    /// Several default routes have the same metric.
    #[error(
        "{} have default routes of the same metric, so either could be the interface to the \
             internet. Set the one with the public address with --uplink or `host.uplink`",
        list(candidates)
    )]
    SeveralUplinks {
        /// Their interfaces.
        candidates: Vec<String>,
    },
    /// Neither the settings nor the instance metadata give the sources to translate.
    #[error(
        "no source networks to translate: set --source or `host.sources`, or run this \
             where the instance metadata has the VPC's address ranges"
    )]
    NoSources,
    /// The monitor's own network is in use.
    #[error(
        "`host.transit_network` is {network}, which overlaps {other}: set it to a /30 that is in \
             use neither in the VPC nor behind it, or to `off`"
    )]
    TransitOverlaps {
        /// The configured network.
        network: Ipv4Net,
        /// The network that it overlaps.
        other: Ipv4Net,
    },
    /// The uplink is not a network interface that EC2 attached.
    #[error(
        "`{link}` ({mac}) is not a network interface that EC2 has attached to this instance. Use \
             another --uplink, or leave the source/dest check alone with --no-source-dest-check"
    )]
    NotAttached {
        /// Interface name.
        link: String,
        /// MAC address.
        mac: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no network interface".to_owned() } else { names.join(", ") }
}

/// The loopback interface, which no fact lists.
const LOOPBACK: &str = "lo";

/// An interface whose source/dest check must be off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchecked {
    /// The interface's name on this host.
    pub link: String,
    /// EC2's id of the interface.
    pub interface: NetworkInterfaceId,
}

/// The target state of this host. Stored in the undo journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    /// The nft table `ip natha`.
    pub table: TableSpec,
    /// The sysctls in the order in which to set them.
    pub sysctls: Vec<Sysctl>,
    /// The interfaces whose source/dest check must be off.
    pub unchecked: Vec<Unchecked>,
    /// Addresses of `lo`, so that this host accepts packets for them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub addresses: BTreeSet<Ipv4Addr>,
}

impl HostPlan {
    /// Why no uplink can be chosen, if so. Needs only facts from this host.
    #[must_use]
    pub fn uplink_error(host: &Host, facts: &HostFacts) -> Option<PlanError> {
        choose_uplink(host, facts).err()
    }

    /// Makes the plan.
    ///
    /// # Errors
    /// If the settings and facts do not determine the uplink or the sources.
    pub fn new(host: &Host, role: Role, facts: &HostFacts) -> Result<Self, PlanError> {
        let uplink = choose_uplink(host, facts)?;
        let attached = facts.cloud.as_ref().map_or(&[][..], |cloud| &cloud.interfaces);
        let vpc = facts.cloud.as_ref().map_or(&[][..], |cloud| &cloud.vpc_cidrs);
        let sources = match (role.nat, host.sources.is_empty()) {
            (false, _) => &[],
            (true, true) => vpc,
            (true, false) => &host.sources,
        };
        if role.nat && sources.is_empty() {
            return Err(PlanError::NoSources);
        }
        let transit = host.transit_network.0.filter(|_| role.nat);
        if let Some(network) = transit {
            refuse_overlap(network, &[vpc, sources].concat(), &facts.links)?;
        }
        // Every address is in a network such as 0.0.0.0/0, a container bridge's too. Only EC2 can
        // then say which interfaces are the host's own.
        let narrow: Vec<Ipv4Net> = Ipv4Net::aggregate(&sources.to_vec())
            .into_iter()
            .filter(|net| !is_wide(*net) || attached.is_empty())
            .collect();
        let taking_part: Vec<&Link> = facts
            .links
            .iter()
            .filter(|link| link.name == uplink.name || is_ours(link, attached, &narrow))
            .collect();
        let links: BTreeSet<String> = taking_part.iter().map(|link| link.name.clone()).collect();
        // The VPC delivers only packets for an interface's own addresses. A virtual IP is not one.
        let unchecked = if host.source_dest_check && (role.nat || role.vips) {
            attached_ids(uplink, &taking_part, attached)?
        } else {
            Vec::new()
        };
        let accept: BTreeSet<Ipv4Addr> = host.accept.iter().copied().collect();
        let (addresses, accept) = match host.accept_mode {
            AcceptMode::Lo => (accept, BTreeSet::new()),
            AcceptMode::Redirect => (BTreeSet::new(), accept),
        };
        let primaries =
            if accept.is_empty() { Primaries::new() } else { primaries(&taking_part, attached) };
        Ok(Self {
            sysctls: sysctl::wanted(host, role, facts, &links),
            unchecked,
            addresses,
            table: TableSpec {
                uplink: uplink.name.clone(),
                links,
                sources: Ipv4Net::aggregate(&sources.to_vec()),
                transit,
                vpc_networks: local_networks(sources, vpc),
                address: primary(uplink, attached).filter(|_| role.nat),
                clamp_mss: host.clamp_mss,
                mss: host.mss,
                flowtable: host.flowtable && role.nat,
                nat: role.nat,
                protect: None,
                accept,
                primaries,
            },
        })
    }
}

/// Refuses a network for the monitor's own packets that the VPC, a source or an interface uses.
/// Sources that are all of the internet say nothing about what is in use.
fn refuse_overlap(network: Ipv4Net, nets: &[Ipv4Net], links: &[Link]) -> Result<(), PlanError> {
    let on_links = links.iter().filter(|link| ![TRANSIT_LINK, RELAY_LINK].contains(&&*link.name));
    let used = nets.iter().chain(on_links.flat_map(|link| &link.addresses));
    let overlaps = |other: &&Ipv4Net| {
        !is_wide(**other) && (other.contains(&network) || network.contains(*other))
    };
    match used.copied().find(|other| overlaps(&other)) {
        Some(other) => Err(PlanError::TransitOverlaps { network, other }),
        None => Ok(()),
    }
}

impl HostPlan {
    /// How long an idle TCP connection is tracked; none on a host that is not a NAT.
    #[must_use]
    pub fn established_timeout(&self) -> Option<Duration> {
        sysctl::established_timeout(&self.sysctls)
    }

    /// This plan with the protection from private hosts that the settings ask for, if this host is
    /// a NAT.
    #[must_use]
    pub fn protected(mut self, settings: &Settings) -> Self {
        self.table.protect = Protection::of(settings).filter(|_| self.table.nat);
        self
    }

    /// This plan with what only the metadata says and `last`, an earlier plan of this instance,
    /// knows, if the metadata was not read.
    #[must_use]
    pub fn after(mut self, last: Option<&Self>, facts: &HostFacts) -> Self {
        let same = last.filter(|last| last.table.uplink == self.table.uplink);
        if let Some(last) = same.filter(|_| facts.cloud.is_none()) {
            if self.table.nat {
                self.table.address = last.table.address;
            }
            if !self.table.accept.is_empty() {
                self.table.primaries.clone_from(&last.table.primaries);
            }
        }
        self
    }

    /// This plan with more blocks of the VPC, which are also sources if `also_sources`. A host that
    /// is not a NAT needs none.
    #[must_use]
    pub fn with_blocks(&self, blocks: &[Ipv4Net], also_sources: bool) -> Self {
        let mut plan = self.clone();
        if plan.table.nat {
            let with = |list: &[Ipv4Net]| Ipv4Net::aggregate(&[list, blocks].concat());
            plan.table.vpc_networks = with(&self.table.vpc_networks);
            if also_sources {
                plan.table.sources = with(&self.table.sources);
            }
        }
        plan
    }
}

/// The configured interface, else the one with the best default route.
fn choose_uplink<'a>(host: &Host, facts: &'a HostFacts) -> Result<&'a Link, PlanError> {
    let there = || facts.links.iter().map(|link| link.name.clone()).collect::<Vec<_>>();
    let by_name = |name: &str| facts.links.iter().find(|link| link.name == name);
    if host.uplink.as_deref() == Some(LOOPBACK) {
        return Err(PlanError::LoopbackUplink { there: there() });
    }
    if let Some(name) = &host.uplink {
        return by_name(name)
            .ok_or_else(|| PlanError::UnknownUplink { name: name.clone(), there: there() });
    }
    let default = |route: &'a Route| Some((route.metric, route.default_link()?));
    let best = facts.routes.iter().filter_map(default).map(|(metric, _)| metric).min();
    let candidates: BTreeSet<&String> = facts
        .routes
        .iter()
        .filter_map(default)
        .filter(|(metric, _)| Some(*metric) == best)
        .map(|(_, link)| link)
        .collect();
    match candidates.first().and_then(|name| by_name(name)) {
        None => Err(PlanError::NoDefaultRoute { there: there() }),
        Some(link) if candidates.len() == 1 => Ok(link),
        Some(_) => {
            let candidates = candidates.into_iter().cloned().collect();
            Err(PlanError::SeveralUplinks { candidates })
        }
    }
}

/// The networks that no part of the internet has (RFC 1918 and RFC 6598).
const PRIVATE: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// The networks between which nothing is translated: the VPC's and the sources. Of a source that
/// also contains the internet, such as 0.0.0.0/0, only the private networks count: the rest is what
/// its packets are translated for.
fn local_networks(sources: &[Ipv4Net], vpc: &[Ipv4Net]) -> Vec<Ipv4Net> {
    let mut local = vpc.to_vec();
    for source in Ipv4Net::aggregate(&sources.to_vec()) {
        if is_wide(source) {
            local.extend(PRIVATE.iter().filter(|private| source.contains(*private)));
        } else {
            local.push(source);
        }
    }
    Ipv4Net::aggregate(&local)
}

/// Whether an interface takes part: EC2 attached it, or it is in a source network. A container's
/// bridge is neither.
fn is_ours(link: &Link, attached: &[CloudInterface], sources: &[Ipv4Net]) -> bool {
    attached.iter().any(|interface| interface.mac == link.mac)
        || link.addresses.iter().any(|own| sources.iter().any(|net| net.contains(&own.addr())))
}

/// The primary private address of an interface, if EC2 attached it.
fn primary(link: &Link, attached: &[CloudInterface]) -> Option<Ipv4Addr> {
    attached.iter().find(|interface| interface.mac == link.mac)?.primary
}

/// The primary private addresses of those of these interfaces that EC2 attached.
fn primaries(links: &[&Link], attached: &[CloudInterface]) -> Primaries {
    let both = |link: &&Link| Some((link.name.clone(), primary(link, attached)?));
    links.iter().filter_map(both).collect()
}

fn attached_ids(
    uplink: &Link,
    links: &[&Link],
    attached: &[CloudInterface],
) -> Result<Vec<Unchecked>, PlanError> {
    let id = |link: &Link| attached.iter().find(|i| i.mac == link.mac).map(|i| i.id.clone());
    if id(uplink).is_none() {
        return Err(PlanError::NotAttached { link: uplink.name.clone(), mac: uplink.mac.clone() });
    }
    let both =
        |link: &&Link| id(link).map(|interface| Unchecked { link: link.name.clone(), interface });
    Ok(links.iter().filter_map(both).collect())
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
