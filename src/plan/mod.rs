//! What this host should be, and what is missing for it. Pure: facts and settings in, a plan and
//! a list of differences out. `kernel` and `commands` read the facts and carry the changes out.

mod carried;
mod diff;
mod facts;
mod host;
mod listing;
mod others;
mod rules;
mod sysctl;
mod table;
mod vips;

pub use carried::{Carried, LOOPBACK, carried, parts_of, vip_table};
pub use diff::{Item, Standing, Subject, diff, sysctl as diff_sysctl};
pub use facts::{CloudFacts, CloudInterface, DefaultRoute, HostFacts, Link, Reading};
pub use host::{HostPlan, Problem, Unchecked};
pub use listing::{Listing, TableState};
pub use others::{OtherChain, warnings};
pub use rules::{Name, NftTable};
pub use sysctl::{Sysctl, SysctlKey, Want, conntrack_max};
pub use table::{Digest, TableSpec};
pub use vips::VipTable;
