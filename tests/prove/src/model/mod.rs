//! The model check: every schedule of faults, within bounds, of two or three real machines.
//!
//! A state is a whole small world: the machines that ship, as much of EC2 and of the network as
//! they see, and what an onlooker remembers in order to judge. From each state an adversary either
//! lets a second pass, breaks something, or mends what is broken; the checker visits every state
//! that any of its choices lead to. What holds in all of them is in [`Rule`].
//!
//! | part | what |
//! |---|---|
//! | `bounds` | the settings, in seconds, and the bounds that follow from them |
//! | `scope` | what the adversary may do, and how often |
//! | `fault` | what can be broken, and how |
//! | `world`, `node`, `cloud`, `calls` | everything there is |
//! | `names` | what everything is called |
//! | `tick` | one second of it |
//! | `judge`, `groups`, `egress`, `drain`, `probes` | whether what is about to happen may happen |
//! | `settle` | whether everything comes to rest once nothing is broken |
//! | `check` | the run of the checker and its result |
//! | `story` | a counterexample in words |

mod bounds;
mod calls;
mod check;
mod cloud;
mod command;
mod drain;
mod egress;
mod fault;
mod groups;
mod judge;
mod names;
mod node;
mod probes;
mod rule;
mod scope;
mod scopes;
mod settle;
mod story;
mod tick;
mod world;

pub use bounds::settings;
pub use check::{Choice, Effort, Report, check};
pub use command::{Options, command};
pub use fault::{Api, Fault, Half, Led};
pub use rule::Rule;
pub use scope::{Kind, Pattern, Scope};
pub use story::tell;
pub use world::World;
