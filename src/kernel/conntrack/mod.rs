//! The kernel's connection tracking, by netlink (ctnetlink): news, dumps, insertions and removals
//! of connections whose source is translated.
//!
//! What the kernel asks of an insertion (`nf_conntrack_netlink.c`; tried with Linux 6.18):
//!
//! - The translation can be set only when the connection is created. So it is inserted with its
//!   final address.
//! - The reply tuple is the inverse of the original one without translation, and the translation
//!   is given beside it (`CTA_NAT_SRC`). With a reply tuple that was translated already, no
//!   connection lived on.
//! - The status must include `IPS_CONFIRMED`, or the kernel answers `EBUSY`.
//! - `EEXIST` means that the connection exists, or that its translated port is taken.

mod decode;
mod encode;
mod listener;
mod requests;

pub use listener::{EventsOn, Listener};
pub use requests::{ConntrackError, Requests};
