//! What exists in the simulated account.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::beyond::Beyond;
use super::blocks::Block;
use super::error::{self, ApiError, Kind};
use super::nat_gateways::NatGateway;
use super::others::OtherRoute;
use super::route53::Zone;

/// Tags of a resource.
pub(super) type Tags = BTreeMap<String, String>;

/// Everything that exists. Calls work on a copy, so that a failed call changes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    /// Where the next id comes from.
    pub(super) seed: u64,
    pub(super) vpcs: BTreeMap<String, Vpc>,
    pub(super) subnets: BTreeMap<String, Subnet>,
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) gateways: BTreeMap<String, Gateway>,
    pub(super) nat_gateways: BTreeMap<String, NatGateway>,
    /// Transit gateways and the like.
    pub(super) beyond: BTreeMap<String, Beyond>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) interfaces: BTreeMap<String, Interface>,
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) allocations: BTreeMap<String, Allocation>,
    /// Route 53's hosted zones.
    pub(super) zones: BTreeMap<String, Zone>,
    /// Public addresses given out so far.
    pub(super) public_given: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vpc {
    pub(super) id: String,
    /// The one that it was made with first.
    pub(super) blocks: Vec<Block>,
    pub(super) main_table: String,
    pub(super) default_group: String,
    pub(super) tags: Tags,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subnet {
    pub(super) id: String,
    pub(super) vpc: String,
    pub(super) zone: String,
    pub(super) cidr: Ipv4Net,
    pub(super) tags: Tags,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) id: String,
    pub(super) vpc: String,
    pub(super) routes: BTreeMap<Ipv4Net, Route>,
    /// Those that are no static ones of IPv4.
    pub(super) others: Vec<OtherRoute>,
    pub(super) associations: Vec<Association>,
    pub(super) tags: Tags,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Association {
    pub(super) id: String,
    /// None for the main one.
    pub(super) subnet: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Route {
    pub(super) target: RouteTarget,
    /// `CreateRouteTable` or `CreateRoute`.
    pub(super) origin: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum RouteTarget {
    Local,
    Gateway(String),
    Interface(String),
    NatGateway(String),
    /// Something that carries no packet here.
    Beyond(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gateway {
    pub(super) id: String,
    pub(super) vpc: Option<String>,
    pub(super) tags: Tags,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) vpc: String,
    pub(super) ingress: BTreeMap<RuleKey, Rule>,
    pub(super) egress: BTreeMap<RuleKey, Rule>,
    pub(super) tags: Tags,
}

/// What makes two rules of a group the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RuleKey {
    /// `tcp`, `udp`, `icmp`, another number, or `-1`.
    pub(super) protocol: String,
    /// From and to; for ICMP type and code; none for all.
    pub(super) ports: Option<(i32, i32)>,
    pub(super) peer: Peer,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Block(Ipv4Net),
    Group(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) description: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Interface {
    pub(super) id: String,
    pub(super) vpc: String,
    pub(super) subnet: String,
    pub(super) mac: String,
    pub(super) description: String,
    /// The primary one first.
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) groups: Vec<String>,
    pub(super) source_dest_check: bool,
    pub(super) attachment: Option<Attachment>,
    /// The kind of service of EC2 that made it for itself; none for those of the account's owner.
    pub(super) service: Option<&'static str>,
    /// Public addresses by private address.
    pub(super) public: BTreeMap<Ipv4Addr, Public>,
    pub(super) tags: Tags,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attachment {
    pub(super) id: String,
    pub(super) instance: String,
    pub(super) device_index: u32,
    pub(super) since: Duration,
    pub(super) delete_on_termination: bool,
}

/// An Elastic IP address. What it is associated with is in the interfaces' `public`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Allocation {
    pub(super) id: String,
    pub(super) address: Ipv4Addr,
    pub(super) tags: Tags,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Public {
    pub(super) address: Ipv4Addr,
    /// Allocation and association; none for an address that EC2 gave at start.
    pub(super) elastic: Option<(String, String)>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own in EC2")]
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) reservation: String,
    pub(super) image: String,
    pub(super) kind: String,
    pub(super) zone: String,
    /// When it was launched for the first time.
    pub(super) created: Duration,
    /// When it was launched or started last.
    pub(super) launched: Duration,
    pub(super) phase: Phase,
    /// When the phase began.
    pub(super) since: Duration,
    /// When it ends by itself.
    pub(super) until: Option<Duration>,
    /// Whether nothing runs in it any more although it is still stopping.
    pub(super) guest_off: bool,
    pub(super) state_reason: Option<(String, String)>,
    pub(super) transition_reason: String,
    pub(super) boot: u64,
    pub(super) user_data: Option<String>,
    pub(super) stop_protection: bool,
    pub(super) termination_protection: bool,
    pub(super) one_time_spot: bool,
    /// Whether each start gives the primary interface a public address.
    pub(super) auto_public: bool,
    pub(super) profile: Option<String>,
    /// Whether its metadata shows its tags.
    pub(super) metadata_tags: bool,
    /// Whether its metadata is refused without a token.
    pub(super) tokens_required: bool,
    pub(super) health: Health,
    /// Since when EC2's status checks get no answer from its guest.
    pub(super) unreachable: Option<Duration>,
    pub(super) client_token: String,
    pub(super) tags: Tags,
}

/// Results of EC2's status checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// The host fails the system check.
    pub system_impaired: bool,
    /// The guest fails the instance check.
    pub instance_impaired: bool,
    /// The volumes fail the attached EBS check.
    pub ebs_impaired: bool,
}

/// State of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Being placed; nothing runs yet.
    Pending,
    /// Booting or running.
    Running,
    /// Being stopped.
    Stopping,
    /// Off.
    Stopped,
    /// Being terminated.
    ShuttingDown,
    /// Gone.
    Terminated,
}

impl Phase {
    /// EC2's number.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }

    /// EC2's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

impl State {
    /// A new id: the prefix and 17 hexadecimal digits, as EC2's long ids.
    pub(super) fn new_id(&mut self, prefix: &str) -> String {
        format!("{prefix}-0{:016x}", self.random())
    }

    /// The next number of a SplitMix64 sequence.
    pub(super) fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The interfaces of an instance, by device index.
    pub(super) fn interfaces_of(&self, instance: &str) -> Vec<&Interface> {
        let mut found: Vec<&Interface> = self
            .interfaces
            .values()
            .filter(|i| i.attachment.as_ref().is_some_and(|a| a.instance == instance))
            .collect();
        found.sort_by_key(|i| i.device_index());
        found
    }

    /// The id of the primary interface of an instance.
    pub(super) fn primary_of(&self, instance: &str) -> Option<String> {
        self.interfaces_of(instance).first().map(|interface| interface.id.clone())
    }

    /// The table that is in force for a subnet.
    pub(super) fn table_of(&self, subnet: &Subnet) -> Option<&Table> {
        let explicit = self
            .tables
            .values()
            .find(|table| table.associations.iter().any(|a| a.subnet.as_ref() == Some(&subnet.id)));
        explicit.or_else(|| self.tables.get(&self.vpcs.get(&subnet.vpc)?.main_table))
    }

    /// Whether a route of this VPC to this target is a blackhole. A stopping target is still
    /// reachable.
    pub(super) fn is_blackhole(&self, vpc: &str, target: &RouteTarget) -> bool {
        match target {
            RouteTarget::Local => false,
            RouteTarget::Gateway(id) => self.gateways.get(id).is_none_or(|g| g.vpc.is_none()),
            // An endpoint exists for as long as its routes.
            RouteTarget::Beyond(id) if id.starts_with("vpce-") => false,
            RouteTarget::Beyond(id) => {
                self.beyond.get(id).is_none_or(|beyond| !beyond.vpcs.contains_key(vpc))
            }
            RouteTarget::NatGateway(id) => {
                self.nat_gateways.get(id).is_none_or(|gateway| !gateway.phase.exists())
            }
            RouteTarget::Interface(id) => {
                let attached = self.interfaces.get(id).and_then(|i| i.attachment.as_ref());
                let instance = attached.and_then(|a| self.instances.get(&a.instance));
                instance.is_none_or(|i| matches!(i.phase, Phase::Stopped | Phase::Terminated))
            }
        }
    }
}

impl Interface {
    /// Its place on its instance.
    pub(super) fn device_index(&self) -> u32 {
        self.attachment.as_ref().map_or(0, |a| a.device_index)
    }

    /// Its primary private address.
    pub(super) fn address(&self) -> Ipv4Addr {
        *self.addresses.first().expect("an interface is made with an address and keeps it")
    }
}

/// Looks a resource up, with EC2's errors for ids that are malformed or unknown.
pub(super) fn find<'a, T>(
    map: &'a BTreeMap<String, T>,
    kind: &Kind,
    id: &str,
) -> Result<&'a T, ApiError> {
    well_formed(kind, id)?;
    map.get(id).ok_or_else(|| ApiError::not_found(kind, id))
}

