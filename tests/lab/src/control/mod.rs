//! How a lab is steered: JSON over HTTP on a Unix socket in the lab's directory.

pub mod client;
pub mod protocol;
pub mod server;
