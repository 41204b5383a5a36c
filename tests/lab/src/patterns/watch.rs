//! What is watched from outside while an address moves.

use anyhow::{Context, Result, ensure};

use crate::ec2::CallRecord;
use crate::meter::tcp::Report;
use crate::scene::Scene;

impl Scene {
    /// Fails unless every route to `destination` leads to a host, and there is one.
    ///
    /// # Errors
    /// When that is not so, or the lab does not answer.
    pub fn ensure_led(&self, destination: &str, to: &str) -> Result<()> {
        let led = self.leads(destination.parse()?)?;
        ensure!(led.iter().eq([to]), "{destination} leads to {led:?} and not to {to}");
        Ok(())
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
