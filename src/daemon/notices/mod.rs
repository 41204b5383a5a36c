//! Notices to people and programs: a thread of its own decides by the book and delivers.

mod delivery;
mod dispatch;
mod ways;

pub(super) use delivery::Tally;
pub(super) use dispatch::{NoticeParts, start};
pub(crate) use ways::ways;
