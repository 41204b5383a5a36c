//! What must hold of groups while nothing is wrong: each is with one node as a whole, the hosts
//! carry the addresses of what they hold and of nothing else, and translate to the egress IPs that
//! they have and to no others.

use std::time::Duration;

use natha::failover::Machine;
use natha::types::Resource;

use super::account::Part;
use super::cluster::Sim;

/// How long a group may be in two parts while all nodes are well and hear each other: until a read
/// shows it, the patience with a split group, and the calls.
const JOINED: Duration = Duration::from_secs(30);
/// How long a host may carry addresses that it does not hold: while it is promised them or takes
/// them, for the pace of reads, and for as long as a read may be older than a promise.
const CARRIED: Duration = Duration::from_secs(20);

/// How often hosts are looked at.
const LOOK: Duration = Duration::from_secs(1);

impl Sim {
    /// Whether everything has worked for a while.
    fn is_quiet(&self) -> bool {
        let all = 0..self.nodes.len();
        all.clone().all(|n| self.is_calm(n) && !self.nodes[n].watch.leaving)
            && all.clone().all(|a| all.clone().all(|b| self.is_connected(a, b)))
    }

    /// Takes down how groups are, and judges those that have been so for long.
    pub(super) fn watch_groups(&mut self) {
        let is_quiet = self.is_quiet();
        for of in 0..self.groups.len() {
            let is_split = is_quiet && self.is_split(of);
            let now = self.now;
            let since = &mut self.split_since[of];
            *since = if is_split { since.or(Some(now)) } else { None };
            if since.is_some_and(|since| now.since(since) >= JOINED) {
                *since = None;
                self.breach(&format!("group {of} is in parts: {}", self.placed(of)));
            }
        }
        if !is_quiet {
            self.carried_since.clear();
        } else if self.now >= self.hosts_due {
            self.hosts_due = self.now + LOOK;
            self.judge_hosts();
            self.judge_egress();
        }
    }

    /// Whether two nodes have parts of group `of`. What leads out of the cluster is somebody's
    /// purpose.
    fn is_split(&self, of: usize) -> bool {
        let mut holders = self.parts(of).filter_map(|part| part.holder);
        holders.next().is_some_and(|first| holders.any(|holder| holder != first))
    }

    /// Watches the cluster at rest for `ms` milliseconds: every group is with one node as a whole,
    /// nothing is written, and nothing is without service. What is not so, in words.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn rests(&mut self, ms: u64) -> Result<(), String> {
        let outages = |sim: &Self| -> Vec<u128> {
            (0..sim.groups.len()).map(|of| sim.outage_ms(of)).collect()
        };
        if let Some(of) = (0..self.groups.len()).find(|of| self.holder(*of).is_none()) {
            return Err(format!("group {of} is in parts: {}", self.placed(of)));
        }
        let (since, before) = (self.now, outages(self));
        self.run(ms);
        let writes = self.writes_since(since);
        if writes > 0 {
            return Err(format!("{writes} changes though nothing is wrong"));
        }
        if before == outages(self) { Ok(()) } else { Err("an outage without a fault".to_owned()) }
    }

    /// Where the parts of group `of` are, for people.
    #[must_use]
    pub fn placed(&self, of: usize) -> String {
        let place = |part: &Part| {
            let holder = part.holder.map_or("no node".to_owned(), |n| format!("node {n}"));
            format!("{} at {holder}", part.resource)
        };
        self.parts(of).map(place).collect::<Vec<String>>().join(", ")
    }

    /// Judges which hosts translate to each egress IP: after [`CARRIED`], the one that has it.
    fn judge_egress(&mut self) {
        for n in 0..self.nodes.len() {
            let machine = self.nodes[n].machine.as_ref();
            let Some(groups) = machine.and_then(|machine| machine.egress(self.now)) else {
                continue;
            };
            let here = groups.iter().flat_map(|group| &group.ips);
            let here: Vec<_> = here.filter(|ip| ip.is_here).map(|ip| ip.address).collect();
            for at in 0..self.parts.len() {
                let part = &self.parts[at];
                let Resource::EgressIp { address, .. } = part.resource else { continue };
                let is_settled = self.now.since(part.since) >= CARRIED;
                if is_settled && here.contains(&address) != (part.holder == Some(n)) {
                    self.breach(&format!(
                        "node {n} translates to {address}: {}",
                        self.placed(part.group)
                    ));
                }
            }
        }
    }

    /// Judges whose hosts carry the addresses of each group.
    fn judge_hosts(&mut self) {
        let of_hosts = |of: &usize| self.groups[*of].traits.prepared;
        let held: Vec<(usize, usize)> = (0..self.groups.len())
            .filter(of_hosts)
            .filter_map(|of| Some((of, self.holder(of)?)))
            .collect();
        for n in 0..self.nodes.len() {
            let machine = self.nodes[n].machine.as_ref();
            let Some(must_carry) = machine.map(Machine::must_carry) else { continue };
            for (of, holder) in &held {
                let carries = must_carry.get(&self.groups[*of].name).copied();
                if carries == Some(*holder == n) {
                    self.carried_since.remove(&(n, *of));
                    continue;
                }
                let since = *self.carried_since.entry((n, *of)).or_insert(self.now);
                if self.now.since(since) >= CARRIED {
                    self.carried_since.remove(&(n, *of));
                    self.breach(&format!(
                        "node {n} carries the addresses of group {of}, which node {holder} holds: \
                         {carries:?}"
                    ));
                }
            }
        }
    }
}
