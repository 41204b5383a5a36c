//! What a slot makes of reads and writes.

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
        loses_public: false,
        landings: std::collections::BTreeMap::new(),
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
    slot.failed(Time::from_millis(300), Time::from_millis(200));
    assert_eq!(slot.current(), None);
    assert_eq!(route_to(&slot, 2), None);
}

#[test]
fn a_stale_read_after_one_that_confirmed_a_write_is_not_believed_either() {
    for lost in [false, true] {
        let mut slot = slot_seen_at_one();
        if lost {
            // It took effect, and the answer was lost.
            slot.sent(ActionId(1), RouteTarget::Interface(eni(2)));
            slot.failed(Time::from_millis(300), Time::from_millis(100));
        } else {
            write_two(&mut slot, 100);
        }
        slot.observe(at(2), Time::from_millis(400), SETTLE);
        for ms in [401, 3_000, 5_099] {
            let change = slot.observe(at(1), Time::from_millis(ms), SETTLE);
            assert_eq!((change, slot.current()), (Observed::Nothing, Some(at(2))), "{ms}");
        }
        assert!(slot.is_read_since(Time::from_millis(400)));
        assert!(!slot.is_read_since(Time::from_millis(401)), "a stale read confirms nothing");
        let change = slot.observe(at(1), Time::from_millis(5_100), SETTLE);
        assert_eq!(change, Observed::Moved(Some(at(2))), "another has moved it back");
    }
}

#[test]
fn no_state_from_before_the_last_changes_is_believed() {
    let mut slot = slot_seen_at_one();
    write_two(&mut slot, 100);
    slot.observe(at(2), Time::from_millis(150), SETTLE);
    assert_eq!(slot.observe(at(3), Time::from_millis(200), SETTLE), Observed::Moved(Some(at(2))));
    for old in [1, 2] {
        assert_eq!(slot.observe(at(old), Time::from_millis(250), SETTLE), Observed::Nothing);
    }
    assert_eq!(slot.current(), Some(at(3)));
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
    assert_eq!(slot.observe(at(2), Time::from_millis(90), SETTLE), Observed::Moved(Some(at(1))));
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
    assert_eq!(
        (write.verb, write.via.interface().cloned()),
        (RouteWriteVerb::Replace, Some(eni(7)))
    );
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
    assert_eq!(slot.observe(Location::Vacant, Time::from_millis(150), SETTLE), Observed::Nothing);
    let change = slot.observe(Location::Absent, Time::from_millis(160), SETTLE);
    assert_eq!(change, Observed::Moved(Some(at(2))));
}

#[test]
fn failures_are_counted_until_a_write_is_accepted() {
    let mut slot = slot_seen_at_one();
    for failures in 1..=3 {
        slot.sent(ActionId(1), RouteTarget::Interface(eni(2)));
        slot.failed(Time::from_millis(300), Time::from_millis(200));
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

/// Whether the request that assigns a resource which reads show there is made on condition.
fn assigned_only_if_free(resource: Resource, seen: Location<RouteEntry>) -> bool {
    let mut slot = Slot::new(resource, Time::default());
    slot.observe(seen, Time::from_millis(10), SETTLE);
    match slot.write_to(&member(2)).unwrap() {
        Write::Assign(assignment) => assignment.only_if_free,
        Write::Route(write) => panic!("an address is a route: {write:?}"),
    }
}

#[test]
fn only_a_private_ip_that_reads_show_nowhere_is_assigned_on_condition() {
    let private = || Resource::PrivateIp { address: [10, 0, 0, 99].into() };
    let allocation = "eipalloc-00000001".parse().unwrap();
    let eip = Resource::Eip { allocation, address: [203, 0, 113, 7].into(), on: None };
    assert!(assigned_only_if_free(private(), Location::Vacant));
    assert!(!assigned_only_if_free(private(), at(1)), "it is taken from its holder");
    // It may be on another private IP of a member, from which it is taken.
    assert!(!assigned_only_if_free(eip, Location::Vacant));
}
