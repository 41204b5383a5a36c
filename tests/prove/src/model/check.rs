//! The run of the checker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use natha::types::InstanceState;
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::bounds::NOW;
use super::cloud::Target;
use super::fault::{Api, Fault, Led};
use super::rule::Rule;
use super::scope::Scope;
use super::settle::Restful;
use super::world::World;

/// What the adversary does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// A second passes.
    Wait,
    /// Something breaks.
    Strike(Fault),
    /// It is mended.
    Mend(Fault),
}

/// A scope as a model of the checker.
#[derive(Debug, Clone)]
pub(super) struct Space {
    pub(super) scope: Scope,
    faults: Vec<Fault>,
    restful: Arc<Restful>,
}

impl Space {
    pub(super) fn new(scope: &Scope) -> Self {
        let restful = Arc::default();
        Self { scope: scope.clone(), faults: scope.faults(), restful }
    }

    /// What follows from a choice, but for what follows once nothing more goes wrong.
    pub(super) fn step(&self, world: &World, choice: Choice) -> World {
        let mut next = world.clone();
        match choice {
            Choice::Wait => {
                next.tick();
                let longest = self.scope.lasts.as_ref().map(|lasts| lasts.iter().max().copied());
                for (_, age) in &mut next.faults {
                    *age = longest.flatten().map_or(0, |longest| (*age + 1).min(longest + 1));
                }
            }
            Choice::Strike(fault) => next.strike(fault),
            Choice::Mend(fault) => next.mend(fault),
        }
        next
    }

    /// The rule that what follows breaks, if nothing more goes wrong.
    pub(super) fn judge_rest(&self, world: &World) -> Option<Rule> {
        self.restful.judge(world)
    }
}

fn target(led: Led) -> Target {
    match led {
        Led::To(n) => Target::Node(n),
        Led::Out => Target::Out,
        Led::Nowhere => Target::Nowhere,
    }
}

/// Whether this may go wrong now.
fn may_strike(world: &World, fault: Fault) -> bool {
    let node = |n: usize| &world.nodes[n];
    let runs = |n: usize| node(n).kernel && !node(n).frozen;
    let able = match fault {
        Fault::Crash(n) | Fault::Freeze(n) => runs(n),
        Fault::Restart(n) | Fault::Kill(n) | Fault::Unproven(n) | Fault::Drain(n) => {
            runs(n) && node(n).machine.is_some()
        }
        Fault::Unfit(n) | Fault::Api(n, _) => node(n).fit && node(n).api == Api::Works,
        Fault::NoProbe(n) => node(n).fit && node(n).probes.answered,
        // One of them at a time, or the first to be mended would mend the other.
        Fault::Blip(_) => world.nodes.iter().all(|node| node.fit && node.probes.answered),
        Fault::UserStop(n) => world.cloud.now.power[n].state == InstanceState::Running,
        Fault::Led(table, led) => world.cloud.now.routes[table] != target(led),
        _ => true,
    };
    able && !world.is_broken(fault)
}

/// Whether a person could: an instance is not started before it has stopped.
fn may_mend(world: &World, fault: Fault) -> bool {
    let Fault::UserStop(n) = fault else { return true };
    world.cloud.now.power[n].state != InstanceState::Stopping
}

/// Every way in which the routes can lead.
fn all_routes(nodes: usize, tables: usize) -> Vec<Vec<Target>> {
    let targets: Vec<Target> =
        (0..nodes).map(Target::Node).chain([Target::Out, Target::Nowhere]).collect();
    (0..tables).fold(vec![Vec::new()], |all, _| {
        let longer = |routes: &Vec<Target>| {
            let routes = routes.clone();
            targets.iter().map(move |target| [routes.clone(), vec![*target]].concat())
        };
        all.iter().flat_map(longer).collect::<Vec<_>>()
    })
}

impl Model for Space {
    type State = World;
    type Action = Choice;

