//! A faithful EC2: the Query API of the calls that natha and its set-up make, over a simulated
//! account whose states take time, whose answers can be stale and whose faults can be chosen.
//!
//! `World` is pure; `serve` puts it on a socket. See `docs/lab.md` for what is the same as in the
//! real EC2 and how that is tested.

mod actions;
mod addresses;
mod beyond;
mod blocks;
mod console;
mod error;
mod faults;
mod filter;
mod gateways;
mod groups;
mod instances;
mod interfaces;
mod listing;
mod model;
mod moved;
mod nat_gateways;
mod network;
mod offerings;
mod others;
mod params;
mod placing;
mod power;
mod principal;
mod route53;
mod routes;
mod secondary;
#[cfg(feature = "host")]
mod server;
mod service;
mod settings;
mod setup;
#[cfg(feature = "host")]
mod sign;
mod status;
mod tables;
mod tags;
mod throttle;
mod typed;
mod vpcs;
mod world;
mod xml;

pub use actions::names as action_names;
pub use console::Consoles;
pub use error::ApiError;
pub use faults::{Conduct, Fault, FaultRule, Faults};
pub use filter::Filter;
pub use model::{Health, Phase};
pub use moved::{AddressSeen, PrivateSeen, RecordSeen, change_id};
pub use params::Params;
pub use principal::{Credentials, Grant, Policy, Principal};
#[cfg(feature = "host")]
pub use server::{Clock, SharedWorld, serve};
pub use settings::{Timings, WorldSettings};
pub use setup::{InstanceSpec, Particulars, RouteVia};
pub use typed::{InstanceSeen, RouteSeen, TablesSeen};
pub use world::{CallRecord, World};
pub use xml::XmlBody;
