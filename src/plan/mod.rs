//! The target state of this host and its differences from the current state. Pure: facts and
//! settings in, a plan and a list of differences out. `kernel` and `commands` read the facts and
//! make the changes.

mod carried;
mod diff;
mod digest;
mod egress;
mod facts;
mod host;
mod listing;
mod others;
mod protect;
mod reach;
mod relay;
mod rules;
mod sysctl;
mod table;
mod vips;

pub use carried::{Carried, LOOPBACK, carried, parts_of, vip_table};
pub use diff::{Item, ItemState, Subject, diff, sysctl as diff_sysctl};
pub use digest::Digest;
pub use egress::{EgressRules, EgressTable};
pub use facts::{CloudFacts, CloudInterface, HostFacts, Link, Reading, Route, SysctlKey};
pub use host::{HostPlan, PlanError, Unchecked};
pub use listing::{Listing, Passing, TableState, Tally};
pub use others::{OtherChain, Owner, endangering, warnings};
pub use protect::Protection;
pub use reach::misrouted;
pub use relay::{CopyTrial, RELAY_LINK, RelayCounts, RelayRules, RelayTable, tunnel_address};
pub use rules::{NftTable, TableName};
pub use sysctl::{Sysctl, SysctlValue, conntrack_max, transit_sysctls, tunnel_sysctls};
pub use table::{TRANSIT_LINK, TableSpec};
pub use vips::{Primaries, VipTable};
