//! What this node knows about itself and its peers. Every decision reads it; only inputs and reads
//! change it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::group::GroupState;
use super::latches::Latches;
use super::order;
use super::outbox::{About, Outbox};
use super::peer::{Heard, HeardBefore, Peer, max_request_age};
use super::slot::Slot;
use super::{Action, EventKind, Level, Verdict};
use crate::config::Timing;
use crate::types::{
    Beat, Fault, Fitness, GroupName, Holder, InstanceId, InstanceState, Location, Member,
    PowerReport, Roster, RouteEntry, SessionId, Time,
};

/// How long after its start a node leaves gaps to others that may be about to fill them.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// The shortest and the longest time within which a decided change must be sent.
const SEND_WITHIN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(1));

/// What a peer that is heard and that discovery does not list any more means to an operator.
const UNLISTED: &str = "its tag is gone or EC2 reports it as terminated, but it is heard: it stays \
                        a member until its monitor stops, and is not repaired";

/// Whether a resource points outside the cluster.
fn is_foreign(location: &Location<Holder>) -> bool {
    matches!(location, Location::At(Holder::Foreign { .. }))
}

/// What to do about a peer that was never heard though it runs.
const UNHEARD: &str = "it was never heard since this host booted: it keeps its groups until EC2's \
                       status check or an echo that it no longer answers shows that it is dead. \
                       Let the nodes' security groups pass heartbeats (UDP, heartbeat.port, 6284 \
                       by default) and ICMP between the nodes; check that its monitor runs, with \
                       the same key";

/// This node's knowledge of itself and of its peers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Known {
    pub(super) me: Member,
    pub(super) session: SessionId,
    pub(super) timing: Timing,
    /// Digest of the settings that all members must share.
    pub(super) settings_digest: u64,
    pub(super) started: Time,
    pub(super) peers: BTreeMap<InstanceId, Peer>,
    /// Nodes that this run or an earlier one has heard since this host booted.
    pub(super) ever_heard: BTreeSet<InstanceId>,
    /// Nodes that were heard before this host booted.
    pub(super) heard_long_ago: BTreeSet<InstanceId>,
    /// Peers that this node stopped and has not heard since: a copy of what the repairs keep.
    pub(super) stopped: BTreeSet<InstanceId>,
    /// This node's fitness, lateness included.
    pub(super) fitness: Fitness,
    pub(super) fit_since: Option<Time>,
    /// Since when its fitness has been as it is, missing evidence included.
    pub(super) steady_since: Time,
    /// The groups whose service checks fail here; none before the first results.
    pub(super) failing: Option<BTreeSet<GroupName>>,
    pub(super) leaving: bool,
    /// This monitor ends and keeps its groups: it begins nothing more.
    pub(super) restarting: bool,
    pub(super) latches: Latches,
    /// The latches of the last report of them.
    pub(super) latches_reported: Latches,
    /// EC2's last report of this node itself, and when it was requested.
    pub(super) own_power: Option<(PowerReport, Time)>,
}

impl Known {
    pub(super) const fn new(
        me: Member,
        session: SessionId,
        timing: Timing,
        settings_digest: u64,
        fitness: Fitness,
        now: Time,
    ) -> Self {
        Self {
            me,
            session,
            timing,
            settings_digest,
            started: now,
            peers: BTreeMap::new(),
            ever_heard: BTreeSet::new(),
            heard_long_ago: BTreeSet::new(),
            stopped: BTreeSet::new(),
            fitness,
            fit_since: Some(now),
            steady_since: now,
            failing: None,
            leaving: false,
            restarting: false,
            latches: Latches { here: false, peers: BTreeSet::new() },
            latches_reported: Latches { here: false, peers: BTreeSet::new() },
            own_power: None,
        }
    }

    /// Whether this node can serve and may act.
    pub(super) fn is_fit(&self) -> bool {
        self.fitness.is_fit()
    }

