//! The listings of what groups move besides routes, answered in Rust instead of XML: for
//! simulations, as those of `typed`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::addresses;
use super::error::ApiError;
use super::faults::Conduct;
use super::params::Params;
use super::principal::Principal;
use super::route53;
use super::world::World;
use super::xml::XmlBody;

/// Where an Elastic IP address is, as DescribeAddresses tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSeen {
    /// The interface.
    pub interface: String,
    /// The private address.
    pub private: Ipv4Addr,
}

/// Which interface a private address is on, as DescribeNetworkInterfaces tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateSeen {
    /// The interface.
    pub interface: String,
    /// Whether it is that interface's primary address, which cannot move.
    pub is_primary: bool,
}

/// An A record as ListResourceRecordSets tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSeen {
    /// Seconds.
    pub ttl: u32,
    /// What it says.
    pub addresses: Vec<Ipv4Addr>,
}

impl World {
    /// DescribeAddresses with a filter on these allocation ids: one that does not exist is absent,
    /// one that is associated with nothing has no place.
    ///
    /// # Errors
    /// As for the call.
    pub fn see_addresses(
        &mut self,
        principal: &Principal,
        allocations: &[String],
        conduct: &Conduct,
        now: Duration,
    ) -> Result<BTreeMap<String, Option<AddressSeen>>, ApiError> {
        let params = filter("allocation-id", allocations);
        self.recorded((principal, "DescribeAddresses", &params), conduct, now, |world, _| {
            let state = world.seen(conduct, now);
            let known = allocations.iter().filter(|id| state.allocations.contains_key(*id));
            let seen = known.map(|id| {
                let place = addresses::place_of(state, id);
                let place =
                    place.map(|it| AddressSeen { interface: it.interface, private: it.private });
                (id.clone(), place)
            });
            Ok(seen.collect())
        })
    }

    /// The interfaces that have these private addresses, and whether as their primary one:
    /// DescribeNetworkInterfaces with a filter on them. An address that nobody has is absent.
    ///
    /// # Errors
    /// As for the call.
    pub fn see_private(
        &mut self,
        principal: &Principal,
        addresses: &[Ipv4Addr],
        conduct: &Conduct,
        now: Duration,
    ) -> Result<BTreeMap<Ipv4Addr, PrivateSeen>, ApiError> {
        let values: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
        let params = filter("addresses.private-ip-address", &values);
        let call = (principal, "DescribeNetworkInterfaces", &params);
        self.recorded(call, conduct, now, |world, _| {
            let interfaces = world.seen(conduct, now).interfaces.values();
            let all = interfaces.flat_map(|one| one.addresses.iter().map(move |at| (one, *at)));
            let wanted = all.filter(|(_, address)| addresses.contains(address));
            let seen = wanted.map(|(one, address)| {
                let is_primary = one.address() == address;
                (address, PrivateSeen { interface: one.id.clone(), is_primary })
            });
            Ok(seen.collect())
        })
    }

    /// The A record of a name: ListResourceRecordSets of one record from there on.
    ///
    /// # Errors
    /// As for the call.
    pub fn see_record(
        &mut self,
        principal: &Principal,
        zone: &str,
        name: &str,
        conduct: &Conduct,
        now: Duration,
    ) -> Result<Option<RecordSeen>, ApiError> {
        let params = Params::new()
            .with("HostedZoneId", zone)
            .with("StartRecordName", name)
            .with("StartRecordType", "A")
            .with("MaxItems", 1);
        let call = (principal, "ListResourceRecordSets", &params);
        self.recorded(call, conduct, now, |world, _| {
            let found = route53::address_record(world.seen(conduct, now), zone, name)?;
            Ok(found.map(|(ttl, addresses)| RecordSeen { ttl, addresses }))
        })
    }

    /// Whether a change of records is in sync: GetChange.
    ///
    /// # Errors
    /// As for the call.
    pub fn see_in_sync(
        &mut self,
        principal: &Principal,
        change: &str,
        conduct: &Conduct,
        now: Duration,
    ) -> Result<bool, ApiError> {
        let params = Params::new().with("Id", change);
        self.recorded((principal, "GetChange", &params), conduct, now, |world, _| {
            Ok(route53::find_change(world.seen(conduct, now), change)?.synced <= now)
        })
    }
}

/// The id of the change that ChangeResourceRecordSets has answered with.
#[must_use]
pub fn change_id(answer: &XmlBody) -> Option<&str> {
    answer.as_str().split(['<', '>']).find(|text| text.starts_with("/change/"))
}