/// The same for a change.
pub(super) fn find_mut<'a, T>(
    map: &'a mut BTreeMap<String, T>,
    kind: &Kind,
    id: &str,
) -> Result<&'a mut T, ApiError> {
    well_formed(kind, id)?;
    map.get_mut(id).ok_or_else(|| ApiError::not_found(kind, id))
}

/// The resources named by a list of ids, or all where the list is empty.
pub(super) fn named<'a, T>(
    map: &'a BTreeMap<String, T>,
    kind: &Kind,
    ids: &[String],
) -> Result<Vec<&'a T>, ApiError> {
    if ids.is_empty() {
        return Ok(map.values().collect());
    }
    let wanted: BTreeSet<&String> = ids.iter().collect();
    let missing: Vec<&str> =
        wanted.iter().filter(|id| !map.contains_key(**id)).map(|id| id.as_str()).collect();
    for id in &missing {
        well_formed(kind, id)?;
    }
    match missing.as_slice() {
        [] => Ok(wanted.into_iter().filter_map(|id| map.get(id)).collect()),
        [one] => Err(ApiError::not_found(kind, one)),
        several => Err(ApiError::client(
            &format!("{}.NotFound", kind.code),
            format!("The {} IDs '{}' do not exist", kind.word, several.join(", ")),
        )),
    }
}

fn well_formed(kind: &Kind, id: &str) -> Result<(), ApiError> {
    let digits = id.strip_prefix(kind.prefix).and_then(|rest| rest.strip_prefix('-'));
    let good = digits.is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit())
    });
    if good {
        return Ok(());
    }
    let code = if kind.code == error::GROUP.code { "InvalidGroupId" } else { kind.code };
    Err(ApiError::client(&format!("{code}.Malformed"), format!("Invalid id: \"{id}\"")))
}
