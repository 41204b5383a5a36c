//! One machine at a time, fed every input by hand. `natha-prove` simulates whole clusters.

mod announcements;
mod departing;
mod egress;
mod evidence;
mod fallback;
mod incomplete;
mod kinds;
mod latch;
mod leaving;
mod moments;
mod moves;
mod power_calls;
mod readings;
mod relief;
mod repairs;
mod services;
mod shares;
mod sharing;
mod shown;
mod spread;
mod stops_of_others;
mod test_bench;
mod unheard;
mod wants;