fn filter(name: &str, values: &[String]) -> Params {
    let named = Params::new().with("Filter.1.Name", name);
    let values = values.iter().enumerate();
    values.fold(named, |all, (n, value)| all.with(&format!("Filter.1.Value.{}", n + 1), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::{InstanceSpec, WorldSettings};

    const AT: Duration = Duration::from_mins(1);
    const LATER: Duration = Duration::from_secs(70);

    #[test]
    fn what_moved_is_seen_and_what_was_is_seen_by_a_stale_read() {
        let mut world = World::new(WorldSettings::default());
        let (start, owner, fine) = (Duration::ZERO, Principal::Operator, Conduct::default());
        let vpc = world.create_vpc("10.0.0.0/16".parse().unwrap(), start).unwrap();
        let block = "10.0.0.0/24".parse().unwrap();
        let subnet = world.create_subnet(&vpc, block, "eu-central-1a", start).unwrap();
        let [a, b] = ["a", "b"].map(|name| {
            let node = world.run_instance(&InstanceSpec::new(name, &subnet), start).unwrap();
            world.primary_interface(&node).unwrap()
        });
        let floating = Ipv4Addr::new(10, 0, 0, 50);
        let (eip, _) = world.allocate_address(&[], start).unwrap();
        let ids = [eip.clone(), "eipalloc-00000001".to_owned()];
        assert_eq!(world.see_addresses(&owner, &ids, &fine, start).unwrap()[&eip], None);
        world.assign_private_address(&a, floating, start).unwrap();
        world.associate_address(&eip, &a, Some(floating), start).unwrap();
        world.assign_private_address(&b, floating, AT).unwrap();
        let at = |interface: &str| {
            Some(AddressSeen { interface: interface.to_owned(), private: floating })
        };
        let stale = Conduct { stale: Duration::from_secs(30), ..fine.clone() };
        let seen = world.see_addresses(&owner, &ids, &fine, LATER).unwrap();
        assert_eq!((seen.len(), &seen[&eip]), (1, &at(&b)), "an unknown id is absent");
        assert_eq!(world.see_addresses(&owner, &ids, &stale, LATER).unwrap()[&eip], at(&a));
        let nobody = Ipv4Addr::new(10, 0, 0, 51);
        let primary = world.private_addresses(&a).unwrap()[0];
        let wanted = [floating, primary, nobody];
        let on = |interface: &str, is_primary| PrivateSeen {
            interface: interface.to_owned(),
            is_primary,
        };
        let seen = world.see_private(&owner, &wanted, &fine, LATER).unwrap();
        assert_eq!(seen, BTreeMap::from([(floating, on(&b, false)), (primary, on(&a, true))]));
        let seen = world.see_private(&owner, &wanted, &stale, LATER).unwrap();
        assert_eq!(seen[&floating], on(&a, false));
        assert_eq!(world.history().len(), 5, "they are recorded as all calls are");
    }

    #[test]
    fn a_record_is_seen_at_once_and_its_change_in_sync_later() {
        let mut world = World::new(WorldSettings::default());
        let (owner, fine) = (Principal::Operator, Conduct::default());
        let zone = world.create_hosted_zone("example.test", Duration::ZERO).unwrap();
        let see = |world: &mut World, name| world.see_record(&owner, &zone, name, &fine, LATER);
        let params = Params::new()
            .with("HostedZoneId", &zone)
            .with("Change.1.Action", "UPSERT")
            .with("Change.1.Name", "db.example.test")
            .with("Change.1.Type", "A")
            .with("Change.1.TTL", 5)
            .with("Change.1.Value.1", "192.0.2.1");
        let made = world.call(&owner, "ChangeResourceRecordSets", &params, AT).unwrap();
        let id = change_id(&made).unwrap();
        let seen = RecordSeen { ttl: 5, addresses: vec![Ipv4Addr::new(192, 0, 2, 1)] };
        assert_eq!(see(&mut world, "DB.example.test.").unwrap(), Some(seen));
        assert_eq!(see(&mut world, "a.example.test").unwrap(), None);
        let mut in_sync = |at| world.see_in_sync(&owner, id, &fine, at).unwrap();
        assert!(!in_sync(AT + Duration::from_millis(1_999)));
        assert!(in_sync(AT + Duration::from_secs(2)));
        assert_eq!(world.see_in_sync(&owner, "C1", &fine, LATER).unwrap_err().code, "NoSuchChange");
    }
}
