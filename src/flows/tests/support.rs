//! Connections, nodes, and a stream between an owner and an heir.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::flows::{
    BootId, Channel, Entry, Flow, Hello, Nonce, Protocol, Rate, Receiver, Record, Replica, Role,
    Sender, SenderLimits, StreamFault, StreamKeys, Tcp, TcpSide, TcpState, Tuple,
};
use crate::types::{AllocationId, EgressId, Time};
use crate::wire::{StreamKey, cluster_digest};

/// The owner's landing address, the heir's, and one of neither.
pub(super) const LANDING: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
pub(super) const HEIR_LANDING: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 20);
pub(super) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

pub(super) const OWNER: &str = "i-0123abcd";
pub(super) const HEIR: &str = "i-89abcdef";

pub(super) fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn egress(number: u8) -> EgressId {
    let id: AllocationId = format!("eipalloc-000000{number:02x}").parse().unwrap();
    EgressId::from(&id)
}

pub(super) fn key(text: &str) -> StreamKey {
    StreamKey::derive(text.as_bytes())
}

pub(super) fn keyed() -> StreamKeys {
    StreamKeys { own: Some(key("key")), second: None }
}

pub(super) fn hello(role: Role, boot: u8) -> Hello {
    let (node, nonce) = match role {
        Role::Owner => (OWNER, 1),
        Role::Heir => (HEIR, 2),
    };
    Hello {
        role,
        node: node.parse().unwrap(),
        boot: BootId([boot; 16]),
        cluster: cluster_digest("blue"),
        settings: 5,
        nonce: Nonce([nonce; Nonce::LEN]),
    }
}

pub(super) fn tuple(port: u16) -> Tuple {
    Tuple {
        protocol: Protocol::Udp,
        source: Ipv4Addr::new(10, 0, 9, 9),
        destination: Ipv4Addr::new(192, 0, 2, 1),
        source_port: port,
        destination_port: 53,
    }
}

/// A UDP connection whose port is kept.
pub(super) fn udp(port: u16) -> Flow {
    Flow {
        tuple: tuple(port),
        translated_port: port,
        seen_reply: false,
        assured: false,
        tcp: None,
        timeout_s: 30,
        mark: 0,
    }
}

/// A TCP connection in this state.
pub(super) fn tcp(port: u16, state: TcpState) -> Flow {
    let side = TcpSide { window_scale: 7, flags: TcpSide::WINDOW_SCALE };
    Flow {
        tuple: Tuple { protocol: Protocol::Tcp, ..tuple(port) },
        seen_reply: true,
        assured: true,
        tcp: Some(Tcp { state, original: side, reply: side }),
        timeout_s: 350,
        ..udp(port)
    }
}

pub(super) fn entry(flow: Flow) -> Entry {
    Entry { landing: LANDING, flow }
}

pub(super) fn record(flow: Flow) -> Record {
    Record { egress: egress(1), flow }
}

pub(super) fn limits() -> SenderLimits {
    SenderLimits {
        max_flows: 10_000,
        max_waiting: 1_000,
        min_age: Duration::ZERO,
        rate: Rate { max: 10_000_000, share_percent: 10, min: 10_000_000 },
    }
}

pub(super) fn served() -> BTreeMap<Ipv4Addr, EgressId> {
    BTreeMap::from([(LANDING, egress(1))])
}

/// An owner and its heir.
pub(super) struct Pair {
    pub(super) sender: Sender,
    pub(super) replica: Replica,
    receiver: Option<Receiver>,
}

impl Pair {
    pub(super) fn new(limits: SenderLimits) -> Self {
        let mut sender = Sender::new(limits, at(0));
        sender.serve(served(), at(0));
        Self { sender, replica: Replica::new(100_000), receiver: None }
    }

    /// One that is connected, with a resync of these connections behind it.
    pub(super) fn live(limits: SenderLimits, flows: &[Flow]) -> Self {
        let mut pair = Self::new(limits);
        pair.connect(1, at(0));
        pair.exchange(at(0)).unwrap();
        pair.dump(flows, at(0));
        pair.exchange(at(0)).unwrap();
        assert!(pair.sender.is_live());
        pair
    }

    pub(super) fn connect(&mut self, boot: u8, now: Time) {
        let channel = |role| Channel::new(hello(role, boot), None, keyed());
        self.sender.open(channel(Role::Owner), now);
        self.receiver = Some(Receiver::new(channel(Role::Heir)));
    }

    pub(super) fn cut(&mut self) {
        self.sender.close();
        self.receiver = None;
    }

    /// A whole dump at once, if the sender wants one.
    pub(super) fn dump(&mut self, flows: &[Flow], now: Time) {
        assert!(self.sender.wants_dump(now));
        self.sender.begin_dump();
        for flow in flows {
            self.sender.dumped(&entry(*flow), now);
        }
        self.sender.end_dump(now);
    }

    /// Carries bytes both ways until none is left that may be sent now.
    pub(super) fn exchange(&mut self, now: Time) -> Result<(), StreamFault> {
        loop {
            let to_heir = self.sender.output(now, 4_096);
            let Some(receiver) = &mut self.receiver else { return Ok(()) };
            // In pieces, as TCP may deliver them.
            for piece in to_heir.chunks(997) {
                receiver.receive(piece, &mut self.replica, now)?;
            }
            let to_owner = receiver.output();
            self.sender.receive(&to_owner, now)?;
            if to_heir.is_empty() && to_owner.is_empty() {
                return Ok(());
            }
        }
    }

    /// What the heir holds, without timeouts.
    pub(super) fn held(&self) -> Vec<Flow> {
        self.replica.records().map(|record| Flow { timeout_s: 0, ..record.flow }).collect()
    }
}
