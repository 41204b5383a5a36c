//! What this node wants of each resource, derived from nothing but what it observes now.

use std::cell::OnceCell;
use std::time::Duration;

use super::Verdict;
use super::fallback::{self, LastWay};
use super::group::{DesiredMove, GroupState, MoveKind, Receiver};
use super::known::Known;
use super::peer::{Peer, max_request_age, words};
use super::relief::{self, HEIR_PATIENCE};
use super::slot::Slot;
use crate::types::{Holder, InstanceId, Location, RouteTarget, Time};

/// How long a group may be split over two live nodes before one of them gives its part away.
const SPLIT_PATIENCE: Duration = Duration::from_secs(5);
/// The least time a node that has failed again must be healthy, however short the hold is.
const LEAST_HOLD: Duration = Duration::from_secs(1);
/// How often a node reclaims its own group before it leaves that to an operator.
const MAX_RECLAIMS: u32 = 3;

/// What this node wants of the resources of one group, slot by slot.
pub(super) struct Wants(Vec<Option<DesiredMove>>);

impl Wants {
    pub(super) fn of(known: &Known, group: &GroupState, now: Time) -> Self {
        let (order, other, last_way) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let whole = Whole { known, group, order, other, last_way };
        Self(group.slots.iter().map(|slot| want(&whole, slot, now)).collect())
    }

    /// What is wanted of the slot at this place.
    pub(super) fn get(&self, at: usize) -> Option<&DesiredMove> {
        self.0.get(at)?.as_ref()
    }

    /// Every move that is wanted.
    pub(super) fn all(&self) -> impl Iterator<Item = &DesiredMove> {
        self.0.iter().flatten()
    }
}

/// A group, and what is the same for all its resources: found out at most once, since that takes a
/// look at each of them.
struct Whole<'a> {
    known: &'a Known,
    group: &'a GroupState,
    order: OnceCell<Vec<&'a InstanceId>>,
    other: OnceCell<Option<&'a InstanceId>>,
    last_way: OnceCell<Option<LastWay>>,
}

impl<'a> Whole<'a> {
    /// The heirs in the order in which they fill a gap: one that already holds a part goes first.
    fn order(&self) -> &[&'a InstanceId] {
        self.order.get_or_init(|| {
            let mut order = self.known.heirs(self.group);
            order.sort_by_cached_key(|node| !self.known.holds_a_part(self.group, node));
            order
        })
    }

    /// Another live node that holds a part of the group.
    fn other_holder(&self) -> Option<&'a InstanceId> {
        let find = || {
            self.group.slots.iter().find_map(|slot| {
                let (id, peer) =
                    self.known.peers.get_key_value(self.known.location(slot)?.member()?)?;
                let can_take = peer.can_take(&self.group.name);
                (can_take && !slot.is_unconfirmed() && slot.pending.is_none()).then_some(id)
            })
        };
        *self.other.get_or_init(find)
    }

    /// The way to the group's fallback, while no node can serve the group.
    fn last_way(&self, now: Time) -> Option<&LastWay> {
        self.last_way.get_or_init(|| LastWay::of(self.known, self.group, now)).as_ref()
    }
}

/// What this node wants of one resource, if the receiver can hold it.
fn want(whole: &Whole<'_>, slot: &Slot, now: Time) -> Option<DesiredMove> {
    let (known, group) = (whole.known, whole.group);
    let desired = want_any(whole, slot, now)?;
    if !known.is_past_the_latch(group, &desired) {
        return None;
    }
    match &desired.to {
        Receiver::Node(node) => slot.resource.target(known.receiver(node)?).map(|_| desired),
        Receiver::Fallback(_) => Some(desired),
    }
}

fn want_any(whole: &Whole<'_>, slot: &Slot, now: Time) -> Option<DesiredMove> {
    let (known, group) = (whole.known, whole.group);
    let location = known.location(slot)?;
    if let Some(way) = whole.last_way(now) {
        return way.want(known, group, slot, &location, now);
    }
    match location {
        Location::Absent | Location::Pending => None,
        Location::At(Holder::Member { node, .. }) if node == known.me.id => {
            want_of_mine(whole, slot, now)
        }
        _ if known.leaving => None,
        // A node that cannot serve a group takes nothing of it, unless no node can.
        location @ (Location::At(_) | Location::Vacant) if !known.serves(group) => {
            want_of_unfit(known, group, slot, &location, now)
        }
        Location::At(Holder::Foreign { target, .. }) if group.is_fallback(&target) => {
            want_of_fallback(whole, slot, &target, now)
        }
        Location::At(Holder::Foreign { target, .. }) => want_of_foreign(whole, slot, &target, now),
        Location::Vacant => want_of_vacant(whole, slot, now),
        Location::At(Holder::Member { node, blackhole }) => {
            let peer = known.peers.get(&node)?;
            want_of_peers(whole, slot, peer, blackhole, now)
        }
    }
}

