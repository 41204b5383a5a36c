//! A cluster whose first node has many connections that no packets belong to: a script creates them
//! in its kernel.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::wait_own_address;
use crate::bench::Bench;
use crate::bench::host::{TICKS, Usage, usage};
use crate::bench::stats;
use crate::bulk::Bulk;
use crate::egress::Egress;
use crate::scene::Scene;
use crate::spec::Ec2Spec;
use crate::survival::{FLOATING, start_conntrackd};

/// The owner of the connections, and its heir.
pub(super) const NODES: [&str; 2] = ["nat-a", "nat-b"];

/// No traffic belongs to the connections, so the rate may not depend on it. Little is waited for
/// before a hand-back.
const SETTINGS: &str = "replicate.min_rate = 16384
replicate.max_flows = 250000

[hand_back]
hold = \"1s\"
hold_max = \"1s\"
";
/// So many connections may be left when all that were created are gone: the nodes have some.
const FEW: u64 = 1_000;

/// Connections a second where only their number matters.
pub(super) const RATE: u32 = 20_000;

/// What replicates the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Natha,
    Conntrackd,
}

/// A cluster, and how many connections its first node was given.
pub(super) struct Loaded {
    pub(super) scene: Scene,
    by: By,
    /// What the connections are translated to.
    landing: Ipv4Addr,
    created: u32,
}

/// What an owner has counted since its monitor started.
pub(super) struct Counts {
    /// The changes that were acknowledged, by how long that took, as upper bounds in milliseconds.
    pub(super) lags: BTreeMap<u32, u64>,
    pub(super) resyncs: u64,
}

/// Processor time while connections were created, in per cent of a core.
pub(super) struct Cost {
    pub(super) owner: f64,
    pub(super) heir: f64,
}

impl Loaded {
    pub(super) fn start(bench: &Bench<'_>, by: By) -> Result<Self> {
        Self::start_with(bench, by, Ec2Spec::default())
    }

    /// The same, with another EC2.
    pub(super) fn start_with(bench: &Bench<'_>, by: By, ec2: Ec2Spec) -> Result<Self> {
        let settings = Egress { strict: false, replicate: by == By::Natha, more: by.settings() };
        let mut spec = settings.spec(&bench.options.natha);
        spec.ec2 = ec2;
        let scene = Scene::start(&spec)?;
        wait_own_address(&scene)?;
        let landing = match by {
            By::Natha => scene.landing(NODES[0], "a")?,
            By::Conntrackd => {
                let [owner, heir] = NODES;
                start_conntrackd(&scene, owner, heir)?;
                start_conntrackd(&scene, heir, owner)?;
                FLOATING
            }
        };
        let loaded = Self { scene, by, landing, created: 0 };
        if by == By::Natha {
            loaded.scene.wait_replicated(NODES[0], NODES[1], 0)?;
        }
        Ok(loaded)
    }

    /// Creates connections at a steady rate, so many a second.
    pub(super) fn create(&mut self, count: u32, rate: u32) -> Result<Cost> {
        let bulk = Bulk { landing: self.landing, first: self.created, count, rate };
        let before = self.usages()?;
        let seconds = self.scene.create_connections(NODES[0], &bulk)?;
        let after = self.usages()?;
        self.created += count;
        let percent = |node: usize| {
            let ticks = after[node].ticks - before[node].ticks;
            stats::rounded(f64::from(ticks) / f64::from(TICKS) / seconds * 100.0, 1)
        };
        Ok(Cost { owner: percent(0), heir: percent(1) })
    }

    /// What the program that replicates has used, on the owner and on the heir.
    pub(super) fn usages(&self) -> Result<[Usage; 2]> {
        let [owner, heir] = NODES.map(|node| usage(&self.scene, node, self.by.program()));
        Ok([owner?, heir?])
    }

    /// Waits until the heir has all connections.
    pub(super) fn wait_held(&self) -> Result<()> {
        match self.by {
            By::Natha => {
                let least = usize::try_from(self.created)?;
                self.scene.wait_replicated(NODES[0], NODES[1], least)
            }
            By::Conntrackd => {
                let (least, heir) = (u64::from(self.created), NODES[1]);
                let waited = self.scene.wait_for(|| Ok(self.count(heir)? >= least));
                waited.with_context(|| format!("{heir} does not have {least} connections"))
            }
        }
    }

    /// Removes all connections, and waits until the heir has none of them.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.scene.sh(NODES[0], "conntrack -F 2>/dev/null")?;
        self.scene.wait_for(|| {
            let kept = self.scene.kept(NODES[0], NODES[1])?;
            let sent = self.scene.sent(NODES[0], NODES[1])?;
            let is_empty = kept["flows"].as_u64().is_some_and(|flows| flows < FEW);
            Ok(is_empty && sent["state"] == "live" && sent["waiting"] == 0)
        })?;
        self.created = 0;
        Ok(())
    }

    /// What the owner has counted until now.
    pub(super) fn counts(&self) -> Result<Counts> {
        let (owner, heir) = (NODES[0], self.scene.host(NODES[1])?.instance);
        let asked = Instant::now();
        // The report in the status is up to a second old.
        let status = self.scene.wait_status(owner, |status| {
            let age = status["ages"]["flows_ms"].as_u64().map(Duration::from_millis);
            age.is_some_and(|age| age < asked.elapsed())
        })?;
        let sent = &status["flows"]["heirs"][heir.as_str()];
        let lags = serde_json::from_value(sent["lags"].clone());
        Ok(Counts {
            lags: lags.context("the owner counts no lags")?,
            resyncs: sent["resyncs"].as_u64().context("the owner counts no resyncs")?,
        })
    }

    /// The owner dies. Its connections stay in the kernel until what this returns is dropped: the
    /// lab's nodes share a kernel, which would remove those of a dead node on the same processors
    /// and under the same locks while it inserts those of the heir.
    pub(super) fn kill_owner(&self) -> Result<File> {
        let (scene, owner) = (&self.scene, NODES[0]);
        let network = network_of(Path::new(scene.sh(owner, "readlink /proc/self/ns/net")?.trim()))?;
        scene.panic(owner)?;
        Ok(network)
    }

    /// How many connections a node's kernel has.
    fn count(&self, node: &str) -> Result<u64> {
        let text = self.scene.sh(node, "conntrack -C")?;
        text.trim().parse().with_context(|| format!("no number of connections: {text}"))
    }
}

/// A handle on a network namespace, which is named as `/proc` names it.
fn network_of(name: &Path) -> Result<File> {
    let processes = fs::read_dir("/proc").context("cannot list /proc")?;
    let mut places = processes.flatten().map(|process| process.path().join("ns/net"));
    let place = places.find(|place| fs::read_link(place).is_ok_and(|found| found == name));
    let place = place.with_context(|| format!("no process is in {}", name.display()))?;
    File::open(&place).with_context(|| format!("cannot open {}", place.display()))
}

impl By {
    fn program(self) -> &'static str {
        match self {
            Self::Natha => "natha",
            Self::Conntrackd => "conntrackd",
        }
    }

    fn settings(self) -> &'static str {
        match self {
            Self::Natha => SETTINGS,
            Self::Conntrackd => super::EARLY,
        }
    }
}
