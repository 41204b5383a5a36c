//! EC2, Route 53, SNS and the instance metadata service: the few calls that natha needs, with
//! natha's own types; and the HTTPS client that they use.
//!
//! No AWS type leaves this module, and it retries no change: the code that decided on a change also
//! decides on a retry. Only a request that stays without a reply is sent again, within the time
//! limit of its call (`hedge`).

mod clouds;
mod convert;
mod dry_run;
mod ec2;
mod errors;
mod gate;
mod hedge;
mod holders;
mod https;
mod imds;
mod inspect;
mod notices;
mod resolver;
mod route53;
mod scratch;
mod sns;
mod survey;
mod whole;
mod writes;

pub(crate) use clouds::Clouds;
pub(crate) use dry_run::{Attempt, DryRun};
pub(crate) use ec2::{Connections, Ec2};
pub(crate) use gate::Gate;
pub(crate) use holders::Association;
pub(crate) use https::{Https, Reply};
pub(crate) use imds::{Identity, Imds, ImdsFault, OwnInterface};
pub(crate) use notices::Notice;
pub(crate) use sns::publish;
pub(crate) use survey::Expected;
pub(crate) use writes::Sent;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod hedge_tests;
#[cfg(test)]
mod replies_tests;
#[cfg(test)]
mod tests;
