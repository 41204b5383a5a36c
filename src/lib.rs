//! natha: NAT instances on AWS that cover for each other.
//!
//! The crate is layered so that every decision is pure and every side effect is at the edge:
//! `failover`, `evidence`, `flows` and `plan` decide from their arguments alone and never read a
//! clock, a socket or a file; `daemon`, `kernel` and `cloud` carry the decisions out and report the
//! results.
//! The modules and their allowed imports are listed in `docs/ARCHITECTURE.md` and enforced by
//! `tests/tidy.rs`.

#[cfg(feature = "host")]
pub mod cli;
#[cfg(feature = "host")]
mod cloud;
pub mod cluster;
#[cfg(feature = "host")]
mod commands;
pub mod config;
#[cfg(feature = "host")]
mod daemon;
pub mod doctor;
pub mod evidence;
pub mod failover;
pub mod flows;
pub mod history;
#[cfg(feature = "host")]
pub mod kernel;
#[cfg(feature = "host")]
mod logging;
pub mod metrics;
pub mod notify;
pub mod plan;
pub mod policy;
pub mod record;
pub mod status;
pub mod types;
pub mod wire;
