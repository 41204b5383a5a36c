//! Whether what happens may happen, seen from outside.

use natha::failover::{Action, Event, EventKind, Input, Machine, Outcome, Verdict};
use natha::types::InstanceState;

use super::bounds::{LAG, LIMIT, SLOW};
use super::cloud::{Stopper, Target};
use super::fault::Api;
use super::names::{assigned, group, id, node_of, written};
use super::node::{Ask, Change, Node, Notes};
use super::rule::Rule;
use super::world::World;

/// `failover.read_valid`, in ticks.
const READ_VALID: u8 = 4;
/// `failover.reread`.
const REREAD: u8 = 4;
/// The detection time.
pub(super) const DETECTION: u8 = 3;
/// `hand_back.hold`.
const HOLD: u8 = 5;
/// The same after a pause of the giver: it can hide as much of the home's absence as it takes to
/// lose it.
const HOLD_UNSEEN: u8 = HOLD - DETECTION;
/// For how long a peer counts as alive that another one hears.
const VOUCHED: u8 = 2 * DETECTION;
/// `repair.max_per_hour`.
pub(super) const STOPS: u8 = 3;

/// How long a route must have led to a node before its stop is wrong.
const SURELY_SERVING: u8 = READ_VALID + LAG + LIMIT + 1;
/// `repair.after`: how long a node must have been well before its stop is wrong.
pub(super) const SURELY_WELL: u8 = 24;
/// How long two nodes must have been well and connected, and a route have rested, before a theft
/// between them is wrong: longer than any silence from before is remembered.
pub(super) const SURELY_CALM: u8 = 15;
/// How long a route must have led out of the cluster before a write over it is wrong.
const SURELY_OUT: u8 = REREAD + LAG + LIMIT + 2;
/// How long a sole survivor may take to serve everything: EC2's status check may have to give up
/// on a peer first that was seen to act, and a call that was refused is tried again after 10 s.
const SURELY_SERVED: u8 = 45;
/// Route writes, for each table, after which there should be none any more.
const WRITES: u8 = 12;
/// How long a service must have failed before a group is given to its node wrongly: the youngest
/// heartbeat that counts has told it, however late it was.
pub(super) const SURELY_TOLD: u8 = DETECTION + SLOW + 2;
/// How long a gap in a group must have been there before another than who has the rest of it may
/// fill it: less than an heir waits.
pub(super) const SURELY_LEFT: u8 = REREAD + 1;
/// How long after its crash no node may take a node for alive: its last heartbeats are late, they
/// count for the detection time, and a third node has told of them for as long again.
const SURELY_DEAD: u8 = SLOW + DETECTION + VOUCHED + 1;
/// For how many ticks there must be no write before the next ones count anew.
const QUIET: u8 = 30;

impl World {
    /// Notes what node `n` is told.
    pub(super) fn hear(&mut self, n: usize, input: &Input) {
        let Node { notes, met, .. } = &mut self.nodes[n];
        if let Input::Beat { from, .. } | Input::Echo { from, .. } = input {
            met.insert(node_of(from));
        }
        match input {
            Input::Beat { from, .. } => notes.heard[node_of(from)] = 0,
            Input::Echo { from, .. } => notes.echoed[node_of(from)] = 0,
            Input::Done { outcome: Outcome::Routes { result: Ok(_) }, .. } => {
                self.note_read(n, false);
            }
            Input::Done { outcome: Outcome::Holders { result: Ok(_) }, .. } => {
                self.note_read(n, true);
            }
            Input::Done {
                outcome: Outcome::Written { result: Err(_) } | Outcome::Expired, ..
            } => {
                notes.taking.clear();
            }
            _ => {}
        }
    }

    /// Notes that node `n` has read all routes, or all addresses.
    fn note_read(&mut self, n: usize, addresses: bool) {
        let is_read = |t: &usize| self.is_address(*t) == addresses;
        let read: Vec<usize> = (0..self.led.len()).filter(is_read).collect();
        let notes = &mut self.nodes[n].notes;
        for t in read {
            // Asked for at the tick before.
            notes.routes_read[t] = Some(1);
        }
        notes.blind[usize::from(addresses)] = false;
    }

