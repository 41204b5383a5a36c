//! Connections while a group with an egress IP moves, and the cost of their replication.

mod added;
mod commit;
mod conntrackd;
mod foreign;
mod kills;
mod lag;
mod loaded;
mod survive;
mod transfer;

use anyhow::Result;

use super::Bench;
use crate::egress::{self, Egress};
use crate::scene::Scene;
use crate::spec::Ec2Spec;

pub(super) use added::{ADDED, added};
pub(super) use commit::{COMMIT, commits};
pub(super) use conntrackd::{CONNTRACKD, conntrackd};
pub(super) use foreign::{FOREIGN, foreign_packets};
pub(super) use kills::{SLOW, slow, slow_effects};
pub(super) use lag::{LAG, lags};
pub(super) use survive::{SURVIVED, survived};
pub(super) use transfer::{TRANSFER, transfer};

/// Long enough for a resync. The default is longer: it also lets the copies of an earlier planned
/// move end.
const EARLY: &str = "
[hand_back]
hold = \"5s\"
hold_max = \"5s\"
";

/// A cluster that replicates connections, with these settings and two private hosts in the first
/// zone, once they are seen by their egress IP.
fn replicating(bench: &Bench<'_>, ec2: Ec2Spec, more: &'static str) -> Result<Scene> {
    let settings = Egress { strict: false, replicate: true, more };
    let mut spec = egress::with_second_host(settings.spec(&bench.options.natha));
    spec.ec2 = ec2;
    let scene = Scene::start(&spec)?;
    wait_own_address(&scene)?;
    Ok(scene)
}

/// Waits until the hosts of the first zone are seen by their egress IP.
fn wait_own_address(scene: &Scene) -> Result<()> {
    scene.wait_seen("host-a", scene.public("out-a")?)
}
