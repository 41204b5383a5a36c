//! A pair of natha nodes in a lab, as most figures need it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::daemon::shared::Power;
use crate::ec2::Principal;
use crate::lab::Lab;
use crate::spec::Ec2Spec;
use crate::{Status, cluster};

/// How long anything that must happen may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long pings must have been answered again before an outage counts as over.
const CALM: Duration = Duration::from_millis(1500);
/// From one ping to the next, in milliseconds.
pub(super) const PACE_MS: u64 = 10;
/// Everything is at its default but the time that a returned home must have been fit: it says how
/// long is waited before a hand-back, not how long anything takes.
pub(super) const CONFIG: &str = "
[hand_back]
hold = \"1s\"
hold_max = \"1s\"
";

/// The interval of uplink probes, whose phases should be met anywhere.
pub(super) const PROBE: Duration = Duration::from_millis(500);

/// The two nodes.
pub(super) const NODES: [&str; 2] = ["nat-a", "nat-b"];

/// A pair of natha nodes that serves its private hosts.
pub(super) struct Pair {
    /// Where it runs.
    pub(super) lab: Lab,
}

impl Pair {
    /// Starts a lab and waits until both nodes find all well.
    ///
    /// # Errors
    /// When the lab does not start or the nodes do not get well.
    pub(super) fn start(natha: PathBuf, ec2: Ec2Spec) -> Result<Self> {
        let mut spec = cluster::spec(2, natha, CONFIG);
        spec.ec2 = ec2;
        let pair = Self { lab: Lab::start(&spec)? };
        cluster::wait_well(&pair.lab, &NODES, PATIENCE)?;
        Ok(pair)
    }

    /// Waits until a zone's private host is routed to a node.
    ///
    /// # Errors
    /// When it is not within two minutes.
    pub(super) fn await_route(&self, zone: usize, host: &str) -> Result<()> {
        await_route(&self.lab, zone, host)
    }

    /// Waits until every node has its own routes and finds all well.
    ///
    /// # Errors
    /// When that is not so within two minutes.
    pub(super) fn await_home(&self) -> Result<()> {
        for (zone, host) in NODES.iter().enumerate() {
            self.await_route(zone, host)?;
        }
        cluster::wait_well(&self.lab, &NODES, PATIENCE)
    }

    /// How often an instance was stopped by an instance so far.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub(super) fn stops(&self) -> Result<usize> {
        stops(&self.lab)
    }
}

/// How often an instance was stopped by an instance so far.
///
/// # Errors
/// When the lab does not answer.
pub(super) fn stops(lab: &Lab) -> Result<usize> {
    let calls = lab.timeline()?.calls;
    let stops = calls.iter().filter(|call| {
        let by_a_node = matches!(call.principal, Principal::Instance(_));
        by_a_node && call.error.is_none() && call.action == "StopInstances"
    });
    Ok(stops.count())
}

/// Waits until packets of a zone's private host follow a route to a node.
///
/// # Errors
/// When they do not within two minutes.
pub(super) fn await_route(lab: &Lab, zone: usize, host: &str) -> Result<()> {
    let leads = |status: &Status| {
        let subnet = &status.account.zones[zone].private_subnet;
        status.routes.iter().any(|route| route.is_default_of(subnet) && route.to == host)
    };
    lab.wait_until(PATIENCE, leads).map(drop).with_context(|| format!("zone {zone} to {host}"))
}

/// Stops an instance as the account's owner would, and starts it again; returns when it boots.
///
/// # Errors
/// When EC2 refuses, or it does not boot within two minutes.
pub(super) fn power_cycle(lab: &Lab, host: &str) -> Result<()> {
    power_off(lab, host)?;
    power_on(lab, host)
}

/// Stops an instance as the account's owner would and waits until it is off.
///
/// # Errors
/// When EC2 refuses, or it is not off within two minutes.
pub(super) fn power_off(lab: &Lab, host: &str) -> Result<()> {
    let id = lab.host(host)?.instance;
    lab.ec2("StopInstances", &[("InstanceId.1", &id)])?;
    await_power(lab, host, Power::Off)
}

/// Starts an instance as the account's owner would and waits until it boots.
///
/// # Errors
/// When EC2 refuses, or it does not boot within two minutes.
pub(super) fn power_on(lab: &Lab, host: &str) -> Result<()> {
    let id = lab.host(host)?.instance;
    lab.ec2("StartInstances", &[("InstanceId.1", &id)])?;
    await_power(lab, host, Power::On)
}

fn await_power(lab: &Lab, host: &str, power: Power) -> Result<()> {
    let is =
        |status: &Status| status.hosts.iter().any(|view| view.name == host && view.power == power);
    lab.wait_until(PATIENCE, is).map(drop).with_context(|| format!("{host} to be {power:?}"))
}

/// Ends a ping meter some time after the route has changed and returns the outage: from the first
/// ping that was lost to the first one answered after the last one lost, in milliseconds.
///
/// # Errors
/// When nothing was lost, or the last pings still are.
pub(super) fn outage(lab: &Lab, meter: u64) -> Result<f64> {
    thread::sleep(CALM);
    let report = lab.pinged(meter)?;
    let (Some(first), Some(last)) = (report.outages.first(), report.outages.last()) else {
        bail!("no ping was lost, though the node that served it was lost");
    };
    ensure!(report.probes.last().is_some_and(|(_, answer)| answer.is_some()), "still out");
    Ok(last.end_ms - first.start_ms)
}

/// Waits a little, and differently in every round, so that the rounds meet every phase of
/// whatever repeats every `period`.
pub(super) fn spread(round: u32, rounds: u32, period: Duration) {
    thread::sleep(Duration::from_millis(300) + period * round / rounds.max(1));
}

/// An EC2 whose API calls take so many milliseconds.
#[must_use]
pub(super) fn api(latency_ms: u64) -> Ec2Spec {
    Ec2Spec { latency_ms, ..Ec2Spec::default() }
}
