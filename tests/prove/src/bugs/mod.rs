//! Seeded bugs: that the checker can fail.
//!
//! The core that ships has no switches. So a bug is a small change of its text, kept as data in
//! `tests/prove/bugs.toml`; each is put into a copy of the sources, alone, and the check of that
//! copy must break the rule that the bug names. Where the text has changed so much that a bug does
//! not fit any more, the bug is to be written anew.

mod catalogue;
mod command;
mod tree;

pub use command::{Options, command};