    /// Judges what node `n` has just decided.
    pub(super) fn judge_decision(&mut self, n: usize, machine: &Machine, action: &Action) {
        let fit = machine.fitness().is_fit();
        let broken = match action {
            Action::Report { event } => {
                self.note_takeover(n, event);
                Vec::new()
            }
            Action::WriteRoute { write, .. } => self.judge_write(n, machine, written(write), fit),
            Action::Assign { assignment, .. } => {
                let mut broken = self.judge_write(n, machine, assigned(assignment), fit);
                broken.extend(self.judge_landing(assignment));
                broken
            }
            Action::Stop { node, .. } => self.judge_stop_decision(n, node_of(node), fit),
            Action::Start { node, .. } => {
                Rule::Unknown.try_it();
                let notes = &self.nodes[n].notes;
                let is_known = notes.power_read[node_of(node)].is_some();
                let unknown = (!is_known).then_some(Rule::Unknown);
                unknown.into_iter().chain(notes.is_blind(false).then_some(Rule::Blind)).collect()
            }
            Action::MayExit => self.judge_goodbye(n).into_iter().collect(),
            _ => Vec::new(),
        };
        for rule in broken {
            self.breach(rule);
        }
    }

    /// Notes which tables a takeover is about: its first write needs no read.
    fn note_takeover(&mut self, n: usize, event: &Event) {
        let name = event.group.as_ref();
        let Some(found) = (0..self.groups()).find(|g| Some(&group(*g)) == name) else { return };
        let tables = self.parts_of(found);
        let taking = &mut self.nodes[n].notes.taking;
        match event.kind {
            EventKind::TakeoverBegun => taking.extend(tables),
            EventKind::TakeoverDone | EventKind::TakeoverFailed => {
                taking.retain(|table| !tables.contains(table));
            }
            _ => {}
        }
    }

    fn judge_write(&self, n: usize, machine: &Machine, write: Change, fit: bool) -> Vec<Rule> {
        Rule::Blind.try_it();
        Rule::Unread.try_it();
        let notes = &self.nodes[n].notes;
        let mut broken = Vec::new();
        let at = write.what;
        if notes.is_blind(self.is_address(at)) {
            broken.push(Rule::Blind);
        }
        if !is_fresh(notes.routes_read[at]) && !notes.taking.contains(&at) {
            broken.push(Rule::Unread);
        }
        if write.to != n {
            broken.extend(self.judge_gift(n, write));
            return broken;
        }
        Rule::Unfit.try_it();
        if !fit {
            broken.extend(self.judge_unfit(n, machine, at));
        }
        broken.extend(self.judge_shared(n, at));
        if self.is_theft(n, at) {
            broken.push(Rule::Robbed);
        }
        if self.is_stranger_s(n, at) {
            broken.push(Rule::Stranger);
        }
        broken.extend(self.judge_part(n, machine, at));
        broken
    }

    fn judge_stop_decision(&mut self, n: usize, node: usize, fit: bool) -> Vec<Rule> {
        for rule in [Rule::Unknown, Rule::TooManyStops, Rule::StopHeard] {
            rule.try_it();
        }
        let notes = &mut self.nodes[n].notes;
        let mut broken = Vec::new();
        if notes.is_blind(false) {
            broken.push(Rule::Blind);
        }
        if !fit {
            broken.push(Rule::Unfit);
        }
        let reads = notes.routes_read.iter().all(|age| is_fresh(*age));
        if !reads || ![n, node].iter().all(|n| is_fresh(notes.power_read[*n])) {
            broken.push(Rule::Unknown);
        }
        if notes.heard[node].min(notes.echoed[node]) < DETECTION {
            broken.push(Rule::StopHeard);
        }
        if notes.stops == STOPS {
            broken.push(Rule::TooManyStops);
        }
        broken
    }

