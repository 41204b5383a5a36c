//! One node: its machine, its host, its calls, and what an onlooker notes of it.

use std::collections::BTreeSet;

use natha::failover::{ActionId, Input, Machine, Outcome};
use natha::types::{InstanceId, RouteWriteVerb, Time};

use super::fault::Api;
use super::probes::Probes;

/// What a machine asks of EC2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    ReadRoutes,
    /// Of the addresses.
    ReadHolders,
    ReadPower(usize),
    Write(Change),
    Stop(usize),
    Start(usize),
}

/// A resource that is to lead to a node; with a verb if it is a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Change {
    pub(super) what: usize,
    pub(super) to: usize,
    pub(super) verb: Option<RouteWriteVerb>,
}

/// A call that was decided and not sent yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) id: ActionId,
    pub(super) ask: Ask,
    pub(super) not_after: Option<Time>,
}

/// An outcome that is on its way, in so many ticks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Awaited {
    pub(super) left: u8,
    pub(super) id: ActionId,
    pub(super) outcome: Outcome,
}

/// What an onlooker notes of a node, in order to judge it. Counters of ticks stop where no rule
/// asks for more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Notes {
    /// Ticks for which everything in it and its API have worked.
    pub(super) well: u8,
    /// Ticks for which its monitor had run, fit, when its peers could tell last.
    pub(super) up: u8,
    /// Ticks for which it has not.
    pub(super) down: u8,
    /// Ticks for which it has been frozen.
    pub(super) frozen: u8,
    /// Ticks for which it has not been.
    pub(super) awake: u8,
    /// It was paused and has read no route, and no address, since.
    pub(super) blind: [bool; 2],
    /// Ticks since it asked for the last read that succeeded, of each resource; none since its
    /// start, its last pause, or a write of it whose outcome it does not know.
    pub(super) routes_read: Vec<Option<u8>>,
    /// The same for each node's power.
    pub(super) power_read: Vec<Option<u8>>,
    /// Resources that it is taking over, no write having failed so far.
    pub(super) taking: BTreeSet<usize>,
    /// Ticks since it last heard each node.
    pub(super) heard: Vec<u8>,
    /// Ticks since each node last answered its echo.
    pub(super) echoed: Vec<u8>,
    /// Stops that this run of its monitor has asked for.
    pub(super) stops: u8,
    /// Ticks for which the check of each group's service has passed, and failed, on it.
    pub(super) serves: Vec<(u8, u8)>,
    /// Ticks for which its monitor has run without evidence that packets pass its host.
    pub(super) unproven: u8,
    /// Ticks for which it still counts as leaving; it is drained where that does not end.
    pub(super) leaving: u8,
    /// Groups of which it has alerted that they lead out of the cluster.
    pub(super) told: BTreeSet<usize>,
    /// Ticks since its host crashed, if nothing that it asked for was under way then.
    pub(super) died: Option<u8>,
    /// It has alerted that it stops nobody any more.
    pub(super) latched: bool,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) machine: Option<Machine>,
    /// How often its monitor has started.
    pub(super) boots: u8,
    /// Its kernel runs: it forwards and answers echo.
    pub(super) kernel: bool,
    pub(super) frozen: bool,
    pub(super) fit: bool,
    pub(super) probes: Probes,
    pub(super) api: Api,
    /// Groups whose services fail on it.
    pub(super) failing: BTreeSet<usize>,
    /// Groups whose addresses are on its host; of an egress IP, those for which its host holds
    /// back what would be translated anew.
    pub(super) carries: BTreeSet<usize>,
    /// Groups whose hosts it translates to their egress IP.
    pub(super) translates: BTreeSet<usize>,
    /// What has arrived and was not handled yet.
    pub(super) inbox: Vec<Input>,
    pub(super) outbox: Vec<Call>,
    pub(super) awaited: Vec<Awaited>,
    /// What it keeps on disk.
    pub(super) remembered: BTreeSet<InstanceId>,
    /// The peers that it has written down as heard since its host booted.
    pub(super) heard: BTreeSet<InstanceId>,
    /// And before it booted.
    pub(super) heard_long_ago: BTreeSet<InstanceId>,
    /// The nodes of which a heartbeat or an echo has reached its host since that booted.
    pub(super) met: BTreeSet<usize>,
    pub(super) notes: Notes,
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            machine: None,
            boots: 0,
            kernel: true,
            frozen: false,
            fit: true,
            probes: Probes::WORK,
            api: Api::Works,
            failing: BTreeSet::new(),
            carries: BTreeSet::new(),
            translates: BTreeSet::new(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            awaited: Vec::new(),
            remembered: BTreeSet::new(),
            heard: BTreeSet::new(),
            heard_long_ago: BTreeSet::new(),
            met: BTreeSet::new(),
            notes: Notes::default(),
        }
    }

    /// Whether packets to it are forwarded.
    pub(super) fn forwards(&self) -> bool {
        self.kernel && !self.frozen
    }

    /// Its monitor ends, and what it was about to send with it.
    pub(super) fn end_monitor(&mut self) {
        self.machine = None;
        self.inbox.clear();
        self.outbox.clear();
        self.awaited.clear();
        self.probes.asked = false;
    }

    /// Renames its actions, oldest first, so that equal states are seen to be equal.
    pub(super) fn renumber(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        let mut ids = BTreeSet::new();
        let collect = |id| {
            ids.insert(id);
            id
        };
        machine.renumber(collect, 0);
        ids.extend(self.outbox.iter().map(|call| call.id));
        ids.extend(self.awaited.iter().map(|awaited| awaited.id));
        let ids: Vec<ActionId> = ids.into_iter().collect();
        let rename = |id: ActionId| {
            let place = ids.binary_search(&id).expect("every id was collected");
            ActionId(u64::try_from(place).unwrap_or(u64::MAX) + 1)
        };
        let highest = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        machine.renumber(rename, highest);
        self.outbox.iter_mut().for_each(|call| call.id = rename(call.id));
        self.awaited.iter_mut().for_each(|awaited| awaited.id = rename(awaited.id));
    }
}
