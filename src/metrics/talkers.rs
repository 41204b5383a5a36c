//! Which private hosts, and which destinations, have the most traffic: from listings of connection
//! tracking, in bounded memory.
//!
//! By default the kernel keeps a connection for 10 s or longer after its last packet
//! (`nf_conntrack_proto_tcp.c`: 10 s after a reset; UDP and ICMP: 30 s). So a listing every few
//! seconds has all of them, and the kernel's news of each connection are not needed. What a
//! connection has more than in the last listing counts for both of its hosts.
//!
//! A host with little traffic makes room for one with more, as in the algorithm Space-Saving
//! (Metwally, Agrawal, El Abbadi 2005): a host that comes in ranks as if it had as much as any
//! that was dropped, so that old traffic does not keep it out. What is shown of a host is what it
//! had since it came in.

use std::collections::{HashMap, hash_map};
use std::net::Ipv4Addr;

use crate::flows::{Entry, Protocol, Tuple, Usage};

/// Connections that are followed, some 80 bytes each. More are counted, but not their bytes.
const CONNECTIONS_MAX: usize = 131_072;
/// Hosts of each side that are kept. Fewer are shown.
const HOSTS_MAX: usize = 2_048;

/// The traffic of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostUsage {
    /// Bytes to the internet.
    pub sent: u64,
    /// Bytes from the internet.
    pub received: u64,
    /// Connections that began.
    pub connections: u64,
}

impl HostUsage {
    const fn bytes(&self) -> u64 {
        self.sent.saturating_add(self.received)
    }

    const fn add(&mut self, more: &Self) {
        self.sent = self.sent.saturating_add(more.sent);
        self.received = self.received.saturating_add(more.received);
        self.connections = self.connections.saturating_add(more.connections);
    }
}

/// What is counted over all hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// The traffic since the first listing.
    pub usage: HostUsage,
    /// TCP connections whose handshake was completed, since the first listing.
    pub established: u64,
    /// Connections of the last listing that were too many to be followed.
    pub unfollowed: u64,
}

/// The hosts with the most traffic, the first one first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopTalkers {
    /// The private hosts.
    pub sources: Vec<(Ipv4Addr, HostUsage)>,
    /// The destinations.
    pub destinations: Vec<(Ipv4Addr, HostUsage)>,
    /// What was counted over all hosts.
    pub totals: Totals,
}

/// Finds the hosts with the most traffic.
#[derive(Debug)]
pub struct Talkers {
    named: usize,
    sources: Top,
    destinations: Top,
    connections: HashMap<Tuple, Seen>,
    totals: Totals,
    /// The number of the listing.
    round: u32,
}

/// A connection as of the last listing.
#[derive(Debug, Clone, Copy)]
struct Seen {
    usage: Usage,
    is_established: bool,
    round: u32,
}

impl Talkers {
    /// Shows this many hosts of each side.
    #[must_use]
    pub fn new(named: usize) -> Self {
        Self {
            named,
            sources: Top::default(),
            destinations: Top::default(),
            connections: HashMap::new(),
            totals: Totals::default(),
            round: 0,
        }
    }

    /// Begins a listing.
    pub fn listing(&mut self) -> ListingOfConnections<'_> {
        self.round = self.round.wrapping_add(1);
        self.totals.unfollowed = 0;
        let (sources, destinations) = (HashMap::new(), HashMap::new());
        ListingOfConnections { talkers: self, sources, destinations }
    }

    /// What is shown, as of the last listing.
    #[must_use]
    pub fn top(&self) -> TopTalkers {
        TopTalkers {
            sources: self.sources.first(self.named),
            destinations: self.destinations.first(self.named),
            totals: self.totals,
        }
    }
}

/// One listing of all connections.
#[derive(Debug)]
pub struct ListingOfConnections<'a> {
    talkers: &'a mut Talkers,
    sources: HashMap<Ipv4Addr, HostUsage>,
    destinations: HashMap<Ipv4Addr, HostUsage>,
}