    /// Judges a resource that is given to a peer.
    fn judge_gift(&self, n: usize, write: Change) -> Vec<Rule> {
        let mut broken = Vec::new();
        let was_paused = self.nodes[n].notes.awake < HOLD + DETECTION;
        let surely_up = if was_paused { HOLD_UNSEEN } else { HOLD };
        let Change { what: at, to, .. } = write;
        Rule::WrongTarget.try_it();
        // A third node that hears it vouches for it for as long again.
        let heard = if self.nodes.len() > 2 { VOUCHED } else { DETECTION };
        if self.nodes[n].notes.heard[to] > heard {
            broken.push(Rule::WrongTarget);
        }
        broken.extend(self.judge_proof(n, write));
        let home = self.home(at);
        let (_, failed) = self.nodes[to].notes.serves[home];
        if self.pattern.checked {
            Rule::Unserving.try_it();
        }
        if failed >= SURELY_TOLD {
            broken.push(Rule::Unserving);
        }
        let shares =
            self.parts_of(home).into_iter().any(|t| self.cloud.now.routes[t] == Target::Node(to));
        // A node that leaves cannot wait.
        let is_hand_back = to == home && !shares && !self.is_leaving(n);
        if is_hand_back {
            Rule::EarlyHandBack.try_it();
        }
        if is_hand_back && self.nodes[to].notes.up < surely_up {
            broken.push(Rule::EarlyHandBack);
        }
        broken
    }

    /// Whether it would rob a live holder that node `n` take this table.
    fn is_theft(&self, n: usize, at: usize) -> bool {
        let Target::Node(holder) = self.cloud.now.routes[at] else { return false };
        Rule::Robbed.try_it();
        let calm = |n: usize| self.nodes[n].notes.well >= SURELY_CALM;
        let linked = self.linked[n * self.nodes.len() + holder] >= SURELY_CALM;
        let served = !self.pattern.checked
            || self.nodes[holder].notes.serves[self.home(at)].0 >= SURELY_CALM;
        let led = self.led[at] >= SURELY_CALM;
        let stays = !self.is_leaving(holder);
        holder != n && calm(n) && calm(holder) && linked && served && led && stays
    }

    /// Whether node `n` would take this table from a healthy node of which it has heard nothing
    /// since its host booted, though it is not its own.
    fn is_stranger_s(&self, n: usize, at: usize) -> bool {
        let Target::Node(holder) = self.cloud.now.routes[at] else { return false };
        if holder == n || self.home(at) == n || self.nodes[n].met.contains(&holder) {
            return false;
        }
        Rule::Stranger.try_it();
        self.nodes[holder].notes.well >= SURELY_CALM
    }

    /// Judges what EC2 is about to carry out for node `by`.
    pub(super) fn judge_change(&mut self, by: usize, ask: &Ask) {
        match ask {
            Ask::Write(Change { what: at, to, .. }) => {
                let at = *at;
                self.judge_preparation(by, at, *to);
                Rule::WriteStorm.try_it();
                let out = self.cloud.now.routes[at] == Target::Out && self.led[at] >= SURELY_OUT;
                if out && self.nodes[by].notes.well >= SURELY_OUT {
                    self.breach(Rule::Foreign);
                }
            }
            Ask::Stop(node) => self.judge_stop(by, *node),
            Ask::Start(node) => {
                Rule::UnaskedStart.try_it();
                let power = self.cloud.now.power[*node];
                let is_stopped = power.state == InstanceState::Stopped;
                if is_stopped && power.by == Some(Stopper::User { calm: true }) {
                    self.breach(Rule::UnaskedStart);
                }
            }
            Ask::ReadRoutes | Ask::ReadHolders | Ask::ReadPower(_) => {}
        }
    }

