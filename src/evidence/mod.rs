//! What the replies to probes, and to the packets of private hosts, show about a host. Pure: the
//! daemon sends the probes and reads the counters, and the study of lossy uplinks simulates them.

mod judge;
mod traffic;

pub use judge::{Judge, Pacing, Proof, Proven, Round};
pub use traffic::{Counted, Silence, Traffic};
