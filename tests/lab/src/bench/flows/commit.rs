//! The time that an heir takes to insert what it holds, and the memory of both ends.

use anyhow::{Context, Result};
use serde_json::Value;

use super::loaded::{By, Loaded, NODES, RATE};
use crate::bench::figures::Figures;
use crate::bench::host::Usage;
use crate::bench::{Bench, stats};
use crate::scene::has_event;

/// How many connections there are.
const SIZES: [u32; 3] = [10_000, 50_000, 200_000];
/// The time of the insertion for each, and the memory of both monitors with the last.
pub(in crate::bench) const COMMIT: [&str; 5] = [
    "flows.entries10000.commit_ms",
    "flows.entries50000.commit_ms",
    "flows.entries200000.commit_ms",
    "flows.entries200000.owner_rss_mib",
    "flows.entries200000.heir_rss_mib",
];

pub(in crate::bench) fn commits(bench: &Bench<'_>) -> Result<Figures> {
    let mut figures = Figures::new();
    for (size, name) in SIZES.into_iter().zip(COMMIT) {
        let mut loaded = Loaded::start(bench, By::Natha)?;
        loaded.create(size, RATE)?;
        loaded.wait_held()?;
        let usages = loaded.usages()?;
        let ms = commit(&loaded, size)?;
        Bench::say(&format!("{size} connections inserted in {ms:.0} ms"));
        figures.insert(name, stats::rounded(ms, 1));
        if size == SIZES[SIZES.len() - 1] {
            figures.extend(COMMIT[SIZES.len()..].iter().copied().zip(usages.map(mib)));
        }
    }
    Ok(figures)
}

/// The owner dies: how long the heir says that the insertion took, in milliseconds.
fn commit(loaded: &Loaded, size: u32) -> Result<f64> {
    let (scene, [owner, heir]) = (&loaded.scene, NODES);
    let meant = format!("egress IP {}:", scene.public("out-a")?);
    let _dead = loaded.kill_owner()?;
    let status = scene.wait_status(heir, |status| has_event(status, "connections", &meant))?;
    let took = insertion(&status, &meant).context("the event has no duration")?;
    // The counts are reported once a second.
    let inserted =
        || -> Result<Option<u64>> { Ok(scene.kept(owner, heir)?["inserted"]["new"].as_u64()) };
    scene
        .wait_for(|| Ok(inserted()? >= Some(size.into())))
        .with_context(|| format!("not all of the {size} were inserted"))?;
    Ok(took)
}

/// The duration in a status of the insertion whose text has this part, in milliseconds.
fn insertion(status: &Value, meant: &str) -> Option<f64> {
    let is_meant = |event: &&Value| {
        let text = event["text"].as_str().unwrap_or_default();
        event["kind"] == "connections" && text.contains(meant)
    };
    status["events"].as_array()?.iter().find(is_meant)?["took_ms"].as_f64()
}

/// The resident size in MiB.
pub(super) fn mib(usage: Usage) -> f64 {
    stats::rounded(f64::from(usage.kib) / 1024.0, 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, text: &str, took: f64) -> Value {
        json!({ "kind": kind, "text": text, "took_ms": took })
    }

    #[test]
    fn the_duration_is_that_of_the_insertion_of_this_egress_ip() {
        let events = [
            event("takeover-done", "egress IP 192.0.2.1: here", 1.0),
            event("connections", "inserted of egress IP 192.0.2.10: 3 new", 2.0),
            event("connections", "inserted of egress IP 192.0.2.1: 3 new", 3.0),
        ];
        let status = json!({ "events": events });
        assert_eq!(insertion(&status, "egress IP 192.0.2.1:"), Some(3.0));
        assert_eq!(insertion(&status, "egress IP 192.0.2.9:"), None);
    }
}
