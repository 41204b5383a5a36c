//! The Linux side: programs, nft, sysctls, links, and the journal that undoes it all.
//!
//! Nothing here decides what should be: [`crate::plan`] does. This layer reads facts, carries out
//! changes one at a time, and writes down beforehand what each change replaced.

pub mod addresses;
pub(crate) mod apply;
pub mod carry;
pub(crate) mod durable;
pub(crate) mod facts;
pub mod forwarding;
pub(crate) mod journal;
pub(crate) mod links;
pub(crate) mod lock;
pub(crate) mod nft;
pub(crate) mod privilege;
pub(crate) mod run;
pub(crate) mod sysctl;
