//! Whole clusters on a virtual clock.

mod chaos;
mod cloud;
mod pair;
mod rules;
mod sim;
mod trio;