    fn judge_stop(&mut self, by: usize, node: usize) {
        let power = &self.cloud.now.power;
        if power[node].state != InstanceState::Running {
            return;
        }
        [Rule::MutualStop, Rule::StopServing, Rule::StopWell].into_iter().for_each(Rule::try_it);
        let stopped = |n: usize| {
            power[n].state != InstanceState::Running
                && matches!(power[n].by, Some(Stopper::Natha(_)))
        };
        let others = (0..self.nodes.len()).filter(|n| *n != node);
        let all = others.into_iter().all(stopped);
        let mutual =
            power[by].state != InstanceState::Running && power[by].by == Some(Stopper::Natha(node));
        if all || mutual {
            self.breach(Rule::MutualStop);
        }
        let served = (0..self.led.len()).any(|t| {
            self.cloud.now.routes[t] == Target::Node(node) && self.led[t] >= SURELY_SERVING
        });
        if served && self.nodes[node].forwards() {
            self.breach(Rule::StopServing);
        }
        // Whose own service fails, it cannot take back what would show that it lives.
        let own = self.nodes[node].notes.serves.get(node);
        let could_show =
            !self.pattern.checked || own.is_none_or(|(passed, _)| *passed >= SURELY_WELL);
        if self.nodes[node].notes.well >= SURELY_WELL && could_show {
            self.breach(Rule::StopWell);
        }
    }

    /// Notes how things are at the end of a tick.
    pub(super) fn note(&mut self) {
        for n in 0..self.nodes.len() {
            let running = self.cloud.now.power[n].state == InstanceState::Running;
            let answers = self.nodes[n].forwards();
            self.cloud.now.power[n].check(answers);
            self.nodes[n].note(running, self.pattern.has_address());
            if self.is_landless(n) {
                self.nodes[n].notes.well = 0;
            }
            self.note_blindness(n);
            self.note_services(n);
            self.note_drain(n);
        }
        let rows = self.nodes.len();
        for pair in 0..rows * rows {
            let (a, b) = (pair / rows, pair % rows);
            let linked = self.is_heard(a, b) && self.is_heard(b, a) && !self.is_late(a, b);
            count(&mut self.linked[pair], linked, SURELY_CALM);
        }
        for t in 0..self.led.len() {
            count(&mut self.led[t], true, SURELY_CALM);
        }
        count(&mut self.quiet, true, QUIET);
        if self.quiet == QUIET {
            self.writes = 0;
        }
        let tables = u8::try_from(self.led.len()).unwrap_or(u8::MAX);
        if self.writes > tables.saturating_mul(WRITES) {
            self.breach(Rule::WriteStorm);
        }
        self.note_probes();
        self.note_dead();
        self.note_sole();
        self.note_out();
        self.note_groups();
        self.note_translation();
    }

    /// What a blind node read before its pause counts for nothing.
    fn note_blindness(&mut self, n: usize) {
        let blind = self.nodes[n].notes.blind;
        for t in 0..self.led.len() {
            if blind[usize::from(self.is_address(t))] {
                self.nodes[n].notes.routes_read[t] = None;
            }
        }
    }

    fn is_late(&self, a: usize, b: usize) -> bool {
        use super::fault::Fault::Slow;
        self.is_broken(Slow(a, b)) || self.is_broken(Slow(b, a))
    }

    /// Notes the dead, and judges what the others find of those that have been dead for long.
    fn note_dead(&mut self) {
        let all = 0..self.nodes.len();
        for n in all.clone() {
            let dead = !self.nodes[n].kernel;
            let died = &mut self.nodes[n].notes.died;
            *died = died.filter(|_| dead).map(|ticks| (ticks + 1).min(SURELY_DEAD));
            // A node that was paused gives its peers their detection time again.
            let awake = |node: &Node| node.notes.awake >= HOLD + DETECTION;
            if *died != Some(SURELY_DEAD) || !self.nodes.iter().all(awake) {
                continue;
            }
            Rule::Undead.try_it();
            let finds_alive = |by: usize| {
                let node = &self.nodes[by];
                let Some(machine) = node.machine.as_ref().filter(|_| !node.frozen) else {
                    return false;
                };
                let verdict = machine.verdict(&id(n));
                matches!(verdict, Some(Verdict::Alive | Verdict::Partitioned))
            };
            if all.clone().any(|by| by != n && finds_alive(by)) {
                self.breach(Rule::Undead);
            }
        }
    }