/// What a node wants that is not fit: what no live node holds, once no fit node could take it.
fn want_of_unfit(
    known: &Known,
    group: &GroupState,
    slot: &Slot,
    location: &Location<Holder>,
    now: Time,
) -> Option<DesiredMove> {
    if !relief::is_last_resort(known, group) {
        return None;
    }
    let (kind, from, since, reason) = match location {
        Location::Vacant if known.has_looked(now) => {
            let since = slot.since + relief::LAST_RESORT;
            (MoveKind::Drift, None, since, "no node held it".to_owned())
        }
        Location::At(Holder::Member { node, .. }) => {
            let peer = known.peers.get(node)?;
            let since = relief::from_the_dead(known, peer)?;
            let reason = format!("{node} is {}: {}", peer.verdict.name(), peer.evidence(now));
            (MoveKind::Takeover, Some(node.clone()), since, reason)
        }
        _ => return None,
    };
    let reason = format!("{reason}; no fit node is left, and this node is {}", known.fitness);
    relief::is_least_unfit(known, group, since, now).then(|| to_me(known, kind, from, reason))
}

fn want_of_foreign(
    whole: &Whole<'_>,
    slot: &Slot,
    target: &RouteTarget,
    now: Time,
) -> Option<DesiredMove> {
    let known = whole.known;
    // The first list after a start may lack a member: its interface then looks foreign until its
    // heartbeats make discovery ask for it.
    let is_early = now.since(known.started) < known.timing.first_contact;
    if !known.timing.adopt || is_early || !is_claimant(whole, slot.since, gap_patience(known), now)
    {
        return None;
    }
    Some(to_me(known, MoveKind::Drift, None, format!("adopted from {target}")))
}

/// A resource that is at the group's fallback: a node that is proven takes it.
fn want_of_fallback(
    whole: &Whole<'_>,
    slot: &Slot,
    target: &RouteTarget,
    now: Time,
) -> Option<DesiredMove> {
    let (known, group) = (whole.known, whole.group);
    let since = known.steady_since.max(slot.since) + group.return_hold(known);
    if !known.fitness.is_proven() || !is_claimant(whole, since, gap_patience(known), now) {
        return None;
    }
    let well = words(now.since(known.steady_since));
    let reason = format!("this node has been fit and proven for {well}; it was at {target}");
    Some(to_me(known, MoveKind::Return, None, reason))
}

fn want_of_vacant(whole: &Whole<'_>, slot: &Slot, now: Time) -> Option<DesiredMove> {
    let known = whole.known;
    if !known.has_looked(now) || !is_claimant(whole, slot.since, gap_patience(known), now) {
        return None;
    }
    let reason = if slot.resource.kind().is_route() {
        "the route was missing or pointed to a deleted interface"
    } else {
        "no node held it"
    };
    Some(to_me(known, MoveKind::Drift, None, reason.to_owned()))
}

/// A resource that is here: keep it, or give it away on purpose.
fn want_of_mine(whole: &Whole<'_>, slot: &Slot, now: Time) -> Option<DesiredMove> {
    let (known, group) = (whole.known, whole.group);
    let give = |kind, to: &InstanceId, reason: String| {
        let from = Some(known.me.id.clone());
        Some(DesiredMove { kind, from, to: Receiver::Node(to.clone()), reason })
    };
    if let Some(desired) = rest_of_move(known, group) {
        return Some(desired);
    }
    if known.leaving {
        return give(
            MoveKind::HandOver,
            known.best_heir(group)?,
            "this node is leaving".to_owned(),
        );
    }
    if let Some(to) = group.ordered_to.as_ref().filter(|to| **to != known.me.id) {
        let peer = known.peers.get(to).filter(|peer| known.may_give(group, peer))?;
        return give(MoveKind::HandOver, &peer.member.id, "an operator ordered it".to_owned());
    }
    if known.fitness.is_departing() {
        let reason = "AWS is about to interrupt this node".to_owned();
        return give(MoveKind::HandOver, known.best_heir(group)?, reason);
    }
    for preferred in group.prefer.iter().take_while(|node| **node != known.me.id) {
        if let Some(reason) = may_hand_back(known, group, preferred, now) {
            return give(MoveKind::HandBack, preferred, reason);
        }
    }
    let other = whole.other_holder().filter(|other| {
        let heirs = known.heirs(group);
        let first = heirs.into_iter().find(|one| [*other, &known.me.id].contains(one));
        now.since(slot.since) >= SPLIT_PATIENCE && first == Some(*other)
    })?;
    give(MoveKind::HandOver, other, format!("{other} holds the rest of the group"))
}