    /// Whether a node is fit and lacks no evidence, as far as is known.
    pub(super) fn is_proven(&self, node: &InstanceId) -> bool {
        if *node == self.me.id {
            return self.fitness.is_proven();
        }
        self.peers.get(node).is_some_and(Peer::is_proven)
    }

    /// Whether this node may give `group` to a peer on its own account: a node that is proven gives
    /// nothing to one that is not.
    pub(super) fn may_give(&self, group: &GroupState, peer: &Peer) -> bool {
        peer.can_take(&group.name) && (peer.is_proven() || !self.fitness.is_proven())
    }

    /// Whether this node has observed the cluster long enough to fill gaps.
    pub(super) fn has_looked(&self, now: Time) -> bool {
        now.since(self.started) >= FIRST_LOOK
    }

    /// Until when a mutation decided at `now` may still be sent: about as long as it takes to
    /// notice a pause, but long enough to sign a request, and short enough that the decision still
    /// stands.
    pub(super) fn not_after(&self, now: Time) -> Time {
        now + self.timing.detection().clamp(SEND_WITHIN.0, SEND_WITHIN.1)
    }

    /// All ids of the cluster, this node included.
    pub(super) fn everyone(&self) -> impl Iterator<Item = &InstanceId> {
        self.peers.keys().chain([&self.me.id])
    }

    /// This node, fit or not, and all peers that could be given `group` now, in the order in which
    /// they may take it. Those that lack evidence come last.
    pub(super) fn heirs(&self, group: &GroupState) -> Vec<&InstanceId> {
        let able = |(id, peer): &(&InstanceId, &Peer)| {
            peer.can_take(&group.name) && !self.stopped.contains(*id)
        };
        let peers = self.peers.iter().filter(able).map(|(id, _)| id);
        let mut heirs = order::heirs(&group.name, &group.prefer, peers.chain([&self.me.id]));
        heirs.sort_by_key(|node| !self.is_proven(node));
        heirs
    }

    /// The first heir of `group` other than this node.
    pub(super) fn best_heir(&self, group: &GroupState) -> Option<&InstanceId> {
        self.heirs(group).into_iter().find(|node| **node != self.me.id)
    }

    /// Whether this node can serve `group`: it is fit, and its service check passes here if the
    /// group has one.
    pub(super) fn serves(&self, group: &GroupState) -> bool {
        self.is_fit() && self.passes(group)
    }

    /// Whether the group has no service check, or that passes here.
    pub(super) fn passes(&self, group: &GroupState) -> bool {
        let passes = self.failing.as_ref().is_some_and(|failing| !failing.contains(&group.name));
        !group.traits.checked || passes
    }

    /// Where a resource points, in terms of the cluster; none where that is not known.
    pub(super) fn location(&self, slot: &Slot) -> Option<Location<Holder>> {
        Some(self.resolve(slot, slot.current()?))
    }

    /// Which member holds a resource at this location.
    pub(super) fn resolve(&self, slot: &Slot, location: Location<RouteEntry>) -> Location<Holder> {
        let peers = self.peers.values().map(|peer| &peer.member);
        location.resolve(&slot.resource, std::iter::once(&self.me).chain(peers))
    }

    /// Whether `node` holds a resource, as far as is known.
    pub(super) fn is_on(&self, slot: &Slot, node: &InstanceId) -> bool {
        self.location(slot).is_some_and(|location| location.member() == Some(node))
    }

    /// Whether a resource points outside the cluster, where natha leaves it alone.
    pub(super) fn is_left_alone(&self, slot: &Slot) -> bool {
        !self.timing.adopt && self.location(slot).as_ref().is_some_and(is_foreign)
    }

    /// Whether `node` holds a resource of the group, as far as is known.
    pub(super) fn holds_a_part(&self, group: &GroupState, node: &InstanceId) -> bool {
        group.slots.iter().any(|slot| self.is_on(slot, node))
    }

