//! What the tasks of the replication share. They run on one thread and borrow it only between
//! waits.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::rc::Rc;

use tokio::sync::Notify;

use super::pauses::Pauses;
use crate::config::Replicate;
use crate::flows::{
    BootId, Channel, Hello, Nonce, Rate, Replica, Role, Sender, SenderLimits, StreamKeys,
    drop_superseded,
};
use crate::types::{EgressId, InstanceId, Member, Time};

/// Why a stream to a peer is closed or not open, in words.
pub(super) type Reason = String;

/// What does not change while the monitor runs.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) me: InstanceId,
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
    pub(super) boot: BootId,
    /// Digest of the cluster's name.
    pub(super) cluster: u64,
    /// Digest of the settings.
    pub(super) settings: u64,
    pub(super) keys: StreamKeys,
    pub(super) replicate: Replicate,
}

/// The stream to one heir.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) sender: Sender,
    /// Wakes the task that sends.
    pub(super) wake: Rc<Notify>,
    /// Makes it connect at once.
    pub(super) redial: Rc<Notify>,
    /// Why there is no stream, and since when.
    pub(super) fault: Option<(Reason, Time)>,
    /// Whether packets can be copied to it; none if natha copies none.
    pub(super) answers: Option<bool>,
    /// Since when they cannot, although there is a stream.
    pub(super) silent: Option<Time>,
}

/// What this node holds of one owner.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) replica: Replica,
    pub(super) heard: Option<Time>,
    /// Whether its stream is open, or why it ended.
    pub(super) state: Result<(), Reason>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) members: RefCell<BTreeMap<InstanceId, Member>>,
    pub(super) links: RefCell<BTreeMap<InstanceId, Link>>,
    pub(super) held: RefCell<BTreeMap<InstanceId, Held>>,
    /// The landing addresses of the egress IPs that are on this node; none until that is known.
    pub(super) served: RefCell<Option<BTreeMap<Ipv4Addr, EgressId>>>,
    /// A link needs a dump of the kernel's table.
    pub(super) dump_wanted: Notify,
    pub(super) pauses: Rc<Pauses>,
    pub(super) strangers: Cell<u64>,
    /// Why this node cannot read its kernel's news or accept streams.
    pub(super) faults: RefCell<BTreeMap<&'static str, Reason>>,
}

impl Shared {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            members: RefCell::default(),
            links: RefCell::default(),
            held: RefCell::default(),
            served: RefCell::default(),
            dump_wanted: Notify::new(),
            pauses: Pauses::new(),
            strangers: Cell::new(0),
            faults: RefCell::default(),
        }
    }

    /// A new stream. `expected` is the node at the other end.
    pub(super) fn channel(&self, role: Role, expected: &InstanceId) -> anyhow::Result<Channel> {
        let identity = &self.identity;
        let mut nonce = [0; Nonce::LEN];
        getrandom::fill(&mut nonce)
            .map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let hello = Hello {
            role,
            node: identity.me.clone(),
            boot: identity.boot,
            cluster: identity.cluster,
            settings: identity.settings,
            nonce: Nonce(nonce),
        };
        Ok(Channel::new(hello, Some(expected.clone()), identity.keys.clone()))
    }

    /// The members that can take over an egress IP of this node's, if it can have one. None before
    /// this node knows which ones it has: a stream without them would tell the heirs that all
    /// connections are no more.
    pub(super) fn heirs(&self) -> BTreeMap<InstanceId, Member> {
        if self.served.borrow().is_none() {
            return BTreeMap::new();
        }
        let members = self.members.borrow();
        let mut found: BTreeMap<InstanceId, Member> = members
            .iter()
            .filter(|(_, member)| !member.landings.is_empty())
            .map(|(id, member)| (id.clone(), member.clone()))
            .collect();
        if found.remove(&self.identity.me).is_none() {
            found.clear();
        }
        found
    }

    /// A sender for a new heir.
    pub(super) fn new_link(&self, now: Time) -> Link {
        let replicate = &self.identity.replicate;
        let limits = SenderLimits {
            max_flows: wide(replicate.max_flows),
            max_waiting: wide(replicate.max_waiting),
            min_age: replicate.min_age,
            rate: Rate {
                max: u64::from(replicate.max_rate) << 10,
                share_percent: replicate.share_percent,
                min: u64::from(replicate.min_rate) << 10,
            },
        };
        let mut sender = Sender::new(limits, now);
        sender.serve(self.served.borrow().clone().unwrap_or_default(), now);
        let (wake, redial) = (Rc::default(), Rc::default());
        Link { sender, wake, redial, fault: None, answers: None, silent: None }
    }

    /// Does something to each sender, and wakes its task.
    pub(super) fn each_sender(&self, mut change: impl FnMut(&mut Sender)) {
        for link in self.links.borrow_mut().values_mut() {
            change(&mut link.sender);
            link.wake.notify_one();
        }
    }

    /// Takes in which peers packets can be copied to.
    pub(super) fn note_answering(&self, answering: &BTreeSet<InstanceId>, now: Time) {
        for (heir, link) in self.links.borrow_mut().iter_mut() {
            let answers = answering.contains(heir);
            link.answers = Some(answers);
            let is_silent = link.fault.is_none() && !answers;
            link.silent = is_silent.then(|| link.silent.unwrap_or(now));
        }
    }

    /// A peer has connected: its monitor runs, and takes streams.
    pub(super) fn note_running(&self, peer: &InstanceId) {
        if let Some(link) = self.links.borrow().get(peer).filter(|link| link.fault.is_some()) {
            link.redial.notify_one();
        }
    }

    /// Does something to what is held of an owner.
    pub(super) fn with_held<T>(
        &self,
        owner: &InstanceId,
        change: impl FnOnce(&mut Held) -> T,
    ) -> T {
        let mut held = self.held.borrow_mut();
        let max_flows = wide(self.identity.replicate.max_flows);
        let replica = || Replica::new(max_flows);
        let new = || Held { replica: replica(), heard: None, state: Err("never heard".to_owned()) };
        change(held.entry(owner.clone()).or_insert_with(new))
    }

    /// Drops what is too old, also of owners that are not heard any more. Forgets owners that are
    /// no members any more once nothing is left of them.
    pub(super) fn age(&self, now: Time) {
        let members = self.members.borrow();
        self.held.borrow_mut().retain(|owner, held| {
            held.replica.age(now);
            members.contains_key(owner) || !held.replica.is_empty()
        });
    }

    /// Drops the records of owners without a stream, for each egress IP whose connections another
    /// owner has shown. Called when an owner has shown all that it has, or its stream has ended.
    pub(super) fn supersede(&self) {
        let mut held = self.held.borrow_mut();
        drop_superseded(held.values_mut().map(|held| (held.state.is_ok(), &mut held.replica)));
    }

    /// Notes whether something works that all streams need.
    pub(super) fn set_fault(&self, what: &'static str, fault: Option<Reason>) {
        let mut faults = self.faults.borrow_mut();
        match fault {
            Some(fault) => drop(faults.insert(what, fault)),
            None => drop(faults.remove(what)),
        }
    }
}

fn wide(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
