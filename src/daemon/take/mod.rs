//! `natha take` and `natha release`, for hosts where another program, such as keepalived, decides
//! which node holds a group. They use the monitor's settings and discovery.

mod adopt;
mod adopted;
mod host_change;
mod lock;
mod proof;
mod release;
mod run;
mod shared;
mod takeover;

pub(crate) use adopt::{AdoptReport, AdoptRequest, AdoptResult, AdoptStep, adopt, retire};
pub(crate) use host_change::HostChange;
pub(crate) use release::{ReleaseReport, release};
pub(crate) use run::{StepResult, TakeStep};
pub(super) use shared::find_cluster;
pub(crate) use takeover::{TakeReport, TakeRequest, take};
