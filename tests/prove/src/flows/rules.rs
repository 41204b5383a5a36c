//! What no simulated replication may ever do.

use std::collections::{BTreeMap, BTreeSet};

use natha::flows::{Entry, Flow, Record};

use super::hosts::is_replicated;
use super::names::{egress, is_host_of, landing, number};
use super::world::{Pair, TICK, World};

/// Turns within which there is a moment in which a stream has nothing to carry.
const PATIENCE: usize = 250;
/// Broken rules that are noted of one run.
const BREACHES: usize = 100;

/// How often the rules had something to judge: one that never had holds for no reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// An heir with nothing left to take in was compared with its owner.
    pub compared: u64,
    /// Connections of owners that were compared.
    pub connections: u64,
    /// Connections were inserted.
    pub inserted: u64,
    /// An heir had heard an owner whose host has booted, and not all of its connections yet.
    pub booted: u64,
    /// A planned move ended between nodes that had nothing left to tell each other.
    pub moves: u64,
    /// Why streams ended, by the name of the fault.
    pub faults: BTreeMap<String, u64>,
}

impl Tried {
    /// Adds what another run has tried.
    pub fn include(&mut self, other: &Self) {
        self.compared += other.compared;
        self.connections += other.connections;
        self.inserted += other.inserted;
        self.booted += other.booted;
        self.moves += other.moves;
        for (fault, times) in &other.faults {
            *self.faults.entry(fault.clone()).or_default() += times;
        }
    }
}

impl World {
    /// Notes a broken rule. One that stays broken would be noted very often.
    pub(super) fn breach(&mut self, rule: &str) {
        if self.breaches.len() < BREACHES {
            self.breaches.push(format!("at {} ms: {rule}", self.now.as_millis()));
        }
    }

    /// Judges all streams as they are now; with `compares`, what the heirs hold, too.
    pub(super) fn judge(&mut self, compares: bool) {
        for pair in self.pairs() {
            self.judge_boot(pair);
            if compares && self.is_quiet(pair) {
                self.compare(pair);
            }
        }
    }

    /// Judges that an heir has taken something in, of an owner that is as it was when it sent that.
    pub(super) fn judge_taken(&mut self, (owner, heir): Pair) {
        let is_live = self.streams.get(&(owner, heir)).is_some_and(|stream| !stream.is_orphaned);
        let (sending, receiving) = (&self.nodes[owner], &self.nodes[heir]);
        let monitor = receiving.monitor.as_ref().filter(|_| is_live);
        let is_begun = monitor.is_some_and(|monitor| monitor.hears(owner).is_some());
        if is_begun && sending.settings != receiving.settings {
            self.breach(&format!("node {heir} hears node {owner} in spite of other settings"));
        } else if is_begun && !sending.keyring.fits(receiving.keyring) {
            self.breach(&format!("node {heir} hears node {owner} in spite of another key"));
        }
    }

    /// Once an heir hears an owner whose host has booted, it holds nothing from before.
    fn judge_boot(&mut self, (owner, heir): Pair) {
        let Some(monitor) = &self.nodes[heir].monitor else { return };
        let booted = &self.nodes[owner];
        // Of a host that is down, nothing is known until it has booted.
        let is_up = booted.has_booted() && booted.down_since.is_none();
        if !is_up || monitor.hears(owner) != Some(booted.boot_id()) {
            return;
        }
        let Some(held) = monitor.held.get(&owner).filter(|held| held.replica.is_in_resync()) else {
            return;
        };
        let is_old = |known: &Option<_>| known.as_ref().is_none_or(|it| !booted.had.contains(it));
        let known = |record: Record| {
            Some((number(record.egress)?, record.flow.tuple, record.flow.translated_port))
        };
        let old = held.replica.records().map(known).find(is_old);
        self.tried.booted += 1;
        if let Some(old) = old {
            self.breach(&format!(
                "node {heir} holds of node {owner} what is from before its boot: {old:?}"
            ));
        }
    }

    /// Whether everything that an owner knows has reached an heir.
    pub(super) fn is_quiet(&self, (owner, heir): Pair) -> bool {
        let is_carried = self.streams.get(&(owner, heir)).is_some_and(|stream| {
            let is_sound = !stream.is_orphaned && !stream.is_damaged;
            is_sound && stream.to_heir.is_empty() && stream.to_owner.is_empty()
        });
        let sender = self.nodes[owner].monitor.as_ref();
        let sender = sender.and_then(|monitor| monitor.senders.get(&heir));
        let holding = self.nodes[heir].monitor.as_ref();
        let held = holding.and_then(|monitor| monitor.held.get(&owner));
        is_carried
            && self.nodes[owner].kernel.is_quiet()
            && sender.is_some_and(|sender| sender.is_live() && sender.waiting() == 0)
            && held.is_some_and(|held| !held.replica.is_in_resync())
    }

