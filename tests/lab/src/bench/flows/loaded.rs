//! A cluster whose first node has many connections that no packets belong to: `conntrack` creates
//! them in its kernel.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::wait_own_address;
use crate::bench::Bench;
use crate::bench::host::{TICKS, Usage, usage};
use crate::bench::stats;
use crate::egress::Egress;
use crate::scene::Scene;
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
/// Prints requests for `conntrack -R` at a steady rate: connections of one private host, each to
/// another port or address, translated to the first argument. Then come the number of the first
/// one, how many, and how many a second.
const REQUESTS: &str = r#"
import sys, time
landing, (first, count, rate) = sys.argv[1], map(int, sys.argv[2:5])
slot = max(1, rate // 100)
begun = time.monotonic()
for done in range(0, count, slot):
    lines = "".join(
        f"-I -p tcp -s 10.0.100.250 -d 198.51.100.{1 + number // 50000} "
        f"--sport {1024 + number % 50000} --dport 443 --timeout 600 --state ESTABLISHED "
        f"--status SEEN_REPLY,ASSURED --src-nat {landing}\n"
        for number in range(first + done, first + min(done + slot, count))
    )
    sys.stdout.write(lines)
    sys.stdout.flush()
    time.sleep(max(0, begun + (done + slot) / rate - time.monotonic()))
"#;
/// How much longer than its rate says the creation may take.
const LATE: Duration = Duration::from_mins(2);
/// So many connections may be left when all that were created are gone: the nodes have some.
const FEW: u64 = 1_000;

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

/// Processor time while connections were created, in per cent of a core.
pub(super) struct Cost {
    pub(super) owner: f64,
    pub(super) heir: f64,
}

impl Loaded {
    pub(super) fn start(bench: &Bench<'_>, by: By) -> Result<Self> {
        let settings = Egress { strict: false, replicate: by == By::Natha, more: by.settings() };
        let scene = Scene::start(&settings.spec(&bench.options.natha))?;
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
        let script = "set -o pipefail; python3 -c \"$0\" \"$@\" | conntrack -R - >/dev/null";
        let numbers = [self.created, count, rate].map(|number| number.to_string());
        let landing = self.landing.to_string();
        let mut argv = vec!["bash", "-c", script, REQUESTS, &landing];
        argv.extend(numbers.iter().map(String::as_str));
        let limit = LATE + Duration::from_secs((count / rate.max(1)).into());
        let (begun, before) = (Instant::now(), self.usages()?);
        let done = self.scene.exec(NODES[0], &argv, limit)?;
        ensure!(done.code == 0, "conntrack has failed ({}): {}", done.code, done.stderr);
        let (elapsed, after) = (begun.elapsed().as_secs_f64(), self.usages()?);
        self.created += count;
        let percent = |node: usize| {
            let ticks = after[node].ticks - before[node].ticks;
            stats::rounded(f64::from(ticks) / f64::from(TICKS) / elapsed * 100.0, 1)
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

    /// How many changes were acknowledged so far, by how long that took, as upper bounds in
    /// milliseconds.
    pub(super) fn lags(&self) -> Result<BTreeMap<u32, u64>> {
        let sent = self.scene.sent(NODES[0], NODES[1])?;
        serde_json::from_value(sent["lags"].clone()).context("the owner counts no lags")
    }

    /// How many resyncs there were.
    pub(super) fn resyncs(&self) -> Result<u64> {
        let sent = self.scene.sent(NODES[0], NODES[1])?;
        sent["resyncs"].as_u64().context("the owner counts no resyncs")
    }

    /// How many connections a node's kernel has.
    fn count(&self, node: &str) -> Result<u64> {
        let text = self.scene.sh(node, "conntrack -C")?;
        text.trim().parse().with_context(|| format!("no number of connections: {text}"))
    }
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
