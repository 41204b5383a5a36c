//! Which packets are admitted, and how much work a flood of forged packets can cause.

use super::*;
use crate::types::SessionId;
use crate::wire::HeartbeatKey;

const NOW: Time = Time::from_millis(1_000_000);
const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

fn id(digit: char) -> InstanceId {
    format!("i-0000000{digit}").parse().unwrap()
}

fn gate(digit: char, session: u64, key: Option<&[u8]>) -> PacketGate {
    let sender = Sender::new(id(digit), SessionId(session), "nat", key.map(HeartbeatKey::derive));
    let mut gate = PacketGate::new(id(digit), sender);
    gate.set_members([(id('a'), ME), (id('b'), PEER)]);
    gate
}

/// The heartbeat of a node that holds nothing and hears no peer.
fn beat() -> Beat {
    Beat::default()
}

fn next(gate: &mut PacketGate, to: char) -> Vec<u8> {
    gate.next_packet(&id(to), beat(), NOW).unwrap().0.bytes
}

/// Two nodes that hear each other.
fn met(key: Option<&[u8]>) -> (PacketGate, PacketGate) {
    let (mut a, mut b) = (gate('a', 1, key), gate('b', 2, key));
    let _ = b.admit(&next(&mut a, 'b'), ME, NOW);
    assert!(a.admit(&next(&mut b, 'a'), PEER, NOW).is_ok());
    (a, b)
}

const KEY: Option<&[u8]> = Some(b"sixteen bytes or more");

#[test]
fn without_a_key_the_address_identifies_a_sender_and_with_one_the_tag_does() {
    let (mut a, mut b) = met(None);
    assert_eq!(a.admit(&next(&mut b, 'a'), STRANGER, NOW), Err(Rejected::WrongAddress));
    let (mut a, mut b) = met(KEY);
    assert_eq!(a.admit(&next(&mut b, 'a'), STRANGER, NOW).map(|_| ()), Ok(()));
}

#[test]
fn forged_packets_beyond_a_turns_measure_are_refused_unseen() {
    let (mut a, _) = met(KEY);
    let forged = next(&mut gate('b', 7, Some(b"another key of some length")), 'a');
    for turn in 0..3 {
        a.begin_turn();
        for count in 0..1_000 {
            let expected = if count < TAGS_A_TURN { Rejected::BadTag } else { Rejected::Unchecked };
            assert_eq!(a.admit(&forged, PEER, NOW), Err(expected), "{turn}: {count}");
        }
    }
}

#[test]
fn a_session_in_force_is_heard_whatever_came_before_it_in_the_turn() {
    let (mut a, mut b) = met(KEY);
    let forged = next(&mut gate('b', 7, Some(b"another key of some length")), 'a');
    for _ in 0..=TAGS_A_TURN {
        let _ = a.admit(&forged, PEER, NOW);
    }
    let real = next(&mut b, 'a');
    assert!(a.admit(&real, PEER, NOW).is_ok());
    assert_eq!(a.admit(&real, PEER, NOW), Err(Rejected::Replayed));
    let mut restarted = gate('b', 3, KEY);
    let first = next(&mut restarted, 'a');
    assert_eq!(a.admit(&first, PEER, NOW), Err(Rejected::Unchecked));
    a.begin_turn();
    assert_eq!(a.admit(&first, PEER, NOW), Err(Rejected::Unconfirmed));
}

#[test]
fn members_are_found_by_name_and_by_address_and_this_node_is_none() {
    let mut gate = gate('a', 1, KEY);
    assert_eq!(gate.address(&id('b')), Some(PEER));
    assert_eq!((gate.address(&id('a')), gate.address(&id('c'))), (None, None));
    assert_eq!(gate.peer_at(PEER), Some(&id('b')));
    assert_eq!((gate.peer_at(ME), gate.peer_at(STRANGER)), (None, None));
    gate.set_members([(id('c'), STRANGER)]);
    assert_eq!((gate.address(&id('b')), gate.peer_at(STRANGER)), (None, Some(&id('c'))));
}

#[test]
fn a_packet_goes_to_a_member_and_carries_this_run_s_session() {
    let mut gate = gate('a', 7, KEY);
    let (encoded, address) = gate.next_packet(&id('b'), beat(), NOW).unwrap();
    assert_eq!(address, PEER);
    let reader = Sender::new(id('b'), SessionId(1), "nat", KEY.map(HeartbeatKey::derive));
    assert_eq!(reader.decode(&encoded.bytes).unwrap().session, SessionId(7));
    assert!(gate.next_packet(&id('c'), beat(), NOW).is_none());
}

#[test]
fn a_member_that_left_and_came_back_begins_anew() {
    let (mut a, mut b) = met(KEY);
    assert!(a.admit(&next(&mut b, 'a'), PEER, NOW).is_ok());
    a.set_members([]);
    assert_eq!(a.admit(&next(&mut b, 'a'), PEER, NOW), Err(Rejected::UnknownSender));
    a.set_members([(id('b'), PEER)]);
    let mut silent = gate('b', 2, KEY);
    for _ in 0..9 {
        let _ = next(&mut silent, 'a');
    }
    assert_eq!(a.admit(&next(&mut silent, 'a'), PEER, NOW), Err(Rejected::Unconfirmed));
}

#[test]
fn neither_oneself_nor_an_unknown_node_is_a_peer() {
    let (mut a, _) = met(KEY);
    assert_eq!(a.admit(&next(&mut gate('a', 5, KEY), 'b'), PEER, NOW), Err(Rejected::Myself));
    let unknown = next(&mut gate('c', 6, KEY), 'b');
    assert_eq!(a.admit(&unknown, PEER, NOW), Err(Rejected::UnknownSender));
}

#[test]
fn nodes_that_are_heard_and_are_not_members_are_remembered_within_bounds() {
    let (mut a, _) = met(KEY);
    let mut c = gate('c', 5, KEY);
    c.set_members([(id('a'), ME)]);
    assert_eq!(a.admit(&next(&mut c, 'a'), STRANGER, NOW), Err(Rejected::UnknownSender));
    assert_eq!(a.take_strangers(), BTreeSet::from([id('c')]));
    assert_eq!(a.take_strangers(), BTreeSet::new(), "each is told once");
    let mut forged = gate('c', 6, Some(b"another key of some length"));
    forged.set_members([(id('a'), ME)]);
    assert_eq!(a.admit(&next(&mut forged, 'a'), STRANGER, NOW), Err(Rejected::BadTag));
    assert_eq!(
        a.take_strangers(),
        BTreeSet::new(),
        "without the key it is no node of this cluster"
    );
    let (mut open, _) = met(None);
    for n in 0..100 {
        let name: InstanceId = format!("i-1{n:07}").parse().unwrap();
        let sender = Sender::new(name, SessionId(9), "nat", None);
        let bytes = sender.clone().encode(&beat()).bytes;
        assert_eq!(open.admit(&bytes, STRANGER, NOW), Err(Rejected::UnknownSender));
    }
    assert_eq!(open.take_strangers().len(), MAX_STRANGERS);
}
