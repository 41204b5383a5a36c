//! One node: its host, and the part of its monitor that replicates, as the daemon puts it together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use natha::flows::{
    BootId, Entry, Receiver, Replica, Sender, SenderLimits, StreamFault, StreamKeys, Tuple,
    drop_superseded,
};
use natha::types::{EgressId, Time};
use natha::wire::StreamKey;

use super::kernel::Kernel;
use super::names::{egress, landing};

/// Most connections of one owner that an heir holds.
const MAX_HELD: usize = 10_000;
/// Connections of a dump that are handed over in one turn.
const PART: usize = 16;

/// A connection by an egress IP, and its port after translation.
pub(super) type Known = (usize, Tuple, u16);

/// Which of the cluster's keys a node has. A cluster key is replaced in steps, by one of which
/// nodes may differ: all accept the next key, then all use it and accept the last one, then all
/// forget that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyring {
    pub(super) step: u32,
    /// It has a key of another cluster.
    pub(super) is_foreign: bool,
}

impl Keyring {
    /// The number of the key that it uses, and of the one that it accepts besides.
    fn numbers(self) -> (u32, Option<u32>) {
        let own = self.step / 3;
        match self.step % 3 {
            _ if self.is_foreign => (u32::MAX, None),
            0 => (own, None),
            1 => (own, Some(own + 1)),
            _ => (own + 1, Some(own)),
        }
    }

    /// Whether two nodes accept what the other sends.
    pub(super) fn fits(self, other: Self) -> bool {
        let accepts = |a: Self, b: Self| {
            let (used, _) = b.numbers();
            let (own, second) = a.numbers();
            used == own || Some(used) == second
        };
        accepts(self, other) && accepts(other, self)
    }

    fn keys(self) -> StreamKeys {
        let key = |number: u32| StreamKey::derive(&number.to_be_bytes());
        let (own, second) = self.numbers();
        StreamKeys { own: Some(key(own)), second: second.map(key) }
    }
}

/// What an heir holds of one owner.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) replica: Replica,
    pub(super) heard: Option<Time>,
}

impl Held {
    fn new() -> Self {
        Self { replica: Replica::new(MAX_HELD), heard: None }
    }
}

/// A dump of the kernel's table that is being read, and for which heirs' senders.
#[derive(Debug)]
struct Dump {
    takers: Vec<usize>,
    left: VecDeque<Entry>,
}

/// What ends with the monitor.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    /// By heir.
    pub(super) senders: BTreeMap<usize, Sender>,
    /// By owner: the streams that are open.
    pub(super) receivers: BTreeMap<usize, Receiver>,
    /// By owner.
    pub(super) held: BTreeMap<usize, Held>,
    dump: Option<Dump>,
}

impl Monitor {
    /// One that has just started on a node with these landing addresses, with these heirs.
    pub(super) fn new(
        limits: SenderLimits,
        heirs: impl Iterator<Item = usize>,
        served: &BTreeMap<Ipv4Addr, EgressId>,
        now: Time,
    ) -> Self {
        let sender = |heir: usize| {
            let mut sender = Sender::new(limits, now);
            sender.serve(served.clone(), now);
            (heir, sender)
        };
        Self { senders: heirs.map(sender).collect(), ..Self::default() }
    }

    /// The kernel's news reach every sender; a dump begins, goes on or ends. Says whether one has
    /// ended.
    pub(super) fn turn(
        &mut self,
        kernel: &mut Kernel,
        is_slow: bool,
        fails: bool,
        now: Time,
    ) -> bool {
        let news = if is_slow { Vec::new() } else { kernel.take_news() };
        for sender in self.senders.values_mut() {
            for change in &news {
                sender.change(change, now);
            }
        }
        for held in self.held.values_mut() {
            held.replica.age(now);
        }
        if self.dump.is_none() {
            self.begin_dump(kernel, now);
            return false;
        }
        let Some(dump) = &mut self.dump else { return false };
        for _ in 0..PART {
            let Some(entry) = dump.left.pop_front() else { break };
            for heir in &dump.takers {
                if let Some(sender) = self.senders.get_mut(heir) {
                    sender.dumped(&entry, now);
                }
            }
        }
        if !dump.left.is_empty() {
            return false;
        }
        for heir in &dump.takers {
            match self.senders.get_mut(heir) {
                Some(sender) if fails => sender.fail_dump(now),
                Some(sender) => sender.end_dump(now),
                None => {}
            }
        }
        self.dump = None;
        true
    }

    fn begin_dump(&mut self, kernel: &Kernel, now: Time) {
        let mut takers = Vec::new();
        for (heir, sender) in &mut self.senders {
            if sender.wants_dump(now) {
                sender.begin_dump();
                takers.push(*heir);
            }
        }
        if !takers.is_empty() {
            self.dump = Some(Dump { takers, left: kernel.dump(now) });
        }
    }

