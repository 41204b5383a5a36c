//! The simulated EC2's semantics, in virtual time.

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod consistency;
#[cfg(test)]
mod listings;
#[cfg(test)]
mod nat_gateways;
#[cfg(test)]
mod others;
#[cfg(test)]
mod power;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod route53;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod secondary;
