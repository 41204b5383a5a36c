//! What the heir keeps, and what it inserts.

use super::support::*;
use crate::flows::{
    BootId, Channel, Flow, Inserted, Message, Receiver, Record, Replica, Role, StreamFault,
    StreamKeys, TcpState,
};
use crate::types::Time;

fn put(replica: &mut Replica, flows: &[Flow], now: Time) {
    let records = flows.iter().map(|flow| record(*flow)).collect();
    replica.apply(&Message::Records { oldest: now, records }, now).unwrap();
}

fn begin(replica: &mut Replica) {
    replica.apply(&Message::ResyncBegin { count: 0 }, at(0)).unwrap();
}

#[test]
fn what_is_inserted_is_translated_to_this_nodes_address_and_what_matters_most_comes_first() {
    let mut replica = Replica::new(10);
    let replied = Flow { seen_reply: true, ..udp(3) };
    let assured = Flow { seen_reply: true, assured: true, ..udp(4) };
    let remapped = Flow { translated_port: 1_024, ..tcp(5, TcpState::Established) };
    let flows = [udp(2), replied, assured, tcp(1, TcpState::FinWait), remapped];
    put(&mut replica, &flows, at(0));
    let inserted = replica.injection(egress(1), HEIR_LANDING, at(0));
    let ports: Vec<u16> = inserted.iter().map(|one| one.flow.tuple.source_port).collect();
    assert_eq!(ports, [5, 1, 4, 3, 2]);
    assert_eq!(inserted[0].flow, remapped);
    assert!(inserted.iter().all(|one| one.landing == HEIR_LANDING));
    assert_eq!(replica.injection(egress(2), HEIR_LANDING, at(0)), []);
}

#[test]
fn timeouts_are_what_is_left_and_never_too_short_for_the_next_packet() {
    let mut replica = Replica::new(10);
    put(&mut replica, &[Flow { timeout_s: 100, ..udp(1) }, udp(2)], at(0));
    let timeouts = |now| {
        let inserted = replica.injection(egress(1), HEIR_LANDING, now);
        inserted.iter().map(|one| one.flow.timeout_s).collect::<Vec<_>>()
    };
    assert_eq!(timeouts(at(15_900)), [85, 15]);
    assert_eq!(timeouts(at(29_000)), [71, 10]);
    assert_eq!(timeouts(at(89_999)), [11, 10]);
    assert_eq!(timeouts(at(90_000)), [10], "30 s and the extra time have passed");
    assert_eq!(timeouts(at(160_000)), [] as [u32; 0]);
}

#[test]
fn connections_whose_time_is_up_are_dropped_and_counted() {
    let mut replica = Replica::new(10);
    put(&mut replica, &[udp(1), tcp(2, TcpState::Established)], at(0));
    replica.age(at(89_000));
    assert_eq!(replica.len(), 2);
    replica.age(at(89_999));
    replica.age(at(90_000));
    assert_eq!((replica.len(), replica.counts().expired), (1, 1));
}

#[test]
fn what_has_no_room_is_counted_and_what_is_known_is_replaced() {
    let mut replica = Replica::new(2);
    put(&mut replica, &[udp(1), udp(2), udp(3)], at(0));
    put(&mut replica, &[Flow { mark: 7, ..udp(1) }], at(0));
    assert_eq!((replica.len(), replica.counts().no_room), (2, 1));
    assert!(replica.records().any(|record| record.flow.mark == 7));
}

#[test]
fn what_a_resync_does_not_repeat_is_dropped_at_its_end() {
    let mut replica = Replica::new(10);
    put(&mut replica, &[udp(1), udp(2), udp(3)], at(0));
    begin(&mut replica);
    put(&mut replica, &[udp(1), udp(4)], at(1));
    let removals = Message::Removals { oldest: at(1), tuples: vec![udp(4).tuple] };
    replica.apply(&removals, at(1)).unwrap();
    assert_eq!((replica.len(), replica.is_in_resync()), (3, true));
    replica.apply(&Message::ResyncEnd { records: 2, removals: 1 }, at(1)).unwrap();
    assert_eq!(replica.records().collect::<Vec<_>>(), [record(udp(1))]);
    let counts = replica.counts();
    assert_eq!((counts.not_repeated, counts.resyncs, counts.removals), (2, 1, 1));
    assert!(!replica.is_in_resync());
}

#[test]
fn a_resync_that_is_not_complete_drops_nothing() {
    let mut replica = Replica::new(10);
    put(&mut replica, &[udp(1)], at(0));
    let end = Message::ResyncEnd { records: 1, removals: 0 };
    assert_eq!(replica.apply(&end, at(1)), Err(StreamFault::Unexpected));
    begin(&mut replica);
    assert_eq!(replica.apply(&end, at(1)), Err(StreamFault::Miscounted));
    begin(&mut replica);
    replica.begin(BootId([1; 16]));
    assert_eq!(replica.apply(&end, at(1)), Err(StreamFault::Unexpected), "another stream");
    assert_eq!(replica.len(), 1);
}

