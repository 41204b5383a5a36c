//! A hosted zone: its records now, and as the name servers have them.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::invalid_input;
use crate::dataplane::Lookup;
use crate::ec2::error::ApiError;

/// How many changes a zone remembers; GetChange does not know older ones.
const CHANGES: usize = 1_000;

/// The records of a zone, in the order in which Route 53 lists them.
pub(super) type Records = BTreeMap<Key, RecordSet>;

/// Where a record set is in a listing: by the name's labels from the last one on, then by type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    labels: Vec<String>,
    kind: String,
}

/// A record set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordSet {
    pub(super) name: String,
    pub(super) kind: String,
    /// Seconds.
    pub(super) ttl: u32,
    pub(super) values: Vec<String>,
}

/// A change that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ec2) struct Change {
    pub(super) id: String,
    pub(super) submitted: Duration,
    /// When all name servers have it.
    pub(in crate::ec2) synced: Duration,
    pub(super) comment: Option<String>,
}

/// A hosted zone.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ec2) struct Zone {
    pub(super) id: String,
    name: String,
    records: Arc<Records>,
    /// What the name servers answer from, each from when on; never empty, in order of time.
    served: Vec<(Duration, Arc<Records>)>,
    pub(super) changes: VecDeque<Change>,
    /// Until when the last change is being worked on.
    pub(super) busy: Duration,
}

impl RecordSet {
    /// Its place in listings.
    pub(super) fn key(&self) -> Key {
        Key::new(&self.name, &self.kind)
    }

    /// The values of an A record.
    fn addresses(&self) -> Vec<Ipv4Addr> {
        self.values.iter().filter_map(|value| value.parse().ok()).collect()
    }
}

impl Key {
    /// The place of a name, with its final dot, and a type.
    pub(super) fn new(name: &str, kind: &str) -> Self {
        let labels = name.trim_end_matches('.').rsplit('.').map(str::to_owned).collect();
        Self { labels, kind: kind.to_owned() }
    }
}

impl Zone {
    /// A zone with the two record sets that every zone has.
    pub(super) fn new(id: &str, name: &str) -> Self {
        let set = |kind: &str, ttl, values: Vec<String>| RecordSet {
            name: name.to_owned(),
            kind: kind.to_owned(),
            ttl,
            values,
        };
        let servers = name_servers();
        let authority =
            format!("{} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400", servers[0]);
        let own = [set("NS", 172_800, servers.to_vec()), set("SOA", 900, vec![authority])];
        let records: Arc<Records> =
            Arc::new(own.into_iter().map(|record| (record.key(), record)).collect());
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            served: vec![(Duration::ZERO, Arc::clone(&records))],
            records,
            changes: VecDeque::new(),
            busy: Duration::ZERO,
        }
    }

    /// Its name, with the final dot.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its records as the API has them.
    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// Whether a name, with its final dot, is the zone's or below it.
    pub(super) fn contains(&self, name: &str) -> bool {
        let rest = name.strip_suffix(&self.name);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Takes over changed records; the name servers have them once the change is in sync.
    pub(super) fn accept(&mut self, records: Records, change: Change) {
        let records = Arc::new(records);
        // Changes reach the name servers in the order in which they were made.
        let last = self.served.last().map_or(Duration::ZERO, |(from, _)| *from);
        let synced = change.synced.max(last);
        self.served.push((synced, Arc::clone(&records)));
        self.records = records;
        let now = change.submitted;
        let gone = self.served.iter().rposition(|(from, _)| *from <= now).unwrap_or(0);
        self.served.drain(..gone);
        self.changes.push_back(Change { synced, ..change });
        if self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
    }

    /// Sets an A record that the name servers have had all the time.
    pub(super) fn put(
        &mut self,
        name: &str,
        ttl: u32,
        addresses: &[Ipv4Addr],
    ) -> Result<(), ApiError> {
        let full = full_name(name).filter(|full| self.contains(full));
        let Some(name) = full else {
            return Err(invalid_input(format!("'{name}' is no name in the zone {}", self.name)));
        };
        let values = addresses.iter().map(Ipv4Addr::to_string).collect();
        let record = RecordSet { name, kind: "A".to_owned(), ttl, values };
        Arc::make_mut(&mut self.records).insert(record.key(), record.clone());
        for (_, records) in &mut self.served {
            Arc::make_mut(records).insert(record.key(), record.clone());
        }
        Ok(())
    }

    /// The TTL and the addresses of a name's A record as the API has it.
    pub(super) fn address_record(&self, name: &str) -> Option<(u32, Vec<Ipv4Addr>)> {
        let found = self.records.get(&Key::new(&full_name(name)?, "A"))?;
        Some((found.ttl, found.addresses()))
    }

    /// What the name servers answer about a name of the zone, with its final dot.
    pub(super) fn lookup(&self, name: &str, now: Duration) -> Lookup {
        let served = self.served.iter().rev().find(|(from, _)| *from <= now);
        let Some((_, records)) = served.or(self.served.first()) else { return Lookup::Unknown };
        if let Some(found) = records.get(&Key::new(name, "A")) {
            return Lookup::Addresses { ttl: found.ttl, addresses: found.addresses() };
        }
        let below = format!(".{name}");
        // A name that only has names below it exists, too (RFC 8020).
        let exists = |record: &RecordSet| record.name == name || record.name.ends_with(&below);
        if records.values().any(exists) { Lookup::NoAddress } else { Lookup::Unknown }
    }
}

