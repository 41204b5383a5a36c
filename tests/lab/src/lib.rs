//! AWS on one machine: a simulated EC2 and a VPC of network namespaces, so that the unmodified
//! `natha` binary can be watched failing over with real packets and a real kernel, without an
//! AWS account. Without its feature `host` there is the simulated EC2 alone.

#![cfg_attr(
    not(feature = "host"),
    expect(dead_code, reason = "some of it is only for requests that come over a socket")
)]

#[cfg(feature = "host")]
pub mod applications;
#[cfg(feature = "host")]
pub mod bench;
#[cfg(feature = "host")]
pub mod bulk;
#[cfg(feature = "host")]
pub mod capture;
#[cfg(feature = "host")]
pub mod chaos;
#[cfg(feature = "host")]
pub mod clock;
#[cfg(feature = "host")]
pub mod cluster;
#[cfg(feature = "host")]
pub mod control;
#[cfg(feature = "host")]
pub mod daemon;
pub mod dataplane;
pub mod ec2;
#[cfg(feature = "host")]
pub mod egress;
#[cfg(feature = "host")]
pub mod fallback;
#[cfg(feature = "host")]
pub mod first;
#[cfg(feature = "host")]
pub mod full;
#[cfg(feature = "host")]
pub mod greet;
#[cfg(feature = "host")]
pub mod guest;
#[cfg(feature = "host")]
pub mod hostile;
#[cfg(feature = "host")]
pub mod imds;
#[cfg(feature = "host")]
pub mod lab;
#[cfg(feature = "host")]
pub mod launch;
#[cfg(feature = "host")]
pub mod meter;
#[cfg(feature = "host")]
pub mod net;
#[cfg(feature = "host")]
pub mod patterns;
#[cfg(feature = "host")]
pub mod process;
#[cfg(feature = "host")]
pub mod scene;
#[cfg(feature = "host")]
pub mod services;
#[cfg(feature = "host")]
pub mod soak;
#[cfg(feature = "host")]
pub mod spec;
#[cfg(feature = "host")]
pub mod story;
#[cfg(feature = "host")]
pub mod survival;
#[cfg(feature = "host")]
pub mod whereabouts;

#[cfg(feature = "host")]
pub use control::protocol::{NetChange, Output, Status, Timeline};
#[cfg(feature = "host")]
pub use lab::Lab;
#[cfg(feature = "host")]
pub use net::faults::{Block, Traffic};
#[cfg(feature = "host")]
pub use scene::Scene;
#[cfg(feature = "host")]
pub use spec::{Ec2Spec, HostSpec, Role, Spec};
