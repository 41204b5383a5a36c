//! What the machine tells of itself: to its peers in heartbeats, to people in the status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::group::{Group, MoveKind};
use super::machine::Machine;
use super::slot::Slot;
use super::{GroupView, PeerView, View};
use crate::types::{
    Beat, Claim, GroupName, Hears, InstanceId, Location, RouteTarget, SessionId, Time,
};

/// What is told in place of the session of a peer that was never heard.
const NO_SESSION: SessionId = SessionId(0);

impl Machine {
    /// The heartbeat to send now.
    pub(super) fn beat(&self, now: Time) -> Beat {
        let hears = self.peers.iter().filter_map(|(id, peer)| {
            // Of a peer that was never heard, only the judgement is told: a majority may need it.
            let failed = peer.is_failed();
            let (session, age) = match &peer.heard {
                Some(heard) => (heard.session, now.since(heard.at).as_millis()),
                None if failed => (NO_SESSION, u128::MAX),
                None => return None,
            };
            let age_ms = u16::try_from(age).unwrap_or(u16::MAX);
            Some(Hears { node: id.clone(), session, age_ms, failed })
        });
        let is_told = |group: &&Group| {
            let is_given = group.traits.prepared && self.given_to(group).is_some();
            is_given || self.holder(group) == Some(&self.me.id)
        };
        let held = self.groups.values().filter(is_told);
        Beat {
            fitness: self.fitness().clone(),
            leaving: self.leaving,
            settings_digest: self.settings_digest,
            hears: hears.collect(),
            holds: held.map(|group| self.claim(group)).collect(),
            unfit_for: self.unfit_for(),
        }
    }

    /// Only who prepares for a group asks whom it is given to.
    fn claim(&self, group: &Group) -> Claim {
        let to = self.given_to(group).filter(|_| group.traits.prepared).cloned();
        Claim { group: group.name.clone(), generation: group.generation, to }
    }

    /// Whom this node is giving a group to, or is about to: nobody moves to another what is not its
    /// own.
    fn given_to<'a>(&'a self, group: &'a Group) -> Option<&'a InstanceId> {
        let moving = group.moving.as_ref().map(|moving| &moving.to);
        let moving = moving.filter(|to| **to != self.me.id);
        moving.or(group.gift.as_ref().map(|gift| &gift.to))
    }

    /// The groups that this node tells its peers that it cannot serve. One that does not know yet
    /// says so only of groups that it surely does not hold: it must not be relieved for a restart
    /// of its monitor.
    fn unfit_for(&self) -> BTreeSet<GroupName> {
        let is_elsewhere = |group: &Group| {
            group.slots.iter().all(|slot| {
                let location = self.location(slot);
                location.as_ref().and_then(Location::member).is_some_and(|node| *node != self.me.id)
            })
        };
        let checked = self.groups.values().filter(|group| group.traits.checked);
        let unfit = checked.filter(|group| match &self.failing {
            Some(failing) => failing.contains(&group.name),
            None => is_elsewhere(group),
        });
        unfit.map(|group| group.name.clone()).collect()
    }

    /// The member that every resource of the group leads to, as far as is known.
    fn holder(&self, group: &Group) -> Option<&InstanceId> {
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

    /// Everything, for the status.
    #[must_use]
    pub fn view(&self, now: Time) -> View {
        let peers = self.peers.iter().map(|(id, peer)| {
            let view = PeerView {
                verdict: peer.verdict,
                verdict_age: now.since(peer.verdict_since),
                heartbeat_age: peer.heard.as_ref().map(|heard| now.since(heard.at)),
                echo_age: peer.echo_at.map(|at| now.since(at)),
                fitness: peer.fitness().cloned(),
                settings_differ: peer.settings_differ(self.settings_digest),
                hears_me: peer.hears(&self.me.id, self.session, &self.numbers),
                power: peer.power.as_ref().map(|(report, _)| report.clone()),
                power_age: peer.power.as_ref().map(|(_, at)| now.since(*at)),
                repair: self.repairs.words(id),
            };
            (id.clone(), view)
        });
        let groups =
            self.groups.iter().map(|(name, group)| (name.clone(), self.group_view(group, now)));
        View {
            me: self.me.id.clone(),
            fitness: self.fitness().clone(),
            peers: peers.collect(),
            groups: groups.collect(),
            failing: self.failing.clone().unwrap_or_default(),
            timers: self.timers(now),
        }
    }

    fn group_view(&self, group: &Group, now: Time) -> GroupView {
        let doing = group.moving.as_ref().map(|moving| {
            let verb = match moving.kind {
                MoveKind::Takeover => "taking over",
                MoveKind::HandOver => "handing over",
                MoveKind::HandBack => "handing back",
                MoveKind::Assert | MoveKind::Drift => "setting it right",
            };
            format!("{verb}, to {}", moving.to)
        });
        GroupView {
            home: group.home.clone(),
            goes_home: self.hands_back(group),
            holder: self.holder(group).cloned(),
            targets: group.slots.iter().map(target_of).collect(),
            read_age: group.read_age(now),
            generation: group.generation,
            doing,
        }
    }

    /// Pending deadlines that people ask about.
    fn timers(&self, now: Time) -> BTreeMap<String, Duration> {
        let mut timers = BTreeMap::new();
        for (id, peer) in &self.peers {
            let left = |since: Option<Time>, wait: Duration| {
                since.map(|at| wait.saturating_sub(now.since(at))).filter(|left| !left.is_zero())
            };
            let repair = left(peer.suspected_since, self.numbers.repair.after);
            let away = self.groups.values().filter(|group| {
                let mut preferred = group.prefer.iter().take_while(|node| **node != self.me.id);
                preferred.any(|node| node == id) && self.holder(group) == Some(&self.me.id)
            });
            let holds =
                away.filter_map(|group| left(peer.well_since(&group.name), self.hold(group, peer)));
            let hold = holds.min();
            if let Some(left) = repair.filter(|_| self.numbers.repair.enabled) {
                timers.insert(format!("repair of {id} at the earliest"), left);
            }
            if let Some(left) = hold {
                timers.insert(format!("hand-back to {id} at the earliest"), left);
            }
        }
        timers
    }
}

fn target_of(slot: &Slot) -> (String, Option<RouteTarget>) {
    let target = match slot.current() {
        Some(Location::At(entry)) => Some(entry.target),
        Some(Location::Vacant | Location::Absent | Location::Pending) | None => None,
    };
    (slot.resource.to_string(), target)
}
