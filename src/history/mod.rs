//! The history: what a monitor saw and did, as facts, and the changes that these amount to.
//!
//! The monitor writes each fact down as one line of JSON ([`Line`]). Changes with their phases are
//! derived from the lines whenever they are read ([`Ledger`]), so the writer needs no state that a
//! crash could lose. A recording gives the same facts. Nothing here opens a file or reads a clock.
//! `docs/history.md` is the specification.

mod change;
mod fact;
mod lanes;
mod ledger;
mod page;
mod recent;
mod recorded;
mod scribe;
mod select;

pub use change::{Change, ChangeKind, ChangeResult, Evidence, Phase, PhaseAt};
pub use fact::{AlertChange, Call, FORMAT, Fact, Line, Proof, Run, wall_text};
pub use lanes::{Lane, LaneKind, Mark, Moment, Span, Story, Tone};
pub use ledger::{Ledger, changes};
pub use page::page;
pub use recent::Recent;
pub use recorded::{Recorded, names_of};
pub use scribe::Scribe;
pub use select::{Filter, around, since};

#[cfg(test)]
mod tests;