impl ListingOfConnections<'_> {
    /// Takes in a connection and what the kernel has counted of it.
    pub fn count(&mut self, entry: &Entry, usage: Usage) {
        let tuple = entry.flow.tuple;
        let is_established = tuple.protocol == Protocol::Tcp && entry.flow.assured;
        let seen = Seen { usage, is_established, round: self.talkers.round };
        let is_full = self.talkers.connections.len() >= CONNECTIONS_MAX;
        let before = match self.talkers.connections.entry(tuple) {
            hash_map::Entry::Occupied(mut known) => Some(known.insert(seen)),
            hash_map::Entry::Vacant(_) if is_full => {
                self.talkers.totals.unfollowed += 1;
                return;
            }
            hash_map::Entry::Vacant(place) => {
                place.insert(seen);
                None
            }
        };
        // What connections had before the first listing is as old as they are.
        if self.talkers.round > 1 {
            self.attribute(&tuple, before, seen);
        }
    }

    fn attribute(&mut self, tuple: &Tuple, before: Option<Seen>, now: Seen) {
        // With fewer bytes it is another one with the same addresses and ports.
        let is_same = |before: &Seen| {
            before.usage.sent <= now.usage.sent && before.usage.received <= now.usage.received
        };
        let before = before.filter(is_same);
        let old = before.map(|seen| seen.usage).unwrap_or_default();
        let more = HostUsage {
            sent: now.usage.sent - old.sent,
            received: now.usage.received - old.received,
            connections: u64::from(before.is_none()),
        };
        let was_established = before.is_some_and(|seen| seen.is_established);
        let totals = &mut self.talkers.totals;
        totals.established += u64::from(now.is_established && !was_established);
        totals.usage.add(&more);
        self.sources.entry(tuple.source).or_default().add(&more);
        self.destinations.entry(tuple.destination).or_default().add(&more);
    }

    /// Ends the listing. One that is not complete says nothing of the connections that it lacks.
    pub fn end(self, is_complete: bool) {
        let talkers = self.talkers;
        talkers.sources.merge(self.sources);
        talkers.destinations.merge(self.destinations);
        if is_complete {
            let round = talkers.round;
            talkers.connections.retain(|_, seen| seen.round == round);
        }
    }
}

/// The hosts of one side.
#[derive(Debug, Default)]
struct Top {
    hosts: HashMap<Ipv4Addr, Ranked>,
    /// The highest rank of any host that was dropped.
    floor: u64,
}

#[derive(Debug)]
struct Ranked {
    usage: HostUsage,
    rank: u64,
}

impl Top {
    fn merge(&mut self, more: HashMap<Ipv4Addr, HostUsage>) {
        let floor = self.floor;
        for (host, usage) in more {
            let new = || Ranked { usage: HostUsage::default(), rank: floor };
            let known = self.hosts.entry(host).or_insert_with(new);
            known.usage.add(&usage);
            known.rank = known.rank.saturating_add(usage.bytes());
        }
        if self.hosts.len() > HOSTS_MAX {
            let mut ranks: Vec<u64> = self.hosts.values().map(|known| known.rank).collect();
            let (_, cut, _) = ranks.select_nth_unstable_by(HOSTS_MAX, |one, other| other.cmp(one));
            let cut = *cut;
            self.hosts.retain(|_, known| known.rank > cut);
            self.floor = cut;
        }
    }

    fn first(&self, count: usize) -> Vec<(Ipv4Addr, HostUsage)> {
        let mut all: Vec<(Ipv4Addr, HostUsage)> =
            self.hosts.iter().map(|(host, known)| (*host, known.usage)).collect();
        all.sort_unstable_by_key(|(host, usage)| (std::cmp::Reverse(usage.bytes()), *host));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::Flow;

    fn source(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number)
    }

