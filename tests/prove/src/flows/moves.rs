//! Where the egress IPs are: takeovers, planned moves, and what nodes insert for both.

use std::cmp::Reverse;
use std::time::Duration;

use natha::flows::{Entry, Inserted};
use natha::types::Time;

use super::hosts::is_replicated;
use super::names::{EGRESS_IPS, egress, landing};
use super::world::{LEAVE, World};

/// How long a host must have been down before what it has is taken over.
const DETECTION: Duration = Duration::from_millis(500);
/// How soon a node finds out at most that it does not have an egress IP any more.
const READ: Duration = Duration::from_secs(5);
/// From the announcement of a planned move until EC2 accepts it, and until both nodes take it for
/// complete after that.
const ANNOUNCED: Duration = Duration::from_secs(1);
const RELAYED: Duration = Duration::from_secs(10);

/// A planned move.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) e: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    /// When the receiver last looked for what to insert, by its clock.
    since: Time,
    accepted_at: Duration,
    ends_at: Duration,
    is_accepted: bool,
}

impl World {
    /// What is due of takeovers and planned moves.
    pub(super) fn turn_moves(&mut self) {
        let due = self.losses.extract_if(.., |(at, _, _)| *at <= self.now);
        for (_, n, e) in due.collect::<Vec<_>>() {
            let is_relayed = self.moves.iter().any(|one| one.e == e && one.from == n);
            if self.at[e] != n && !is_relayed && self.nodes[n].runs() {
                self.give_up(n, e);
            }
        }
        for e in 0..EGRESS_IPS {
            let since = self.nodes[self.at[e]].down_since;
            if since.is_some_and(|since| self.now.saturating_sub(since) >= DETECTION)
                && let Some(heir) = (0..self.nodes.len()).find(|n| self.nodes[*n].runs())
            {
                self.take_over(heir, e);
            }
        }
        for mut one in std::mem::take(&mut self.moves) {
            self.insert(one.to, one.e, one.since, false);
            one.since = self.clock(one.to);
            if !one.is_accepted && self.now >= one.accepted_at {
                one.is_accepted = true;
                self.at[one.e] = one.to;
                self.claim(one.to, one.e);
            }
            if self.now >= one.ends_at {
                self.judge_move(&one);
                self.give_up(one.from, one.e);
                self.forget(one.to, one.e);
            } else {
                self.moves.push(one);
            }
        }
    }

    /// Node `n` takes an egress IP over, from a node that is dead or that it takes for dead.
    pub(super) fn take_over(&mut self, n: usize, e: usize) {
        let from = self.at[e];
        self.tell(&format!("node {n} takes egress IP {e} over from node {from}"));
        self.abandon_moves(|one| one.e == e);
        // It has read that it does not have it.
        if self.nodes[n].served.contains(&e) {
            self.give_up(n, e);
        }
        self.at[e] = n;
        self.insert(n, e, Time::default(), true);
        self.claim(n, e);
        self.forget(n, e);
        if from != n {
            let read = self.noise.up_to(READ);
            self.losses.push((self.now + read, from, e));
        }
    }

    /// The owner of an egress IP begins to give it to node `to`, if both can do that.
    pub(super) fn begin_move(&mut self, e: usize, to: usize) {
        let from = self.at[e];
        let is_free = self.moves.iter().all(|one| one.e != e);
        let is_served = self.nodes[from].runs() && self.nodes[from].served.contains(&e);
        let takes = self.nodes[to].runs() && !self.nodes[to].served.contains(&e);
        if from == to || !is_free || !is_served || !takes {
            return;
        }
        self.tell(&format!("node {from} gives egress IP {e} to node {to}"));
        let since = self.clock(to);
        self.insert(to, e, Time::default(), true);
        let accepted_at = self.now + ANNOUNCED;
        let ends_at = accepted_at + RELAYED;
        self.moves.push(Move { e, from, to, since, accepted_at, ends_at, is_accepted: false });
    }

    /// Planned moves end as they are.
    pub(super) fn abandon_moves(&mut self, is_one: impl Fn(&Move) -> bool) {
        for one in self.moves.extract_if(.., |one| is_one(one)).collect::<Vec<_>>() {
            if one.is_accepted {
                self.give_up(one.from, one.e);
                self.forget(one.to, one.e);
            } else {
                self.nodes[one.to].leaves.insert(one.e, self.now + LEAVE);
            }
        }
    }

    /// Node `n` has an egress IP from now on, and is an owner of its connections.
    fn claim(&mut self, n: usize, e: usize) {
        self.nodes[n].leaves.remove(&e);
        self.nodes[n].served.insert(e);
        self.nodes[n].tell_served(self.now);
    }

    /// Node `n` has it no longer.
    fn give_up(&mut self, n: usize, e: usize) {
        if self.nodes[n].served.remove(&e) {
            self.nodes[n].leaves.insert(e, self.now + LEAVE);
            self.nodes[n].tell_served(self.now);
        }
    }

    /// The connections of an egress IP are in node `n`'s own kernel.
    fn forget(&mut self, n: usize, e: usize) {
        if let Some(monitor) = &mut self.nodes[n].monitor {
            monitor.forget(e);
        }
    }

    /// Node `n` inserts what it has received of an egress IP since then, of each owner, the one
    /// that has shown its connections last first. With `over`, the connections of that one replace
    /// what is left from an earlier time.
    fn insert(&mut self, n: usize, e: usize, since: Time, mut over: bool) {
        let now = self.clock(n);
        let Some(monitor) = &self.nodes[n].monitor else { return };
        let mut owners: Vec<_> = monitor.held.iter().collect();
        owners.sort_by_key(|(_, held)| Reverse((held.replica.shown(), held.heard)));
        let due: Vec<(usize, Vec<Entry>)> = owners
            .into_iter()
            .map(|(owner, held)| {
                let (id, landing) = (egress(e), landing(n, e));
                (*owner, held.replica.injection_since(id, landing, since, now))
            })
            .filter(|(_, entries)| !entries.is_empty())
            .collect();
        for (owner, entries) in due {
            self.judge_inserted(n, e, owner, &entries);
            let node = &mut self.nodes[n];
            let results = node.kernel.insert(&entries, std::mem::take(&mut over), now);
            for (entry, result) in entries.iter().zip(&results) {
                let known = (e, entry.flow.tuple, entry.flow.translated_port);
                match result {
                    Inserted::New | Inserted::Exists => node.had.insert(known),
                    _ => node.refused.insert(known),
                };
            }
            let held = node.monitor.as_mut().and_then(|monitor| monitor.held.get_mut(&owner));
            if let Some(held) = held {
                held.replica.inserted(results);
            }
        }
    }

    /// Judges a planned move that ends: what its giver still has was inserted by its receiver, if
    /// the stream between them has nothing left to carry.
    fn judge_move(&mut self, one: &Move) {
        let Move { e, from, to, .. } = *one;
        if !self.is_quiet((from, to)) {
            return;
        }
        self.tried.moves += 1;
        let receiver = &self.nodes[to];
        let is_lost = |entry: &&Entry| {
            let known = (e, entry.flow.tuple, entry.flow.translated_port);
            let is_there = receiver.had.contains(&known) || receiver.refused.contains(&known);
            is_replicated(entry, from, e) && !is_there
        };
        let lost = self.nodes[from].kernel.entries().find(is_lost).copied();
        if let Some(lost) = lost {
            self.breach(&format!("node {to} got egress IP {e} without a connection: {lost:?}"));
        }
    }
}
