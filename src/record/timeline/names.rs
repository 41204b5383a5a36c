//! Names, times and durations as text.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{InstanceId, Location, NetworkInterfaceId, Roster, RouteEntry, RouteTarget};

/// The names of nodes and interfaces. A node that has left the roster keeps its name.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    nodes: BTreeMap<String, String>,
    interfaces: BTreeMap<String, String>,
}

impl Names {
    /// The names in a roster.
    pub(super) fn new(roster: &Roster) -> Self {
        let mut names = Self::default();
        names.learn(roster);
        names
    }

    /// Adds the names in another roster.
    pub(super) fn learn(&mut self, roster: &Roster) {
        for member in &roster.members {
            let same = |other: &&crate::types::Member| other.name == member.name;
            let unique = roster.members.iter().filter(same).count() == 1;
            let name = member.name.clone().filter(|name| unique && !name.is_empty());
            let name = name.unwrap_or_else(|| member.id.to_string());
            self.interfaces.insert(member.interface.to_string(), name.clone());
            self.nodes.insert(member.id.to_string(), name);
        }
    }

    /// A node's name, or its id if it has no name or shares it with another node.
    pub(super) fn node(&self, id: &InstanceId) -> String {
        self.nodes.get(id.as_str()).cloned().unwrap_or_else(|| id.to_string())
    }

    /// The names of several nodes.
    pub(super) fn nodes<'a>(&self, ids: impl IntoIterator<Item = &'a InstanceId>) -> String {
        let names: Vec<String> = ids.into_iter().map(|id| self.node(id)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// The member that an interface belongs to, or the interface's id if there is none.
    pub(super) fn interface(&self, id: &NetworkInterfaceId) -> String {
        self.interfaces.get(id.as_str()).cloned().unwrap_or_else(|| id.to_string())
    }

    /// The target of a route.
    pub(super) fn route(&self, entry: Option<&RouteEntry>) -> String {
        let Some(entry) = entry else { return "nothing (there is no such route)".to_owned() };
        let to = self.target(&entry.target);
        if entry.blackhole { format!("{to} (blackhole)") } else { to }
    }

    /// The holder of a resource that is not a route.
    pub(super) fn holder(&self, seen: &Location) -> String {
        match seen {
            Location::Absent => "no node (it does not exist)".to_owned(),
            Location::Vacant => "no node".to_owned(),
            Location::Pending => {
                "the node that this one moved it to, but the change is not complete yet".to_owned()
            }
            Location::At(target) => self.target(target),
        }
    }

    pub(super) fn target(&self, target: &RouteTarget) -> String {
        match target {
            RouteTarget::Interface(id) => self.interface(id),
            RouteTarget::Address(address) => address.to_string(),
            RouteTarget::Other(id) => id.clone(),
        }
    }

    /// A text with each node id replaced by the node's name.
    pub(super) fn within(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.nodes {
            if text.contains(id.as_str()) {
                text = text.replace(id.as_str(), name);
            }
        }
        text
    }
}

/// A time since the start of the recording: `12.345`, `3:12.345` or `1:03:12.345`.
#[must_use]
pub fn clock(at: Duration) -> String {
    let (seconds, ms) = (at.as_secs(), at.subsec_millis());
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}.{ms:03}"),
        (0, _) => format!("{minutes}:{seconds:02}.{ms:03}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{ms:03}"),
    }
}

/// A duration: milliseconds below ten seconds, whole seconds above.
pub(super) fn span(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{} ms", duration.as_millis())
    } else {
        humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
    }
}

/// A count with its noun.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
