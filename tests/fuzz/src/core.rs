//! The decision core, told anything by members of the cluster: authentic heartbeats of any
//! content, at any time, over an EC2 that tells the truth. Whatever they say, the core stops only
//! whom the rule allows to be stopped, and robs nobody who is well.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use natha::config::Timing;
use natha::failover::{Action, Command, Input, Machine, Outcome, Routes};
use natha::types::{
    Beat, CloudFault, CloudFaultKind, Group, InstanceId, InstanceState, Member, NetworkInterfaceId,
    PowerReport, Resource, Roster, RouteEntry, RouteTableId, RouteTarget, SessionId, StopOrigin,
    Time,
};

use crate::dice::Dice;

/// Actions that one turn may lead to, far above what this small cluster needs.
const ACTIONS_A_TURN: usize = 200;
/// Answers that may be under way; more is a core that does not wait.
const PENDING_MAX: usize = 100;

fn id(n: usize) -> InstanceId {
    format!("i-{n:08x}").parse().expect("an id")
}

fn interface(n: usize) -> NetworkInterfaceId {
    format!("eni-{n:08x}").parse().expect("an id")
}

fn table(n: usize) -> RouteTableId {
    format!("rtb-{n:08x}").parse().expect("an id")
}

fn roster(nodes: usize) -> Roster {
    let member = |n: usize| Member {
        id: id(n),
        interface: interface(n),
        address: [10, 0, 0, 10 + u8::try_from(n).expect("few nodes")].into(),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: BTreeMap::new(),
    };
    let group = |n: usize| {
        let cidr = "0.0.0.0/0".parse().expect("a block");
        let route = Resource::DefaultRoute { table: table(n), cidr };
        Group::new(format!("g{n}").parse().expect("a name"), Some(id(n)), vec![route])
    };
    Roster { members: (0..nodes).map(member).collect(), groups: (0..nodes).map(group).collect() }
}

/// What a peer has shown of itself.
#[derive(Debug, Clone, Default)]
struct Shown {
    beat: Option<(Beat, Time)>,
    power: Option<(InstanceState, Time)>,
}

/// Node 0's core, and the world as it is.
struct World {
    nodes: usize,
    machine: Machine,
    timing: Timing,
    now: Time,
    /// Where each table leads: the truth, which only writes change.
    routes: BTreeMap<RouteTableId, usize>,
    /// The same as it was read last, and when that was.
    read: Option<(BTreeMap<RouteTableId, usize>, Time)>,
    power: Vec<InstanceState>,
    shown: Vec<Shown>,
    pending: VecDeque<Action>,
    beaten: Vec<Option<(Time, usize)>>,
}

impl World {
    fn new(nodes: usize) -> Self {
        let now = Time::from_millis(1_000_000);
        let timing = Timing::default();
        let machine = Machine::new(&id(0), SessionId(1), timing.clone(), 0, &roster(nodes), now);
        let mut world = Self {
            nodes,
            machine,
            timing,
            now,
            routes: (0..nodes).map(|n| (table(n), n)).collect(),
            read: None,
            power: vec![InstanceState::Running; nodes],
            shown: vec![Shown::default(); nodes],
            pending: VecDeque::new(),
            beaten: vec![None; nodes],
        };
        world.turn();
        world
    }

    /// Gives the core an input and judges what follows from it, before a later input of the same
    /// turn shows more than the core knew when it decided.
    fn tell(&mut self, input: Input) {
        self.machine.handle(input, self.now);
        self.take_actions();
    }

