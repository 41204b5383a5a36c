//! One resource of a group: where a read last found it, what was written, and the write under way.

use std::time::Duration;

use super::ActionId;
use crate::types::{
    Assignment, Location, Member, NatGatewayId, Resource, RouteEntry, RouteTarget, RouteVia,
    RouteWrite, RouteWriteVerb, Time,
};

/// A change to request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    /// Of a route.
    Route(RouteWrite),
    /// Of anything else.
    Assign(Assignment),
}

/// The result of comparing a read with what was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observed {
    /// Nothing new, or a read that is older than what is known.
    Nothing,
    /// This node's own write is confirmed.
    Confirmed,
    /// The resource has moved; this is where it was before, if that was known.
    Moved(Option<Location<RouteEntry>>),
}

/// A write that was accepted and that no read has confirmed yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Written {
    target: RouteTarget,
    at: Time,
}

/// How many superseded locations are kept: more changes than that within the lag of reads are a
/// fight over the resource, whose next read is as good as any.
const MAX_PAST: usize = 4;

/// A write under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PendingWrite {
    pub(crate) id: ActionId,
    target: RouteTarget,
    /// This node was paused since: acceptance no longer shows the current state.
    is_old: bool,
}

/// One resource and everything this node knows about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) resource: Resource,
    location: Option<Location<RouteEntry>>,
    /// When the read that showed it was requested.
    read_at: Option<Time>,
    /// When it last moved, as far as is known.
    pub(crate) since: Time,
    written: Option<Written>,
    /// Where it was before, and when that was superseded: by an own write that was sent, or by a
    /// read that was requested then. Answers are not monotonic: after one that shows a change,
    /// another may show the state before it.
    past: Vec<(Location<RouteEntry>, Time)>,
    pub(crate) pending: Option<PendingWrite>,
    pub(crate) failures: u32,
    pub(crate) retry_at: Option<Time>,
}

impl Slot {
    pub(crate) fn new(resource: Resource, now: Time) -> Self {
        Self {
            resource,
            location: None,
            read_at: None,
            since: now,
            written: None,
            past: Vec::new(),
            pending: None,
            failures: 0,
            retry_at: None,
        }
    }

    /// Where it points, as far as is known: an accepted write counts until a read shows otherwise.
    pub(crate) fn current(&self) -> Option<Location<RouteEntry>> {
        match &self.written {
            Some(written) => Some(Location::At(RouteEntry::active(written.target.clone()))),
            None => self.location.clone(),
        }
    }

    /// Where it points; after a write whose outcome is unknown, until a read, where it was before.
    pub(crate) fn presumed(&self) -> Option<Location<RouteEntry>> {
        let before = || self.past.last().map(|(location, _)| location.clone());
        self.current().or_else(|| self.is_retrying().then(before).flatten())
    }

    /// Whether a write of it has failed and is to be tried again.
    pub(crate) fn is_retrying(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Whether [`Slot::current`] comes from a read that was requested at or after `earliest`.
    pub(crate) fn is_read_since(&self, earliest: Time) -> bool {
        self.written.is_none() && self.read_at.is_some_and(|at| at >= earliest)
    }

    /// When the read behind [`Slot::current`] was requested.
    pub(crate) fn read_at(&self) -> Option<Time> {
        self.read_at
    }

    /// When [`Slot::current`] was last known to be in force: when the read that showed it was
    /// requested, or an own write was accepted. What supersedes it happened after that.
    pub(crate) fn known_at(&self) -> Option<Time> {
        self.read_at.max(self.written.as_ref().map(|written| written.at))
    }

    /// Whether an accepted write waits for a read to confirm it.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.written.is_some()
    }

