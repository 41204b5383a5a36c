//! EC2, Route 53 and the instance metadata service: the few calls natha needs, in natha's own
//! words.
//!
//! No AWS type leaves this module, and nothing here repeats a call by itself: whoever decided on
//! a change decides on its repetition.

mod clouds;
mod convert;
mod ec2;
mod errors;
mod holders;
mod imds;
mod notices;
mod resolver;
mod route53;
mod survey;
mod whole;
mod writes;

pub(crate) use clouds::Clouds;
pub(crate) use ec2::{Connections, Ec2};
pub(crate) use imds::{Identity, Imds};
pub(crate) use notices::Notice;
pub(crate) use writes::{Gate, Sent};

#[cfg(test)]
mod fake;
#[cfg(test)]
mod replies_tests;
#[cfg(test)]
mod tests;