/// A move to a peer that has begun continues until the whole group is there, as long as that peer
/// can take it.
fn rest_of_move(known: &Known, group: &GroupState) -> Option<DesiredMove> {
    let moving = group.moving.as_ref()?;
    let to = moving.to.node().filter(|to| **to != known.me.id)?;
    let elsewhere = group.ordered_to.as_ref().is_some_and(|ordered| ordered != to);
    let peer = known.peers.get(to).filter(|peer| peer.can_take(&group.name))?;
    let goes_on = !elsewhere
        && moving.from.as_ref() == Some(&known.me.id)
        && !known.stopped.contains(&peer.member.id)
        && known.holds_a_part(group, to);
    let (kind, reason) = (moving.kind, moving.reason.clone());
    goes_on.then(|| DesiredMove { kind, from: moving.from.clone(), to: moving.to.clone(), reason })
}

/// A resource that a peer has: take it if the peer cannot serve it.
fn want_of_peers(
    whole: &Whole<'_>,
    slot: &Slot,
    peer: &Peer,
    blackhole: bool,
    now: Time,
) -> Option<DesiredMove> {
    let (known, group) = (whole.known, whole.group);
    let from = Some(peer.member.id.clone());
    if may_reclaim(known, group, slot, peer, now) {
        let reason = format!("{} took it and does not hear this node", peer.member.id);
        return Some(to_me(known, MoveKind::Reclaim, from, reason));
    }
    let since = loss(known, group, peer, slot, blackhole, now)?;
    if !is_claimant(whole, since, HEIR_PATIENCE, now) {
        return None;
    }
    let verdict = match peer.verdict {
        Verdict::Alive => "alive, but its service check fails",
        verdict => verdict.name(),
    };
    let reason = format!("{} is {verdict}: {}", peer.member.id, peer.evidence(now));
    Some(to_me(known, MoveKind::Takeover, from, reason))
}

/// Since when a peer's part of a group may be taken; none while it may not.
fn loss(
    known: &Known,
    group: &GroupState,
    peer: &Peer,
    slot: &Slot,
    blackhole: bool,
    now: Time,
) -> Option<Time> {
    let waited = |since: Time, wait: Duration| {
        let from = since + wait;
        (now >= from).then_some(from)
    };
    match peer.verdict {
        Verdict::Alive => {
            relief::from_the_living(known, group, peer.unfit_for_since(&group.name)?, now)
        }
        Verdict::Sick => relief::from_the_sick(known, group, peer, now),
        Verdict::Suspected | Verdict::Unreachable | Verdict::Down | Verdict::Gone => {
            Some(peer.verdict_since)
        }
        // It gives its groups away on its own; what is left after that is taken.
        Verdict::Leaving => waited(peer.verdict_since, HEIR_PATIENCE),
        Verdict::DaemonDown => waited(peer.verdict_since, known.timing.daemon_grace),
        Verdict::Partitioned | Verdict::Unmet => blackhole.then_some(slot.since),
    }
}

/// How long each heir waits for the one before it where only reads show the gap: a node at rest
/// reads rarely.
fn gap_patience(known: &Known) -> Duration {
    known.timing.reread + HEIR_PATIENCE
}

/// Whether it is this node's turn to fill a gap that has been there since `since`: it is the first
/// heir that can, or those before it let their time pass. A live node that already holds a part of
/// the group goes first.
fn is_claimant(whole: &Whole<'_>, since: Time, patience: Duration, now: Time) -> bool {
    let (known, group) = (whole.known, whole.group);
    let home = group.home.as_ref().and_then(|home| known.peers.get(home));
    let is_awaited =
        |home: &Peer| home.verdict == Verdict::Unmet && !home.is_mute(now, &known.timing);
    let unmet_home = home.is_some_and(is_awaited);
    let mut order = whole.order().iter();
    let Some(place) = order.position(|node| **node == known.me.id) else { return false };
    let place = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(unmet_home.into());
    now >= since + patience.saturating_mul(place)
}

