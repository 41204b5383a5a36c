//! Seeded bugs: that the checker can fail.
//!
//! The core that ships has no switches. So a bug is a small change of its text, kept as data in
//! `tests/prove/bugs.toml`. All are put into one copy of the sources, each behind a switch, so that
//! they are compiled once. While one is on, the check of that copy must break the rule that the bug
//! names; while none is on, every rule must hold. Where the text has changed so much that a bug no
//! longer fits, the bug is to be written anew.

mod catalogue;
mod command;
mod tree;

pub use command::{Options, command};
