//! Names in place of ids.

use std::collections::BTreeMap;

use crate::control::protocol::Status;

/// What every id stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    hosts: BTreeMap<String, String>,
    zones: BTreeMap<String, String>,
    words: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn of(status: &Status) -> Self {
        let mut names = Self::default();
        for host in &status.hosts {
            names.hosts.insert(host.instance.clone(), host.name.clone());
            names.hosts.insert(host.interface.clone(), host.name.clone());
        }
        for zone in &status.account.zones {
            names.zones.insert(zone.private_subnet.clone(), zone.name.clone());
            let table = format!("the table of {}", zone.name);
            names.words.insert(zone.private_table.clone(), table);
        }
        names.words.extend(names.hosts.clone());
        names
    }

    /// The zone whose private subnet this is.
    pub(super) fn zone(&self, subnet: &str) -> Option<&String> {
        self.zones.get(subnet)
    }

    /// The host with this instance or interface id.
    pub(super) fn host(&self, id: &str) -> String {
        self.hosts.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    /// A text with names for all the ids in it.
    pub(super) fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.words {
            text = text.replace(id, name);
        }
        text
    }

    /// The names of all that a call's parameters name.
    pub(super) fn all_in(&self, params: &str) -> Vec<String> {
        let values = params.split(' ').filter_map(|pair| pair.split_once('='));
        values.filter_map(|(_, value)| self.words.get(value).cloned()).collect()
    }
}
