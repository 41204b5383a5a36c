//! Brings the decisions to life: one loop thread, and everything slow around it.
//!
//! The loop's thread (`turns`) owns the machine and the peers' sockets and never waits for
//! anything but the next deadline or arrival. Around it, on a small runtime: the executors that
//! call EC2, the checks of this host, discovery, the status socket, and the herald that writes
//! the log. They reach the loop through one bounded inbox; it reaches them through bounded queues
//! that it never waits for.

mod alerts;
mod checks;
mod clock;
mod discovery;
mod exchange;
mod executors;
mod fitness;
mod herald;
mod http;
mod icmp;
mod inbox;
mod keepsake;
mod local;
mod notices;
mod realtime;
mod recorder;
mod release;
mod services;
mod single;
mod sockets;
mod start;
mod take;
mod taking;
mod tracking;
mod turns;
mod uplink;

pub use release::{Released, release};
pub use start::run;
pub use take::{Request, Taken, take};
pub use taking::{Fate, Step};
