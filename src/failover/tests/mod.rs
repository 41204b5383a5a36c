//! Whole clusters on a virtual clock.

mod pair;
mod sim;
mod trio;