    fn init_states(&self) -> Vec<World> {
        let scope = &self.scope;
        if scope.booting {
            let routes = all_routes(scope.nodes, scope.all_parts());
            return routes.into_iter().map(|routes| World::booting(scope, routes)).collect();
        }
        let parts = scope.pattern.parts(scope.tables);
        let home = (0..scope.all_parts()).map(|t| Target::Node(t / parts)).collect();
        let mut world = World::booting(scope, home);
        // Longer than anything in it remembers.
        for _ in 0..100 {
            world.tick();
        }
        // A rule that is already broken is reported as any other.
        let is_at_rest = world.broken.is_some() || world.is_at_home();
        assert!(is_at_rest, "the cluster is at rest: {NOW:?}");
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Choice>) {
        if world.broken.is_some() || (world.strikes == 0 && world.faults.is_empty()) {
            return;
        }
        actions.push(Choice::Wait);
        for (fault, age) in &world.faults {
            let lasted = self.scope.lasts.as_ref().is_none_or(|lasts| lasts.contains(age));
            if lasted && may_mend(world, *fault) {
                actions.push(Choice::Mend(*fault));
            }
        }
        if world.strikes > 0 {
            let may = |fault: &Fault| may_strike(world, *fault);
            actions.extend(self.faults.iter().copied().filter(may).map(Choice::Strike));
        }
    }

    fn next_state(&self, world: &World, choice: Choice) -> Option<World> {
        let mut next = self.step(world, choice);
        if next.broken.is_none() && next.strikes == 0 && next.faults.is_empty() {
            next.broken = self.judge_rest(&next);
        }
        Some(next)
    }
    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! rules {
            ($($rule:ident),* $(,)?) => {
                vec![$(Property::always(Rule::$rule.name(), |_, world: &World| {
                    world.broken != Some(Rule::$rule)
                })),*]
            };
        }
        rules![
            MutualStop,
            StopServing,
            StopWell,
            StopHeard,
            Unfit,
            Robbed,
            Foreign,
            WrongTarget,
            Unknown,
            Blind,
            Unread,
            EarlyHandBack,
            UnaskedStart,
            TooManyStops,
            WriteStorm,
            Unserved,
            NoRest,
            LeftStopped,
            HeldUp,
            Untold,
            Unserving,
            Order,
            Divided,
            Apart,
            Local,
            Shared,
            Unproven,
            Stranger,
            Restarted,
            Undead,
            Landing,
            SideBySide,
            Translation,
            Guard,
            Behind,
        ]
    }
}

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Steps on the longest schedule.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// A schedule for each rule that it broke.
    pub broken: BTreeMap<&'static str, Vec<Choice>>,
    /// How often each rule had something to judge.
    pub tried: Vec<u64>,
    /// Whether all states were visited.
    pub complete: bool,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Threads.
    pub threads: usize,
    /// The longest it may take; none for no limit.
    pub limit: Option<Duration>,
    /// Whether to end at the first breach.
    pub first: bool,
    /// Whether to end at the first breach of this rule.
    pub until: Option<Rule>,
}

/// Visits every state of `scope`.
#[must_use]
pub fn check(scope: &Scope, effort: Effort) -> Report {
    let begun = Instant::now();
    drop(Rule::tried());
    let mut builder = Space::new(scope).checker().threads(effort.threads);
    if let Some(limit) = effort.limit {
        builder = builder.timeout(limit);
    }
    if effort.first {
        builder = builder.finish_when(HasDiscoveries::Any);
    }
    if let Some(rule) = effort.until {
        builder = builder.finish_when(HasDiscoveries::AnyOf([rule.name()].into()));
    }
    let checker = builder.spawn_dfs().join();
    let found = checker.discoveries();
    let ended_early = (effort.first || effort.until.is_some()) && !found.is_empty();
    let actions = |path: stateright::Path<World, Choice>| path.into_actions();
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: begun.elapsed(),
        // A checker that ran out of time calls itself done, too.
        complete: effort.limit.is_none_or(|limit| begun.elapsed() < limit) && !ended_early,
        tried: Rule::tried(),
        broken: found.into_iter().map(|(name, path)| (name, actions(path))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule that is no property of the checker can be broken without a word.
    #[test]
    fn every_rule_is_a_property_of_the_checker() {
        let scope = super::super::scopes::quick().remove(0);
        let properties = Space::new(&scope).properties();
        let checked: Vec<&str> = properties.iter().map(|property| property.name).collect();
        assert_eq!(checked, Rule::ALL.map(Rule::name));
    }
}
