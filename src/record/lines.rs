//! The lines after the first one, as JSON has them. Times are nanoseconds: `t` since the start,
//! all others against the `t` of their line.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::failover::{ActionId, Command, EventKind, Level, Outcome};
use crate::types::SessionId;
use crate::types::{
    Assignment, Beat, Fitness, GroupName, InstanceId, Resource, Roster, RouteTableId, RouteWrite,
};

/// A line: a turn has `t`, the last line may have `end`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) t: Option<i64>,
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<Told>,
    /// Written only where it is `false`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub(super) tick: bool,
    #[serde(default, rename = "out", skip_serializing_if = "Vec::is_empty")]
    pub(super) actions: Vec<Wanted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<String>,
}

/// An input.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Told {
    /// A heartbeat that arrived `ago`. Where it says the same as the sender's last one in the
    /// file, only the ages of what the sender hears are given.
    Beat {
        from: InstanceId,
        ago: i64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ages: Vec<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<Box<Said>>,
    },
    Echo {
        from: InstanceId,
        ago: i64,
    },
    Fitness {
        fitness: Fitness,
    },
    Checks {
        failing: BTreeSet<GroupName>,
    },
    Roster {
        roster: Roster,
    },
    Done {
        id: ActionId,
        outcome: Outcome,
    },
    /// Done, with the same routes as the last read of routes in the file.
    SameRoutes {
        id: ActionId,
    },
    Command {
        command: Command,
    },
}

/// A heartbeat in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub(super) session: SessionId,
    pub(super) beat: Beat,
}

/// An action.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Wanted {
    /// The same heartbeat to each of these, shortened as those that come in.
    Beat {
        to: Vec<InstanceId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ages: Vec<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<Box<Beat>>,
    },
    Echo {
        to: Vec<InstanceId>,
    },
    ReadRoutes {
        id: ActionId,
        tables: Vec<RouteTableId>,
    },
    ReadHolders {
        id: ActionId,
        resources: Vec<Resource>,
    },
    ReadPower {
        id: ActionId,
        node: InstanceId,
    },
    WriteRoute {
        id: ActionId,
        write: RouteWrite,
        within: i64,
    },
    Assign {
        id: ActionId,
        assignment: Assignment,
        within: i64,
    },
    Stop {
        id: ActionId,
        node: InstanceId,
        force: bool,
        within: i64,
    },
    Start {
        id: ActionId,
        node: InstanceId,
        within: i64,
    },
    Remember {
        id: ActionId,
        stopped: BTreeSet<InstanceId>,
    },
    Report(Reported),
    MayExit,
}

/// An event.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reported {
    /// How long before the turn; nearly always 0, and then left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) ago: i64,
    pub(super) level: Level,
    pub(super) kind: EventKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<InstanceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<GroupName>,
    pub(super) text: String,
    /// Nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) took: Option<u64>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_yes(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
