//! The checks of `natha doctor`. Pure: facts in, findings out.
//!
//! `commands::doctor` gathers the facts, all at the same time and each within a time limit. A fact
//! that could not be gathered says why; the checks that need it say so, and the others go on. Each
//! check is a function of the facts, and has a row in the catalogue.

mod capacity;
mod catalogue;
mod diagnosis;
mod facts;
mod finding;
mod host;
mod kernel;
mod members;
mod metadata;
mod monitor;
mod permissions;
mod redact;
mod restart;
#[cfg(test)]
mod samples;
mod security_groups;
mod settings;
mod tables;

pub use catalogue::{CHECKS, Check};
pub use diagnosis::{Diagnosis, Selection, is_selectable};
pub use facts::{
    ClusterFacts, ConntrackFacts, Fact, Facts, InterfaceTag, KeyDirectory, KeyFile, LinkFacts,
    MemberGroups, MonitorFacts, Permission, PermissionResult, Ring, SecurityFacts, UplinkRoute,
};
pub use finding::{Finding, Gap, Outcome, Section, State};
pub use members::needs_security_groups;
pub use redact::{Secrets, shown_settings};
pub use tables::fallbacks_of;
