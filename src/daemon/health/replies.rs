//! Watches whether private hosts get replies, by the counters of natha's own rules. Probes may be
//! answered while a rule, a network ACL or a route elsewhere drops what private hosts send. Another
//! node may do no better: this raises an alert and triggers no failover.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::daemon::alerts::Alert;
use crate::daemon::clock;
use crate::evidence::{Counted, Silence, Traffic};
use crate::kernel::links;
use crate::kernel::nft::Nft;
use crate::plan::{Passing, TRANSIT_LINK};

/// Time between two readings.
const EVERY: Duration = Duration::from_secs(10);

/// Reads the counters for as long as the runtime lives.
pub(crate) async fn watch(mut alert: Alert) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut traffic = Traffic::default();
    loop {
        rounds.tick().await;
        match read().await {
            Ok(counted) => alert.set(traffic.read(counted, clock::now()).map(describe)).await,
            Err(error) => tracing::debug!(%error, "cannot read the counters of natha's rules"),
        }
    }
}

/// The table first, as [`Counted`] wants it.
async fn read() -> anyhow::Result<Counted> {
    let Passing { to_uplink, from_uplink, .. } = Nft::find()?.passing().await?;
    let (probes, probe_replies) = links::packets(TRANSIT_LINK).await?.unwrap_or_default();
    let (sent, received) = (to_uplink.packets, from_uplink.packets);
    Ok(Counted { sent, received, probes, probe_replies })
}

/// The packets of private hosts that this host has sent to the internet since its rules were
/// loaded; 0 if it is no NAT. The kernel does not count those that it forwards through a flowtable.
pub(crate) async fn forwarded() -> anyhow::Result<u64> {
    let Counted { sent, probes, .. } = read().await?;
    Ok(sent.saturating_sub(probes))
}

fn describe(Silence { packets, lasts }: Silence) -> String {
    format!(
        "private hosts have sent {packets} packets through this node in the last {} s, and no \
         reply came back: if natha's own probes are answered, look for what drops by source or \
         destination: rules of other programs on this host (`nft list ruleset`), network ACLs and \
         security groups, and the routes of the private subnets",
        lasts.as_secs()
    )
}
