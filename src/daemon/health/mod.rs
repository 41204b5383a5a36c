//! Whether this host can serve: checks that run for as long as the monitor does.
//!
//! A fault of the host makes the node unfit for all its groups; a failed service check makes it
//! unfit for one group.

pub(crate) mod allowances;
pub(crate) mod conntrack;
mod drift;
mod fitness;
mod growth;
pub(crate) mod host;
pub(crate) mod interruptions;
mod other_chains;
pub(crate) mod ports;
pub(crate) mod proof;
pub(crate) mod reach;
pub(crate) mod replies;
pub(crate) mod service_checks;

pub(crate) use fitness::FitnessBoard;
