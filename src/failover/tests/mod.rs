//! One machine at a time, told everything by hand. Whole clusters are simulated in `natha-prove`.

mod desk;
mod evidence;
mod leaving;
mod moments;
mod moves;
mod power_calls;
mod readings;
mod repairs;
mod shown;
mod wishes;