    /// Time passes at the core's own pace; the answers under way come in.
    fn pass(&mut self, time: Duration, answers: bool) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.machine.next_deadline().min(end).max(self.now);
            if answers {
                self.answer_all();
            }
            self.turn();
        }
    }

    fn answer_all(&mut self) {
        for _ in 0..self.pending.len() {
            self.answer(false);
        }
    }

    fn turn(&mut self) {
        self.machine.tick(self.now);
        assert!(self.machine.next_deadline() > self.now, "the core does not rest");
        self.take_actions();
        assert!(self.pending.len() < PENDING_MAX, "the core asks without waiting");
    }

    fn take_actions(&mut self) {
        for count in 0.. {
            let Some(action) = self.machine.poll_action() else { break };
            assert!(count < ACTIONS_A_TURN, "no end of actions: {action:?}");
            self.judge(&action);
            if action.id().is_some() {
                self.pending.push_back(action);
            }
        }
    }

    /// EC2 does and answers, or fails, the oldest thing that was asked.
    fn answer(&mut self, fails: bool) {
        let Some(action) = self.pending.pop_front() else { return };
        let id = action.id().expect("only such are kept");
        let fault = || CloudFault {
            kind: CloudFaultKind::Unknown,
            call: "Any".to_owned(),
            message: "by the target".to_owned(),
        };
        let outcome = match action {
            Action::ReadRoutes { .. } if fails => Outcome::Routes { result: Err(fault()) },
            Action::ReadRoutes { tables, .. } => {
                self.read = Some((self.routes.clone(), self.now));
                let all = tables.into_iter().map(|table| {
                    let entry = self.entry(&table);
                    (table, entry)
                });
                Outcome::Routes { result: Ok(all.collect()) }
            }
            Action::ReadPower { .. } if fails => Outcome::Power { result: Err(fault()) },
            Action::ReadPower { node, .. } => {
                let n = self.index(&node);
                self.shown[n].power = Some((self.power[n], self.now));
                let state = Some(self.power[n]);
                let report = PowerReport {
                    state,
                    stop_origin: StopOrigin::Unknown,
                    impaired: false,
                    reason: None,
                };
                Outcome::Power { result: Ok(report) }
            }
            Action::WriteRoute { write, .. } if !fails => {
                let to = (0..self.nodes).find(|n| write.via.interface() == Some(&interface(*n)));
                self.routes.insert(write.table, to.expect("judged before"));
                Outcome::Written { result: Ok(()) }
            }
            _ if fails => Outcome::Written { result: Err(fault()) },
            _ => Outcome::Written { result: Ok(()) },
        };
        self.tell(Input::Done { id, outcome });
    }

    fn entry(&self, table: &RouteTableId) -> Routes {
        let target = RouteTarget::Interface(interface(self.routes[table]));
        let cidr = "0.0.0.0/0".parse().expect("a block");
        Routes(BTreeMap::from([(cidr, RouteEntry { target, blackhole: false })]))
    }

    fn index(&self, node: &InstanceId) -> usize {
        (0..self.nodes).find(|n| id(*n) == *node).expect("a member")
    }

    /// Whether a peer's last heartbeat is young, and it is well by its own word, also for the group
    /// of this table.
    fn serves(&self, n: usize, table: &RouteTableId) -> bool {
        let group = (0..self.nodes).find(|n| self::table(*n) == *table).map(|n| format!("g{n}"));
        self.shown[n].beat.as_ref().is_some_and(|(beat, at)| {
            let fresh = self.now.since(*at) < self.timing.detection();
            let unfit = beat.unfit_for.iter().any(|name| Some(name.as_str()) == group.as_deref());
            fresh && beat.fitness.is_fit() && !beat.leaving && !unfit
        })
    }

    fn judge(&mut self, action: &Action) {
        match action {
            Action::SendBeat { to, beat } => {
                let n = self.index(to);
                assert!(beat.hears.len() < self.nodes && beat.holds.len() <= self.nodes);
                // A stop is announced before it is sent.
                let stops = beat.hears.iter().filter(|line| line.stopped).count();
                let last = self.beaten[n].replace((self.now, stops));
                let rushed = last.is_some_and(|(at, announced)| {
                    self.now.since(at) < self.timing.interval / 4 && stops <= announced
                });
                assert!(!rushed, "two heartbeats at once to {to}");
            }
            Action::WriteRoute { write, .. } => {
                let to = (0..self.nodes).find(|n| write.via.interface() == Some(&interface(*n)));
                assert!(to.is_some(), "{write:?} leads out of the cluster");
                let (Some((read, _)), Some(0)) = (&self.read, to) else { return };
                let holder = read[&write.table];
                let robbed = holder != 0 && self.routes[&write.table] == holder;
                let well = self.serves(holder, &write.table);
                assert!(!robbed || !well, "{write:?} robs {holder}, who is well");
            }
            Action::Stop { node, .. } => self.judge_stop(node),
            Action::Start { node, .. } => assert_ne!(*node, id(0), "starts itself"),
            _ => {}
        }
    }

    /// The repair rule of `docs/failover.md`, as far as it shows from outside.
    fn judge_stop(&self, node: &InstanceId) {
        let n = self.index(node);
        assert_ne!(n, 0, "stops itself");
        let heard = self.shown[n].beat.as_ref().map(|(_, at)| self.now.since(*at));
        // What never spoke may run no natha.
        let silent = heard.is_some_and(|ago| ago >= self.timing.repair.after);
        assert!(silent, "stops {node}, heard {heard:?} ago");
        let valid = |at: Time| self.now.since(at) <= self.timing.read_valid;
        for of in [0, n] {
            let power = self.shown[of].power;
            let runs =
                power.is_some_and(|(state, at)| state == InstanceState::Running && valid(at));
            assert!(runs, "stops {node} while EC2 said of {of}: {power:?}");
        }
        let (read, at) = self.read.as_ref().expect("it has read");
        assert!(valid(*at), "stops {node} by an old read");
        let serving = read.values().any(|holder| *holder == n);
        assert!(!serving && read[&table(0)] == 0, "stops {node}, routes lead to it: {read:?}");
        let fresh = |m: &usize| {
            let beat = self.shown[*m].beat.as_ref();
            beat.is_some_and(|(_, at)| self.now.since(*at) < self.timing.detection())
        };
        let witnesses = (1..self.nodes).filter(|m| *m != n).filter(fresh);
        let votes = witnesses.filter(|m| {
            let (beat, _) = self.shown[*m].beat.as_ref().expect("just looked");
            beat.hears.iter().any(|one| one.node == *node && one.failed)
        });
        let is_voter = |m: &usize| {
            let shown = &self.shown[*m];
            let gone =
                |state| matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated);
            shown.beat.is_some() && !shown.power.is_some_and(|(state, _)| gone(state))
        };
        let members = 1 + (1..self.nodes).filter(is_voter).count();
        assert!((1 + votes.count()) * 2 >= members, "stops {node} without a majority");
    }

    fn hear(&mut self, n: usize, beat: Beat, session: SessionId) {
        // What came in the pause before this turn is excused, not heard late: now is exact.
        self.shown[n].beat = Some((beat.clone(), self.now));
        self.tell(Input::Beat { from: id(n), session, beat, at: self.now });
    }
}

