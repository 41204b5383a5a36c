//! One long download over several failovers.

use anyhow::Result;

use super::{EARLY, replicating};
use crate::applications::Download;
use crate::bench::figures::Figures;
use crate::bench::pair::api;
use crate::bench::{Bench, stats};

/// The figures of [`transfer`].
pub(in crate::bench) const TRANSFER: [&str; 2] = ["flows.transfer_mib", "flows.transfer_broken"];

/// How often the node dies meanwhile.
const FAILOVERS: u32 = 3;
/// Octets a second: what leaves the cores time for the failovers.
const RATE: u64 = 60_000_000;
const MIB: u64 = 1 << 20;

pub(in crate::bench) fn transfer(bench: &Bench<'_>) -> Result<Figures> {
    let scene = replicating(bench, api(50), EARLY)?;
    let download = Download::start(&scene, RATE)?;
    for round in 1..=FAILOVERS {
        scene.fail_over_and_back("nat-a", "nat-b")?;
        Bench::say(&format!("download: failover {round} of {FAILOVERS}"));
    }
    let transferred = download.finish(bench.scale.transfer_mib * MIB)?;
    let mib = usize::try_from(transferred.octets / MIB)?;
    let broken = usize::from(!transferred.is_whole());
    Ok(TRANSFER.into_iter().zip([mib, broken].map(stats::count)).collect())
}
