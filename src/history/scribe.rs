//! From what the machine is given and asks for to facts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::fact::{Call, Fact, Proof};
use crate::failover::{Action, ActionId, Outcome};
use crate::record::call_words;
use crate::types::{
    CloudFault, GroupName, InstanceId, NetworkInterfaceId, Resource, Roster, RouteWrite,
    RouteWriteVerb, Time,
};

/// Makes the facts of one monitor.
#[derive(Debug, Clone)]
pub struct Scribe {
    me: InstanceId,
    roster: Roster,
    /// Whether calls that only read are facts too.
    reads: bool,
    in_flight: BTreeMap<ActionId, StartedCall>,
    /// The landing addresses whose probes are answered.
    proven: BTreeSet<Ipv4Addr>,
}

/// A call that has not ended. Each ends in exactly one outcome.
#[derive(Debug, Clone)]
struct StartedCall {
    at: Time,
    name: &'static str,
    what: String,
    group: Option<GroupName>,
    node: Option<InstanceId>,
}

impl Scribe {
    /// For node `me`. Calls that only read make no facts.
    #[must_use]
    pub fn new(me: InstanceId, roster: Roster) -> Self {
        let (in_flight, proven) = (BTreeMap::new(), BTreeSet::new());
        Self { me, roster, reads: false, in_flight, proven }
    }

    /// Makes facts of calls that only read too.
    #[must_use]
    pub fn with_reads(mut self) -> Self {
        self.reads = true;
        self
    }

    /// Takes over a new roster.
    pub fn enrol(&mut self, roster: &Roster) {
        self.roster = roster.clone();
    }

    /// The members and groups.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Takes in an action that was just begun. A report is a fact at once.
    pub fn action(&mut self, action: &Action, at: Time) -> Option<Fact> {
        if let Action::Report { event } = action {
            return Some(Fact::Event(event.clone()));
        }
        let (id, name) = action.id().zip(self.call_name(action))?;
        let (group, node) = self.about(action);
        let what = call_words(action, &self.roster).unwrap_or_default();
        self.in_flight.insert(id, StartedCall { at, name, what, group, node });
        None
    }

    /// Takes in how an action ended.
    pub fn ended(&mut self, id: ActionId, outcome: &Outcome, at: Time) -> Option<Fact> {
        let StartedCall { at: asked, name, what, group, node } = self.in_flight.remove(&id)?;
        let fault = fault_of(outcome);
        let result = match (outcome, fault) {
            (Outcome::Expired, _) => "expired".to_owned(),
            (_, None) => "ok".to_owned(),
            (_, Some(fault)) => fault.kind.to_string(),
        };
        let fault = fault.map(|fault| fault.message.clone());
        let (name, took) = (name.to_owned(), at.since(asked));
        Some(Fact::Call(Call { name, what, group, node, took, result, fault }))
    }

    /// Takes in all landing addresses of this node whose probes are answered now.
    pub fn proofs(&mut self, proven: &BTreeSet<Ipv4Addr>) -> Vec<Fact> {
        let new: Vec<Ipv4Addr> = proven.difference(&self.proven).copied().collect();
        self.proven.clone_from(proven);
        let proof = |address| Fact::Proof(Proof { address, group: self.group_of_landing(address) });
        new.into_iter().map(proof).collect()
    }

    /// The API's name of a call; none if the action is none, or it only reads and reads are no
    /// facts.
    fn call_name(&self, action: &Action) -> Option<&'static str> {
        match action {
            Action::WriteRoute { write, .. } => Some(match write.verb {
                RouteWriteVerb::Replace => "ReplaceRoute",
                RouteWriteVerb::Create => "CreateRoute",
            }),
            Action::Assign { assignment, .. } => Some(assignment.resource.kind().write_call()),
            Action::Stop { .. } => Some("StopInstances"),
            Action::Start { .. } => Some("StartInstances"),
            Action::ReadRoutes { .. } if self.reads => Some("DescribeRouteTables"),
            Action::ReadHolders { resources, .. } if self.reads => {
                resources.first().map(|one| one.kind().read_call())
            }
            Action::ReadPower { .. } if self.reads => Some("DescribeInstances"),
            _ => None,
        }
    }

    /// The group and the node that a call is about.
    fn about(&self, action: &Action) -> (Option<GroupName>, Option<InstanceId>) {
        match action {
            Action::WriteRoute { write, .. } => {
                let RouteWrite { table, cidr, via, .. } = write;
                let is_it = |one: &Resource| one.route() == Some((table, *cidr));
                (self.group_with(is_it), via.interface().and_then(|one| self.owner(one)))
            }
            Action::Assign { assignment, .. } => {
                let is_it = |one: &Resource| *one == assignment.resource;
                (self.group_with(is_it), self.owner(&assignment.interface))
            }
            Action::Stop { node, .. }
            | Action::Start { node, .. }
            | Action::ReadPower { node, .. } => (None, Some(node.clone())),
            _ => (None, None),
        }
    }

    fn group_with(&self, is_it: impl Fn(&Resource) -> bool) -> Option<GroupName> {
        let found = self.roster.groups.iter().find(|group| group.resources.iter().any(&is_it));
        found.map(|group| group.name.clone())
    }

    fn owner(&self, interface: &NetworkInterfaceId) -> Option<InstanceId> {
        let found = self.roster.members.iter().find(|member| member.interface == *interface);
        found.map(|member| member.id.clone())
    }

    fn group_of_landing(&self, address: Ipv4Addr) -> Option<GroupName> {
        let landings = &self.roster.member(&self.me)?.landings;
        let (allocation, _) = landings.iter().find(|(_, landing)| **landing == address)?;
        self.group_with(
            |one| matches!(one, Resource::EgressIp { allocation: of, .. } if of == allocation),
        )
    }
}

fn fault_of(outcome: &Outcome) -> Option<&CloudFault> {
    match outcome {
        Outcome::Routes { result } => result.as_ref().err(),
        Outcome::Holders { result } => result.as_ref().err(),
        Outcome::Power { result } => result.as_ref().err(),
        Outcome::Written { result } => result.as_ref().err(),
        Outcome::Expired => None,
    }
}
