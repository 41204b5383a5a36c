//! Two nodes, a network that loses, keeps and repeats packets, and somebody on it who adds his own
//! and plays recordings: what is let in was sent by the peer, in this life of the receiver, once,
//! and nobody is deaf to the other in the end.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use natha::types::{Hears, InstanceId, SessionId, Time};
use natha::wire::{HeartbeatKey, MAX_PACKET, PacketGate, Sender};

use crate::dice::Dice;

const KEY: &[u8] = b"a key of the fuzz targets";
/// Packets kept for replay; an input is far shorter than would need more.
const KEPT: usize = 4096;

fn id(n: usize) -> InstanceId {
    format!("i-{n:08x}").parse().expect("an id")
}

fn address(n: usize) -> Ipv4Addr {
    [10, 0, 0, 10 + u8::try_from(n).expect("two nodes")].into()
}

struct Recorded {
    by: usize,
    bytes: Vec<u8>,
    /// Which life of the receiver it was sent in.
    to_life: u64,
}

struct World {
    keyed: bool,
    gates: [PacketGate; 2],
    lives: [u64; 2],
    wire: Vec<Recorded>,
    admitted: BTreeSet<usize>,
    /// The session that each one heard last: what its beats acknowledge.
    heard: [Option<SessionId>; 2],
    now: Time,
}

fn gate(n: usize, life: u64, keyed: bool) -> PacketGate {
    let key = keyed.then(|| HeartbeatKey::derive(KEY));
    // Sessions are random numbers; here they must only differ.
    let session = SessionId(1000 + (life << 1 | u64::try_from(n).expect("two nodes")));
    let mut gate = PacketGate::new(id(n), Sender::new(id(n), session, "blue", key));
    gate.set_members((0..2).map(|m| (id(m), address(m))));
    gate
}

impl World {
    fn new(keyed: bool) -> Self {
        Self {
            keyed,
            gates: [gate(0, 1, keyed), gate(1, 1, keyed)],
            lives: [1, 1],
            wire: Vec::new(),
            admitted: BTreeSet::new(),
            heard: [None; 2],
            now: Time::from_millis(1_000),
        }
    }

    fn pass(&mut self, ms: u8) {
        self.now = self.now + Duration::from_millis(u64::from(ms));
        self.gates.iter_mut().for_each(PacketGate::begin_turn);
    }

    fn restart(&mut self, n: usize) {
        self.lives[n] += 1;
        self.gates[n] = gate(n, self.lives[n], self.keyed);
        self.heard[n] = None;
    }

    fn send(&mut self, by: usize, dice: &mut Dice<'_>) {
        let to = 1 - by;
        let mut beat = dice.beat(&[id(0), id(1)], &["g0"]);
        let about =
            |session| Hears { node: id(to), session, age_ms: 0, failed: false, stopped: false };
        beat.hears.extend(self.heard[by].map(about));
        let sent = self.gates[by].next_packet(&id(to), beat, self.now);
        let (packet, at) = sent.expect("the peer is a member");
        assert!(packet.bytes.len() <= MAX_PACKET && at == address(to));
        if self.wire.len() < KEPT {
            self.wire.push(Recorded { by, bytes: packet.bytes, to_life: self.lives[to] });
        }
    }

    /// A recorded packet arrives, for the first time or not, from where it came from or not.
    fn deliver(&mut self, place: usize, from: Ipv4Addr) {
        let Some(recorded) = self.wire.get(place) else { return };
        let to = 1 - recorded.by;
        let result = self.gates[to].admit(&recorded.bytes, from, self.now);
        let Ok(packet) = result else { return };
        assert_eq!(packet.from, id(recorded.by), "it was sent by another");
        assert!(self.keyed || from == address(recorded.by), "it came from {from}");
        assert_eq!(recorded.to_life, self.lives[to], "a recording of an earlier life counts");
        assert!(self.admitted.insert(place), "the same packet counts twice");
        self.heard[to] = Some(packet.session);
    }

    /// Whatever was played to them, two nodes that send to each other are soon heard.
    fn hear_each_other(&mut self) {
        let mut dice = Dice::new(&[]);
        for turn in 0..10 {
            let by = turn % 2;
            self.pass(100);
            let before = self.admitted.len();
            self.send(by, &mut dice);
            self.deliver(self.wire.len() - 1, address(by));
            assert!(turn < 6 || self.admitted.len() > before, "{by} is not heard");
        }
    }

    /// Bytes of somebody without the key, or without the peer's address.
    fn attack(&mut self, to: usize, bytes: &[u8], from: Ipv4Addr) {
        let result = self.gates[to].admit(bytes, from, self.now);
        let packet = result.map(|packet| packet.from);
        assert!(packet.is_err(), "{packet:?} from {from}: {bytes:02x?}");
    }
}

/// The whole story.
pub(crate) fn story(input: &[u8]) {
    let mut dice = Dice::new(input);
    let mut world = World::new(dice.chance());
    while !dice.is_spent() {
        let n = dice.below(2);
        match dice.below(8) {
            0 => world.pass(dice.byte()),
            1 if dice.byte() < 64 => world.restart(n),
            2 => {
                // Made up, wholly or from the beginning of something heard.
                let from = if world.keyed { address(1 - n) } else { [10, 0, 0, 99].into() };
                let start = dice.below(world.wire.len().max(1));
                let mut bytes = world.wire.get(start).map_or(Vec::new(), |one| one.bytes.clone());
                bytes.truncate(dice.below(bytes.len().max(1)));
                bytes.extend(dice.take(24));
                if world.wire.iter().all(|one| one.bytes != bytes) {
                    world.attack(n, &bytes, from);
                }
            }
            3 => {
                let place = dice.below(world.wire.len().max(1));
                let from = *dice.pick(&[address(0), address(1), [10, 0, 0, 99].into()]);
                world.deliver(place, from);
            }
            4 | 5 => {
                world.send(n, &mut dice);
                let newest = world.wire.len() - 1;
                let from = address(world.wire[newest].by);
                world.deliver(newest, from);
            }
            _ => world.send(n, &mut dice),
        }
    }
    world.hear_each_other();
}
