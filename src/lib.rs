//! natha: NAT instances on AWS that cover for each other.
//!
//! The crate is layered so that every decision is pure and every side effect is at the edge:
//! `failover` and `plan` decide from what they are told and never read a clock, a socket or a
//! file; `daemon`, `kernel` and `cloud` do what they decided and report back. The map of modules
//! and who may import whom is in `docs/ARCHITECTURE.md`, and `tests/tidy.rs` enforces it.

#[cfg(feature = "host")]
pub mod cli;
#[cfg(feature = "host")]
pub mod cloud;
pub mod cluster;
#[cfg(feature = "host")]
pub mod commands;
pub mod config;
#[cfg(feature = "host")]
pub mod daemon;
pub mod failover;
#[cfg(feature = "host")]
pub mod kernel;
#[cfg(feature = "host")]
pub mod logging;
pub mod plan;
pub mod policy;
pub mod record;
pub mod status;
pub mod types;
pub mod wire;
