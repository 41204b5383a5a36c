//! The Linux side: programs, nft, sysctls, links, and the journal that undoes it all.
//!
//! Nothing here decides what should be: [`crate::plan`] does. This layer reads facts, carries out
//! changes one at a time, and writes down beforehand what each change replaced.

pub mod addresses;
pub mod apply;
pub mod carry;
pub mod durable;
pub mod facts;
pub mod forwarding;
pub mod journal;
pub mod links;
pub mod lock;
pub mod nft;
pub mod privilege;
pub mod run;
pub mod sysctl;
