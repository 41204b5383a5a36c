//! The stream that replicates connections: whatever its bytes are, decoding ends, in bounded
//! memory, with messages that are encoded to the same bytes, or with a reason. Without the key
//! nothing gets into a replica.

use natha::flows::{
    BootId, Channel, Flow, Hello, Message, Nonce, Protocol, Receiver, Record, Replica, Role,
    StreamKeys, Tcp, TcpSide, TcpState, Tuple,
};
use natha::types::{AllocationId, EgressId, Time};
use natha::wire::{StreamKey, cluster_digest};

/// The most connections that the replica holds.
const LIMIT: usize = 16;

fn hello(role: Role) -> Hello {
    let (node, nonce) = match role {
        Role::Owner => ("i-0123abcd", 1),
        Role::Heir => ("i-89abcdef", 2),
    };
    Hello {
        role,
        node: node.parse().expect("an id"),
        boot: BootId([1; 16]),
        cluster: cluster_digest("blue"),
        settings: 5,
        nonce: Nonce([nonce; Nonce::LEN]),
    }
}

fn keyed() -> StreamKeys {
    StreamKeys { own: Some(StreamKey::derive(b"a key of the fuzz targets")), second: None }
}

fn channel(role: Role, keys: StreamKeys) -> Channel {
    Channel::new(hello(role), None, keys)
}

/// An heir that an owner has greeted, and its end of the stream.
fn greeted(keys: &StreamKeys) -> (Channel, Channel) {
    let [mut owner, mut heir] = [Role::Owner, Role::Heir].map(|role| channel(role, keys.clone()));
    heir.feed(&owner.hello());
    owner.feed(&heir.hello());
    owner.next_frame().expect("the heir's hello");
    heir.next_frame().expect("the owner's hello");
    (owner, heir)
}

/// Bytes as they come, and behind a greeting.
pub(crate) fn stream(input: &[u8]) {
    for keys in [StreamKeys::default(), keyed()] {
        let mut heir = channel(Role::Heir, keys.clone());
        heir.feed(input);
        while let Ok(Some(_)) = heir.next_frame() {}
        into_replica(input, &keys);
    }
    same_bytes(input);
}

fn into_replica(input: &[u8], keys: &StreamKeys) {
    let mut receiver = Receiver::new(channel(Role::Heir, keys.clone()));
    receiver.greet(&channel(Role::Owner, keys.clone()).hello()).expect("the owner's hello");
    let mut replica = Replica::new(LIMIT);
    let mut now = Time::default();
    for piece in input.chunks(97) {
        now = now + std::time::Duration::from_secs(1);
        if receiver.receive(piece, &mut replica, now).is_err() {
            break;
        }
        let _ = receiver.output();
    }
    assert!(replica.len() <= LIMIT);
    let is_keyed = keys.own.is_some();
    assert!(!is_keyed || replica.is_empty(), "made without the key: {input:02x?}");
}

/// Each message has one encoding.
fn same_bytes(input: &[u8]) {
    let (mut owner, mut heir) = greeted(&StreamKeys::default());
    heir.feed(input);
    let mut again = Vec::new();
    while let Ok(Some(frame)) = heir.next_frame() {
        owner.send(&mut again, &frame.message);
    }
    assert!(input.starts_with(&again), "{again:02x?} is not the beginning of {input:02x?}");
}

/// What an owner sends after the greeting, without a key.
pub(crate) fn resync() -> Vec<u8> {
    let (mut owner, _) = greeted(&StreamKeys::default());
    let id: AllocationId = "eipalloc-0123456789abcdef0".parse().expect("an id");
    let side = TcpSide { window_scale: 7, flags: TcpSide::WINDOW_SCALE };
    let tuple = Tuple {
        protocol: Protocol::Tcp,
        source: [10, 0, 9, 9].into(),
        destination: [192, 0, 2, 1].into(),
        source_port: 40_000,
        destination_port: 443,
    };
    let flow = Flow {
        tuple,
        translated_port: 1_024,
        seen_reply: true,
        assured: true,
        tcp: Some(Tcp { state: TcpState::Established, original: side, reply: side }),
        timeout_s: 350,
        mark: 0,
    };
    let oldest = Time::from_millis(5);
    let records = vec![Record { egress: EgressId::from(&id), flow }];
    let mut out = Vec::new();
    for message in [
        Message::ResyncBegin { count: 1 },
        Message::Records { oldest, records },
        Message::Removals { oldest, tuples: vec![tuple] },
        Message::ResyncEnd { records: 1, removals: 1 },
        Message::Position { oldest },
    ] {
        owner.send(&mut out, &message);
    }
    out
}