    fn note_sole(&mut self) {
        let mut working = (0..self.nodes.len()).filter(|n| self.nodes[*n].forwards());
        let sole = working.next().filter(|n| {
            let runs = self.cloud.now.power[*n].state == InstanceState::Running;
            let may_serve = runs && self.nodes[*n].may_forward() && !self.is_leaving(*n);
            working.next().is_none() && may_serve && self.nodes[*n].failing.is_empty()
        });
        let is_stale = self.is_any_stale();
        self.sole = sole.filter(|_| !is_stale).map(|sole| match self.sole {
            Some((same, ticks)) if same == sole => (sole, (ticks + 1).min(SURELY_SERVED)),
            _ => (sole, 0),
        });
        let Some((sole, SURELY_SERVED)) = self.sole else { return };
        Rule::Unserved.try_it();
        let served = |t: usize| {
            let target = self.cloud.now.routes[t];
            let is_led = target == Target::Out || target == Target::Node(sole);
            is_led || !self.can_write(sole, t)
        };
        if !(0..self.led.len()).all(served) {
            self.breach(Rule::Unserved);
        }
    }

    fn note_out(&mut self) {
        for t in 0..self.led.len() {
            let out = self.cloud.now.routes[t] == Target::Out && self.led[t] >= SURELY_OUT;
            let home = self.home(t);
            let told = self.nodes.iter().any(|node| {
                let notes = &node.notes;
                notes.well >= SURELY_OUT && notes.told.contains(&home)
            });
            let able = self.nodes.iter().any(|node| node.notes.well >= SURELY_OUT);
            if out && able {
                [Rule::Foreign, Rule::Untold].into_iter().for_each(Rule::try_it);
            }
            if out && able && !told {
                self.breach(Rule::Untold);
            }
        }
    }
}

impl Node {
    fn works(&self, running: bool) -> bool {
        let fit = self.machine.as_ref().is_some_and(|machine| machine.fitness().is_fit());
        running && fit && self.forwards() && self.fit && self.api == Api::Works
    }

    fn note(&mut self, running: bool, addresses: bool) {
        let (works, frozen) = (self.works(running), self.frozen);
        let up = !frozen && self.machine.is_some() && self.fit && self.probes.answered;
        let Notes {
            well,
            up: up_for,
            down,
            frozen: frozen_for,
            awake,
            blind,
            routes_read,
            power_read,
            heard,
            echoed,
            ..
        } = &mut self.notes;
        count(well, works, SURELY_WELL);
        count(down, !up, DETECTION + 2);
        count(up_for, up || *down < DETECTION + 2, HOLD);
        // Thawed: what was known is void if the pause was longer than it takes to lose a peer.
        if !frozen && *frozen_for > DETECTION {
            *blind = [true, addresses];
        }
        count(frozen_for, frozen, DETECTION + 1);
        count(awake, !frozen, HOLD + DETECTION);
        if blind[0] {
            power_read.fill(None);
        }
        for age in routes_read.iter_mut().chain(power_read).flatten() {
            *age = (*age + 1).min(READ_VALID + 1);
        }
        for age in heard.iter_mut().chain(echoed) {
            *age = age.saturating_add(1).min(VOUCHED + 1);
        }
    }
}

impl Notes {
    /// Whether it was paused and has read nothing since: in its first turn after the pause, too.
    fn is_blind(&self, addresses: bool) -> bool {
        self.blind[usize::from(addresses)] || self.frozen > DETECTION
    }
}

/// Whether a read of this age may be relied on.
fn is_fresh(age: Option<u8>) -> bool {
    age.is_some_and(|age| age <= READ_VALID)
}

/// One more tick, up to `most`, or none.
pub(super) fn count(ticks: &mut u8, holds: bool, most: u8) {
    *ticks = if holds { (*ticks + 1).min(most) } else { 0 };
}
