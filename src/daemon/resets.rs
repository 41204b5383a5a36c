//! Which private hosts get a TCP reset when they continue a connection that this node's kernel does
//! not know.
//!
//! Such a connection was idle until the kernel forgot it, or another node has served it until now.
//! One of another node may live on, and must not be reset. So the hosts of a group get resets only
//! once this node has served the group for longer than the kernel keeps an idle connection. Any
//! doubt begins that time anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::config::Host;
use crate::failover::{EgressGroup, ServedGroup};
use crate::types::{EgressId, GroupName, Time};

/// EC2 may deliver packets to the earlier holder for some seconds after it has accepted a move.
const SPARE: Duration = Duration::from_secs(30);

/// Where the egress IPs are.
#[derive(Debug, Clone, Copy)]
pub(super) struct EgressHere<'a> {
    pub(super) groups: &'a [EgressGroup],
    /// When each landing address got its egress IP.
    pub(super) arrived: &'a BTreeMap<Ipv4Addr, Time>,
    /// The egress IPs whose connections are being inserted.
    pub(super) inserting: &'a BTreeSet<EgressId>,
}

impl EgressHere<'_> {
    /// Since when all egress IPs of a group are here, zero if it has none; none if they are not, or
    /// if connections are still being inserted.
    fn since(&self, name: &GroupName) -> Option<Time> {
        let Some(group) = self.groups.iter().find(|group| group.name == *name) else {
            return Some(Time::default());
        };
        let is_inserting = group.ips.iter().any(|ip| self.inserting.contains(&ip.id));
        if !group.is_complete || is_inserting {
            return None;
        }
        let mut arrivals = group.ips.iter().map(|ip| self.arrived.get(&ip.landing));
        arrivals.try_fold(Time::default(), |latest, at| at.map(|at| latest.max(*at)))
    }
}

/// The groups that this node serves.
#[derive(Debug)]
pub(super) struct Resets {
    /// How long a group must have been served; none if nothing is reset.
    after: Option<Duration>,
    /// Each group's networks, and since when all of them are served without interruption.
    served: BTreeMap<GroupName, (Vec<Ipv4Net>, Time)>,
}

impl Resets {
    pub(super) fn new(host: &Host) -> Self {
        let after = host.reset_idle.then(|| host.established_timeout + SPARE);
        Self { after, served: BTreeMap::new() }
    }

    /// Takes in which groups are served.
    pub(super) fn take(&mut self, served: &[ServedGroup], now: Time) {
        let before = std::mem::take(&mut self.served);
        for ServedGroup { name, networks, since } in served {
            let known = before.get(name).filter(|(known, _)| {
                networks.iter().all(|network| known.iter().any(|one| one.contains(network)))
            });
            let since = known.map_or(now, |(_, before)| (*since).max(*before));
            self.served.insert(name.clone(), (networks.clone(), since));
        }
    }

    /// Whether the groups are served long enough on a host that tracks idle connections for so
    /// long. It may have been set up with another setting than this monitor's.
    pub(super) fn outlast(&self, tracked: Option<Duration>) -> bool {
        self.after.zip(tracked).is_some_and(|(after, tracked)| tracked + SPARE <= after)
    }

    /// The networks whose hosts get resets, without overlaps.
    pub(super) fn networks(&self, here: EgressHere<'_>, now: Time) -> Vec<Ipv4Net> {
        let due = self.times(here).filter(|(_, at)| *at <= now);
        let networks: Vec<Ipv4Net> = due.flat_map(|(networks, _)| networks).copied().collect();
        Ipv4Net::aggregate(&networks)
    }

    /// Whether hosts are to get resets later, if nothing happens.
    pub(super) fn are_coming(&self, here: EgressHere<'_>, now: Time) -> bool {
        self.times(here).any(|(_, at)| at > now)
    }

    /// Each group's networks, and from when their hosts get resets.
    fn times(&self, here: EgressHere<'_>) -> impl Iterator<Item = (&Vec<Ipv4Net>, Time)> {
        self.served.iter().filter_map(move |(name, (networks, since))| {
            Some((networks, here.since(name)?.max(*since) + self.after?))
        })
    }
}

