//! What many connections add to the takeover of their egress IP.

use anyhow::Result;

use super::kills::{connects, span};
use super::loaded::{By, Loaded, NODES, RATE};
use crate::bench::figures::Figures;
use crate::bench::pair::api;
use crate::bench::{Bench, stats};

/// How many connections there are.
const SIZES: [u32; 2] = [0, 50_000];
/// The outage of new connections with each number, and by how much the second is longer.
pub(in crate::bench) const ADDED: [&str; 3] = [
    "flows.entries0.new_outage_ms",
    "flows.entries50000.new_outage_ms",
    "flows.entries50000.added_ms",
];

pub(in crate::bench) fn added(bench: &Bench<'_>) -> Result<Figures> {
    let mut outages = SIZES.map(|_| Vec::new());
    for _ in 0..bench.scale.loaded_kills {
        for (size, outages) in SIZES.into_iter().zip(&mut outages) {
            let ms = takeover(bench, size)?;
            Bench::say(&format!("{size} connections: new ones wait for {ms:.0} ms"));
            outages.push(ms);
        }
    }
    let medians = outages.map(|outages| stats::median(&outages).unwrap_or_default());
    let [few, many] = medians;
    let values = [few, many, many - few].map(|value| stats::rounded(value, 1));
    Ok(ADDED.into_iter().zip(values).collect())
}

/// The owner of so many connections dies: the outage of new connections in milliseconds.
fn takeover(bench: &Bench<'_>, size: u32) -> Result<f64> {
    let mut loaded = Loaded::start_with(bench, By::Natha, api(300))?;
    if size > 0 {
        loaded.create(size, RATE)?;
    }
    loaded.wait_held()?;
    let scene = &loaded.scene;
    let meter = connects(scene)?;
    let _dead = loaded.kill_owner()?;
    scene.wait_route(0, NODES[1])?;
    super::wait_own_address(scene)?;
    Ok(span(&scene.connected(meter)?.outages))
}
