//! Greeting, tags and order.

use super::support::*;
use crate::flows::{Channel, Hello, Message, Nonce, Refusal, Role, StreamFault, StreamKeys};

fn channel(role: Role, keys: StreamKeys) -> Channel {
    Channel::new(hello(role, 1), None, keys)
}

/// Both ends after their greeting.
fn pair(owner_keys: StreamKeys, heir_keys: StreamKeys) -> Result<(Channel, Channel), StreamFault> {
    let mut owner = channel(Role::Owner, owner_keys);
    let mut heir = channel(Role::Heir, heir_keys);
    greet(&mut owner, &mut heir)?;
    greet(&mut heir, &mut owner)?;
    Ok((owner, heir))
}

fn greet(from: &mut Channel, to: &mut Channel) -> Result<(), StreamFault> {
    to.feed(&from.hello());
    to.next_frame().map(drop)
}

fn message() -> Message {
    Message::Records { oldest: at(3), records: vec![record(udp(1))] }
}

fn sent(from: &mut Channel) -> Vec<u8> {
    let mut out = Vec::new();
    from.send(&mut out, &message());
    out
}

#[test]
fn a_greeted_channel_delivers_messages_in_pieces() {
    for keys in [keyed(), StreamKeys::default()] {
        let (mut owner, mut heir) = pair(keys.clone(), keys).unwrap();
        assert_eq!(heir.peer().unwrap().node, OWNER.parse().unwrap());
        let bytes = [sent(&mut owner), sent(&mut owner)].concat();
        let mut frames = Vec::new();
        for byte in bytes {
            heir.feed(&[byte]);
            frames.extend(heir.next_frame().unwrap());
        }
        assert_eq!(frames.iter().map(|frame| frame.sequence).collect::<Vec<_>>(), [1, 2]);
        assert!(frames.iter().all(|frame| frame.message == message()));
    }
}

#[test]
fn without_the_key_nothing_is_accepted() {
    let other = || StreamKeys { own: Some(key("other")), second: None };
    for (owner, heir, fault) in [
        (StreamKeys::default(), keyed(), StreamFault::Untagged),
        (keyed(), StreamKeys::default(), StreamFault::Unverifiable),
        (other(), keyed(), StreamFault::BadTag),
    ] {
        assert_eq!(pair(owner, heir).err(), Some(fault));
    }
}

