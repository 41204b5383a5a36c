//! The VPC as packets meet it: a router that follows the route tables, security groups and
//! source/dest checks, an internet gateway, and an internet behind it.

pub mod dns;
pub mod fabric;
pub mod faults;
pub mod filter;
pub mod internet;
pub mod nat_gateway;
pub mod netns;
pub mod plan;
pub mod resolver;
pub mod routes;
