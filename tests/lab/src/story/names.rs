//! Names in place of ids.

use std::collections::BTreeMap;

use crate::control::protocol::Status;

/// How the names of route tables begin.
const TABLE: &str = "the table of ";

/// What every id stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    hosts: BTreeMap<String, String>,
    zones: BTreeMap<String, String>,
    words: BTreeMap<String, String>,
}

impl Names {
    /// The names of hosts, and of zones that have private ones.
    pub(super) fn of(status: &Status) -> Self {
        let mut names = Self::default();
        for host in &status.hosts {
            names.hosts.insert(host.instance.clone(), host.name.clone());
            names.hosts.insert(host.interface.clone(), host.name.clone());
        }
        let used = |subnet: &str| status.hosts.iter().any(|host| host.subnet == subnet);
        for zone in status.account.zones.iter().filter(|zone| used(&zone.private_subnet)) {
            names.zones.insert(zone.private_subnet.clone(), zone.name.clone());
            let table = format!("{TABLE}{}", zone.name);
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

    /// The names of all that a call's parameters name, tables before targets.
    pub(super) fn all_in(&self, params: &str) -> Vec<String> {
        let values = params.split(' ').filter_map(|pair| pair.split_once('='));
        let names = values.filter_map(|(_, value)| self.words.get(value).cloned());
        let mut names: Vec<String> = names.collect();
        names.sort_by_key(|name| !name.starts_with(TABLE));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_names_wherever_they_stand() {
        let words = [("i-1", "nat-a"), ("eni-1", "nat-a"), ("rtb-1", "the table of us-east-1a")];
        let words = words.map(|(id, name)| (id.to_owned(), name.to_owned()));
        let names = Names { words: words.into(), ..Names::default() };
        assert_eq!(names.plain("i-1 (was i-1)"), "nat-a (was nat-a)");
        let params = "DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1 RouteTableId=rtb-1";
        assert_eq!(names.all_in(params), ["the table of us-east-1a", "nat-a"]);
    }
}
