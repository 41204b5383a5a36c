//! Makes things go wrong in a lab, and mends them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::facts::Seen;
use super::pace::LATENCY;
use super::schedule::{Strike, Trouble, host_name, node_name};
use crate::control::protocol::NetChange;
use crate::daemon::shared::Power;
use crate::ec2::{Fault, FaultRule, Faults, Principal};
use crate::lab::Lab;
use crate::net::faults::{Block, NetFaults};

/// While this file exists on a node, its monitor is not started again.
pub(super) const HOLD: &str = "/run/natha-hold";
/// How long a monitor that was told to end, or killed, is given until it is back.
const RESTART: Duration = Duration::from_secs(5);
const EVERYWHERE: (&str, &str) = ("DestinationCidrBlock", "0.0.0.0/0");

/// Makes things go wrong in a lab, and mends them.
pub(super) struct Director<'a> {
    lab: &'a Lab,
    nodes: usize,
    /// What is wrong, and until when.
    standing: Vec<(Duration, Strike)>,
    /// Nodes that a person has yet to start.
    to_start: Vec<usize>,
    /// Nodes whose monitors are held and no longer should be.
    held: Vec<usize>,
    /// What the observer has yet to be told, and when.
    pub(super) tells: Vec<(Duration, Seen)>,
    /// Monitors that are coming back.
    returning: BTreeMap<usize, Duration>,
}

impl<'a> Director<'a> {
    pub(super) fn new(lab: &'a Lab, nodes: usize) -> Self {
        Self {
            lab,
            nodes,
            standing: Vec::new(),
            to_start: Vec::new(),
            held: Vec::new(),
            tells: Vec::new(),
            returning: BTreeMap::new(),
        }
    }

    /// Lets a trouble begin. Tells whether it could: a host that is off cannot freeze.
    pub(super) fn strike(&mut self, trouble: &Trouble, now: Duration) -> Result<bool> {
        let end = now + trouble.lasting;
        let what = trouble.what.clone();
        let begun = match &what {
            Strike::Panic { node } => self.while_on(*node, Lab::panic)?,
            Strike::Freeze { node } => self.while_on(*node, Lab::freeze)?,
            Strike::KillMonitor { node } => self.interfere(*node, now, |lab, name| {
                lab.sh(name, &format!("touch {HOLD}"))?;
                lab.kill(name, "natha").map(drop)
            })?,
            Strike::CrashMonitor { node } => {
                self.interfere(*node, now, |lab, name| lab.kill(name, "natha").map(drop))?
            }
            Strike::RestartMonitor { node } => self.interfere(*node, now, |lab, name| {
                lab.sh(name, "kill -TERM $(pidof natha) || true").map(drop)
            })?,
            Strike::PowerOff { node } => self.power_off(*node)?,
            Strike::DeleteRoute { zone } => self.edit("DeleteRoute", *zone, None)?,
            Strike::Foreign { zone, gateway } => self.lead_away(*zone, *gateway)?,
            Strike::Misplace { zone, node } => {
                let to = self.lab.host(&node_name(*node))?.interface;
                self.edit("ReplaceRoute", *zone, Some(("NetworkInterfaceId", &to)))?
            }
            Strike::HandOver { zone } => self.hand_over(*zone, now)?,
            Strike::CutUplink { .. }
            | Strike::CutLink { .. }
            | Strike::Block { .. }
            | Strike::BlockBoth { .. }
            | Strike::Loss { .. }
            | Strike::Api { .. } => true,
        };
        if begun {
            if let Strike::Api { node, .. } = what {
                self.tells.push((now, Seen::Api(node, false)));
            }
            self.standing.push((end, what));
            self.apply()?;
        }
        Ok(begun)
    }

    /// Mends what is due; everything, where `all` is set. Tells what was mended.
    pub(super) fn mend(&mut self, now: Duration, all: bool) -> Result<Vec<Strike>> {
        let due = |end: &Duration| all || *end <= now;
        let standing = std::mem::take(&mut self.standing);
        let (over, rest): (Vec<_>, Vec<_>) = standing.into_iter().partition(|(end, _)| due(end));
        self.standing = rest;
        if !over.is_empty() {
            self.apply()?;
        }
        let over: Vec<Strike> = over.into_iter().map(|(_, strike)| strike).collect();
        for strike in &over {
            self.undo(strike, now)?;
        }
        self.start_stopped()?;
        self.let_monitors_start(now)?;
        self.release(now);
        Ok(over)
    }

