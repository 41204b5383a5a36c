//! The decision core: pure. No clock, no socket, no AWS type, no async.
//!
//! [`Machine`] is fed one [`Input`] at a time together with the time it is, and gives out
//! [`Action`]s. Whoever drives it (the daemon, a test, a simulation) carries them out and feeds
//! the outcome back. The rules it follows are told in `docs/failover.md`.

mod action;
mod decide;
mod group;
mod input;
mod machine;
mod order;
mod peer;
mod prepare;
mod reads;
mod rebase;
mod repair;
mod retry;
mod show;
pub(crate) mod slot;
mod view;
mod wish;

pub use action::{Action, ActionId, Event, EventKind, Level};
pub use input::{Command, Input, Outcome, Routes};
pub use machine::Machine;
pub use view::{GroupView, PeerView, Verdict, View};

#[cfg(test)]
mod tests;
