//! The simulation of replication: the owners' and the heirs' ends that ship, `natha::flows`, around
//! the connection tracking of simulated hosts and over streams that stall, break and are attacked.
//!
//! Two or three nodes share two egress IPs. Every node is an owner of those that it has and an heir
//! of all others. Hosts crash and boot, monitors restart, kernels lose their news, the cluster key
//! is replaced, and egress IPs move, as planned and by takeovers. A run is the same for the same
//! seed. What each run is held to is in `rules.rs`.

mod chaos;
mod command;
mod hosts;
mod kernel;
mod moves;
mod names;
mod node;
mod rules;
mod streams;
mod world;

pub use chaos::{Storm, storm};
pub use command::{Options, command};
pub use rules::Tried;