    fn undo(&mut self, strike: &Strike, now: Duration) -> Result<()> {
        match strike {
            Strike::Freeze { node }
                if !self.stands(strike) && self.power(*node)? == Power::Frozen =>
            {
                self.lab.thaw(&node_name(*node))?;
            }
            Strike::KillMonitor { node } if !self.stands(strike) => self.held.push(*node),
            Strike::CrashMonitor { node } | Strike::RestartMonitor { node } => {
                self.returning.insert(*node, now + RESTART);
            }
            Strike::PowerOff { node } => self.to_start.push(*node),
            Strike::Foreign { zone, .. } => self.lead_home(*zone)?,
            Strike::Api { node, .. } => {
                let same =
                    |it: &Strike| matches!(it, Strike::Api { node: other, .. } if other == node);
                if !self.standing.iter().any(|(_, it)| same(it)) {
                    self.tells.push((now, Seen::Api(*node, true)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the same strike was made once more and is not over yet.
    fn stands(&self, strike: &Strike) -> bool {
        self.standing.iter().any(|(_, it)| it == strike)
    }

    /// Whether everything that a person has to do is done.
    pub(super) fn is_done(&self) -> bool {
        self.standing.is_empty()
            && self.to_start.is_empty()
            && self.held.is_empty()
            && self.returning.is_empty()
    }

    /// A person gives a node power again that nothing else has brought back.
    pub(super) fn help(&mut self, node: usize, power: Power) -> Result<()> {
        let id = self.lab.host(&node_name(node))?.instance;
        if power == Power::Panicked {
            self.lab.ec2("StopInstances", &[("InstanceId.1", &id)])?;
        }
        self.to_start.push(node);
        Ok(())
    }

    fn power_off(&mut self, node: usize) -> Result<bool> {
        if matches!(self.power(node)?, Power::Off | Power::ShuttingDown) {
            return Ok(false);
        }
        let id = self.lab.host(&node_name(node))?.instance;
        self.lab.ec2("StopInstances", &[("InstanceId.1", &id)]).map(|_| true)
    }

    /// Starts whatever can be started by now.
    fn start_stopped(&mut self) -> Result<()> {
        for node in std::mem::take(&mut self.to_start) {
            match self.power(node)? {
                Power::Off => {
                    let id = self.lab.host(&node_name(node))?.instance;
                    // It may still be on its way to `stopped`.
                    if self.lab.ec2("StartInstances", &[("InstanceId.1", &id)]).is_err() {
                        self.to_start.push(node);
                    }
                }
                Power::On => {}
                _ => self.to_start.push(node),
            }
        }
        Ok(())
    }

    /// Lets held monitors start again, as soon as their nodes run.
    fn let_monitors_start(&mut self, now: Duration) -> Result<()> {
        for node in std::mem::take(&mut self.held) {
            let release = format!("rm -f {HOLD}");
            let released = self.while_on(node, |lab, name| lab.sh(name, &release).map(drop))?;
            // Where there is no power, nothing is held after the next boot.
            if !released && self.power(node)? == Power::Frozen {
                self.held.push(node);
                continue;
            }
            self.returning.insert(node, now + RESTART);
        }
        Ok(())
    }

    /// Does something to a node's monitor. The observer is told before, and told when it is over
    /// even where it could not be done to the end.
    fn interfere(
        &mut self,
        node: usize,
        now: Duration,
        act: impl Fn(&Lab, &str) -> Result<()>,
    ) -> Result<bool> {
        if self.power(node)? != Power::On {
            return Ok(false);
        }
        self.tells.push((now, Seen::Monitor(node, false)));
        self.returning.remove(&node);
        let done = self.while_on(node, act)?;
        if !done {
            self.held.push(node);
        }
        Ok(done)
    }

    /// Lets go of monitors that have had their time to come back.
    fn release(&mut self, now: Duration) {
        let back = self.returning.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node);
        for node in back.collect::<Vec<_>>() {
            self.returning.remove(&node);
            let held = |(_, it): &(Duration, Strike)| {
                matches!(it, Strike::KillMonitor { node: other }
                    | Strike::CrashMonitor { node: other }
                    | Strike::RestartMonitor { node: other } if *other == node)
            };
            if !self.standing.iter().any(held) {
                self.tells.push((now, Seen::Monitor(node, true)));
            }
        }
    }

    /// Hands a zone's group over as an operator does, without waiting for the end of it.
    pub(super) fn hand_over(&mut self, zone: usize, now: Duration) -> Result<bool> {
        let status = self.lab.status()?;
        let zone_of = &status.account.zones[zone];
        let route = status.routes.iter().find(|it| it.is_default_of(&zone_of.private_subnet));
        let Some(holder) = route.map(|route| route.to.clone()) else { return Ok(false) };
        if !holder.starts_with("nat-") {
            return Ok(false);
        }
        self.tells.push((now, Seen::Order(zone)));
        Ok(self.lab.spawn(&holder, &["natha", "handover", &zone_of.name]).is_ok())
    }

    fn lead_away(&self, zone: usize, gateway: bool) -> Result<bool> {
        if gateway {
            let gateway = self.lab.account()?.gateway;
            return self.edit("ReplaceRoute", zone, Some(("GatewayId", &gateway)));
        }
        let host = self.lab.host(&host_name((zone + 1) % self.nodes))?.interface;
        self.edit("ReplaceRoute", zone, Some(("NetworkInterfaceId", &host)))
    }

    /// Leads a zone's route to its home, if it leads out of the cluster.
    fn lead_home(&self, zone: usize) -> Result<()> {
        let status = self.lab.status()?;
        let subnet = &status.account.zones[zone].private_subnet;
        let route = status.routes.iter().find(|route| route.is_default_of(subnet));
        // Nowhere: it leads to a node without power, and natha sees to that.
        let abroad = |to: &str| !to.starts_with("nat-") && to != "nowhere";
        if route.is_some_and(|route| abroad(&route.to)) {
            let home = self.lab.host(&node_name(zone))?.interface;
            self.edit("ReplaceRoute", zone, Some(("NetworkInterfaceId", &home)))?;
        }
        Ok(())
    }

    /// Changes a zone's route as a person does. False where EC2 refuses.
    fn edit(&self, action: &str, zone: usize, target: Option<(&str, &str)>) -> Result<bool> {
        let table = self.lab.zone(zone)?.private_table;
        let mut params = vec![("RouteTableId", &*table), EVERYWHERE];
        params.extend(target);
        Ok(self.lab.ec2(action, &params).is_ok())
    }

    fn power(&self, node: usize) -> Result<Power> {
        Ok(self.lab.host(&node_name(node))?.power)
    }

    fn while_on(&self, node: usize, act: impl Fn(&Lab, &str) -> Result<()>) -> Result<bool> {
        if self.power(node)? != Power::On {
            return Ok(false);
        }
        // It may lose its power at this very moment.
        Ok(act(self.lab, &node_name(node)).is_ok())
    }

    /// Makes the network and EC2 as bad as they should be now.
    fn apply(&self) -> Result<()> {
        let standing: Vec<&Strike> = self.standing.iter().map(|(_, strike)| strike).collect();
        self.lab.net(NetChange::Replace(network(&standing)))?;
        let mut ids = Vec::new();
        for node in 0..self.nodes {
            ids.push(self.lab.host(&node_name(node)).context("a node is gone")?.instance);
        }
        self.lab.api_faults(Faults { rules: rules(&standing, &ids) })
    }
}

/// The network's faults that these strikes are.
fn network(standing: &[&Strike]) -> NetFaults {
    let mut faults = NetFaults::default();
    let name = |node: &usize| node_name(*node);
    for strike in standing {
        match strike {
            Strike::CutUplink { node } => drop(faults.cut_uplink.insert(name(node))),
            Strike::CutLink { node } => drop(faults.cut_link.insert(name(node))),
            Strike::Loss { node, percent } => {
                let worst = faults.loss.entry(name(node)).or_default();
                *worst = (*worst).max(*percent);
            }
            Strike::Block { from, to, what } | Strike::BlockBoth { from, to, what } => {
                let (from, to, what) = (name(from), name(to), *what);
                if matches!(strike, Strike::BlockBoth { .. }) {
                    faults.blocks.insert(Block { from: to.clone(), to: from.clone(), what });
                }
                faults.blocks.insert(Block { from, to, what });
            }
            _ => {}
        }
    }
    faults
}

/// EC2's faults that these strikes are, on top of its usual latency.
fn rules(standing: &[&Strike], ids: &[String]) -> Vec<FaultRule> {
    let ms = u64::try_from(LATENCY.as_millis()).unwrap_or_default();
    let usual = FaultRule::everywhere(Fault::LatencyBefore { ms });
    let rules = standing.iter().filter_map(|strike| match strike {
        Strike::Api { node, action, fault } => Some(FaultRule {
            principal: Some(Principal::Instance(ids.get(*node)?.clone())),
            action: action.clone(),
            about: None,
            times: None,
            fault: *fault,
        }),
        _ => None,
    });
    std::iter::once(usual).chain(rules).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::faults::Traffic;

    #[test]
    fn strikes_that_stand_together_are_in_force_together() {
        let both = Strike::BlockBoth { from: 0, to: 1, what: Traffic::Icmp };
        let (light, heavy) =
            (Strike::Loss { node: 1, percent: 5 }, Strike::Loss { node: 1, percent: 40 });
        let faults = network(&[&both, &light, &heavy, &Strike::CutUplink { node: 0 }]);
        assert_eq!(faults.blocks.len(), 2);
        assert_eq!(faults.loss["nat-b"], 40);
        assert!(faults.cut_uplink.contains("nat-a"));
    }

    #[test]
    fn a_fault_of_ec2_meets_its_node_only_and_the_usual_latency_meets_all() {
        let strike = Strike::Api { node: 1, action: Some("St*".into()), fault: Fault::Hang };
        let rules = rules(&[&strike], &["i-a".into(), "i-b".into()]);
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].principal, None);
        assert_eq!(rules[1].principal, Some(Principal::Instance("i-b".into())));
    }
}