    fn entry(host: u32, port: u16) -> Entry {
        let tuple = Tuple {
            protocol: Protocol::Tcp,
            source: source(host),
            destination: Ipv4Addr::new(203, 0, 113, 10),
            source_port: port,
            destination_port: 443,
        };
        let flow = Flow {
            tuple,
            translated_port: port,
            seen_reply: true,
            assured: true,
            tcp: None,
            timeout_s: 30,
            mark: 0,
        };
        Entry { landing: Ipv4Addr::new(10, 0, 0, 1), flow }
    }

    fn listing(talkers: &mut Talkers, all: &[(u32, u16, u64)]) {
        let mut listing = talkers.listing();
        for (host, port, bytes) in all {
            listing.count(&entry(*host, *port), Usage { sent: *bytes, received: 2 * bytes });
        }
        listing.end(true);
    }

    fn usage(sent: u64, connections: u64) -> HostUsage {
        HostUsage { sent, received: 2 * sent, connections }
    }

    #[test]
    fn a_host_has_what_was_added_since_the_first_listing() {
        let mut talkers = Talkers::new(1);
        listing(&mut talkers, &[(2, 1, 1_000)]);
        assert_eq!(
            talkers.top().sources,
            [],
            "what it had before is of no time that was looked at"
        );
        listing(&mut talkers, &[(2, 1, 1_500), (2, 2, 70), (3, 1, 20)]);
        listing(&mut talkers, &[(2, 1, 1_500), (3, 1, 30)]);
        assert_eq!(talkers.top().sources, [(source(2), usage(570, 1))], "one is shown");
        let destination = (Ipv4Addr::new(203, 0, 113, 10), usage(600, 2));
        assert_eq!(talkers.top().destinations, [destination]);
        let totals = Totals { usage: usage(600, 2), established: 2, unfollowed: 0 };
        assert_eq!(talkers.top().totals, totals);
    }

    #[test]
    fn the_next_connection_with_the_same_ports_is_another_one() {
        let mut talkers = Talkers::new(1);
        listing(&mut talkers, &[]);
        listing(&mut talkers, &[(2, 1, 900)]);
        listing(&mut talkers, &[(2, 1, 100)]);
        assert_eq!(talkers.top().sources, [(source(2), usage(1_000, 2))]);
    }

    #[test]
    fn a_connection_that_an_incomplete_listing_lacks_does_not_count_again() {
        let mut talkers = Talkers::new(1);
        listing(&mut talkers, &[]);
        listing(&mut talkers, &[(2, 1, 900)]);
        talkers.listing().end(false);
        listing(&mut talkers, &[(2, 1, 900)]);
        assert_eq!(talkers.top().sources, [(source(2), usage(900, 1))]);
        listing(&mut talkers, &[]);
        assert!(talkers.connections.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_a_host_that_begins_to_send_much_comes_in() {
        let mut talkers = Talkers::new(1);
        listing(&mut talkers, &[]);
        let many = u32::try_from(HOSTS_MAX).unwrap() + 500;
        let all: Vec<_> = (0..many).map(|host| (host, 1, 1_000 + u64::from(host))).collect();
        listing(&mut talkers, &all);
        assert!(talkers.sources.hosts.len() <= HOSTS_MAX);
        assert!(!talkers.sources.hosts.contains_key(&source(0)));
        // Each of the others has more than this one, which has come just now.
        let late = many + 1;
        listing(&mut talkers, &[(late, 1, 900)]);
        assert_eq!(talkers.sources.hosts[&source(late)].usage, usage(900, 1));
        assert!(talkers.sources.hosts.len() <= HOSTS_MAX);
    }

    #[test]
    fn connections_that_are_too_many_are_counted() {
        let mut talkers = Talkers::new(1);
        let mut listing = talkers.listing();
        let ports = 1..=u16::MAX;
        let all = (0..3).flat_map(|host| ports.clone().map(move |port| (host, port)));
        for (host, port) in all {
            listing.count(&entry(host, port), Usage::default());
        }
        listing.end(true);
        let made = 3 * u64::from(u16::MAX);
        assert_eq!(talkers.top().totals.unfollowed, made - u64::try_from(CONNECTIONS_MAX).unwrap());
    }
}
