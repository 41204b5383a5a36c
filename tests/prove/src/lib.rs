//! natha's decision core, checked: every schedule of a small world, and many of a large one.
//!
//! What runs here is the code that ships, `natha::failover`, compiled without its host part.

pub mod model;
