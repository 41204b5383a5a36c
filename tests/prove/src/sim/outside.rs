//! What lists of EC2 lack, and private IPs outside of the cluster: nothing is moved because an
//! answer lacked something.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use natha::failover::Action;
use natha::types::{Assignment, CloudFault, CloudFaultKind, Resource, ResourceKind};
use natha_lab::ec2::{ApiError, InstanceSpec};

use super::account::Part;
use super::cluster::Sim;
use super::ec2::{fault, refusal};

/// The private IP that a part is, if it is one.
fn private_ip(part: &Part) -> Option<Ipv4Addr> {
    match part.resource {
        Resource::PrivateIp { address } => Some(address),
        _ => None,
    }
}

impl Sim {
    /// Reads what natha reads of these: a list with a filter, then by ids what that lacks. `read`
    /// makes one of the two calls; its last argument says whether it is the second one.
    pub(super) fn see_all<K: Ord + Clone, V>(
        &mut self,
        call: &str,
        wanted: &[K],
        read: impl Fn(&mut Self, &[K], bool) -> Result<BTreeMap<K, V>, ApiError>,
    ) -> Result<BTreeMap<K, V>, CloudFault> {
        self.calls += 1;
        let mut found = read(self, wanted, false).map_err(|error| refusal(call, &error))?;
        let Self { omits, noise, .. } = self;
        found.retain(|_, _| !noise.chance(*omits));
        let missing: Vec<K> =
            wanted.iter().filter(|one| !found.contains_key(*one)).cloned().collect();
        if missing.is_empty() {
            return Ok(found);
        }
        self.calls += 1;
        if self.noise.chance(self.omits / 10) {
            return Err(fault(CloudFaultKind::Other, call, "an id is not in the answer"));
        }
        let by_id = read(self, &missing, true).map_err(|error| refusal(call, &error))?;
        found.extend(by_id);
        Ok(found)
    }

    /// The groups that have a private IP.
    pub fn with_private_ip(&self) -> impl Iterator<Item = usize> {
        (0..self.groups()).filter(|of| self.parts(*of).any(|part| private_ip(part).is_some()))
    }

    /// A person assigns the private IP of group `of` to an interface outside of the cluster.
    ///
    /// # Panics
    /// Where the group has none.
    pub fn give_outside(&mut self, of: usize) {
        let interface = self.outsider();
        self.give_private_ip(of, &interface);
    }

    /// A person assigns the private IP of group `of` to its home.
    ///
    /// # Panics
    /// Where the group has none.
    pub fn give_home(&mut self, of: usize) {
        let home = self.home(of).expect("the group has a home");
        let interface = self.members[home].interface.to_string();
        self.give_private_ip(of, &interface);
    }

    /// Whether the private IP of group `of` is outside of the cluster.
    #[must_use]
    pub fn is_outside(&self, of: usize) -> bool {
        self.parts(of).filter_map(private_ip).any(|address| self.outside.contains_key(&address))
    }

    fn give_private_ip(&mut self, of: usize, interface: &str) {
        let address = self.parts(of).find_map(private_ip).expect("the group has a private IP");
        let given = self.world.assign_private_address(interface, address, self.now.since_boot());
        given.expect("the account has the interface, and it is no primary address");
        self.refresh();
    }

    /// The interface outside of the cluster; it is made when it is first needed.
    fn outsider(&mut self) -> String {
        if let Some(interface) = &self.outsider {
            return interface.clone();
        }
        let now = self.now.since_boot();
        let spec = InstanceSpec::new("outsider", &self.subnet);
        let made = self.world.run_instance(&spec, now).expect("the account has the subnet");
        let (instance, interface) = ("i-0000ffff", "eni-0000ffff");
        let named = self.world.rename_instance(&made, instance, interface, now);
        named.expect("the instance was just made");
        self.outsider.insert(interface.to_owned()).clone()
    }

    /// Notes since when the interface outside of the cluster has had what it has.
    pub(super) fn note_outside(&mut self) {
        let Some(interface) = &self.outsider else { return };
        let there = self.world.private_addresses(interface).into_iter().flatten();
        let there: BTreeSet<Ipv4Addr> = there.copied().collect();
        self.outside.retain(|address, _| there.contains(address));
        for address in there {
            self.outside.entry(address).or_insert(self.now);
        }
    }

    /// Judges a private IP that a node asks for, which an interface outside of the cluster has had
    /// for so long that the node's last read could show that. Where the answer lacked it, the node
    /// may ask for it only on the condition that no interface has it.
    pub(super) fn check_outside(&mut self, by: usize, assignment: &Assignment, action: &Action) {
        let Resource::PrivateIp { address } = assignment.resource else { return };
        let Some(since) = self.outside.get(&address).copied() else { return };
        // A state that was superseded a moment before is not believed for as long as reads count.
        let shown_from = since + self.read_lag + self.timing.read_valid;
        let read_at = self.nodes[by].watch.read_at(ResourceKind::PrivateIp);
        if !assignment.only_if_free && read_at.is_some_and(|at| at >= shown_from) {
            self.breach(&format!("node {by} takes what an answer lacked: {action:?}"));
        }
    }
}
