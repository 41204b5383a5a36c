//! The machine: one node's knowledge, and the turn that makes actions of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::group::Group;
use super::peer::{Heard, Peer, words};
use super::reads::Reads;
use super::repair::Repairs;
use super::retry::Noise;
use super::{Action, ActionId, Command, Event, EventKind, Input, Level, Outcome, Verdict};
use crate::config::Failover;
use crate::types::{Beat, Fault, Fitness, GroupName, InstanceId, Member, Roster, SessionId, Time};

/// How long after its start a node keeps from filling gaps that another may be about to fill.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// The machine looks at everything at least this often.
const PACE: Duration = Duration::from_millis(100);
/// The shortest and the longest time within which a decided change must be sent.
const SEND_WITHIN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(1));
/// Pauses within [`LATE_WINDOW`] that make a node count itself unfit.
const LATE_LIMIT: usize = 3;
const LATE_WINDOW: Duration = Duration::from_secs(10);

/// One node's decisions. See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    pub(super) me: Member,
    pub(super) session: SessionId,
    pub(super) numbers: Failover,
    pub(super) settings_digest: u64,
    pub(super) started: Time,
    pub(super) peers: BTreeMap<InstanceId, Peer>,
    pub(super) groups: BTreeMap<GroupName, Group>,
    pub(super) reads: Reads,
    pub(super) repairs: Repairs,
    /// What the host reported, without lateness.
    pub(super) reported: Fitness,
    /// The same with lateness: what counts.
    pub(super) fitness: Fitness,
    pub(super) fit_since: Option<Time>,
    /// The groups whose service checks fail here; none before the first results.
    pub(super) failing: Option<BTreeSet<GroupName>>,
    /// When the last pauses ended.
    pub(super) pauses: VecDeque<Time>,
    pub(super) leaving: bool,
    pub(super) may_exit_told: bool,
    pub(super) next_beat: Time,
    pub(super) next_look: Time,
    pub(super) due: Time,
    pub(super) next_id: u64,
    pub(super) noise: Noise,
    pub(super) actions: VecDeque<Action>,
}

impl Machine {
    /// A machine for node `me` that has just started and knows nothing but the roster, which must
    /// contain `me`. `settings_digest` is the digest of the settings that all members must share.
    ///
    /// # Panics
    /// If the roster does not contain `me`.
    #[must_use]
    pub fn new(
        me: &InstanceId,
        session: SessionId,
        numbers: Failover,
        settings_digest: u64,
        roster: &Roster,
        now: Time,
    ) -> Self {
        let member = roster.member(me).expect("the roster contains this node").clone();
        let mut machine = Self {
            me: member,
            session,
            numbers,
            settings_digest,
            started: now,
            peers: BTreeMap::new(),
            groups: BTreeMap::new(),
            reads: Reads::default(),
            repairs: Repairs::default(),
            reported: Fitness::fit(),
            fitness: Fitness::fit(),
            fit_since: Some(now),
            failing: None,
            pauses: VecDeque::new(),
            leaving: false,
            may_exit_told: false,
            next_beat: now,
            next_look: now,
            due: now,
            next_id: 0,
            noise: Noise::new(session.0),
            actions: VecDeque::new(),
        };
        machine.enrol(roster, now);
        machine
    }

    /// Tells which peers an earlier run of this monitor stopped and had not seen started again,
    /// so that they are started by this one.
    pub fn recall(&mut self, stopped: BTreeSet<InstanceId>) {
        self.repairs.recall(stopped);
    }