#[test]
fn an_owner_that_has_booted_since_has_no_connections() {
    let mut replica = Replica::new(10);
    replica.begin(BootId([1; 16]));
    put(&mut replica, &[udp(1), udp(2)], at(0));
    replica.begin(BootId([1; 16]));
    assert_eq!(replica.len(), 2, "its monitor has restarted");
    replica.begin(BootId([2; 16]));
    assert_eq!((replica.len(), replica.counts().rebooted), (0, 2));
}

#[test]
fn the_connections_of_an_egress_ip_that_is_here_are_forgotten() {
    let mut replica = Replica::new(10);
    let records = vec![record(udp(1)), Record { egress: egress(2), flow: udp(2) }];
    replica.apply(&Message::Records { oldest: at(0), records }, at(0)).unwrap();
    replica.forget(egress(1));
    assert_eq!(replica.records().map(|one| one.egress).collect::<Vec<_>>(), [egress(2)]);
}

#[test]
fn results_of_insertions_are_counted_by_reason() {
    let mut replica = Replica::new(10);
    replica.inserted([Inserted::New, Inserted::New, Inserted::Exists, Inserted::PortTaken]);
    replica.inserted([Inserted::TableFull, Inserted::Other]);
    let counts = replica.counts().inserted;
    let reasons = (counts.exists, counts.port_taken, counts.table_full, counts.other);
    assert_eq!((counts.new, reasons), (2, (1, 1, 1, 1)));
}

#[test]
fn an_owner_sends_no_messages_of_an_heir() {
    let mut replica = Replica::new(10);
    for message in [
        Message::Ack { sequence: 1, oldest: at(0), held: 0 },
        Message::Hello(hello(Role::Owner, 1)),
    ] {
        assert_eq!(replica.apply(&message, at(0)), Err(StreamFault::Unexpected));
    }
}

/// A recorded hello of a later boot must not cost the replica: its sender cannot go on.
#[test]
fn a_hello_alone_changes_nothing() {
    let mut replica = Replica::new(10);
    replica.begin(BootId([1; 16]));
    put(&mut replica, &[udp(1)], at(0));
    let channel = |role, keys| Channel::new(hello(role, 2), None, keys);
    let mut receiver = Receiver::new(channel(Role::Heir, keyed()));
    let owner = channel(Role::Owner, keyed());
    receiver.receive(&owner.hello(), &mut replica, at(1)).unwrap();
    assert_eq!(receiver.owner().unwrap().boot, BootId([2; 16]));
    assert!(receiver.heard().is_none());
    let mut forged = Vec::new();
    let mut other = channel(Role::Owner, StreamKeys { own: Some(key("no")), second: None });
    other.send(&mut forged, &Message::Position { oldest: at(0) });
    assert_eq!(receiver.receive(&forged, &mut replica, at(1)), Err(StreamFault::BadTag));
    assert_eq!(replica.len(), 1);
}

#[test]
fn what_follows_the_greeting_in_the_same_bytes_is_not_lost() {
    let mut owner = Channel::new(hello(Role::Owner, 1), None, keyed());
    let mut receiver = Receiver::new(Channel::new(hello(Role::Heir, 1), None, keyed()));
    let mut bytes = owner.hello();
    owner.feed(&receiver.output());
    owner.next_frame().unwrap();
    let records = vec![record(udp(1))];
    owner.send(&mut bytes, &Message::Records { oldest: at(0), records });
    receiver.greet(&bytes).unwrap();
    let mut replica = Replica::new(10);
    receiver.receive(&[], &mut replica, at(5)).unwrap();
    assert_eq!((replica.len(), receiver.heard()), (1, Some(at(5))));
    owner.feed(&receiver.output());
    let ack = owner.next_frame().unwrap().unwrap().message;
    assert_eq!(ack, Message::Ack { sequence: 1, oldest: at(0), held: 1 });
}

#[test]
fn what_was_received_since_is_a_part_of_what_is_to_be_inserted() {
    let mut replica = Replica::new(10);
    put(&mut replica, &[udp(1)], at(100));
    put(&mut replica, &[udp(2)], at(200));
    let since = |time: Time| {
        let entries = replica.injection_since(egress(1), HEIR_LANDING, time, at(300));
        entries.iter().map(|entry| entry.flow.tuple.source_port).collect::<Vec<_>>()
    };
    assert_eq!((since(at(100)), since(at(101)), since(at(201))), (vec![1, 2], vec![2], vec![]));
}