/// The steps of `heartbeat.second_key_file`.
#[test]
fn while_the_key_is_replaced_both_are_accepted() {
    let (old, new) = (|| Some(key("old")), || Some(key("new")));
    let before = || StreamKeys { own: old(), second: new() };
    let after = || StreamKeys { own: new(), second: old() };
    for (owner, heir) in [(before(), after()), (after(), before()), (after(), after())] {
        let (mut owner, mut heir) = pair(owner, heir).unwrap();
        heir.feed(&sent(&mut owner));
        assert!(heir.next_frame().unwrap().is_some());
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let (mut owner, _) = pair(keyed(), keyed()).unwrap();
    let bytes = sent(&mut owner);
    for place in 4..bytes.len() {
        let (_, mut heir) = pair(keyed(), keyed()).unwrap();
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        heir.feed(&changed);
        assert!(heir.next_frame().is_err(), "{place}");
    }
    let (_, mut heir) = pair(keyed(), keyed()).unwrap();
    heir.feed(&bytes);
    assert!(heir.next_frame().is_ok());
}

#[test]
fn a_frame_of_an_earlier_stream_or_of_this_end_is_refused() {
    let (mut owner, mut heir) = pair(keyed(), keyed()).unwrap();
    let recorded = sent(&mut owner);
    let mut later = hello(Role::Heir, 1);
    later.nonce = Nonce([9; Nonce::LEN]);
    let mut next = Channel::new(later, None, keyed());
    greet(&mut owner, &mut next).unwrap();
    next.feed(&recorded);
    assert_eq!(next.next_frame(), Err(StreamFault::BadTag), "replayed");
    let own = sent(&mut heir);
    heir.feed(&own);
    assert_eq!(heir.next_frame(), Err(StreamFault::BadTag), "reflected");
}

#[test]
fn a_missing_or_repeated_frame_is_noticed() {
    for keys in [keyed(), StreamKeys::default()] {
        let (mut owner, mut heir) = pair(keys.clone(), keys.clone()).unwrap();
        let first = sent(&mut owner);
        heir.feed(&[first.clone(), first].concat());
        assert!(heir.next_frame().is_ok());
        assert_eq!(heir.next_frame(), Err(StreamFault::OutOfOrder));
        let (mut owner, mut heir) = pair(keys.clone(), keys).unwrap();
        sent(&mut owner);
        heir.feed(&sent(&mut owner));
        assert_eq!(heir.next_frame(), Err(StreamFault::OutOfOrder));
    }
}

#[test]
fn a_hello_comes_once_and_first() {
    let mut owner = channel(Role::Owner, StreamKeys::default());
    let mut heir = channel(Role::Heir, StreamKeys::default());
    heir.feed(&sent(&mut owner));
    assert_eq!(heir.next_frame(), Err(StreamFault::Unexpected));
    let (owner, mut heir) = pair(StreamKeys::default(), StreamKeys::default()).unwrap();
    heir.feed(&owner.hello());
    assert_eq!(heir.next_frame(), Err(StreamFault::Unexpected));
}

#[test]
fn a_length_that_no_frame_has_is_refused_before_the_frame_arrives() {
    let mut heir = channel(Role::Heir, keyed());
    heir.feed(&u32::MAX.to_be_bytes());
    assert_eq!(heir.next_frame(), Err(StreamFault::Oversized));
    let mut heir = channel(Role::Heir, keyed());
    heir.feed(&1_u32.to_be_bytes());
    heir.feed(&[1]);
    assert_eq!(heir.next_frame(), Err(StreamFault::Malformed));
}

#[test]
fn nodes_that_differ_refuse_each_other_with_the_reason() {
    let good = hello(Role::Owner, 1);
    let differing = [
        (Hello { cluster: 1, ..good.clone() }, Refusal::Cluster),
        (Hello { settings: 6, ..good.clone() }, Refusal::Settings),
        (Hello { node: "i-00000000".parse().unwrap(), ..good.clone() }, Refusal::Node),
        (Hello { role: Role::Heir, ..good }, Refusal::Role),
    ];
    for (own, reason) in differing {
        let expected = Some(OWNER.parse().unwrap());
        let mut heir = Channel::new(hello(Role::Heir, 1), expected, keyed());
        let owner = Channel::new(own, None, keyed());
        // Two heirs cannot read each other's hello at all: the role is part of the tag.
        let fault = match reason {
            Refusal::Role => StreamFault::BadTag,
            reason => StreamFault::Refused(reason),
        };
        heir.feed(&owner.hello());
        assert_eq!(heir.next_frame(), Err(fault));
        assert!(heir.peer().is_none());
    }
    let same = Hello { role: Role::Heir, ..hello(Role::Owner, 1) };
    let mut heir = Channel::new(same, None, StreamKeys::default());
    heir.feed(&channel(Role::Owner, StreamKeys::default()).hello());
    assert_eq!(heir.next_frame(), Err(StreamFault::Refused(Refusal::Node)), "itself");
    let mut heir = channel(Role::Heir, StreamKeys::default());
    let other = Hello { node: OWNER.parse().unwrap(), ..hello(Role::Heir, 1) };
    heir.feed(&Channel::new(other, None, StreamKeys::default()).hello());
    assert_eq!(heir.next_frame(), Err(StreamFault::Refused(Refusal::Role)));
}

#[test]
fn the_refused_node_learns_the_reason() {
    let mut owner = channel(Role::Owner, keyed());
    let expected = Some("i-00000000".parse().unwrap());
    let mut heir = Channel::new(hello(Role::Heir, 1), expected, keyed());
    greet(&mut heir, &mut owner).unwrap();
    assert!(greet(&mut owner, &mut heir).is_err());
    owner.feed(&heir.refusal().unwrap());
    assert_eq!(owner.next_frame(), Err(StreamFault::RefusedByPeer(Refusal::Node)));
    assert!(heir.refusal().is_none(), "once");
}
