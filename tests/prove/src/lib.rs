//! natha's decision core, checked: every schedule of a small world, and many of a large one.
//!
//! What runs here is the code that ships, `natha::failover`, compiled without its host part.

pub mod bugs;
pub mod model;
#[cfg(feature = "sim")]
pub mod sim;

/// As many threads as there are processors.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
