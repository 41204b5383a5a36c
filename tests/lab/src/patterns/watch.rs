//! What is watched from outside while an address moves.

use anyhow::{Context, Result};

use crate::ec2::CallRecord;
use crate::meter::tcp::Report;
use crate::scene::{PATIENCE, Scene};

/// Where every route to this destination leads: hosts by name, by subnet.
fn targets(status: &crate::Status, destination: &str) -> Vec<String> {
    let routes = status.routes.iter().filter(|route| route.destination == destination);
    routes.map(|route| route.to.clone()).collect()
}

impl Scene {
    /// Waits until every route to `destination` leads to a host, and there is one.
    ///
    /// # Errors
    /// When that is not so in time.
    pub fn wait_led(&self, destination: &str, to: &str) -> Result<()> {
        let there = |status: &crate::Status| {
            let targets = targets(status, destination);
            !targets.is_empty() && targets.iter().all(|target| target == to)
        };
        let waited = self.wait_until(PATIENCE, there).map(drop);
        waited.map_err(|error| self.explain(error.context(format!("{destination} to {to}"))))
    }

    /// Whether every route to `destination` leads to a host.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn leads(&self, destination: &str, to: &str) -> Result<bool> {
        let targets = targets(&self.status()?, destination);
        Ok(!targets.is_empty() && targets.iter().all(|target| target == to))
    }

    /// Waits until the last connections of a meter were served with this banner.
    ///
    /// # Errors
    /// When they are not in time: with who served when.
    pub fn wait_served(&self, meter: u64, banner: &str) -> Result<Report> {
        let served = || -> Result<bool> {
            let reigns = self.connected_so_far(meter)?.reigns();
            Ok(reigns.last().is_some_and(|last| last.banner == banner && last.served > 5))
        };
        let waited = self.wait_for(|| {
            let report = self.connected_so_far(meter)?;
            let last = report.probes.last();
            Ok(served()? && last.is_some_and(|probe| probe.took_ms.is_some()))
        });
        let report = self.connected_so_far(meter)?;
        waited.with_context(|| format!("`{banner}` does not serve: {:?}", report.reigns()))?;
        Ok(report)
    }

    /// The calls of these names that were made by instances and succeeded, in order.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn done(&self, actions: &[&str]) -> Result<Vec<CallRecord>> {
        let mut calls = self.calls()?;
        calls.retain(|call| call.error.is_none() && actions.contains(&&*call.action));
        Ok(calls)
    }

    /// Whether an interface of a host other than `lo`, or `lo` itself, has this address.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn has_address(&self, host: &str, interface: &str, address: &str) -> Result<bool> {
        let shown = self.sh(host, &format!("ip -o -4 addr show dev {interface}"))?;
        Ok(shown.split_whitespace().any(|word| word == format!("{address}/32")))
    }
}
