//! Whole clusters on a virtual clock.

mod chaos;
mod cloud;
mod edges;
mod pair;
mod rules;
mod sim;
mod timing;
mod trio;