/// The whole story.
pub(crate) fn story(input: &[u8]) {
    let mut dice = Dice::new(input);
    let nodes = 2 + dice.below(2);
    let mut world = World::new(nodes);
    let everybody: Vec<InstanceId> = (0..nodes).map(id).collect();
    // A short input is a short story: a byte is at most a minute.
    while !dice.is_spent() {
        let n = 1 + dice.below(nodes - 1);
        match dice.below(10) {
            0..=3 => {
                let beat = dice.beat(&everybody, &["g0", "g1", "g2", "other"]);
                world.hear(n, beat, SessionId(u64::from(dice.byte() % 3)));
                world.turn();
            }
            4 => world.tell(Input::Echo { from: id(n), at: world.now }),
            5 => world.answer(dice.chance()),
            6 => {
                use InstanceState::{
                    Pending, Running, ShuttingDown, Stopped, Stopping, Terminated,
                };
                let states =
                    [Running, Running, Stopping, Stopped, Pending, ShuttingDown, Terminated];
                world.power[dice.below(nodes)] = *dice.pick(&states);
            }
            7 => {
                let group = "g0".parse().expect("a name");
                world
                    .tell(Input::Command { command: Command::HandOver { group, to: Some(id(n)) } });
            }
            8 => world.pass(Duration::from_millis(u64::from(dice.byte())), dice.chance()),
            _ => world.pass(Duration::from_millis(u64::from(dice.byte()) * 250), true),
        }
    }
}