    /// The member that holds every resource of the group, as far as is known.
    pub(super) fn holder(&self, group: &GroupState) -> Option<&InstanceId> {
        let mut holder: Option<&InstanceId> = None;
        for slot in &group.slots {
            let location = self.location(slot)?;
            let node = location.member()?;
            if holder.is_some_and(|id| id != node) {
                return None;
            }
            holder = self.everyone().find(|id| *id == node);
        }
        holder
    }

    /// The member with this id, if it is one.
    pub(super) fn receiver(&self, node: &InstanceId) -> Option<&Member> {
        if *node == self.me.id {
            return Some(&self.me);
        }
        self.peers.get(node).map(|peer| &peer.member)
    }

    /// How long this node's reads have shown no resource on `peer`, and every one of the peer's and
    /// this node's groups on a node that `accept` agrees with, or where natha leaves it alone; none
    /// where they do not.
    pub(super) fn settled_without<'a>(
        &self,
        peer: &InstanceId,
        groups: impl Iterator<Item = &'a GroupState>,
        accept: impl Fn(&InstanceId) -> bool,
        now: Time,
    ) -> Option<Duration> {
        let read_since = now - self.timing.read_valid;
        let mut settled = Duration::MAX;
        for group in groups {
            let is_of_a_third =
                group.home.as_ref().is_some_and(|home| *home != self.me.id && home != peer);
            for slot in &group.slots {
                let location = self.location(slot)?;
                let holder = location.member();
                let is_well = if is_of_a_third {
                    holder != Some(peer)
                } else {
                    self.is_left_alone(slot)
                        || holder.is_some_and(|node| accept(node) || self.is_mute(node, now))
                };
                if !is_well || !slot.is_read_since(read_since) || slot.pending.is_some() {
                    return None;
                }
                settled = settled.min(now.since(slot.since));
            }
        }
        Some(settled)
    }

    /// Whether `node` is a member that never said that it runs natha.
    fn is_mute(&self, node: &InstanceId, now: Time) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.is_mute(now, &self.timing))
    }

    /// Takes over the members of a roster that contains this node, and keeps what is known of
    /// those that stay. A peer that the roster lacks stays as well while it is heard.
    pub(super) fn enrol(&mut self, me: &Member, roster: &Roster, out: &mut Outbox, now: Time) {
        self.me = me.clone();
        for (id, peer) in &mut self.peers {
            let was_listed = std::mem::replace(&mut peer.listed, roster.member(id).is_some());
            if was_listed && !peer.listed && peer.stays_unlisted(now) {
                let about = About::node(id, UNLISTED.to_owned());
                out.report(now, Level::Warning, EventKind::Verdict, about);
            }
        }
        self.drop_unlisted(now);
        for member in roster.members.iter().filter(|member| member.id != self.me.id) {
            let peer = self.peers.entry(member.id.clone());
            peer.and_modify(|peer| peer.member = member.clone())
                .or_insert_with(|| Peer::new(member.clone(), now));
        }
        self.mark_heard();
    }

    /// Takes in which nodes earlier runs have heard since this host booted, and before.
    pub(super) fn recognize(
        &mut self,
        heard: BTreeSet<InstanceId>,
        long_ago: BTreeSet<InstanceId>,
    ) {
        self.ever_heard.extend(heard);
        self.heard_long_ago.extend(long_ago);
        self.mark_heard();
    }

    fn mark_heard(&mut self) {
        for (id, peer) in &mut self.peers {
            peer.heard_before = if self.ever_heard.contains(id) {
                HeardBefore::InThisBoot
            } else if self.heard_long_ago.contains(id) {
                HeardBefore::InAnEarlierBoot
            } else {
                HeardBefore::Never
            };
        }
    }

    /// Drops the peers that the last roster lacks and that are no longer heard.
    pub(super) fn drop_unlisted(&mut self, now: Time) {
        self.peers.retain(|_, peer| peer.listed || peer.stays_unlisted(now));
    }

    /// Keeps a heartbeat. Says whether the sender holds other groups than it last said.
    pub(super) fn hear(
        &mut self,
        from: &InstanceId,
        session: SessionId,
        beat: Beat,
        at: Time,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(from) else { return false };
        if peer.heard.as_ref().is_some_and(|heard| heard.at > at) {
            return false;
        }
        peer.stopped_by_other = peer.stopped_by_other.filter(|stop| *stop > at);
        let moved = peer.heard.as_ref().is_some_and(|heard| heard.beat.holds != beat.holds);
        let latched = beat.latched;
        let stopped: Vec<InstanceId> = if beat.leaving {
            Vec::new()
        } else {
            let lines = beat.hears.iter().filter(|line| line.stopped);
            lines.map(|line| line.node.clone()).collect()
        };
        let may_start = !beat.fitness.faults.contains(&Fault::Uplink);
        peer.heard = Some(Heard { session, beat, at });
        if !self.ever_heard.contains(from) {
            self.ever_heard.insert(from.clone());
        }
        for node in stopped {
            self.note_stop_by_other(&node, may_start, at);
        }
        self.note_latch_of(from, latched);
        moved
    }

    /// Notes that another member said at `at` that it had stopped `node`, and whether it may reach
    /// EC2 to start it: the time of the last one that may counts. A heartbeat of `node` that came
    /// later says that it runs.
    fn note_stop_by_other(&mut self, node: &InstanceId, may_start: bool, at: Time) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        let is_new = may_start || peer.stopped_by_other.is_none();
        if is_new && peer.heard.as_ref().is_none_or(|heard| heard.at < at) {
            peer.stopped_by_other = peer.stopped_by_other.max(Some(at));
        }
    }

    /// Keeps what EC2 reported of a node in the read requested at `asked`. A peer that runs later
    /// than a stop by another member can have taken effect was started since, or not stopped.
    pub(super) fn note_power(&mut self, node: &InstanceId, power: PowerReport, asked: Time) {
        if *node == self.me.id {
            self.own_power = Some((power, asked));
            return;
        }
        let Some(peer) = self.peers.get_mut(node) else { return };
        let in_effect = max_request_age(&self.timing) + SEND_WITHIN.1;
        let runs = matches!(power.state, Some(InstanceState::Running | InstanceState::Pending));
        let is_over = |stop: &Time| runs && asked > *stop + in_effect;
        peer.stopped_by_other = peer.stopped_by_other.filter(|stop| !is_over(stop));
        peer.power = Some((power, asked));
    }

    /// Sets this node's fitness and reports a change.
    pub(super) fn update_fitness(&mut self, fitness: Fitness, out: &mut Outbox, now: Time) {
        if fitness == self.fitness {
            return;
        }
        let was_fit = self.fitness.is_fit();
        let level = if fitness.is_fit() { Level::Info } else { Level::Alert };
        let text = format!("this node is now: {fitness}");
        self.fitness = fitness;
        self.steady_since = now;
        self.fit_since = match (was_fit, self.is_fit()) {
            (_, false) => None,
            (false, true) => Some(now),
            (true, true) => self.fit_since,
        };
        out.report(now, level, EventKind::Fitness, About::text(text));
    }

    /// Draws the verdict about every peer and reports those that changed. `is_checked` says
    /// whether a group has a service check.
    pub(super) fn judge_peers(
        &mut self,
        is_checked: impl Fn(&GroupName) -> bool,
        out: &mut Outbox,
        now: Time,
    ) {
        let witnessed: Vec<bool> = self.peers.keys().map(|id| self.is_witnessed(id, now)).collect();
        let mut asks = false;
        for ((id, peer), witnessed) in self.peers.iter_mut().zip(witnessed) {
            let verdict = peer.judge(now, &self.timing, witnessed);
            let before = peer.verdict;
            let knew_of_fault = peer.probes_fail_since.is_some();
            let is_new = peer.conclude(verdict, now);
            asks |= !knew_of_fault && peer.probes_fail_since.is_some();
            peer.note_hearing(&self.me.id, self.session, &self.timing, now);
            peer.note_serving(&is_checked, now);
            if peer.is_newly_unheard(now, &self.timing) {
                let about = About::node(id, UNHEARD.to_owned());
                out.report(now, Level::Alert, EventKind::Verdict, about);
            }
            if !is_new {
                continue;
            }
            if verdict == Verdict::Sick && peer.fitness().is_some_and(Fitness::is_departing) {
                peer.note_flap(&self.timing, now);
            }
            let level = match verdict {
                Verdict::Alive | Verdict::Leaving | Verdict::Unmet => Level::Info,
                Verdict::Partitioned => Level::Alert,
                _ => Level::Warning,
            };
            let evidence = peer.evidence(now);
            let text = format!("{} (was {}): {evidence}", verdict.name(), before.name());
            out.report(now, level, EventKind::Verdict, About::node(id, text));
        }
        if asks {
            out.push(Action::Probe);
        }
    }

    /// Whether another live member has heard `node` within the detection time.
    fn is_witnessed(&self, node: &InstanceId, now: Time) -> bool {
        self.peers.values().any(|witness| {
            let (Some(heard), Some(since)) = (&witness.heard, witness.silent_since()) else {
                return false;
            };
            witness.member.id != *node
                && witness.is_fresh(now, &self.timing)
                && heard.beat.hears.iter().any(|hears| {
                    let age = hears.age().map(|age| age + now.since(since));
                    hears.node == *node
                        && !hears.failed
                        && age.is_some_and(|age| age < self.timing.detection())
                })
        })
    }

    /// Notes that a lost peer moved a resource to itself, not before `after`. A move that may be
    /// from before the loss is no evidence: a node that could not read for a while sees late what
    /// the peer did while it lived.
    pub(super) fn note_move_while_lost(&mut self, did: impl Fn(&Member) -> bool, after: Time) {
        let mut peers = self.peers.values_mut();
        let mover = peers.find(|peer| did(&peer.member));
        if let Some(peer) = mover.filter(|peer| peer.lost_since.is_some_and(|lost| after > lost)) {
            peer.moves_while_lost += 1;
            peer.moved_at = Some(after);
        }
    }

    /// Notes which stopped peers are on their way up, so that they are not stopped while they
    /// boot.
    pub(super) fn note_boots(&mut self, now: Time) {
        let valid = self.timing.read_valid;
        for peer in self.peers.values_mut().filter(|peer| peer.verdict == Verdict::Down) {
            let is_pending = peer.power.as_ref().is_some_and(|(power, asked)| {
                power.state == Some(InstanceState::Pending) && now.since(*asked) <= valid
            });
            if is_pending {
                peer.started_at.get_or_insert(now);
            }
        }
    }

    /// Notes that EC2 accepted the start of `node`.
    pub(super) fn note_start(&mut self, node: &InstanceId, now: Time) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.started_at = Some(now);
        }
    }

    /// Notes that a group was handed back to `node`.
    pub(super) fn note_hand_back(&mut self, node: &InstanceId, now: Time) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.handed_back_at = Some(now);
        }
    }

    /// Notes that a group is taken from `node`.
    pub(super) fn note_takeover(&mut self, node: &InstanceId, now: Time) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.note_relief(&self.timing, now);
        peer.note_flap(&self.timing, now);
    }

    /// Forgets what may have changed while this node was paused until `now`.
    pub(super) fn excuse_silence(&mut self, now: Time) {
        self.own_power = None;
        for peer in self.peers.values_mut() {
            peer.excuse_silence(now);
        }
    }
}
