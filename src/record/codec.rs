//! Turns to lines and back. Both sides remember the last heartbeat of each sender and the last
//! routes, because the next ones mostly differ in nothing but the ages, or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Turn;
use super::lines::{Line, Reported, Said, Told, Wanted};
use crate::failover::{Action, Event, Input, Outcome};
use crate::types::{Beat, InstanceId, Time};

/// What the lines so far have told, as far as later ones refer to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Codec {
    start: Time,
    heard: BTreeMap<InstanceId, Said>,
    sent: Option<Beat>,
    routes: Option<Outcome>,
}

impl Codec {
    /// For a recording that starts then.
    pub(super) fn new(start: Time) -> Self {
        Self { start, ..Self::default() }
    }

    /// The line of a turn.
    pub(super) fn encode(&mut self, turn: &Turn) -> Line {
        let at = turn.at;
        let inputs = turn.inputs.iter().map(|input| self.told(input, at)).collect();
        let mut actions: Vec<Wanted> = Vec::new();
        for (index, action) in turn.actions.iter().enumerate() {
            if !joins(&turn.actions, index, &mut actions) {
                actions.push(self.wanted(action, at));
            }
        }
        Line { t: Some(between(self.start, at)), inputs, tick: turn.tick, actions, end: None }
    }

    fn told(&mut self, input: &Input, now: Time) -> Told {
        match input.clone() {
            Input::Beat { from, session, beat, at } => {
                let ago = between(at, now);
                let said = Said { session, beat };
                let known = self.heard.insert(from.clone(), said.clone());
                match known {
                    Some(known)
                        if known.session == session && same_but_ages(&known.beat, &said.beat) =>
                    {
                        Told::Beat { from, ago, ages: ages(&said.beat), said: None }
                    }
                    _ => Told::Beat { from, ago, ages: Vec::new(), said: Some(Box::new(said)) },
                }
            }
            Input::Echo { from, at } => Told::Echo { from, ago: between(at, now) },
            Input::Fitness { fitness } => Told::Fitness { fitness },
            Input::Checks { failing } => Told::Checks { failing },
            Input::Roster { roster } => Told::Roster { roster },
            Input::Done { id, outcome } if self.routes.as_ref() == Some(&outcome) => {
                Told::SameRoutes { id }
            }
            Input::Done { id, outcome } => {
                self.remember(&outcome);
                Told::Done { id, outcome }
            }
            Input::Command { command } => Told::Command { command },
        }
    }

    fn remember(&mut self, outcome: &Outcome) {
        if matches!(outcome, Outcome::Routes { result: Ok(_) }) {
            self.routes = Some(outcome.clone());
        }
    }

    fn wanted(&mut self, action: &Action, now: Time) -> Wanted {
        match action.clone() {
            Action::SendBeat { to, beat } => {
                let known = self.sent.replace(beat.clone());
                let to = vec![to];
                if known.is_some_and(|known| same_but_ages(&known, &beat)) {
                    Wanted::Beat { to, ages: ages(&beat), said: None }
                } else {
                    Wanted::Beat { to, ages: Vec::new(), said: Some(Box::new(beat)) }
                }
            }
            Action::SendEcho { to } => Wanted::Echo { to: vec![to] },
            Action::ReadRoutes { id, tables } => Wanted::ReadRoutes { id, tables },
            Action::ReadHolders { id, resources } => Wanted::ReadHolders { id, resources },
            Action::ReadPower { id, node } => Wanted::ReadPower { id, node },
            Action::WriteRoute { id, write, not_after } => {
                Wanted::WriteRoute { id, write, within: between(now, not_after) }
            }
            Action::Assign { id, assignment, not_after } => {
                Wanted::Assign { id, assignment, within: between(now, not_after) }
            }
            Action::Stop { id, node, force, not_after } => {
                Wanted::Stop { id, node, force, within: between(now, not_after) }
            }
            Action::Start { id, node, not_after } => {
                Wanted::Start { id, node, within: between(now, not_after) }
            }
            Action::Remember { id, stopped } => Wanted::Remember { id, stopped },
            Action::Report { event } => {
                let Event { at, level, kind, node, group, text, took } = event;
                let took = took.map(nanoseconds);
                let ago = between(at, now);
                Wanted::Report(Reported { ago, level, kind, node, group, text, took })
            }
            Action::MayExit => Wanted::MayExit,
        }
    }

    /// The turn of a line.
    pub(super) fn decode(&mut self, t: i64, line: Line) -> Result<Turn, String> {
        let at = apart(self.start, t)?;
        let inputs = line.inputs.into_iter().map(|told| self.input(told, at));
        let inputs = inputs.collect::<Result<_, _>>()?;
        let mut actions = Vec::with_capacity(line.actions.len());
        for wanted in line.actions {
            self.actions(wanted, at, &mut actions)?;
        }
        Ok(Turn { at, inputs, tick: line.tick, actions })
    }

