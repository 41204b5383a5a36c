//! Setting addresses up in Rust, and seeing where they are, without the API.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::addresses;
use super::error::{self, ApiError};
use super::model::{Allocation, find};
use super::params::Params;
use super::secondary;
use super::world::World;

/// The set-up changes the account at once and outside the history, rates and faults.
impl World {
    /// Allocates an Elastic IP address; returns its allocation id and the address.
    ///
    /// # Errors
    /// `InsufficientAddressCapacity`.
    pub fn allocate_address(
        &mut self,
        tags: &[(&str, &str)],
        now: Duration,
    ) -> Result<(String, Ipv4Addr), ApiError> {
        let tags: BTreeMap<String, String> =
            tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.set_up(now, |state, ctx| {
            let id = addresses::add(state, ctx.settings, tags)?;
            let address = state.allocations[&id].address;
            Ok((id, address))
        })
    }

    /// Gives an Elastic IP address that is associated with nothing another allocation id.
    ///
    /// # Errors
    /// `InvalidAllocationID.NotFound`.
    pub fn rename_allocation(
        &mut self,
        from: &str,
        to: &str,
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            find(&state.allocations, &error::ALLOCATION, from)?;
            if let Some(found) = state.allocations.remove(from) {
                let renamed = Allocation { id: to.to_owned(), ..found };
                state.allocations.insert(to.to_owned(), renamed);
            }
            Ok(())
        })
    }

    /// Associates an Elastic IP address, from wherever it is, with a private address of an
    /// interface: the primary one where none is named. The VPC needs no gateway for that here.
    ///
    /// # Errors
    /// `InvalidAllocationID.NotFound`, `InvalidNetworkInterfaceID.NotFound`,
    /// `InvalidParameterValue` where the interface does not have the address.
    pub fn associate_address(
        &mut self,
        allocation: &str,
        interface: &str,
        private: Option<Ipv4Addr>,
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, ctx| {
            let found = find(&state.interfaces, &error::INTERFACE, interface)?;
            let private = private.unwrap_or_else(|| found.address());
            if !found.addresses.contains(&private) {
                return Err(ApiError::value(format!("{interface} does not have {private}")));
            }
            addresses::put(state, ctx.settings, allocation, interface, private).map(drop)
        })
    }

    /// Gives an interface an Elastic IP address on its primary private address.
    ///
    /// # Errors
    /// As `allocate_address` and `associate_address`.
    pub fn give_elastic_address(
        &mut self,
        interface: &str,
        now: Duration,
    ) -> Result<Ipv4Addr, ApiError> {
        let (allocation, address) = self.allocate_address(&[], now)?;
        self.associate_address(&allocation, interface, None, now)?;
        Ok(address)
    }

    /// Gives an interface a secondary private address, from whatever interface has it.
    ///
    /// # Errors
    /// As AssignPrivateIpAddresses.
    pub fn assign_private_address(
        &mut self,
        interface: &str,
        address: Ipv4Addr,
        now: Duration,
    ) -> Result<(), ApiError> {
        let params = Params::new()
            .with("NetworkInterfaceId", interface)
            .with("PrivateIpAddress.1", address)
            .with("AllowReassignment", true);
        self.set_up(now, |state, ctx| secondary::assign(state, ctx, &params).map(drop))
    }

    /// The interface and the private address that an Elastic IP address is associated with
    /// according to the API, whether or not packets meet it yet.
    #[must_use]
    pub fn address_at(&self, allocation: &str) -> Option<(String, Ipv4Addr)> {
        addresses::place_of(&self.state, allocation).map(|it| (it.interface, it.private))
    }

    /// The private addresses of an interface according to the API, the primary one first.
    #[must_use]
    pub fn private_addresses(&self, interface: &str) -> Option<&[Ipv4Addr]> {
        Some(&self.state.interfaces.get(interface)?.addresses)
    }
}