/// What is in one of `networks` and in one of `sources`.
pub(super) fn within(networks: &[Ipv4Net], sources: &[Ipv4Net]) -> Vec<Ipv4Net> {
    let mut found = Vec::new();
    for one in networks {
        for other in sources {
            if other.contains(one) {
                found.push(*one);
            } else if one.contains(other) {
                found.push(*other);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::failover::EgressIp;
    use crate::types::Egress;

    const LANDING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 201);
    /// The default of the timeout, and what is added to it.
    const AFTER: u64 = 380;

    fn at(seconds: u64) -> Time {
        Time::from_boot(Duration::from_secs(seconds))
    }

    fn nets(list: &[&str]) -> Vec<Ipv4Net> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn served(networks: &[&str], since: u64) -> ServedGroup {
        ServedGroup { name: "a".parse().unwrap(), networks: nets(networks), since: at(since) }
    }

    fn id() -> EgressId {
        EgressId::from(&"eipalloc-00000001".parse().unwrap())
    }

    fn egress(is_complete: bool) -> EgressGroup {
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let ip = EgressIp { id: id(), address, landing: LANDING, is_here: true, is_coming: false };
        let egress = Egress { sources: nets(&["10.0.100.0/24"]), strict: false };
        EgressGroup { name: "a".parse().unwrap(), egress, ips: vec![ip], is_complete, relay: None }
    }

    fn resets() -> Resets {
        Resets::new(&Settings::default().host)
    }

    /// The networks of a cluster without egress IPs whose hosts get resets at a time.
    fn reset_at(resets: &Resets, seconds: u64) -> Vec<Ipv4Net> {
        let (arrived, inserting) = (BTreeMap::new(), BTreeSet::new());
        let here = EgressHere { groups: &[], arrived: &arrived, inserting: &inserting };
        let found = resets.networks(here, at(seconds));
        assert_eq!(resets.are_coming(here, at(seconds)), found.is_empty());
        found
    }

    #[test]
    fn hosts_get_resets_once_their_group_was_served_for_longer_than_idle_connections_are_kept() {
        let mut resets = resets();
        resets.take(&[served(&["10.0.100.0/24"], 0)], at(1_000));
        assert_eq!(reset_at(&resets, 1_000 + AFTER - 1), []);
        assert_eq!(reset_at(&resets, 1_000 + AFTER), nets(&["10.0.100.0/24"]));
        resets.take(&[], at(2_000));
        let (arrived, inserting) = (BTreeMap::new(), BTreeSet::new());
        let here = EgressHere { groups: &[], arrived: &arrived, inserting: &inserting };
        assert_eq!(resets.networks(here, at(9_000)), []);
        assert!(!resets.are_coming(here, at(9_000)));
    }

    #[test]
    fn a_move_that_is_over_before_it_is_noticed_begins_the_time_anew() {
        let mut resets = resets();
        resets.take(&[served(&["10.0.100.0/24"], 0)], at(1_000));
        resets.take(&[served(&["10.0.100.0/24"], 1_300)], at(1_310));
        assert_eq!(reset_at(&resets, 1_300 + AFTER - 1), []);
        assert_eq!(reset_at(&resets, 1_300 + AFTER), nets(&["10.0.100.0/24"]));
    }

    #[test]
    fn an_interruption_begins_the_time_anew_whatever_the_group_s_last_move_was() {
        let mut resets = resets();
        for now in [1_000, 1_200] {
            resets.take(&[served(&["10.0.100.0/24"], 0)], at(now));
        }
        assert_eq!(reset_at(&resets, 1_000 + AFTER), nets(&["10.0.100.0/24"]));
        resets.take(&[], at(1_500));
        resets.take(&[served(&["10.0.100.0/24"], 0)], at(1_501));
        assert_eq!(reset_at(&resets, 1_501 + AFTER - 1), []);
    }

    #[test]
    fn a_subnet_that_is_added_begins_the_time_anew_and_one_that_goes_does_not() {
        let mut resets = resets();
        resets.take(&[served(&["10.0.100.0/23"], 0)], at(1_000));
        resets.take(&[served(&["10.0.101.0/24"], 0)], at(1_100));
        assert_eq!(reset_at(&resets, 1_000 + AFTER), nets(&["10.0.101.0/24"]));
        resets.take(&[served(&["10.0.101.0/24", "10.0.103.0/24"], 0)], at(2_000));
        assert_eq!(reset_at(&resets, 2_000 + AFTER - 1), []);
    }

    #[test]
    fn a_group_with_egress_ips_also_waits_for_these_and_for_insertions() {
        let mut resets = resets();
        resets.take(&[served(&["10.0.100.0/24"], 0)], at(1_000));
        let (none, inserting) = (BTreeSet::new(), BTreeSet::from([id()]));
        let (nowhere, arrived) = (BTreeMap::new(), BTreeMap::from([(LANDING, at(1_200))]));
        let found = |is_complete, arrived, inserting, seconds| {
            let groups = [egress(is_complete)];
            let here = EgressHere { groups: &groups, arrived, inserting };
            !resets.networks(here, at(seconds)).is_empty()
        };
        assert!(!found(true, &nowhere, &none, 9_000), "it has not arrived");
        assert!(!found(true, &arrived, &none, 1_200 + AFTER - 1));
        assert!(found(true, &arrived, &none, 1_200 + AFTER));
        assert!(!found(false, &arrived, &none, 9_000), "another one cannot be here");
        assert!(!found(true, &arrived, &inserting, 9_000), "connections are being inserted");
    }

    #[test]
    fn nothing_is_reset_where_that_is_turned_off() {
        let host = Host { reset_idle: false, ..Settings::default().host };
        let mut resets = Resets::new(&host);
        resets.take(&[served(&["10.0.100.0/24"], 0)], at(1_000));
        let (arrived, inserting) = (BTreeMap::new(), BTreeSet::new());
        let here = EgressHere { groups: &[], arrived: &arrived, inserting: &inserting };
        assert!(resets.networks(here, at(9_000)).is_empty());
        assert!(!resets.are_coming(here, at(1_001)));
    }

    #[test]
    fn a_host_that_tracks_idle_connections_for_longer_than_the_setting_resets_none() {
        let resets = resets();
        assert!(resets.outlast(Some(Duration::from_secs(350))));
        assert!(!resets.outlast(Some(Duration::from_mins(124))));
        assert!(!resets.outlast(None));
    }

    #[test]
    fn only_sources_that_are_translated_count() {
        let networks = nets(&["10.0.100.0/24", "10.0.101.0/24", "10.9.0.0/16"]);
        let sources = nets(&["10.0.100.0/25", "10.0.101.0/24", "10.8.0.0/13"]);
        let wanted = nets(&["10.0.100.0/25", "10.0.101.0/24", "10.9.0.0/16"]);
        assert_eq!(within(&networks, &sources), wanted);
        assert_eq!(within(&networks, &nets(&["10.0.102.0/24"])), []);
    }
}