    /// Whether a write is under way that points it at `target`.
    pub(crate) fn has_pending_write_to(&self, target: &RouteTarget) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.target == *target)
    }

    /// Takes in what a read showed that was asked for at `asked`. Within `settle` of a change, a
    /// read that shows a state from before it is taken for EC2's eventual consistency, not for
    /// another's change, whether or not an earlier read has shown the change. One that shows only
    /// that this node's own change is pending tells nothing new.
    pub(crate) fn observe(
        &mut self,
        location: Location<RouteEntry>,
        asked: Time,
        settle: Duration,
    ) -> Observed {
        if location == Location::Pending || self.read_at.is_some_and(|at| asked < at) {
            return Observed::Nothing;
        }
        self.past.retain(|(_, superseded)| asked < *superseded + settle);
        let current = self.current();
        let is_old = self.past.iter().any(|(past, _)| same_target(Some(past), &location));
        if is_old && current.is_some() && !same_target(current.as_ref(), &location) {
            return Observed::Nothing;
        }
        if let Some(written) = &self.written {
            let is_ours =
                matches!(&location, Location::At(entry) if entry.target == written.target);
            if !is_ours && asked < written.at {
                return Observed::Nothing;
            }
            let presumed = current;
            self.written = None;
            self.location = Some(location);
            self.read_at = Some(asked);
            if is_ours {
                return Observed::Confirmed;
            }
            self.since = asked;
            self.supersede(presumed.clone(), asked);
            return Observed::Moved(presumed);
        }
        self.read_at = Some(asked);
        if self.location.as_ref() == Some(&location) {
            return Observed::Nothing;
        }
        let moved = !same_target(self.location.as_ref(), &location);
        let before = self.location.replace(location);
        if moved {
            self.since = asked;
            self.supersede(before.clone(), asked);
            return Observed::Moved(before);
        }
        Observed::Nothing
    }

    /// The request that gives this resource to `member`; none where the resource does not exist,
    /// or where nothing is known of it.
    pub(crate) fn write_to(&self, member: &Member) -> Option<Write> {
        let verb = self.verb()?;
        let interface = member.interface.clone();
        Some(match self.resource.route() {
            Some((table, cidr)) => {
                let via = RouteVia::Interface(interface);
                Write::Route(RouteWrite { verb, table: table.clone(), cidr, via })
            }
            None => Write::Assign(Assignment {
                resource: self.resource.clone(),
                interface,
                address: match self.resource.target(member)? {
                    RouteTarget::Address(address) => address,
                    _ => member.address,
                },
                only_if_free: self.is_free(),
            }),
        })
    }

    /// Whether it is a private IP that no interface has. A read may not have seen the interface of
    /// an outsider, so its write is made on the condition that EC2 knows none either.
    fn is_free(&self) -> bool {
        let is_private = matches!(self.resource, Resource::PrivateIp { .. });
        is_private && self.current() == Some(Location::Vacant)
    }

    /// The request that points this resource, a route, to a NAT gateway.
    pub(crate) fn write_to_gateway(&self, gateway: &NatGatewayId) -> Option<Write> {
        let (table, cidr) = self.resource.route()?;
        let (verb, table) = (self.verb()?, table.clone());
        Some(Write::Route(RouteWrite {
            verb,
            table,
            cidr,
            via: RouteVia::NatGateway(gateway.clone()),
        }))
    }

    /// The call that writes it, if it is a route.
    fn verb(&self) -> Option<RouteWriteVerb> {
        match self.current()? {
            Location::Absent | Location::Pending => None,
            Location::Vacant => Some(RouteWriteVerb::Create),
            Location::At(_) => Some(RouteWriteVerb::Replace),
        }
    }

    /// Notes that a write was sent that points it at `target`.
    pub(crate) fn sent(&mut self, id: ActionId, target: RouteTarget) {
        self.pending = Some(PendingWrite { id, target, is_old: false });
        self.retry_at = None;
    }

    /// Notes that the write under way was accepted.
    pub(crate) fn accepted(&mut self, now: Time) {
        let Some(pending) = self.pending.take() else { return };
        self.since = now;
        self.failures = 0;
        if pending.is_old {
            return self.forget();
        }
        self.supersede(self.current(), now);
        self.written = Some(Written { target: pending.target, at: now });
    }

    /// Notes that the location was replaced by another at `at`.
    fn supersede(&mut self, before: Option<Location<RouteEntry>>, at: Time) {
        let Some(before) = before else { return };
        self.past.retain(|(past, _)| !same_target(Some(past), &before));
        self.past.push((before, at));
        if self.past.len() > MAX_PAST {
            self.past.remove(0);
        }
    }

    /// Notes that the write under way failed or was given up. Nothing is known until the next
    /// read: the request may have taken effect, or the resource may have moved before it.
    pub(crate) fn failed(&mut self, retry_at: Time, now: Time) {
        self.pending = None;
        self.supersede(self.current(), now);
        self.failures += 1;
        self.retry_at = Some(retry_at);
        self.forget();
    }

    /// Notes that the write under way was refused for good, and had no effect.
    pub(crate) fn refused(&mut self, now: Time) {
        self.failed(now, now);
        self.failures = 0;
        self.retry_at = None;
    }

    /// Shows every time in it to `visit`.
    pub(crate) fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self {
            resource: _,
            location: _,
            read_at,
            since,
            written,
            past,
            pending: _,
            failures: _,
            retry_at,
        } = self;
        visit(since);
        read_at.iter_mut().chain(retry_at).for_each(&mut *visit);
        if let Some(Written { target: _, at }) = written {
            visit(at);
        }
        for (_, superseded) in past.iter_mut() {
            visit(superseded);
        }
    }

    /// Forgets every read, and ignores the outcome of a write under way: this node was paused, and
    /// anything may have changed meanwhile.
    pub(crate) fn forget(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.is_old = true;
        }
        self.location = None;
        self.read_at = None;
        self.written = None;
    }
}

/// Whether both point to the same target; the blackhole state follows the target's power.
fn same_target(before: Option<&Location<RouteEntry>>, after: &Location<RouteEntry>) -> bool {
    match (before, after) {
        (Some(Location::At(before)), Location::At(after)) => before.target == after.target,
        (Some(before), after) => before == after,
        (None, _) => false,
    }
}

#[cfg(test)]
#[path = "slot_tests.rs"]
mod tests;