/// The reason for giving `group` back to `home`, a node that is preferred to this one, now, if
/// that is allowed.
fn may_hand_back(
    known: &Known,
    group: &GroupState,
    home: &InstanceId,
    now: Time,
) -> Option<String> {
    let peer = known.peers.get(home)?;
    let hold = hold(known, group, peer);
    let well_since = peer.well_since(&group.name)?;
    // A node that is proven counts the time for which the home has been so, too.
    let is_strict = known.fitness.is_proven();
    let well_since = if is_strict { well_since.max(peer.proven_since?) } else { well_since };
    let alive_for = now.since(well_since);
    // What an operator has just moved here does not bounce back: it stays for `hold` as well.
    let moved = group.slots.iter().map(|slot| slot.since).max()?;
    let heard = peer.heard.as_ref()?;
    let ready = hands_back(known, group)
        && peer.is_alive()
        && !known.stopped.contains(home)
        && alive_for >= hold
        && now.since(moved) >= hold
        && peer.hears(&known.me.id, known.session, &known.timing)
        && !peer.settings_differ(known.settings_digest)
        && group.copies_end(now).is_none()
        && heard.beat.holds.iter().all(|claim| claim.group != group.name);
    ready.then(|| format!("{home} has been alive and fit for {}", words(alive_for)))
}

/// Whether `group` returns automatically to a more preferred node.
pub(super) fn hands_back(known: &Known, group: &GroupState) -> bool {
    group.traits.hand_back.unwrap_or(known.timing.hand_back.enabled)
}

/// How long a more preferred node must have been healthy before it gets the group back.
pub(super) fn hold(known: &Known, group: &GroupState, peer: &Peer) -> Duration {
    let rules = &known.timing.hand_back;
    let mut hold = group.traits.hold.unwrap_or(rules.hold);
    if peer.flaps > 0 {
        hold = hold.max(LEAST_HOLD);
    }
    hold.saturating_mul(1 << peer.flaps.min(16)).min(rules.hold_max.max(hold))
}

/// Whether this node should show a peer that it is alive. The peer took this node's own group and
/// does not hear it: for the peer, routes are the only sign of life left, and it repairs a node
/// that gives none. The same goes for a peer that this node never heard: it may have heard this
/// node before this host booted. This node waits until no request from before can still be under
/// way, and until the silence is more than a few lost packets.
fn may_reclaim(known: &Known, group: &GroupState, slot: &Slot, peer: &Peer, now: Time) -> bool {
    let patience = max_request_age(&known.timing) + Duration::from_secs(1);
    peer.deaf_since.is_some_and(|since| now.since(since) >= patience)
        && !peer.is_first_contact(now, &known.timing)
        && group.home.as_ref() == Some(&known.me.id)
        && group.reclaims < MAX_RECLAIMS
        && now.since(slot.since) >= patience
        && known.fit_since.is_some_and(|since| now.since(since) >= patience)
}

/// Whether anything of the group should be given away before this node leaves, and could be.
pub(super) fn has_something_to_give(known: &Known, group: &GroupState, now: Time) -> bool {
    let is_to_give = |slot: &&Slot| {
        // Route 53 completes a record that it accepted without this node, in up to a minute.
        let may_fail = slot.is_unconfirmed() && !slot.resource.kind().confirms_slowly();
        slot.pending.is_some()
            || may_fail
            || known.is_on(slot, &known.me.id)
            || slot.current().is_none()
    };
    let can_take = |peer: &Peer, slot: &Slot| {
        peer.can_take(&group.name) && slot.resource.target(&peer.member).is_some()
    };
    let has_fallback = LastWay::of(known, group, now).is_some();
    let mut to_give = group.slots.iter().filter(is_to_give);
    to_give.any(|slot| {
        (has_fallback && fallback::is_default_route(slot))
            || known.peers.values().any(|peer| can_take(peer, slot))
    })
}

fn to_me(known: &Known, kind: MoveKind, from: Option<InstanceId>, reason: String) -> DesiredMove {
    DesiredMove { kind, from, to: Receiver::Node(known.me.id.clone()), reason }
}
