//! Instances: a root disk, a network and processes of their own, and power.

pub mod container;
pub mod init;
pub mod machine;
pub mod processes;
