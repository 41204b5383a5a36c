//! The machine: takes inputs in, and makes one turn after the other of what the parts decide.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::egress::{EgressGroup, ServedGroup};
use super::group::{GroupState, Groups};
use super::known::Known;
use super::latches::Latches;
use super::moves::PeerNote;
use super::outbox::{About, Outbox};
use super::peer::words;
use super::reads::Reads;
use super::repair::{Next, Repairs};
use super::wants::has_something_to_give;
use super::{Action, ActionId, Command, EventKind, Input, Level, Outcome, Verdict, View, show};
use crate::config::Timing;
use crate::types::{
    Beat, CloudFault, Fault, Fitness, GroupName, InstanceId, Member, Roster, SessionId, Time,
};

/// The machine looks at everything at least this often.
const PACE: Duration = Duration::from_millis(100);
/// Pauses within [`LATE_WINDOW`] that make a node count itself unfit.
const LATE_LIMIT: usize = 3;
const LATE_WINDOW: Duration = Duration::from_secs(10);

/// One node's decisions. See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    pub(super) known: Known,
    pub(super) groups: Groups,
    pub(super) reads: Reads,
    pub(super) repairs: Repairs,
    pub(super) out: Outbox,
    /// What the host reported, without lateness.
    pub(super) reported: Fitness,
    /// When the last pauses ended.
    pub(super) pauses: VecDeque<Time>,
    pub(super) may_exit_sent: bool,
    pub(super) next_beat: Time,
    pub(super) next_look: Time,
    pub(super) due: Time,
}

impl Machine {
    /// A machine for node `me` that has just started and knows only the roster, which must contain
    /// `me`. `settings_digest` is the digest of the settings that all members must share.
    ///
    /// # Panics
    /// If the roster does not contain `me`.
    #[must_use]
    pub fn new(
        me: &InstanceId,
        session: SessionId,
        timing: Timing,
        settings_digest: u64,
        roster: &Roster,
        now: Time,
    ) -> Self {
        let me = roster.member(me).expect("the roster contains this node").clone();
        let fitness = Fitness::fit();
        let mut machine = Self {
            known: Known::new(me, session, timing, settings_digest, fitness, now),
            groups: Groups::new(),
            reads: Reads::default(),
            repairs: Repairs::default(),
            out: Outbox::new(session.0),
            reported: Fitness::fit(),
            pauses: VecDeque::new(),
            may_exit_sent: false,
            next_beat: now,
            next_look: now,
            due: now,
        };
        machine.enrol(roster, now);
        machine
    }

    /// Tells which peers an earlier run of this monitor stopped and had not seen started again,
    /// so that this one starts them.
    pub fn recall(&mut self, stopped: BTreeSet<InstanceId>) {
        self.repairs.recall(stopped);
        self.copy_stopped();
    }

    /// Tells what the host knows of itself at the start, before the first input. Without it, the
    /// node begins fit, with evidence of every kind.
    pub fn presume(&mut self, fitness: Fitness) {
        self.known.fit_since = fitness.is_fit().then_some(self.known.started);
        self.reported = fitness.clone();
        self.known.fitness = fitness;
    }

    /// Tells which nodes earlier runs of this monitor have heard since the host booted, and which
    /// ones `long_ago`, before it booted. The silence of the former counts; that of a peer that was
    /// never heard may come from a security group. A node in neither may run no natha at all.
    pub fn recognize(&mut self, heard: BTreeSet<InstanceId>, long_ago: BTreeSet<InstanceId>) {
        self.known.recognize(heard, long_ago);
    }

    /// Tells which latches were in force when an earlier run ended.
    pub fn recall_latches(&mut self, latches: Latches) {
        self.known.latches_reported = latches.clone();
        self.known.latches = latches;
    }

