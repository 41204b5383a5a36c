//! Where a resource points: the one type for it, from EC2's answer to the holder in the cluster.

use serde::{Deserialize, Serialize};

use super::{InstanceId, Member, Resource, RouteEntry, RouteTarget};

/// Where a resource points. `T` says how a target is expressed: a [`RouteTarget`] as EC2 and
/// Route 53 name it, a [`RouteEntry`] with the state of the route, or a `Holder` in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Location<T = RouteTarget> {
    /// It does not exist and cannot be written: no such route table, allocation, subnet or hosted
    /// zone.
    Absent,
    /// It has no target: no such route or record, not assigned, not associated, or not on the
    /// private IP that it belongs to (a member's primary one, unless another is named).
    Vacant,
    /// This node's own change is accepted and not yet visible everywhere (Route 53: `PENDING`).
    Pending,
    /// It has this target.
    At(T),
}

/// What a target is to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A member's interface or address.
    Member {
        node: InstanceId,
        /// Whether EC2 says that the route drops its packets (`State` = `blackhole`).
        blackhole: bool,
    },
    /// Not a member's.
    Foreign { target: RouteTarget, blackhole: bool },
}

impl<T> Location<T> {
    /// The same location with its target converted.
    pub(crate) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Location<U> {
        match self {
            Self::Absent => Location::Absent,
            Self::Vacant => Location::Vacant,
            Self::Pending => Location::Pending,
            Self::At(target) => Location::At(convert(target)),
        }
    }
}

impl Location<RouteEntry> {
    /// Who of `members` holds `resource`, which points here. A route that drops its packets and
    /// whose target is no member's is vacant: an interface or a NAT gateway that was deleted, for
    /// example.
    pub(crate) fn resolve<'a>(
        self,
        resource: &Resource,
        members: impl IntoIterator<Item = &'a Member>,
    ) -> Location<Holder> {
        let entry = match self {
            Self::At(entry) => entry,
            Self::Absent => return Location::Absent,
            Self::Vacant => return Location::Vacant,
            Self::Pending => return Location::Pending,
        };
        let RouteEntry { target, blackhole } = entry;
        let mut members = members.into_iter();
        match members.find(|member| resource.target(member).as_ref() == Some(&target)) {
            Some(member) => Location::At(Holder::Member { node: member.id.clone(), blackhole }),
            None if blackhole => Location::Vacant,
            None => Location::At(Holder::Foreign { target, blackhole }),
        }
    }
}

impl Location<Holder> {
    /// The member that holds it, if one does.
    pub(crate) fn member(&self) -> Option<&InstanceId> {
        match self {
            Self::At(Holder::Member { node, .. }) => Some(node),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u8) -> Member {
        Member {
            id: format!("i-{n:08x}").parse().unwrap(),
            interface: format!("eni-{n:08x}").parse().unwrap(),
            address: [10, 0, 0, n].into(),
            zone: None,
            name: None,
            public: None,
            loses_public: false,
            landings: std::collections::BTreeMap::new(),
        }
    }

    fn resolved(target: RouteTarget, blackhole: bool) -> Location<Holder> {
        let table = "rtb-00000001".parse().unwrap();
        let resource = Resource::DefaultRoute { table, cidr: "0.0.0.0/0".parse().unwrap() };
        let entry = RouteEntry { target, blackhole };
        Location::At(entry).resolve(&resource, &[member(1), member(2)])
    }

    fn interface(n: u8) -> RouteTarget {
        RouteTarget::Interface(member(n).interface)
    }

    #[test]
    fn a_members_interface_resolves_to_the_member_even_as_a_blackhole() {
        for blackhole in [false, true] {
            let location = resolved(interface(2), blackhole);
            assert_eq!(location, Location::At(Holder::Member { node: member(2).id, blackhole }));
            assert_eq!(location.member(), Some(&member(2).id));
        }
    }

    #[test]
    fn a_route_out_of_the_cluster_is_foreign_and_vacant_once_it_is_a_blackhole() {
        let gateway = |id: &str| RouteTarget::Other(id.to_owned());
        let targets = ["nat-00000001", "tgw-00000001", "pcx-00000001", "i-00000009"].map(gateway);
        for target in targets.into_iter().chain([interface(9)]) {
            assert_eq!(resolved(target.clone(), true), Location::Vacant);
            let location = resolved(target.clone(), false);
            assert_eq!(location, Location::At(Holder::Foreign { target, blackhole: false }));
            assert_eq!(location.member(), None);
        }
    }

    #[test]
    fn a_record_resolves_by_address() {
        let (zone, name) = ("Z1".parse().unwrap(), "db.example.com".parse().unwrap());
        let record = Resource::Dns { zone, name, ttl: 60, public: false };
        let at = Location::At(RouteTarget::Address([10, 0, 0, 1].into()));
        let location = at.map(RouteEntry::active).resolve(&record, &[member(1)]);
        assert_eq!(location.member(), Some(&member(1).id));
    }

    #[test]
    fn what_has_no_target_stays_so() {
        let private = Resource::PrivateIp { address: [10, 0, 0, 9].into() };
        for (raw, location) in [
            (Location::Absent, Location::Absent),
            (Location::Vacant, Location::Vacant),
            (Location::Pending, Location::Pending),
        ] {
            assert_eq!(raw.resolve(&private, &[member(1)]), location);
        }
    }
}
