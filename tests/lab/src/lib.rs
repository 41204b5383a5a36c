//! AWS on one machine: a simulated EC2 and a VPC of network namespaces, so that the unmodified
//! `natha` binary can be watched failing over with real packets and a real kernel, without an
//! AWS account.

pub mod dataplane;
pub mod ec2;