    /// Whether a node has an egress IP, and no other monitor takes itself for its owner.
    fn is_undisputed(&self, owner: usize, e: usize) -> bool {
        let claims = |n: &usize| self.nodes[*n].runs() && self.nodes[*n].served.contains(&e);
        self.at[e] == owner && (0..self.nodes.len()).filter(claims).eq([owner])
    }

    /// Judges what a quiet heir holds: the owner's connections, translated to the heir's addresses.
    fn compare(&mut self, (owner, heir): Pair) {
        let Some(monitor) = &self.nodes[heir].monitor else { return };
        let Some(held) = monitor.held.get(&owner) else { return };
        let (now, sending) = (self.clock(heir), &self.nodes[owner]);
        let mut wrong = Vec::new();
        let is_served = |id| number(id).is_some_and(|e| sending.served.contains(&e));
        if let Some(record) = held.replica.records().find(|record| !is_served(record.egress)) {
            wrong.push(format!("node {heir} holds what node {owner} does not serve: {record:?}"));
        }
        let mut connections = 0;
        for e in sending.served.iter().copied().filter(|e| self.is_undisputed(owner, *e)) {
            let entries = held.replica.injection(egress(e), landing(heir, e), now);
            wrong.extend(entries.iter().find_map(|entry| judge_entry(heir, e, entry)));
            let rows = sending.kernel.entries().filter(|entry| is_replicated(entry, owner, e));
            let (has, holds) = (flows(rows), flows(entries.iter()));
            connections += holds.len();
            let lacks = has.difference(&holds).map(|flow| ("lacks", *flow));
            let stale = holds.difference(&has).map(|flow| ("still holds", *flow));
            if let Some((what, flow)) = lacks.chain(stale).next() {
                wrong.push(format!("node {heir} {what} a connection of node {owner}: {flow:?}"));
            }
        }
        self.tried.compared += 1;
        self.tried.connections += u64::try_from(connections).unwrap_or_default();
        for rule in &wrong {
            self.breach(rule);
        }
    }

    /// Judges what node `n` inserts for egress IP `e` of what it holds of `owner`.
    pub(super) fn judge_inserted(&mut self, n: usize, e: usize, owner: usize, entries: &[Entry]) {
        self.tried.inserted += u64::try_from(entries.len()).unwrap_or_default();
        if let Some(rule) = entries.iter().find_map(|entry| judge_entry(n, e, entry)) {
            self.breach(&format!("{rule}, of node {owner}"));
        }
    }

    /// What is not as it should be once nothing goes wrong any more: every heir holds what its
    /// owners have, and no node takes itself for the owner of what another has.
    pub(super) fn judge_rest(&mut self) {
        for e in 0..self.at.len() {
            if !self.is_undisputed(self.at[e], e) {
                self.breach(&format!("egress IP {e} has no owner, or several, after the calm"));
            }
        }
        let mut left = self.pairs();
        for _ in 0..PATIENCE {
            let (quiet, others) =
                left.into_iter().partition::<Vec<_>, _>(|pair| self.is_quiet(*pair));
            for pair in quiet {
                self.compare(pair);
            }
            left = others;
            self.run(TICK, 0);
        }
        for (owner, heir) in left {
            self.breach(&format!("node {owner} still has to tell node {heir} after the calm"));
        }
    }
}

/// What is wrong with a connection that node `n` would insert for egress IP `e`.
fn judge_entry(n: usize, e: usize, entry: &Entry) -> Option<String> {
    let Entry { landing: address, flow } = entry;
    if *address != landing(n, e) {
        return Some(format!("node {n} translates to {address}, which is not its own: {flow:?}"));
    }
    let source = flow.tuple.source;
    let is_its = is_host_of(e, source);
    (!is_its).then(|| format!("node {n} inserts for {source}, no host of egress IP {e}"))
}

/// Connections as owner and heir must agree on them.
fn flows<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeSet<Flow> {
    entries.map(|entry| Flow { timeout_s: 0, ..entry.flow }).collect()
}