    /// Takes one input in. Actions that follow are then in [`Machine::poll_action`].
    pub fn handle(&mut self, input: Input, now: Time) {
        self.notice_pause(now);
        match input {
            Input::Beat { from, session, beat, at } => self.heard(&from, session, beat, at),
            Input::Echo { from, at } => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.echo_at = peer.echo_at.max(Some(at));
                }
            }
            Input::Fitness { fitness } => {
                self.reported = fitness;
                self.weigh_fitness(now);
            }
            Input::Checks { failing } => self.failing = Some(failing),
            Input::Roster { roster } => self.enrol(&roster, now),
            Input::Done { id, outcome } => self.done(id, outcome, now),
            Input::Command { command } => self.command(command, now),
        }
    }

    /// Does what is due at `now`. Call after all inputs that have arrived were handled, and at
    /// [`Machine::next_deadline`]. A call that comes late by more than half the detection time
    /// means that this node was paused: it then reads everything anew before it writes.
    pub fn tick(&mut self, now: Time) {
        self.notice_pause(now);
        self.weigh_fitness(now);
        self.judge_peers(now);
        self.decide(now);
        self.repair(now);
        self.read(now);
        self.exchange(now);
        self.settle_local(now);
        self.next_look = now + PACE;
        self.due = self.deadline(now);
    }

    /// When [`Machine::tick`] must be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.due
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// This node's own fitness, lateness included.
    #[must_use]
    pub fn fitness(&self) -> &Fitness {
        &self.fitness
    }

    /// Whether this node can serve and may act.
    pub(super) fn is_fit(&self) -> bool {
        self.fitness.is_fit()
    }

    /// Whether this node has looked around long enough to fill gaps.
    pub(super) fn has_looked(&self, now: Time) -> bool {
        now.since(self.started) >= FIRST_LOOK
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn new_id(&mut self) -> ActionId {
        self.next_id += 1;
        ActionId(self.next_id)
    }

    /// Until when a mutation decided at `now` may still be sent: about as long as a pause takes
    /// to be noticed, but not so short that signing a request outlives it, and not so long that
    /// the moment has passed.
    pub(super) fn not_after(&self, now: Time) -> Time {
        now + self.numbers.detection().clamp(SEND_WITHIN.0, SEND_WITHIN.1)
    }

    pub(super) fn report(&mut self, at: Time, level: Level, kind: EventKind, about: About) {
        let About { node, group, text, took } = about;
        self.push(Action::Report { event: Event { at, level, kind, node, group, text, took } });
    }

    /// All ids of the cluster, this node included.
    pub(super) fn everyone(&self) -> impl Iterator<Item = &InstanceId> {
        self.peers.keys().chain([&self.me.id])
    }

    /// This node, fit or not, and all peers that could be given `group` now, in the order in which
    /// they may take it.
    pub(super) fn heirs(&self, group: &Group) -> Vec<&InstanceId> {
        let able = |(id, peer): &(&InstanceId, &Peer)| {
            peer.can_take(&group.name) && !self.repairs.has_stopped(id)
        };
        let peers = self.peers.iter().filter(able).map(|(id, _)| id);
        super::order::heirs(&group.name, &group.prefer, peers.chain([&self.me.id]))
    }

    /// Whether this node can serve `group`: it is fit, and knows that the group's service works
    /// here, where that is checked.
    pub(super) fn serves(&self, group: &Group) -> bool {
        let passes = self.failing.as_ref().is_some_and(|failing| !failing.contains(&group.name));
        self.is_fit() && (!group.traits.checked || passes)
    }

    fn heard(&mut self, from: &InstanceId, session: SessionId, beat: Beat, at: Time) {
        for claim in &beat.holds {
            if let Some(group) = self.groups.get_mut(&claim.group) {
                group.generation = group.generation.max(claim.generation);
            }
        }
        let Some(peer) = self.peers.get_mut(from) else { return };
        if peer.heard.as_ref().is_none_or(|heard| heard.at <= at) {
            // Somebody moves a resource: who gets it should know before its next regular read.
            if peer.heard.as_ref().is_some_and(|heard| heard.beat.holds != beat.holds) {
                self.reads.hurry();
            }
            peer.heard = Some(Heard { session, beat, at });
        }
    }

    /// A turn that comes much later than it was due means that this node was suspended, stalled
    /// or starved, while the world went on: what it knew is void, and so are its deadlines.
    fn notice_pause(&mut self, now: Time) {
        let late = now.since(self.due);
        if late <= self.numbers.detection() / 2 {
            return;
        }
        self.due = now;
        self.pauses.push_back(now);
        for group in self.groups.values_mut() {
            for slot in &mut group.slots {
                slot.forget();
            }
        }
        self.reads.forget();
        for peer in self.peers.values_mut() {
            peer.excuse_silence(now);
        }
        let text = format!("this node was paused for {}; reading everything anew", words(late));
        self.report(now, Level::Warning, EventKind::Paused, About::text(text));
    }

    fn weigh_fitness(&mut self, now: Time) {
        while self.pauses.front().is_some_and(|at| now.since(*at) > LATE_WINDOW) {
            self.pauses.pop_front();
        }
        let mut fitness = self.reported.clone();
        if self.pauses.len() >= LATE_LIMIT {
            fitness.faults.insert(Fault::Late);
        }
        if fitness == self.fitness {
            return;
        }
        let was_fit = self.fitness.is_fit();
        let level = if fitness.is_fit() { Level::Info } else { Level::Alert };
        let text = format!("this node is now: {fitness}");
        self.fitness = fitness;
        self.fit_since = match (was_fit, self.is_fit()) {
            (_, false) => None,
            (false, true) => Some(now),
            (true, true) => self.fit_since,
        };
        self.report(now, level, EventKind::Fitness, About::text(text));
    }

    pub(super) fn judge_peers(&mut self, now: Time) {
        let ids: Vec<InstanceId> = self.peers.keys().cloned().collect();
        for id in ids {
            let witnessed = self.is_witnessed(&id, now);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let verdict = peer.judge(now, &self.numbers, witnessed);
            let before = peer.verdict;
            let is_new = peer.conclude(verdict, now);
            peer.note_hearing(&self.me.id, self.session, &self.numbers, now);
            let is_checked =
                |name: &GroupName| self.groups.get(name).is_some_and(|group| group.traits.checked);
            peer.note_serving(is_checked, now);
            if !is_new {
                continue;
            }
            let evidence = peer.evidence(now);
            let level = match verdict {
                Verdict::Alive | Verdict::Left | Verdict::Unmet => Level::Info,
                Verdict::CutOff => Level::Alert,
                _ => Level::Warning,
            };
            let text = format!("{} (was {}): {evidence}", verdict.name(), before.name());
            self.report(now, level, EventKind::Verdict, About::node(&id, text));
        }
    }

    /// Whether another live member has heard `node` within the detection time.
    fn is_witnessed(&self, node: &InstanceId, now: Time) -> bool {
        self.peers.values().any(|witness| {
            let (Some(heard), Some(since)) = (&witness.heard, witness.silent_since()) else {
                return false;
            };
            witness.member.id != *node
                && witness.is_fresh(now, &self.numbers)
                && heard.beat.hears.iter().any(|hears| {
                    let age = hears.age().map(|age| age + now.since(since));
                    hears.node == *node
                        && !hears.failed
                        && age.is_some_and(|age| age < self.numbers.detection())
                })
        })
    }

    fn done(&mut self, id: ActionId, outcome: Outcome, now: Time) {
        match outcome {
            Outcome::Routes { result } => self.routes_read(id, result, now),
            Outcome::Holders { result } => self.holders_read(id, result, now),
            Outcome::Power { result } => self.power_read(id, result, now),
            Outcome::Written { result } => {
                if !self.resource_written(id, &result, now) {
                    self.power_written(id, &result, now);
                }
            }
            Outcome::Expired => {
                self.resource_expired(id, now);
                self.power_expired(id);
            }
        }
    }

    fn command(&mut self, command: Command, now: Time) {
        match command {
            Command::Leave => self.leaving = true,
            Command::HandOver { group, to } => {
                let Some(found) = self.groups.get(&group) else { return };
                let heirs = self.heirs(found);
                let best = heirs.into_iter().find(|node| **node != self.me.id).cloned();
                let to = to.or(best);
                if to.is_none() {
                    self.tell_dropped(&group, "no other node can take it", now);
                }
                if let Some(group) = self.groups.get_mut(&group) {
                    group.ordered_to = to;
                }
            }
        }
    }

    /// Takes a roster over, keeping what is known of nodes and groups that stay. A roster without
    /// this node changes nothing: it cannot be the truth.
    fn enrol(&mut self, roster: &Roster, now: Time) {
        let Some(me) = roster.member(&self.me.id) else { return };
        self.me = me.clone();
        self.peers.retain(|id, _| roster.member(id).is_some());
        for member in roster.members.iter().filter(|member| member.id != self.me.id) {
            let peer = self.peers.entry(member.id.clone());
            peer.and_modify(|peer| peer.member = member.clone())
                .or_insert_with(|| Peer::new(member.clone(), now));
        }
        self.groups.retain(|name, _| roster.groups.iter().any(|group| group.name == *name));
        for spec in &roster.groups {
            self.groups
                .entry(spec.name.clone())
                .and_modify(|group| group.respecify(spec, now))
                .or_insert_with(|| Group::new(spec, now));
        }
        let slots = self.groups.values().flat_map(|group| &group.slots);
        self.reads.know(&slots.map(|slot| slot.resource.kind()).collect());
        self.reads.hurry();
    }

    /// Sends what is due: heartbeats, one of them right before this node may go, and echo requests.
    fn exchange(&mut self, now: Time) {
        let leaves = self.leaving && !self.may_exit_told && !self.holds_something_to_give();
        if leaves || now >= self.next_beat {
            self.next_beat = now + self.numbers.interval;
            let beat = self.beat(now);
            self.note_told(now);
            let peers: Vec<InstanceId> = self.peers.keys().cloned().collect();
            for to in peers {
                self.push(Action::SendBeat { to, beat: beat.clone() });
            }
        }
        let mut echoes = Vec::new();
        for (id, peer) in &mut self.peers {
            let pace = peer.echo_pace(now, &self.numbers);
            if peer.echo_asked.is_none_or(|asked| now.since(asked) >= pace) {
                peer.echo_asked = Some(now);
                echoes.push(id.clone());
            }
        }
        for to in echoes {
            self.push(Action::SendEcho { to });
        }
        if leaves {
            self.may_exit_told = true;
            self.push(Action::MayExit);
        }
    }

    fn deadline(&self, now: Time) -> Time {
        let mut deadline = self.next_beat.min(self.next_look);
        for peer in self.peers.values() {
            let late_at = peer.late_at(&self.numbers);
            let echo_at = late_at.filter(|late| now >= *late).and(peer.echo_asked);
            let echo_at = echo_at.map(|asked| asked + peer.echo_pace(now, &self.numbers));
            for at in [late_at, peer.lost_at(&self.numbers), echo_at] {
                if let Some(at) = at.filter(|at| *at > now) {
                    deadline = deadline.min(at);
                }
            }
        }
        deadline.max(now + Duration::from_millis(1))
    }
}

/// What an event is about.
pub(super) struct About {
    pub(super) node: Option<InstanceId>,
    pub(super) group: Option<GroupName>,
    pub(super) text: String,
    pub(super) took: Option<Duration>,
}

impl About {
    pub(super) fn text(text: String) -> Self {
        Self { node: None, group: None, text, took: None }
    }

    pub(super) fn node(node: &InstanceId, text: String) -> Self {
        Self { node: Some(node.clone()), ..Self::text(text) }
    }

    pub(super) fn group(group: &GroupName, text: String) -> Self {
        Self { group: Some(group.clone()), ..Self::text(text) }
    }
}
