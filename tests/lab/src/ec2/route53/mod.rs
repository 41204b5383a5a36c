//! Route 53: the calls that move a record, and what the name servers answer meanwhile.

mod batch;
mod listing;
#[cfg(feature = "host")]
pub(super) mod rest;
mod tree;
mod zone;

pub(super) use batch::change;
pub(super) use listing::{find_change, get_change, get_zone, list_records, list_zones};
pub(super) use zone::Zone;

use std::net::Ipv4Addr;
use std::time::Duration;

use super::error::ApiError;
use super::model::State;
use super::world::World;
use crate::dataplane::Lookup;

/// Route 53 marks the ends of its ids' names with these; they are no part of the ids.
const ZONE_PREFIX: &str = "/hostedzone/";
const CHANGE_PREFIX: &str = "/change/";

/// An id without its kind in front.
pub(super) fn bare_id(id: &str) -> &str {
    let id = id.strip_prefix(ZONE_PREFIX).or_else(|| id.strip_prefix(CHANGE_PREFIX)).unwrap_or(id);
    id.trim_start_matches('/')
}

fn zone<'a>(state: &'a State, id: &str) -> Result<&'a Zone, ApiError> {
    state.zones.get(bare_id(id)).ok_or_else(|| no_such_zone(id))
}

/// The TTL and the addresses of a name's A record, where it has one.
pub(super) fn address_record(
    state: &State,
    id: &str,
    name: &str,
) -> Result<Option<(u32, Vec<Ipv4Addr>)>, ApiError> {
    Ok(zone(state, id)?.address_record(name))
}

fn no_such_zone(id: &str) -> ApiError {
    let message = format!("No hosted zone found with ID: {}", bare_id(id));
    ApiError::new(404, "NoSuchHostedZone", message)
}

fn invalid_input(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidInput", message)
}

impl World {
    /// Makes a public hosted zone, outside the history, rates and faults; returns its id, `Z…`.
    ///
    /// # Errors
    /// `InvalidDomainName` where it is none.
    pub fn create_hosted_zone(&mut self, name: &str, now: Duration) -> Result<String, ApiError> {
        self.set_up(now, |state, _| {
            let Some(name) = zone::full_name(name) else {
                let message =
                    format!("'{name}' is not a domain name of letters, digits and dashes");
                return Err(ApiError::client("InvalidDomainName", message));
            };
            let id = format!("Z0{:016X}", state.random());
            state.zones.insert(id.clone(), Zone::new(&id, &name));
            Ok(id)
        })
    }

    /// Gives a hosted zone another id.
    ///
    /// # Errors
    /// `NoSuchHostedZone`.
    pub fn rename_hosted_zone(
        &mut self,
        from: &str,
        to: &str,
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            let mut found = state.zones.remove(from).ok_or_else(|| no_such_zone(from))?;
            to.clone_into(&mut found.id);
            state.zones.insert(to.to_owned(), found);
            Ok(())
        })
    }

    /// Sets an A record as its owner would have long ago: the name servers have it at once.
    ///
    /// # Errors
    /// `NoSuchHostedZone`, or `InvalidInput` where the name is not in the zone.
    pub fn put_record(
        &mut self,
        zone: &str,
        name: &str,
        ttl: u32,
        addresses: &[Ipv4Addr],
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            let found = state.zones.get_mut(bare_id(zone)).ok_or_else(|| no_such_zone(zone))?;
            found.put(name, ttl, addresses)
        })
    }

    /// The addresses of a name's A record according to the API, whether or not the name servers
    /// have it yet; none where there is no such record.
    #[must_use]
    pub fn record_at(&self, zone: &str, name: &str) -> Option<Vec<Ipv4Addr>> {
        let found = address_record(&self.state, zone, name).ok().flatten();
        found.map(|(_, addresses)| addresses)
    }

    /// What the name servers and resolvers answer about a name now.
    #[must_use]
    pub fn resolve(&self, name: &str, now: Duration) -> Lookup {
        let Some(name) = zone::full_name(name) else { return Lookup::Unknown };
        let mut zones: Vec<&Zone> =
            self.state.zones.values().filter(|zone| zone.contains(&name)).collect();
        zones.sort_by_key(|zone| zone.name().len());
        zones.last().map_or(Lookup::Unknown, |zone| zone.lookup(&name, now))
    }
}
