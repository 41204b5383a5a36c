//! One machine at a time, told everything by hand. Whole clusters are simulated in `natha-prove`.

mod desk;
mod evidence;
mod gifts;
mod kinds;
mod leaving;
mod moments;
mod moves;
mod power_calls;
mod readings;
mod repairs;
mod services;
mod shown;
mod wishes;
