//! What the replies to probes prove about a host. Pure: the daemon sends the probes, and the study
//! of lossy uplinks simulates them.

mod judge;

pub use judge::{Judge, Pacing, Proof, Proven, Round};
