//! The Linux host: nft, sysctls, addresses, links, connection tracking, other programs, and the
//! undo journal.
//!
//! [`crate::plan`] decides what the host should be. This layer reads facts and makes changes one at
//! a time; each change is preceded by a journal entry with what it replaces.

pub mod addresses;
pub(crate) mod apply;
pub mod carry;
pub mod conntrack;
pub(crate) mod durable;
pub(crate) mod egress;
pub(crate) mod ethtool;
pub(crate) mod facts;
pub mod forwarding;
pub(crate) mod journal;
pub(crate) mod links;
pub(crate) mod lock;
mod netlink;
pub mod news;
pub(crate) mod nft;
pub(crate) mod privilege;
pub(crate) mod relay;
pub(crate) mod run;
pub(crate) mod signals;
pub(crate) mod sysctl;
pub(crate) mod tun;
pub(crate) mod units;
