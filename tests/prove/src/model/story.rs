//! A schedule in words.

use std::fmt::Write as _;

use super::check::{Choice, Space};
use super::node::{Ask, Change};
use super::scope::Scope;
use super::world::World;
use stateright::Model;

/// How much is told of what follows a schedule after which there is no rest.
const TAIL: u16 = 150;

/// Replays a schedule and tells it, second by second: what was broken, where the routes led, and
/// what the machines said.
#[must_use]
pub fn tell(scope: &Scope, choices: &[Choice]) -> String {
    let space = Space::new(scope);
    let mut story = String::new();
    let Some(mut world) = beginning(&space, choices) else { return story };
    let mut second = 0;
    let mut shown = String::new();
    for choice in choices {
        let next = space.step(&world, *choice);
        match choice {
            Choice::Wait => second += 1,
            Choice::Strike(fault) => drop(writeln!(story, "{second:>4} s  {fault}")),
            Choice::Mend(fault) => drop(writeln!(story, "{second:>4} s  mended: {fault}")),
        }
        let now = outline(&next);
        if now != shown {
            let _ = writeln!(story, "{second:>4} s    {now}");
            shown = now;
        }
        world = next;
    }
    if world.broken.is_none() {
        let _ = writeln!(story, "{second:>4} s  nothing more goes wrong");
        world.mend_all();
        for _ in 0..TAIL {
            world.tick();
            world.revive();
            second += 1;
            let now = outline(&world);
            if now != shown {
                let _ = writeln!(story, "{second:>4} s    {now}");
                shown = now;
            }
            if world.broken.is_some() {
                break;
            }
        }
    }
    if let Some(rule) = world.broken {
        let _ = writeln!(story, "{second:>4} s  BROKEN: {}: {}", rule.name(), rule.statement());
    }
    story
}

/// The first of the states that a run begins with from which a schedule breaks a rule.
fn beginning(space: &Space, choices: &[Choice]) -> Option<World> {
    let breaks = |world: &World| {
        let mut world = world.clone();
        for choice in choices {
            world = space.step(&world, *choice);
        }
        world.broken.is_some() || space.judge_rest(&world).is_some()
    };
    let mut all = space.init_states();
    let found = all.iter().position(breaks).unwrap_or_default();
    (found < all.len()).then(|| all.swap_remove(found))
}

/// Routes, powers and verdicts in a line.
fn outline(world: &World) -> String {
    let mut line = format!("routes {:?}, power", world.cloud.now.routes);
    for power in &world.cloud.now.power {
        let _ = write!(line, " {}", power.state);
    }
    for (n, node) in world.nodes.iter().enumerate() {
        let Some(machine) = &node.machine else { continue };
        let view = machine.view(super::bounds::NOW);
        let verdicts: Vec<&str> = view.peers.values().map(|peer| peer.verdict.name()).collect();
        let _ = write!(line, "; {n} finds {}", verdicts.join(", "));
        for words in view.peers.values().filter_map(|peer| peer.repair.as_ref()) {
            let _ = write!(line, " ({words})");
        }
        if !node.failing.is_empty() {
            let _ = write!(line, " (fails: {:?})", node.failing);
        }
        if !node.carries.is_empty() {
            let _ = write!(line, " (carries {:?})", node.carries);
        }
        for call in &node.outbox {
            let _ = match &call.ask {
                Ask::Write(Change { what, to, .. }) => {
                    write!(line, ", leads resource {what} to node {to}")
                }
                Ask::Stop(node) => write!(line, ", stops node {node}"),
                Ask::Start(node) => write!(line, ", starts node {node}"),
                Ask::ReadRoutes | Ask::ReadHolders | Ask::ReadPower(_) => Ok(()),
            };
        }
    }
    line
}
