//! `natha take` and `natha release`: one takeover on request, and its other half, on hosts where
//! something other than natha decides who holds a group. Settings and cluster are the monitor's.

mod host_change;
mod lock;
mod release;
mod run;
mod shared;
mod takeover;

pub(crate) use host_change::HostChange;
pub(crate) use release::{ReleaseReport, release};
pub(crate) use run::{StepResult, TakeStep};
pub(crate) use takeover::{TakeReport, TakeRequest, take};
