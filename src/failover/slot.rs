//! One resource of a group: where a read last found it, what was written, and the write under way.

use std::time::Duration;

use super::ActionId;
use crate::types::{
    Assignment, Location, Member, Resource, RouteEntry, RouteTarget, RouteWrite, RouteWriteVerb,
    Time,
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
    before: Option<Location<RouteEntry>>,
}

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

    /// Whether [`Slot::current`] comes from a read that was requested at or after `earliest`.
    pub(crate) fn is_read_since(&self, earliest: Time) -> bool {
        self.written.is_none() && self.read_at.is_some_and(|at| at >= earliest)
    }

    /// When the read behind [`Slot::current`] was requested.
    pub(crate) fn read_at(&self) -> Option<Time> {
        self.read_at
    }

    /// Whether an accepted write waits for a read to confirm it.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.written.is_some()
    }

    /// Whether a write is under way that points it at `target`.
    pub(crate) fn has_pending_write_to(&self, target: &RouteTarget) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.target == *target)
    }

    /// Takes in what a read showed that was asked for at `asked`. Within `settle` of an accepted
    /// write, a read that still shows the state before it is taken for EC2's eventual
    /// consistency, not for another's change. One that shows only that this node's own change is
    /// pending tells nothing new.
    pub(crate) fn observe(
        &mut self,
        location: Location<RouteEntry>,
        asked: Time,
        settle: Duration,
    ) -> Observed {
        if location == Location::Pending || self.read_at.is_some_and(|at| asked < at) {
            return Observed::Nothing;
        }
        if let Some(written) = &self.written {
            let is_ours =
                matches!(&location, Location::At(entry) if entry.target == written.target);
            if !is_ours {
                let too_early = asked < written.at;
                let stale =
                    asked < written.at + settle && same_target(written.before.as_ref(), &location);
                if too_early || stale {
                    return Observed::Nothing;
                }
            }
            let presumed = self.current();
            self.written = None;
            self.location = Some(location);
            self.read_at = Some(asked);
            if is_ours {
                return Observed::Confirmed;
            }
            self.since = asked;
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
            return Observed::Moved(before);
        }
        Observed::Nothing
    }

    /// The request that gives this resource to `member`; none where the resource does not exist,
    /// or where nothing is known of it.
    pub(crate) fn write_to(&self, member: &Member) -> Option<Write> {
        let verb = match self.current()? {
            Location::Absent | Location::Pending => return None,
            Location::Vacant => RouteWriteVerb::Create,
            Location::At(_) => RouteWriteVerb::Replace,
        };
        let interface = member.interface.clone();
        Some(match self.resource.route() {
            Some((table, cidr)) => {
                Write::Route(RouteWrite { verb, table: table.clone(), cidr, interface })
            }
            None => Write::Assign(Assignment {
                resource: self.resource.clone(),
                interface,
                address: match self.resource.target(member)? {
                    RouteTarget::Address(address) => address,
                    _ => member.address,
                },
            }),
        })
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
        let before = self.current();
        self.written = Some(Written { target: pending.target, at: now, before });
    }

    /// Notes that the write under way failed or was given up. Nothing is known until the next
    /// read: the request may have taken effect, or the resource may have moved before it.
    pub(crate) fn failed(&mut self, retry_at: Time) {
        self.pending = None;
        self.failures += 1;
        self.retry_at = Some(retry_at);
        self.forget();
    }

    /// Shows every time in it to `visit`.
    pub(crate) fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self {
            resource: _,
            location: _,
            read_at,
            since,
            written,
            pending: _,
            failures: _,
            retry_at,
        } = self;
        visit(since);
        read_at.iter_mut().chain(retry_at).for_each(&mut *visit);
        if let Some(Written { target: _, at, before: _ }) = written {
            visit(at);
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
mod tests {
    use super::*;
    use crate::types::NetworkInterfaceId;

    fn eni(n: u8) -> NetworkInterfaceId {
        format!("eni-{n:08x}").parse().unwrap()
    }

    fn at(n: u8) -> Location<RouteEntry> {
        Location::At(RouteEntry { target: RouteTarget::Interface(eni(n)), blackhole: false })
    }

    fn member(n: u8) -> Member {
        Member {
            id: format!("i-{n:08x}").parse().unwrap(),
            interface: eni(n),
            address: [10, 0, 0, n].into(),
            zone: None,
            name: None,
            public: None,
        }
    }

    /// The request that points it at a member's interface.
    fn route_to(slot: &Slot, n: u8) -> Option<RouteWrite> {
        match slot.write_to(&member(n))? {
            Write::Route(write) => Some(write),
            Write::Assign(assignment) => panic!("a route is assigned: {assignment:?}"),
        }
    }

    fn slot_seen_at_one() -> Slot {
        let resource = Resource::DefaultRoute {
            table: "rtb-00000001".parse().unwrap(),
            cidr: "0.0.0.0/0".parse().unwrap(),
        };
        let mut slot = Slot::new(resource, Time::default());
        slot.observe(at(1), Time::from_millis(10), SETTLE);
        slot
    }

    const SETTLE: Duration = Duration::from_secs(5);

    fn write_two(slot: &mut Slot, ms: u64) {
        slot.sent(ActionId(1), RouteTarget::Interface(eni(2)));
        slot.accepted(Time::from_millis(ms));
    }

    #[test]
    fn an_accepted_write_counts_until_a_read_confirms_it() {
        let mut slot = slot_seen_at_one();
        write_two(&mut slot, 100);
        assert_eq!(slot.current(), Some(at(2)));
        assert!(!slot.is_read_since(Time::default()));
        assert_eq!(slot.observe(at(2), Time::from_millis(150), SETTLE), Observed::Confirmed);
        assert!(slot.is_read_since(Time::from_millis(150)));
    }

    #[test]
    fn a_stale_read_after_a_write_is_not_believed() {
        let mut slot = slot_seen_at_one();
        write_two(&mut slot, 100);
        assert_eq!(slot.observe(at(1), Time::from_millis(150), SETTLE), Observed::Nothing);
        assert_eq!(slot.current(), Some(at(2)));
    }

    #[test]
    fn a_stale_read_that_shows_a_blackhole_by_now_is_not_believed_either() {
        let mut slot = slot_seen_at_one();
        write_two(&mut slot, 100);
        let dark = RouteEntry { target: RouteTarget::Interface(eni(1)), blackhole: true };
        let change = slot.observe(Location::At(dark), Time::from_millis(150), SETTLE);
        assert_eq!(change, Observed::Nothing);
        assert_eq!(slot.current(), Some(at(2)));
    }

    #[test]
    fn a_third_target_is_believed_at_once() {
        let mut slot = slot_seen_at_one();
        write_two(&mut slot, 100);
        let change = slot.observe(at(3), Time::from_millis(150), SETTLE);
        assert_eq!(change, Observed::Moved(Some(at(2))));
        assert_eq!(slot.current(), Some(at(3)));
    }

    #[test]
    fn the_old_target_is_believed_once_reads_have_settled() {
        let mut slot = slot_seen_at_one();
        write_two(&mut slot, 100);
        let change = slot.observe(at(1), Time::from_millis(5_200), SETTLE);
        assert_eq!(change, Observed::Moved(Some(at(2))));
    }

    #[test]
    fn after_a_failed_write_nothing_is_known() {
        let mut slot = slot_seen_at_one();
        slot.sent(ActionId(1), RouteTarget::Interface(eni(2)));
        slot.failed(Time::from_millis(300));
        assert_eq!(slot.current(), None);
        assert_eq!(route_to(&slot, 2), None);
    }

    #[test]
    fn a_read_from_before_the_write_tells_nothing_about_it() {
        let mut slot = slot_seen_at_one();
        write_two(&mut slot, 100);
        assert_eq!(slot.observe(at(3), Time::from_millis(99), SETTLE), Observed::Nothing);
        assert!(slot.is_unconfirmed());
        let change = slot.observe(at(3), Time::from_millis(100), SETTLE);
        assert_eq!(change, Observed::Moved(Some(at(2))));
        assert!(!slot.is_unconfirmed());
    }

    #[test]
    fn reads_have_settled_when_the_settle_time_has_passed() {
        let mut slot = slot_seen_at_one();
        write_two(&mut slot, 100);
        assert_eq!(slot.observe(at(1), Time::from_millis(5_099), SETTLE), Observed::Nothing);
        let change = slot.observe(at(1), Time::from_millis(5_100), SETTLE);
        assert_eq!(change, Observed::Moved(Some(at(2))));
    }

    #[test]
    fn a_read_tells_when_it_was_begun_and_since_when_the_route_is_so() {
        let mut slot = slot_seen_at_one();
        assert_eq!(slot.read_at(), Some(Time::from_millis(10)));
        assert_eq!(slot.observe(at(1), Time::from_millis(50), SETTLE), Observed::Nothing);
        assert_eq!(slot.read_at(), Some(Time::from_millis(50)));
        assert_eq!(slot.since, Time::from_millis(10), "unchanged since the first read");
        assert_eq!(
            slot.observe(at(2), Time::from_millis(90), SETTLE),
            Observed::Moved(Some(at(1)))
        );
        assert_eq!(slot.since, Time::from_millis(90));
        let same_moment = slot.observe(at(3), Time::from_millis(90), SETTLE);
        assert_eq!(same_moment, Observed::Moved(Some(at(2))), "the later answer counts");
    }

    #[test]
    fn a_route_that_turns_dark_has_not_moved() {
        let mut slot = slot_seen_at_one();
        let dark = RouteEntry { target: RouteTarget::Interface(eni(1)), blackhole: true };
        let change = slot.observe(Location::At(dark.clone()), Time::from_millis(50), SETTLE);
        assert_eq!((change, slot.current()), (Observed::Nothing, Some(Location::At(dark))));
        assert_eq!(slot.since, Time::from_millis(10));
    }

    #[test]
    fn a_route_is_replaced_where_there_is_one_and_created_where_there_is_none() {
        let mut slot = slot_seen_at_one();
        let write = route_to(&slot, 7).unwrap();
        assert_eq!((write.verb, write.interface.clone()), (RouteWriteVerb::Replace, eni(7)));
        slot.observe(Location::Vacant, Time::from_millis(20), SETTLE);
        assert_eq!(route_to(&slot, 7).unwrap().verb, RouteWriteVerb::Create);
        slot.observe(Location::Absent, Time::from_millis(30), SETTLE);
        assert_eq!(route_to(&slot, 7), None);
    }

    #[test]
    fn a_route_that_was_missing_and_still_is_after_a_write_may_be_a_stale_read() {
        let mut slot = slot_seen_at_one();
        slot.observe(Location::Vacant, Time::from_millis(20), SETTLE);
        write_two(&mut slot, 100);
        assert_eq!(
            slot.observe(Location::Vacant, Time::from_millis(150), SETTLE),
            Observed::Nothing
        );
        let change = slot.observe(Location::Absent, Time::from_millis(160), SETTLE);
        assert_eq!(change, Observed::Moved(Some(at(2))));
    }

    #[test]
    fn failures_are_counted_until_a_write_is_accepted() {
        let mut slot = slot_seen_at_one();
        for failures in 1..=3 {
            slot.sent(ActionId(1), RouteTarget::Interface(eni(2)));
            slot.failed(Time::from_millis(300));
            assert_eq!(slot.failures, failures);
        }
        assert_eq!(slot.retry_at, Some(Time::from_millis(300)));
        write_two(&mut slot, 400);
        assert_eq!((slot.failures, slot.retry_at), (0, None));
    }

    #[test]
    fn a_write_that_was_accepted_during_a_pause_does_not_tell_how_the_route_is() {
        let mut slot = slot_seen_at_one();
        slot.sent(ActionId(1), RouteTarget::Interface(eni(2)));
        slot.forget();
        slot.accepted(Time::from_millis(5_000));
        assert!(slot.pending.is_none());
        assert_eq!(slot.current(), None);
    }

    #[test]
    fn an_older_read_that_comes_late_changes_nothing() {
        let mut slot = slot_seen_at_one();
        slot.observe(at(2), Time::from_millis(50), SETTLE);
        assert_eq!(slot.observe(at(1), Time::from_millis(20), SETTLE), Observed::Nothing);
        assert_eq!(slot.current(), Some(at(2)));
    }
}
