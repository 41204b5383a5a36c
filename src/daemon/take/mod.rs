//! `natha take` and `natha release`: one takeover on request, and its other half, on hosts where
//! something other than natha decides who holds a group. Settings and cluster are the monitor's.

mod lock;
mod release;
mod run;
mod shared;
mod takeover;

pub use release::{ReleaseReport, release};
pub use run::{StepResult, TakeStep};
pub use takeover::{TakeReport, TakeRequest, take};
