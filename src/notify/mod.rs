//! Notices to people and programs: what is sent, by which node, and when it is repeated.
//!
//! Everything here is decided from facts and times that are given; `daemon` keeps the book's memory
//! on the disk and delivers. `docs/notices.md` is the specification.

mod alerts;
mod book;
mod notice;
mod retry;

pub use book::{Book, Memory, Remembered, Sender};
pub use notice::{FORMAT, Notice, NoticeKind, SUBJECT_MAX};
pub use retry::{is_final_status, pause};

#[cfg(test)]
mod tests;