    fn input(&mut self, told: Told, now: Time) -> Result<Input, String> {
        Ok(match told {
            Told::Beat { from, ago, ages, said } => {
                let said = said.map_or_else(|| self.again(&from, &ages), |said| Ok(*said))?;
                self.heard.insert(from.clone(), said.clone());
                let Said { session, beat } = said;
                Input::Beat { from, session, beat, at: apart(now, negated(ago)?)? }
            }
            Told::Echo { from, ago } => Input::Echo { from, at: apart(now, negated(ago)?)? },
            Told::Fitness { fitness } => Input::Fitness { fitness },
            Told::Checks { failing } => Input::Checks { failing },
            Told::Roster { roster } => Input::Roster { roster },
            Told::Done { id, outcome } => {
                self.remember(&outcome);
                Input::Done { id, outcome }
            }
            Told::SameRoutes { id } => {
                let known = self.routes.clone().ok_or("the first routes are not given in full")?;
                Input::Done { id, outcome: known }
            }
            Told::Command { command } => Input::Command { command },
        })
    }

    /// The sender's last heartbeat with other ages.
    fn again(&self, from: &InstanceId, ages: &[u16]) -> Result<Said, String> {
        let known = self.heard.get(from).cloned();
        let mut known =
            known.ok_or_else(|| format!("the first heartbeat of {from} is not given in full"))?;
        set_ages(&mut known.beat, ages)?;
        Ok(known)
    }

    fn actions(&mut self, wanted: Wanted, now: Time, to: &mut Vec<Action>) -> Result<(), String> {
        let action = match wanted {
            Wanted::Beat { to: peers, ages, said } => {
                let beat = match (said, &self.sent) {
                    (Some(said), _) => *said,
                    (None, Some(known)) => {
                        let mut beat = known.clone();
                        set_ages(&mut beat, &ages)?;
                        beat
                    }
                    (None, None) => return Err("the first own heartbeat is not in full".into()),
                };
                self.sent = Some(beat.clone());
                to.extend(peers.into_iter().map(|to| Action::SendBeat { to, beat: beat.clone() }));
                return Ok(());
            }
            Wanted::Echo { to: peers } => {
                to.extend(peers.into_iter().map(|to| Action::SendEcho { to }));
                return Ok(());
            }
            Wanted::ReadRoutes { id, tables } => Action::ReadRoutes { id, tables },
            Wanted::ReadHolders { id, resources } => Action::ReadHolders { id, resources },
            Wanted::ReadPower { id, node } => Action::ReadPower { id, node },
            Wanted::WriteRoute { id, write, within } => {
                Action::WriteRoute { id, write, not_after: apart(now, within)? }
            }
            Wanted::Assign { id, assignment, within } => {
                Action::Assign { id, assignment, not_after: apart(now, within)? }
            }
            Wanted::Stop { id, node, force, within } => {
                Action::Stop { id, node, force, not_after: apart(now, within)? }
            }
            Wanted::Start { id, node, within } => {
                Action::Start { id, node, not_after: apart(now, within)? }
            }
            Wanted::Remember { id, stopped } => Action::Remember { id, stopped },
            Wanted::Report(reported) => Action::Report { event: event(reported, now)? },
            Wanted::MayExit => Action::MayExit,
        };
        to.push(action);
        Ok(())
    }
}

fn event(reported: Reported, now: Time) -> Result<Event, String> {
    let Reported { ago, level, kind, node, group, text, took } = reported;
    let at = apart(now, negated(ago)?)?;
    Ok(Event { at, level, kind, node, group, text, took: took.map(Duration::from_nanos) })
}

/// Adds an action to the last line entry where it is the same for one more peer.
fn joins(all: &[Action], index: usize, written: &mut [Wanted]) -> bool {
    let Some(before) = index.checked_sub(1).and_then(|before| all.get(before)) else {
        return false;
    };
    match (before, &all[index], written.last_mut()) {
        (
            Action::SendBeat { beat: one, .. },
            Action::SendBeat { beat: other, to },
            Some(Wanted::Beat { to: peers, .. }),
        ) if one == other => peers.push(to.clone()),
        (Action::SendEcho { .. }, Action::SendEcho { to }, Some(Wanted::Echo { to: peers })) => {
            peers.push(to.clone());
        }
        _ => return false,
    }
    true
}

fn ages(beat: &Beat) -> Vec<u16> {
    beat.hears.iter().map(|hears| hears.age_ms).collect()
}

fn set_ages(beat: &mut Beat, ages: &[u16]) -> Result<(), String> {
    if ages.len() != beat.hears.len() {
        let (wanted, given) = (beat.hears.len(), ages.len());
        return Err(format!("{given} ages for the {wanted} nodes that the sender hears"));
    }
    for (hears, age) in beat.hears.iter_mut().zip(ages) {
        hears.age_ms = *age;
    }
    Ok(())
}

fn same_but_ages(one: &Beat, other: &Beat) -> bool {
    let mut aged = other.clone();
    set_ages(&mut aged, &ages(one)).is_ok() && aged == *one
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// From one time to another, in nanoseconds. Within what `i64` holds, which is 292 years.
fn between(from: Time, to: Time) -> i64 {
    let part = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    if to >= from { part(to.since(from)) } else { -part(from.since(to)) }
}

/// The time that far from another.
fn apart(from: Time, by: i64) -> Result<Time, String> {
    let span = Duration::from_nanos(by.unsigned_abs());
    if by >= 0 {
        Ok(from + span)
    } else if span > from.since_boot() {
        Err("a time lies before the host booted".to_owned())
    } else {
        Ok(from - span)
    }
}

fn negated(by: i64) -> Result<i64, String> {
    by.checked_neg().ok_or_else(|| "a time is out of range".to_owned())
}
