//! AWS on one machine: a simulated EC2 and a VPC of network namespaces, so that the unmodified
//! `natha` binary can be watched failing over with real packets and a real kernel, without an
//! AWS account.

pub mod applications;
pub mod bench;
pub mod capture;
pub mod chaos;
pub mod clock;
pub mod cluster;
pub mod control;
pub mod daemon;
pub mod dataplane;
pub mod ec2;
pub mod egress;
pub mod first;
pub mod greet;
pub mod guest;
pub mod hostile;
pub mod imds;
pub mod lab;
pub mod launch;
pub mod meter;
pub mod net;
pub mod patterns;
pub mod process;
pub mod scene;
pub mod services;
pub mod soak;
pub mod spec;
pub mod story;
pub mod survival;
pub mod whereabouts;

pub use control::protocol::{NetChange, Output, Status, Timeline};
pub use lab::Lab;
pub use net::faults::{Block, Traffic};
pub use scene::Scene;
pub use spec::{Ec2Spec, HostSpec, Role, Spec};
