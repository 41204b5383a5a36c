//! Packets of a strict group that leave by another address than the group's.

use anyhow::Result;

use crate::bench::figures::Figures;
use crate::bench::{Bench, stats};
use crate::egress::{self, Egress};
use crate::scene::QUICK;

/// The figure of [`foreign_packets`].
pub(in crate::bench) const FOREIGN: [&str; 1] = ["identity.foreign_packets"];

/// When routes and Elastic IPs take effect, in milliseconds: either may be the later one.
const EFFECTS: [(u64, u64); 2] = [(0, 3_000), (3_000, 0)];

pub(in crate::bench) fn foreign_packets(bench: &Bench<'_>) -> Result<Figures> {
    let mut count = 0;
    for (propagation_ms, elastic_ms) in EFFECTS {
        let settings = Egress { strict: true, replicate: true, more: QUICK };
        let mut spec = settings.spec(&bench.options.natha);
        spec.ec2.propagation_ms = propagation_ms;
        spec.ec2.elastic_ms = Some(elastic_ms);
        let foreign = egress::foreign_packets(&spec)?;
        for (event, packets) in &foreign {
            Bench::say(&format!("foreign packets after {event}: {packets:?}"));
        }
        // Each has all that came before.
        count += foreign.last().map_or(0, |(_, packets)| packets.values().sum::<u64>());
    }
    Ok(FOREIGN.into_iter().zip([stats::count(usize::try_from(count)?)]).collect())
}