/// The four name servers of every zone here.
pub(super) fn name_servers() -> [String; 4] {
    [("1", "com"), ("2", "net"), ("3", "org"), ("4", "co.uk")]
        .map(|(n, top)| format!("ns-{n}.awsdns-0{n}.{top}."))
}

/// A name in small letters with its final dot; none where it is no name of letters, digits,
/// dashes and underscores.
pub(super) fn full_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(plain);
    let good = name.len() <= 253 && name.split('.').all(label);
    good.then(|| format!("{}.", name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        Zone::new("Z1", "example.test.")
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    #[test]
    fn names_are_in_a_zone_only_below_a_dot() {
        assert!(zone().contains("example.test.") && zone().contains("a.example.test."));
        assert!(!zone().contains("badexample.test.") && !zone().contains("test."));
    }

    #[test]
    fn the_name_servers_have_a_change_once_it_is_in_sync() {
        let mut zone = zone();
        zone.put("db.example.test", 5, &[address(1)]).unwrap();
        let mut records = zone.records().clone();
        let key = Key::new("db.example.test.", "A");
        records.get_mut(&key).unwrap().values = vec![address(2).to_string()];
        let at = Duration::from_secs;
        let change = Change { id: "C1".into(), submitted: at(10), synced: at(12), comment: None };
        zone.accept(records.clone(), change.clone());
        let seen = |zone: &Zone, now| match zone.lookup("db.example.test.", now) {
            Lookup::Addresses { ttl: 5, addresses } => addresses[0],
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(&zone, Duration::from_millis(11_999)), address(1));
        assert_eq!(seen(&zone, at(12)), address(2));
        records.get_mut(&key).unwrap().values = vec![address(3).to_string()];
        // A change that would be quicker does not overtake the one before.
        let change = Change { submitted: at(11), synced: at(11), ..change };
        zone.accept(records, change);
        assert_eq!(seen(&zone, Duration::from_millis(11_999)), address(1));
        assert_eq!(seen(&zone, at(12)), address(3));
    }

    #[test]
    fn a_name_without_an_address_is_told_from_one_that_does_not_exist() {
        let mut zone = zone();
        zone.put("a.b.example.test", 5, &[address(1)]).unwrap();
        let now = Duration::ZERO;
        assert_eq!(zone.lookup("b.example.test.", now), Lookup::NoAddress);
        assert_eq!(zone.lookup("example.test.", now), Lookup::NoAddress);
        assert_eq!(zone.lookup("c.example.test.", now), Lookup::Unknown);
        assert!(zone.put("a.elsewhere.test", 5, &[address(1)]).is_err());
    }

    #[test]
    fn records_are_listed_by_their_labels_from_the_last_one_on() {
        let key = |name: &str| Key::new(name, "A");
        assert!(key("z.a.test.") < key("b.test."));
        assert!(key("a.test.") < key("z.a.test."));
        assert!(Key::new("a.test.", "A") < Key::new("a.test.", "TXT"));
    }
}