    /// Takes one input in. [`Machine::poll_action`] then returns the actions that follow.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.notice_pause(now);
        match input {
            Input::Beat { from, session, beat, at } => self.hear(&from, session, beat, at),
            Input::Echo { from, at } => {
                if let Some(peer) = self.known.peers.get_mut(&from) {
                    peer.echo_at = peer.echo_at.max(Some(at));
                }
            }
            Input::Fitness { fitness } => {
                self.reported = fitness;
                self.weigh_fitness(now);
            }
            Input::Answered { evidence, sent } => {
                for peer in self.known.peers.values_mut() {
                    peer.note_answer(evidence, sent, now);
                }
            }
            Input::ServiceChecks { failing } => self.known.failing = Some(failing),
            Input::Roster { roster } => self.enrol(&roster, now),
            Input::Done { id, outcome } => self.take_outcome(id, outcome, now),
            Input::Command { command } => self.command(command, now),
        }
    }

    /// Does what is due at `now`. Call after all inputs that have arrived were handled, and at
    /// [`Machine::next_deadline`]. A call that comes late by more than half the detection time
    /// means that this node was paused: it then reads everything anew before it writes.
    pub fn tick(&mut self, now: Time) {
        self.notice_pause(now);
        self.weigh_fitness(now);
        self.known.drop_unlisted(now);
        self.known.review_latches(&mut self.out, now);
        self.judge_peers(now);
        // Whatever this monitor began now, the next one would not know of.
        if !self.known.restarting {
            self.advance_groups(now);
            self.known.note_boots(now);
            self.repairs.advance(&self.known, &self.groups, &mut self.out, now);
            // The other members know of a stop before it is sent: only then can they start the peer
            // if this node dies. Of two nodes there is no other.
            let is_known = self.repairs.stopped().is_subset(&self.known.stopped);
            if self.known.peers.len() > 1 && !is_known {
                self.next_beat = now;
            }
            self.copy_stopped();
            self.reads.advance(&self.known, &self.groups, &mut self.out, now);
        }
        self.exchange(now);
        for group in self.groups.values_mut() {
            group.update_must_carry(&self.known, now);
            group.update_relay(&self.known, now);
        }
        self.next_look = now + PACE;
        self.due = self.deadline(now);
    }

    /// When [`Machine::tick`] must be called next.
    #[must_use]
    pub const fn next_deadline(&self) -> Time {
        self.due
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.pop()
    }

    /// This node's own fitness, lateness included.
    #[must_use]
    pub const fn fitness(&self) -> &Fitness {
        &self.known.fitness
    }

    /// The peers: those of the last roster, and those that it lacks and that are still heard.
    pub fn peers(&self) -> impl Iterator<Item = &Member> {
        self.known.peers.values().map(|peer| &peer.member)
    }

    /// This node, then its peers.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.known.me).chain(self.peers())
    }

    /// The peers that are alive, in the order of their ids.
    pub fn living_peers(&self) -> impl Iterator<Item = &InstanceId> {
        self.known.peers.iter().filter(|(_, peer)| peer.is_alive()).map(|(id, _)| id)
    }

    /// The nodes that this monitor has heard since the host booted, earlier runs included: what the
    /// next run must be given by [`Machine::recognize`].
    #[must_use]
    pub const fn heard(&self) -> &BTreeSet<InstanceId> {
        &self.known.ever_heard
    }

    /// The groups whose addresses this node's host must carry (`true`), and those whose addresses
    /// it must not (`false`), as of the last [`Machine::tick`]. Too little is known of a group that
    /// is missing: the host keeps what it has of it.
    #[must_use]
    pub fn must_carry(&self) -> BTreeMap<GroupName, bool> {
        let known =
            |(name, group): (&GroupName, &GroupState)| Some((name.clone(), group.must_carry?));
        self.groups.iter().filter_map(known).collect()
    }

    /// The egress IPs of the groups, as far as this node has them; none while too little is known
    /// of one of them: the host keeps its translation.
    #[must_use]
    pub fn egress(&self, now: Time) -> Option<Vec<EgressGroup>> {
        let groups = self.groups.values().filter(|group| !group.egress.is_plain());
        groups.map(|group| group.egress_here(&self.known, now)).collect()
    }

    /// The groups whose private hosts reach the internet through this node.
    #[must_use]
    pub fn served(&self, now: Time) -> Vec<ServedGroup> {
        self.groups.values().filter_map(|group| group.served_here(&self.known, now)).collect()
    }

    /// The latches that this node obeys: what the next run must be given by
    /// [`Machine::recall_latches`].
    #[must_use]
    pub const fn latches(&self) -> &Latches {
        &self.known.latches
    }

    /// The verdict about a peer; none if it is none of the peers.
    #[must_use]
    pub fn verdict(&self, peer: &InstanceId) -> Option<Verdict> {
        self.known.peers.get(peer).map(|peer| peer.verdict)
    }

    /// Everything, for the status.
    #[must_use]
    pub fn view(&self, now: Time) -> View {
        show::view(&self.known, &self.groups, &self.repairs, now)
    }

    fn hear(&mut self, from: &InstanceId, session: SessionId, beat: Beat, at: Time) {
        for claim in &beat.holds {
            if let Some(group) = self.groups.get_mut(&claim.group) {
                group.generation = group.generation.max(claim.generation);
            }
        }
        // A peer moves a resource: the one who gets it should know before its next regular read.
        if self.known.hear(from, session, beat, at) {
            self.reads.hurry();
        }
    }

    /// A turn that comes much later than it was due means that this node was suspended, stalled
    /// or starved while the world went on: what it knew is void, and so are its deadlines.
    fn notice_pause(&mut self, now: Time) {
        let late = now.since(self.due);
        if late <= self.known.timing.detection() / 2 {
            return;
        }
        self.due = now;
        self.pauses.push_back(now);
        for slot in self.groups.values_mut().flat_map(|group| &mut group.slots) {
            slot.forget();
        }
        self.reads.forget();
        self.known.excuse_silence(now);
        let text = format!("this node was paused for {}; reading everything anew", words(late));
        self.out.report(now, Level::Warning, EventKind::Paused, About::text(text));
    }

    fn weigh_fitness(&mut self, now: Time) {
        while self.pauses.front().is_some_and(|at| now.since(*at) > LATE_WINDOW) {
            self.pauses.pop_front();
        }
        let mut fitness = self.reported.clone();
        if self.pauses.len() >= LATE_LIMIT {
            fitness.faults.insert(Fault::Late);
        }
        self.known.update_fitness(fitness, &mut self.out, now);
    }

    fn judge_peers(&mut self, now: Time) {
        let groups = &self.groups;
        let is_checked =
            |name: &GroupName| groups.get(name).is_some_and(|group| group.traits.checked);
        self.known.judge_peers(is_checked, &mut self.out, now);
    }

    fn advance_groups(&mut self, now: Time) {
        for group in self.groups.values_mut() {
            for note in group.advance(&self.known, &mut self.reads, &mut self.out, now) {
                match note {
                    PeerNote::TakenFrom(node) => self.known.note_takeover(&node, now),
                    PeerNote::HandedBack(node) => self.known.note_hand_back(&node, now),
                }
            }
        }
    }

    fn copy_stopped(&mut self) {
        self.known.stopped.clone_from(self.repairs.stopped());
    }

    fn take_outcome(&mut self, id: ActionId, outcome: Outcome, now: Time) {
        let Self { known, groups, reads, repairs, out, .. } = self;
        match outcome {
            Outcome::Routes { result } => reads.take_routes(id, result, known, groups, out, now),
            Outcome::Holders { result } => reads.take_holders(id, result, known, groups, out, now),
            Outcome::Power { result } => reads.take_power(id, result, known, out, now),
            Outcome::Written { result } => self.take_written(id, &result, now),
            Outcome::Expired => {
                groups.values_mut().any(|group| group.take_expiry(id, reads, now));
                repairs.take_expiry(id, out);
                self.copy_stopped();
            }
        }
    }

    fn take_written(&mut self, id: ActionId, result: &Result<(), CloudFault>, now: Time) {
        let Self { groups, reads, repairs, out, .. } = self;
        if groups.values_mut().any(|group| group.take_outcome(id, result, reads, out, now)) {
            return;
        }
        match repairs.take_outcome(id, result, out, now) {
            Next::Nothing => {}
            Next::Stop(node) => {
                self.judge_peers(now);
                self.repairs.stop(&node, &self.known, &self.groups, &mut self.out, now);
            }
            Next::Started(node) => self.known.note_start(&node, now),
        }
        self.copy_stopped();
    }

    fn command(&mut self, command: Command, now: Time) {
        match command {
            Command::Leave => self.known.leaving = true,
            Command::Stay => {
                self.known.leaving = false;
                self.may_exit_sent = false;
                self.next_beat = now;
            }
            // The peers should know before anything happens that they would react to.
            Command::Latch { .. } => {
                self.known.latches.here = true;
                self.next_beat = now;
            }
            Command::Unlatch => {
                self.known.latches = Latches::default();
                self.next_beat = now;
            }
            Command::Restart => {
                self.known.restarting = true;
                self.may_exit_sent = false;
            }
            Command::HandOver { group, to } => {
                let Some(group) = self.groups.get_mut(&group) else { return };
                group.ordered_to = to.or_else(|| self.known.best_heir(group).cloned());
                if group.ordered_to.is_none() {
                    group.report_dropped("no other node can take it", &mut self.out, now);
                }
            }
        }
    }

    /// Takes a roster over, keeping what is known of nodes and groups that stay. A roster without
    /// this node changes nothing: it cannot be the truth.
    fn enrol(&mut self, roster: &Roster, now: Time) {
        let Some(me) = roster.member(&self.known.me.id) else { return };
        self.known.enrol(me, roster, &mut self.out, now);
        self.groups.retain(|name, _| roster.groups.iter().any(|group| group.name == *name));
        for spec in &roster.groups {
            self.groups
                .entry(spec.name.clone())
                .and_modify(|group| group.respecify(spec, now))
                .or_insert_with(|| GroupState::new(spec, now));
        }
        let slots = self.groups.values().flat_map(|group| &group.slots);
        self.reads.know(&slots.map(|slot| slot.resource.kind()).collect());
        self.reads.hurry();
    }

    /// Sends what is due: heartbeats, one of them right before this node may go, and echo requests.
    fn exchange(&mut self, now: Time) {
        let holds_something =
            || self.groups.values().any(|group| has_something_to_give(&self.known, group, now));
        let may_go = self.known.restarting || (self.known.leaving && !holds_something());
        let leaves = may_go && !self.may_exit_sent;
        if leaves || now >= self.next_beat {
            self.next_beat = now + self.known.timing.interval;
            let beat = show::beat(&self.known, &self.groups, now);
            self.groups.values_mut().for_each(|group| group.note_announced(now));
            for to in self.known.peers.keys() {
                self.out.push(Action::SendBeat { to: to.clone(), beat: beat.clone() });
            }
        }
        for (to, peer) in &mut self.known.peers {
            let pace = peer.echo_pace(now, &self.known.timing);
            if peer.echo_asked.is_none_or(|asked| now.since(asked) >= pace) {
                peer.echo_asked = Some(now);
                self.out.push(Action::SendEcho { to: to.clone() });
            }
        }
        if leaves {
            self.may_exit_sent = true;
            self.out.push(Action::MayExit);
        }
    }

    fn deadline(&self, now: Time) -> Time {
        let timing = &self.known.timing;
        let mut deadline = self.next_beat.min(self.next_look);
        for peer in self.known.peers.values() {
            let late_at = peer.late_at(timing);
            let echo_at = late_at.filter(|late| now >= *late).and(peer.echo_asked);
            let echo_at = echo_at.map(|asked| asked + peer.echo_pace(now, timing));
            for at in [late_at, peer.lost_at(timing), echo_at] {
                if let Some(at) = at.filter(|at| *at > now) {
                    deadline = deadline.min(at);
                }
            }
        }
        deadline.max(now + Duration::from_millis(1))
    }
}
