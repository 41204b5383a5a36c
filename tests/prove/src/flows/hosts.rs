//! What private hosts do: they open, use and end connections through the node that has their
//! egress IP. And what else a node's connection tracking has.

use natha::flows::{Entry, Flow, Protocol, Stage, Tcp, TcpSide, TcpState, Tuple};

use super::names::{EGRESS_IPS, host, is_host_of, landing, primary};
use super::world::World;

/// Private hosts of each egress IP, and the source ports that each uses.
const HOSTS: u64 = 3;
const PORTS: u64 = 12;
/// From here on are the source ports of connections that no egress IP is for.
const OTHER_PORTS: u64 = 5_000;
/// From here on are the ports of connections whose own was taken.
const CHANGED_PORTS: u64 = 20_000;

fn port(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// For how long the kernel keeps a connection in this state without a packet, in seconds: longer
/// and shorter than an owner's looks are apart.
fn timeout(flow: &Flow) -> u32 {
    match flow.tcp.map(|tcp| tcp.state) {
        Some(TcpState::Established) => 350,
        Some(TcpState::Close) => 10,
        Some(_) => 60,
        None if flow.assured => 120,
        None => 30,
    }
}

/// Whether a connection is of egress IP `e` and is replicated, on node `n`.
pub(super) fn is_replicated(entry: &Entry, n: usize, e: usize) -> bool {
    let is_its = entry.landing == landing(n, e) && is_host_of(e, entry.flow.tuple.source);
    is_its && entry.flow.stage() == Stage::Replicated
}

impl World {
    /// One thing happens on the hosts of one egress IP.
    pub(super) fn act(&mut self) {
        let all: Vec<usize> = (0..EGRESS_IPS).collect();
        let e = self.noise.pick(&all);
        let n = self.at[e];
        if self.nodes[n].down_since.is_some() || !self.nodes[n].served.contains(&e) {
            return;
        }
        match self.noise.below(20) {
            0..=4 => self.open(n, e),
            5..=10 => self.change(n, e),
            11..=15 => self.use_one(n, e),
            16..=17 => self.end_one(n, e),
            18 => self.open_own(n, e),
            _ => self.open_other(n, e),
        }
    }

    fn open(&mut self, n: usize, e: usize) {
        let noise = &mut self.noise;
        let (which, source_port) = (1 + noise.below(HOSTS), port(1_000 + noise.below(PORTS)));
        let flow = new_flow(noise.pick(&[Protocol::Tcp, Protocol::Udp, Protocol::Icmp]));
        let tuple = Tuple { source: host(e, which), source_port, ..flow.tuple };
        let flow = Flow { tuple, translated_port: source_port, ..flow };
        let entry = Entry { landing: landing(n, e), flow };
        let changed = port(CHANGED_PORTS + noise.below(1_000));
        let kernel = &self.nodes[n].kernel;
        if kernel.has(&tuple) {
            return;
        }
        let other = Entry { flow: Flow { translated_port: changed, ..flow }, ..entry };
        if let Some(entry) = [entry, other].into_iter().find(|entry| kernel.is_free_for(entry)) {
            self.put(n, e, entry);
        }
    }

    /// A packet changes what the kernel knows of a connection.
    fn change(&mut self, n: usize, e: usize) {
        let Some(entry) = self.pick_one(n, e) else { return };
        let noise = &mut self.noise;
        let mark = if noise.chance(200) { port(noise.below(3)).into() } else { entry.flow.mark };
        let keeps_state = noise.chance(300);
        // The kernel makes a new connection of what opens again.
        let is_opening = entry.flow.stage() == Stage::Opening;
        let tcp = entry.flow.tcp.map(|tcp| {
            let state = noise.pick(&TcpState::ALL);
            let opens = matches!(state, TcpState::SynSent | TcpState::SimultaneousSyn);
            let stays = keeps_state || (opens && !is_opening);
            Tcp { state: if stays { tcp.state } else { state }, ..tcp }
        });
        let has_reply = tcp.is_none_or(|tcp| tcp.state != TcpState::SynSent);
        let flow = Flow {
            mark,
            tcp,
            seen_reply: entry.flow.seen_reply || has_reply,
            assured: entry.flow.assured || (has_reply && noise.chance(500)),
            ..entry.flow
        };
        self.put(n, e, Entry { flow, ..entry });
    }

    fn use_one(&mut self, n: usize, e: usize) {
        let now = self.clock(n);
        if let Some(entry) = self.pick_one(n, e) {
            self.nodes[n].kernel.extend(&entry.flow.tuple, now);
        }
    }

    fn end_one(&mut self, n: usize, e: usize) {
        if let Some(entry) = self.pick_one(n, e) {
            self.nodes[n].kernel.remove(&entry.flow.tuple);
        }
    }

    /// The node itself sends from a landing address.
    fn open_own(&mut self, n: usize, e: usize) {
        let flow = new_flow(Protocol::Udp);
        let source_port = port(OTHER_PORTS + self.noise.below(PORTS));
        let tuple = Tuple { source: landing(n, e), source_port, ..flow.tuple };
        let flow = Flow { tuple, translated_port: source_port, ..flow };
        self.put_other(n, Entry { landing: landing(n, e), flow });
    }

    /// A private host has left by the node's own address before its egress IP was there.
    fn open_other(&mut self, n: usize, e: usize) {
        let flow = new_flow(Protocol::Udp);
        let source_port = port(OTHER_PORTS + self.noise.below(PORTS));
        let source = host(e, 1 + self.noise.below(HOSTS));
        let tuple = Tuple { source, source_port, ..flow.tuple };
        let flow = Flow { tuple, translated_port: source_port, ..flow };
        self.put_other(n, Entry { landing: primary(n), flow });
    }

    fn put_other(&mut self, n: usize, entry: Entry) {
        let now = self.clock(n);
        let kernel = &mut self.nodes[n].kernel;
        if kernel.has(&entry.flow.tuple) || kernel.is_free_for(&entry) {
            kernel.put(entry, now);
        }
    }

    fn put(&mut self, n: usize, e: usize, entry: Entry) {
        let now = self.clock(n);
        let timeout_s = timeout(&entry.flow);
        let entry = Entry { flow: Flow { timeout_s, ..entry.flow }, ..entry };
        self.nodes[n].had.insert((e, entry.flow.tuple, entry.flow.translated_port));
        self.nodes[n].kernel.put(entry, now);
    }

    /// A connection of the egress IP's hosts on node `n`, replicated or not.
    fn pick_one(&mut self, n: usize, e: usize) -> Option<Entry> {
        let is_its = |entry: &&Entry| {
            entry.landing == landing(n, e) && is_host_of(e, entry.flow.tuple.source)
        };
        let all: Vec<Entry> = self.nodes[n].kernel.entries().filter(is_its).copied().collect();
        (!all.is_empty()).then(|| self.noise.pick(&all))
    }
}

/// A connection of this protocol that a packet opens.
fn new_flow(protocol: Protocol) -> Flow {
    let destination_port = match protocol {
        Protocol::Tcp => 443,
        Protocol::Udp => 53,
        // An echo request.
        Protocol::Icmp => 8 << 8,
    };
    let side = TcpSide { window_scale: 7, flags: TcpSide::WINDOW_SCALE };
    let tcp = Tcp { state: TcpState::SynSent, original: side, reply: side };
    let tuple = Tuple {
        protocol,
        source: primary(0),
        destination: [192, 0, 2, 1].into(),
        source_port: 0,
        destination_port,
    };
    Flow {
        tuple,
        translated_port: 0,
        seen_reply: false,
        assured: false,
        tcp: (protocol == Protocol::Tcp).then_some(tcp),
        timeout_s: 30,
        mark: 0,
    }
}
