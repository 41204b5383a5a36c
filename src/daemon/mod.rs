//! Brings the decisions to life: one loop thread, and everything slow around it.

mod clock;
mod exchange;
mod executors;
mod fitness;
mod herald;
mod http;
mod icmp;
mod inbox;
mod realtime;
mod single;
mod sockets;
mod turns;
mod uplink;

pub use clock::now;
