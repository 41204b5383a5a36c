//! Owner and heir together under random changes, lost news, lost streams and boots.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::support::*;
use crate::flows::{Change, Flow, Rate, SenderLimits, Stage, TcpState, Tuple};
use crate::types::Time;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// A connection is new or changes.
    Seen { port: u16, state: Option<TcpState>, translated_port: u16 },
    /// A connection ends.
    Gone { port: u16, tcp: bool },
    /// The kernel loses news: these connections change without any.
    Lost { port: u16 },
    /// Bytes flow.
    Exchange,
    /// A dump begins or ends, if the owner wants one.
    Dump,
    /// The stream is lost, and opened again.
    Reconnect,
    /// The owner's host boots: its kernel has no connections.
    Boot,
    /// Time passes, in milliseconds.
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let state = prop::option::of(prop::sample::select(&TcpState::ALL[..]));
    prop_oneof![
        8 => (1..20_u16, state, 1..3_u16)
            .prop_map(|(port, state, translated_port)| Step::Seen { port, state, translated_port }),
        4 => (1..20_u16, any::<bool>()).prop_map(|(port, tcp)| Step::Gone { port, tcp }),
        1 => (1..20_u16).prop_map(|port| Step::Lost { port }),
        4 => Just(Step::Exchange),
        4 => Just(Step::Dump),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Boot),
        3 => (1..5_000_u64).prop_map(Step::Wait),
    ]
}

/// The owner's kernel and both ends.
struct World {
    pair: Pair,
    kernel: BTreeMap<Tuple, Flow>,
    /// What a dump that is under way will still show.
    dump: Option<Vec<Flow>>,
    now: Time,
    boot: u8,
}

impl World {
    fn new(limits: SenderLimits) -> Self {
        let mut pair = Pair::new(limits);
        pair.connect(0, at(0));
        Self { pair, kernel: BTreeMap::new(), dump: None, now: at(0), boot: 0 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Seen { port, state, translated_port } => {
                let flow = state.map_or(udp(*port), |state| tcp(*port, state));
                let flow = Flow { translated_port: *translated_port, ..flow };
                self.kernel.insert(flow.tuple, flow);
                self.pair.sender.change(&Change::Seen(entry(flow)), self.now);
            }
            Step::Gone { port, tcp: is_tcp } => {
                let flow = if *is_tcp { tcp(*port, TcpState::Close) } else { udp(*port) };
                self.kernel.remove(&flow.tuple);
                self.pair.sender.change(&Change::Gone(flow.tuple), self.now);
            }
            Step::Lost { port } => {
                if self.kernel.remove(&udp(*port).tuple).is_none() {
                    self.kernel.insert(udp(*port).tuple, udp(*port));
                }
                self.pair.sender.change(&Change::Overrun, self.now);
            }
            Step::Exchange => self.pair.exchange(self.now).unwrap(),
            Step::Dump => self.dump(),
            Step::Reconnect => {
                self.pair.cut();
                self.pair.connect(self.boot, self.now);
                self.dump = None;
            }
            Step::Boot => {
                self.kernel.clear();
                self.boot = self.boot.wrapping_add(1);
                self.step(&Step::Reconnect);
            }
            Step::Wait(ms) => self.now = self.now + Duration::from_millis(*ms),
        }
    }

    /// The beginning of a dump, or its end: what the kernel had at the beginning is shown at the
    /// end, as a dump that is read late does.
    fn dump(&mut self) {
        if let Some(flows) = self.dump.take() {
            for flow in flows {
                self.pair.sender.dumped(&entry(flow), self.now);
            }
            self.pair.sender.end_dump(self.now);
        } else if self.pair.sender.wants_dump(self.now) {
            self.pair.sender.begin_dump();
            self.dump = Some(self.kernel.values().copied().collect());
        }
    }

    /// Nothing changes any more, until a look is due and has been sent.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.now = self.now + Duration::from_secs(1);
            self.pair.exchange(self.now).unwrap();
            self.dump();
            self.dump();
        }
        self.pair.exchange(self.now).unwrap();
    }

    /// What the heir should hold.
    fn wanted(&self) -> Vec<Flow> {
        let flows = self.kernel.values().filter(|flow| flow.stage() == Stage::Replicated);
        flows.map(|flow| Flow { timeout_s: 0, ..*flow }).collect()
    }
}

proptest! {
    /// However the story goes, the heir ends up with the owner's connections, and what waits is
    /// bounded at every moment.
    #[test]
    fn the_heir_ends_up_with_what_the_owner_has(
        steps in vec(any_step(), 0..120), max_waiting in 3..30_usize, slow: bool, young: bool,
    ) {
        let per_second = if slow { 1_000 } else { 1_000_000 };
        let limits = SenderLimits {
            max_waiting,
            rate: Rate { max: per_second, share_percent: 0, min: per_second },
            min_age: if young { seconds(2) } else { Duration::ZERO },
            ..limits()
        };
        let mut world = World::new(limits);
        for step in &steps {
            world.step(step);
            // A resync has all connections waiting: 19 ports of two protocols.
            let bound = if world.pair.sender.is_live() { max_waiting } else { 2 * 38 };
            prop_assert!(world.pair.sender.waiting() <= bound);
        }
        world.settle();
        prop_assert!(world.pair.sender.is_live());
        prop_assert_eq!(world.pair.held(), world.wanted());
        prop_assert_eq!(world.pair.sender.flows(), world.wanted().len());
    }
}
