//! Which changes and lines are wanted.

use std::time::Duration;

use super::change::Change;
use super::fact::{Fact, Line};
use crate::types::{GroupName, InstanceId, Time};

/// What is shown before and after a single change.
const MARGIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(20));

/// Selects changes. What is none does not select.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Changes that ended at or after this time of the wall clock, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Changes of this group.
    pub group: Option<GroupName>,
    /// Changes that this node made, or that moved something from it or to it.
    pub node: Option<InstanceId>,
}

impl Filter {
    /// Whether the change is wanted.
    #[must_use]
    pub fn takes(&self, change: &Change) -> bool {
        let took = u64::try_from(change.took.as_millis()).unwrap_or(u64::MAX);
        let in_time =
            self.since_ms.is_none_or(|since| change.wall_ms.saturating_add(took) >= since);
        let of_group = self.group.is_none() || self.group == change.group;
        let of_node = self.node.as_ref().is_none_or(|node| {
            [Some(&change.by), change.from.as_ref(), change.to.as_ref()].contains(&Some(node))
        });
        in_time && of_group && of_node
    }
}

/// The lines around a change: those of the same boot from a little before it to a little after it,
/// and the line before them that says who wrote them.
#[must_use]
pub fn around<'a>(lines: &'a [Line], change: &Change) -> Vec<&'a Line> {
    let (from, to) = (change.at - MARGIN.0, change.end() + MARGIN.1);
    let wall = Duration::from_millis(change.wall_ms);
    let is_near = |line: &Line| {
        // The time since boot begins anew with each boot: the wall clock says which one it is.
        let apart = Duration::from_millis(line.wall_ms).abs_diff(wall);
        let lasted = change.took + MARGIN.0 + MARGIN.1 + Duration::from_mins(10);
        from <= line.at && line.at <= to && apart <= lasted
    };
    let Some(first) = lines.iter().position(is_near) else { return Vec::new() };
    let run = lines[..first].iter().rev().find(|line| is_run(line));
    run.into_iter().chain(lines[first..].iter().filter(|line| is_near(line))).collect()
}

/// The lines from a time of the wall clock on, in milliseconds since 1970, and the line before them
/// that says who wrote them. They end with the last line and begin after the last boot at the
/// earliest: times of two boots cannot be compared.
#[must_use]
pub fn since(lines: &[Line], since_ms: u64) -> Vec<&Line> {
    let boot = |line: &Line| match &line.fact {
        Fact::Run(run) => Some(run.boot.clone()),
        _ => None,
    };
    let last = lines.iter().rev().find_map(boot);
    let is_other = |line: &Line| boot(line).is_some_and(|boot| Some(boot) != last);
    let other = lines.iter().rposition(is_other).map_or(0, |place| place + 1);
    let of_boot = lines[other..].iter().position(is_run).map_or(lines.len(), |place| other + place);
    let lines = &lines[of_boot..];
    let first = lines.iter().position(|line| line.wall_ms >= since_ms).unwrap_or(lines.len());
    let run = lines[..first].iter().rev().find(|line| is_run(line));
    run.into_iter().chain(&lines[first..]).collect()
}

/// The earliest and the latest time in lines.
pub(super) fn bounds(lines: &[&Line]) -> Option<(Time, Time)> {
    let times = lines.iter().map(|line| line.at);
    times.clone().min().zip(times.max())
}

fn is_run(line: &Line) -> bool {
    matches!(line.fact, Fact::Run(_))
}
