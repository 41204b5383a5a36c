//! The simulation: several real machines on one virtual clock, an unreliable network between them,
//! and the lab's EC2.
//!
//! A run is the same for the same seed. What each run is held to is in `rules.rs`.

mod account;
mod chaos;
mod cluster;
mod command;
mod ec2;
mod moved;
mod names;
mod net;
mod node;
mod noise;
mod outside;
mod plot;
mod prober;
mod queue;
mod recording;
mod report;
mod rules;
mod story;
mod study;
mod turns;
pub mod uplink;
mod weather;
mod whole;
mod workers;

pub use account::Part;
pub use chaos::{Made, Storm, storm};
pub use cluster::{Pair, Sim};
pub use command::{Options, command};
pub use ec2::{Api, Done, LIMIT, Mutation};
pub use names::{address, allocation, documented, egress, eni, id, many, roster, table};
pub use net::Burst;
pub use node::Node;
pub use noise::Noise;
pub use report::{Published, flat, table as choice};
pub use rules::Watch;
pub use study::{Cell, Spread, default_beats, measure_promise, promise, study, weathers};
pub use weather::{Beats, Calm, Death, Weather, calm, death};
pub use workers::side_by_side;