    /// Takes in bytes of an owner.
    pub(super) fn take(
        &mut self,
        owner: usize,
        mut bytes: &[u8],
        now: Time,
    ) -> Result<(), StreamFault> {
        let Some(receiver) = self.receivers.get_mut(&owner) else { return Ok(()) };
        if receiver.owner().is_none() {
            receiver.greet(bytes)?;
            bytes = &[];
        }
        if receiver.owner().is_none() {
            return Ok(());
        }
        let held = self.held.entry(owner).or_insert_with(Held::new);
        let before = held.replica.counts().resyncs;
        receiver.receive(bytes, &mut held.replica, now)?;
        if receiver.heard().is_some() {
            held.heard = receiver.heard();
        }
        if held.replica.counts().resyncs > before {
            self.supersede();
        }
        Ok(())
    }

    /// The stream of an owner has ended.
    pub(super) fn close(&mut self, owner: usize) {
        self.receivers.remove(&owner);
        self.supersede();
    }

    /// Drops the records of owners without a stream, for each egress IP whose connections another
    /// owner has shown.
    fn supersede(&mut self) {
        let is_open = |owner: &usize| self.receivers.contains_key(owner);
        let held = self.held.iter_mut().map(|(owner, held)| (is_open(owner), &mut held.replica));
        drop_superseded(held);
    }

    /// What it holds of an egress IP is in its own kernel now.
    pub(super) fn forget(&mut self, e: usize) {
        for held in self.held.values_mut() {
            held.replica.forget(egress(e));
        }
    }

    /// Whether an owner has spoken on its open stream, and in which of its boots.
    pub(super) fn hears(&self, owner: usize) -> Option<BootId> {
        let receiver = self.receivers.get(&owner)?;
        receiver.heard()?;
        Some(receiver.owner()?.boot)
    }
}

/// Everything one node is.
#[derive(Debug)]
pub(super) struct Node {
    n: usize,
    pub(super) kernel: Kernel,
    /// None while it does not run.
    pub(super) monitor: Option<Monitor>,
    /// Since when its host has not run; none while it does.
    pub(super) down_since: Option<Duration>,
    boots: u8,
    /// When its host booted, and what its clock showed then.
    booted: (Duration, Duration),
    pub(super) keyring: Keyring,
    /// The digest of its settings.
    pub(super) settings: u64,
    /// Its monitor does not come to read the kernel's news.
    pub(super) is_slow: bool,
    /// The next dump of its kernel's table fails.
    pub(super) fails_dump: bool,
    /// The egress IPs that it translates to.
    pub(super) served: BTreeSet<usize>,
    /// When the connections of egress IPs are removed that have left it.
    pub(super) leaves: BTreeMap<usize, Duration>,
    /// What its kernel has had since its host booted.
    pub(super) had: BTreeSet<Known>,
    /// What its kernel could not take because the port was taken.
    pub(super) refused: BTreeSet<Known>,
}

impl Node {
    /// A host without a monitor, whose clock shows `clock`.
    pub(super) fn new(n: usize, clock: Duration) -> Self {
        Self {
            n,
            kernel: Kernel::default(),
            monitor: None,
            down_since: None,
            boots: 0,
            booted: (Duration::ZERO, clock),
            keyring: Keyring { step: 0, is_foreign: false },
            settings: 1,
            is_slow: false,
            fails_dump: false,
            served: BTreeSet::new(),
            leaves: BTreeMap::new(),
            had: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    /// What its clock shows: the time since its host booted.
    pub(super) fn clock(&self, now: Duration) -> Time {
        let (booted, clock) = self.booted;
        Time::from_boot(clock + now.saturating_sub(booted))
    }

    /// Everything in its host stops, and what its kernel knew is gone.
    pub(super) fn crash(&mut self, now: Duration) {
        let (n, boots, keyring) = (self.n, self.boots, self.keyring);
        let down_since = Some(now);
        *self = Self { down_since, boots, keyring, ..Self::new(n, Duration::ZERO) };
    }

    /// Its host boots.
    pub(super) fn boot(&mut self, now: Duration) {
        self.down_since = None;
        self.boots += 1;
        self.booted = (now, Duration::ZERO);
    }

    /// Whether its host has booted since the beginning.
    pub(super) fn has_booted(&self) -> bool {
        self.boots > 0
    }

    /// The boot id of its host.
    pub(super) fn boot_id(&self) -> BootId {
        let mut id = [self.boots; 16];
        id[0] = u8::try_from(self.n).unwrap_or(u8::MAX);
        BootId(id)
    }

    pub(super) fn keys(&self) -> StreamKeys {
        self.keyring.keys()
    }

    /// Its landing addresses for what it serves.
    pub(super) fn landings(&self) -> BTreeMap<Ipv4Addr, EgressId> {
        self.served.iter().map(|e| (landing(self.n, *e), egress(*e))).collect()
    }

    /// Tells every sender what it serves.
    pub(super) fn tell_served(&mut self, now: Duration) {
        let (landings, now) = (self.landings(), self.clock(now));
        let senders = self.monitor.iter_mut().flat_map(|monitor| monitor.senders.values_mut());
        senders.for_each(|sender| sender.serve(landings.clone(), now));
    }

    /// Whether its monitor runs.
    pub(super) fn runs(&self) -> bool {
        self.monitor.is_some()
    }
}
