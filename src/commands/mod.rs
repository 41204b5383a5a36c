//! One file per verb.

mod checks;
mod report;
pub mod setup;
pub mod teardown;
