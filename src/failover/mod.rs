//! The decision core: pure. No clock, no socket, no AWS type, no async.
//!
//! [`Machine`] takes one [`Input`] at a time together with the current time, and returns
//! [`Action`]s. Its driver (the daemon, a test, a simulation) carries them out and feeds the
//! outcomes back. `docs/failover.md` specifies the rules.
//!
//! | file | part |
//! |---|---|
//! | `machine.rs` | takes inputs in, and runs one turn after the other |
//! | `known.rs`, `peer.rs` | what this node knows about itself and its peers |
//! | `acquaintance.rs` | whether a peer has ever spoken, and what follows where it has not |
//! | `group.rs`, `slot.rs` | the groups, their resources, and the move under way |
//! | `wants.rs` | what this node wants of each resource |
//! | `egress.rs` | which egress IPs this node has, and which private hosts it serves |
//! | `moves.rs`, `prepare.rs` | from what is wanted to writes, and to the host's addresses |
//! | `repair.rs`, `rule.rs`, `starts.rs` | stopping and starting failed peers |
//! | `reads.rs` | when AWS is read, and what its answers mean |
//! | `share.rs` | which member reads often |
//! | `outbox.rs`, `show.rs` | actions and reports, heartbeats and the status |

mod acquaintance;
mod action;
mod egress;
mod fallback;
mod group;
mod input;
mod known;
mod latch;
mod latches;
mod machine;
mod moves;
mod order;
mod outbox;
mod peer;
mod prepare;
mod reads;
mod rebase;
mod relief;
mod repair;
mod retry;
mod rule;
mod share;
mod show;
pub(crate) mod slot;
mod starts;
mod view;
mod wants;

pub use action::{Action, ActionId, Event, EventKind, Level};
pub use egress::{EgressGroup, EgressIp, ServedGroup};
pub use fallback::FALLBACK_REFUSED;
pub use group::Relay;
pub use input::{Command, Input, Outcome, Routes};
pub use latches::Latches;
pub use machine::Machine;
pub use view::{GroupView, PeerView, Verdict, View};

#[cfg(test)]
mod tests;
