//! The decision core: pure. No clock, no socket, no AWS type, no async.
//!
//! [`Machine`] is fed one [`Input`] at a time together with the time it is, and gives out
//! [`Action`]s. Whoever drives it (the daemon, a test, a simulation) carries them out and feeds
//! the outcome back. The rules it follows are told in `docs/failover.md`.

mod action;
mod group;
mod input;
mod known;
mod machine;
mod moves;
mod order;
mod outbox;
mod peer;
mod prepare;
mod reads;
mod rebase;
mod repair;
mod retry;
mod rule;
mod show;
pub(crate) mod slot;
mod view;
mod wants;

pub use action::{Action, ActionId, Event, EventKind, Level};
pub use input::{Command, Input, Outcome, Routes};
pub use machine::Machine;
pub use view::{GroupView, PeerView, Verdict, View};

#[cfg(test)]
mod tests;
