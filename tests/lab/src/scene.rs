//! A cluster in a lab, watched from outside: where the routes lead, what EC2 was asked for, what
//! the monitors say. A wait that runs out fails with the nodes' consoles.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster;
use crate::daemon::shared::{Happening, HostView, Power};
use crate::ec2::{CallRecord, Principal};
use crate::lab::Lab;
use crate::meter::ping;
use crate::spec::{Ec2Spec, Role, Spec};

/// How long anything that should happen may take before a test fails.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// How often a monitor is asked again.
const PACE: Duration = Duration::from_millis(50);

/// Timers of the repair and the hand-back about as short as settings may have them, so that a test
/// sees the whole story.
pub const QUICK: &str = "
api.timeout = \"3s\"
failover.read_valid = \"3s\"

[repair]
after = \"20s\"
settle = \"19s\"

[hand_back]
hold = \"3s\"
hold_max = \"5s\"
";

/// The calls that change routes.
const ROUTE_WRITES: [&str; 3] = ["CreateRoute", "ReplaceRoute", "DeleteRoute"];

/// User data that runs the monitor as a service manager does: again, whenever it has ended.
pub const SERVICE: &str = "natha setup
trap 'exit 0' TERM
while :; do natha monitor; sleep 0.2; done";

/// A specification of `nodes` natha nodes whose monitors write at 50 ms a call.
#[must_use]
pub fn spec(nodes: u8, natha: impl Into<PathBuf>, config: &str) -> Spec {
    let mut spec = cluster::spec(nodes, natha.into(), config);
    spec.ec2 = Ec2Spec { latency_ms: 50, ..Ec2Spec::default() };
    spec
}

/// The same, with the monitor started again whenever it ends.
#[must_use]
pub fn service(nodes: u8, natha: impl Into<PathBuf>, config: &str) -> Spec {
    spec(nodes, natha, config).with_node_user_data(&user_data(config, SERVICE))
}

/// User data that writes the settings file, then runs these commands.
#[must_use]
pub fn user_data(config: &str, commands: &str) -> String {
    format!(
        "#!/bin/sh\nmkdir -p /etc/natha\ncat > /etc/natha/natha.toml <<'END'\n{config}\nEND\n\
         {commands}\n"
    )
}

/// A lab with a cluster in it.
#[derive(Debug)]
pub struct Scene {
    lab: Lab,
    nodes: Vec<String>,
}

impl Deref for Scene {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Scene {
    /// Starts a lab and waits until every node finds all well.
    ///
    /// # Errors
    /// When the lab does not start, or the cluster is not well in time.
    pub fn start(spec: &Spec) -> Result<Self> {
        let scene = Self::start_unwell(spec)?;
        scene.wait_well()?;
        Ok(scene)
    }

    /// Starts a lab without waiting for the cluster.
    ///
    /// # Errors
    /// When the lab does not start.
    pub fn start_unwell(spec: &Spec) -> Result<Self> {
        let nodes = spec.hosts.iter().filter(|host| host.role == Role::Node);
        let nodes = nodes.map(|host| host.name.clone()).collect();
        Ok(Self { lab: Lab::start(spec)?, nodes })
    }

    /// Waits until every node finds all well.
    ///
    /// # Errors
    /// When that is not so in time.
    pub fn wait_well(&self) -> Result<()> {
        let nodes: Vec<&str> = self.nodes.iter().map(String::as_str).collect();
        cluster::wait_well(&self.lab, &nodes, PATIENCE).map_err(|error| self.explain(error))
    }

    /// Where the default route of a zone's private subnet leads: a host, `internet`, `nowhere`, or
    /// empty without a route.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn route(&self, zone: usize) -> Result<String> {
        let status = self.lab.status()?;
        let subnet = &status.account.zones[zone].private_subnet;
        let mut routes = status.routes.into_iter();
        let route = routes.find(|route| route.is_default_of(subnet));
        Ok(route.map(|route| route.to).unwrap_or_default())
    }

    /// Waits until the zone's default route leads there.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_route(&self, zone: usize, to: &str) -> Result<()> {
        let there = |status: &crate::Status| {
            let subnet = &status.account.zones[zone].private_subnet;
            status.routes.iter().any(|route| route.is_default_of(subnet) && route.to == to)
        };
        let waited = self.lab.wait_until(PATIENCE, there);
        waited.map(drop).map_err(|error| self.explain(error.context(format!("zone {zone}: {to}"))))
    }

    /// Waits until a host has booted once more than `before` times.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_boot(&self, host: &str, before: u64) -> Result<()> {
        let booted = |status: &crate::Status| {
            status.hosts.iter().any(|one| one.name == host && one.boot > before)
        };
        let waited = self.lab.wait_until(PATIENCE, booted);
        waited.map(drop).map_err(|error| self.explain(error))
    }

    /// How often a host has booted.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn boots(&self, host: &str) -> Result<u64> {
        Ok(self.lab.host(host)?.boot)
    }

    /// What a node's monitor says, once it says so.
    ///
    /// # Errors
    /// When it does not in time: with what it said last.
    pub fn wait_status(&self, host: &str, ready: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = cluster::status(&self.lab, host).unwrap_or_default();
            if ready(&status) {
                return Ok(status);
            }
            if Instant::now() >= end {
                let error = anyhow::anyhow!("{host} does not come to say so; it says {status:#}");
                return Err(self.explain(error));
            }
            std::thread::sleep(PACE);
        }
    }

    /// Waits until a node's monitor has come to this verdict about a peer, `alive` and so on.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_verdict(&self, host: &str, peer: &str, verdict: &str) -> Result<Value> {
        let peer = self.lab.host(peer)?.instance;
        let path = format!("/view/peers/{peer}/verdict");
        self.wait_status(host, |status| status.pointer(&path).is_some_and(|found| found == verdict))
    }

    /// Looks again and again until `ready` holds.
    ///
    /// # Errors
    /// When it does not in time, or fails.
    pub fn wait_for(&self, ready: impl Fn() -> Result<bool>) -> Result<()> {
        if self.holds_within(PATIENCE, ready)? {
            return Ok(());
        }
        Err(self.explain(anyhow::anyhow!("it does not come to be so")))
    }

    /// Looks again and again for this long at most. Returns whether `ready` came to hold.
    ///
    /// # Errors
    /// When `ready` fails.
    pub fn holds_within(&self, limit: Duration, ready: impl Fn() -> Result<bool>) -> Result<bool> {
        let end = Instant::now() + limit;
        while !ready()? {
            if Instant::now() >= end {
                return Ok(false);
            }
            std::thread::sleep(PACE);
        }
        Ok(true)
    }

    /// Lets this much time pass.
    pub fn pass(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Watches for this long and fails as soon as something is not as it must be all the while.
    ///
    /// # Errors
    /// When `check` fails.
    pub fn watch(&self, time: Duration, check: impl Fn() -> Result<()>) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            check().map_err(|error| self.explain(error))?;
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Every call that the instances made of EC2.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn calls(&self) -> Result<Vec<CallRecord>> {
        let mut calls = self.lab.timeline()?.calls;
        calls.retain(|call| call.principal != Principal::Operator);
        Ok(calls)
    }

    /// The calls of one instance.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn calls_by(&self, host: &str) -> Result<Vec<CallRecord>> {
        let caller = Principal::Instance(self.lab.host(host)?.instance);
        let mut calls = self.calls()?;
        calls.retain(|call| call.principal == caller);
        Ok(calls)
    }

    /// How many calls of the instances of this name succeeded.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn count(&self, action: &str) -> Result<usize> {
        let calls = self.calls()?;
        let done = calls.iter().filter(|call| call.action == action && call.error.is_none());
        Ok(done.count())
    }

    /// Fails if any instance was stopped.
    ///
    /// # Errors
    /// When one was: with the consoles.
    pub fn nobody_stopped(&self) -> Result<()> {
        match self.count("StopInstances")? {
            0 => Ok(()),
            stops => Err(self.explain(anyhow::anyhow!("there were {stops} stops"))),
        }
    }

    /// How many writes of routes the instances tried.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn route_writes(&self) -> Result<usize> {
        Ok(self.calls()?.iter().filter(|call| is_route_write(call)).count())
    }

    /// The most calls that an instance made within any second.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn busiest_second(&self, host: &str) -> Result<usize> {
        let mut times: Vec<Duration> = self.calls_by(host)?.iter().map(|call| call.at).collect();
        times.sort();
        let within = |(at, first): (usize, &Duration)| {
            times[at..].partition_point(|time| *time < *first + Duration::from_secs(1))
        };
        Ok(times.iter().enumerate().map(within).max().unwrap_or(0))
    }

    /// When a host's power last became this, as time since the lab began.
    ///
    /// # Errors
    /// When it never did.
    pub fn power_at(&self, host: &str, power: Power) -> Result<Duration> {
        let events = self.lab.timeline()?.events;
        let found = events.iter().rev().find(|event| {
            matches!(&event.what, Happening::Power { host: of, power: to, .. }
                if of == host && *to == power)
        });
        let at_ms = found.with_context(|| format!("{host} was never {power:?}"))?.at_ms;
        Ok(Duration::from_secs_f64(at_ms / 1e3))
    }

    /// When a zone's default route last came to lead there, as time since the lab began.
    ///
    /// # Errors
    /// When it never did.
    pub fn led_at(&self, zone: usize, to: &str) -> Result<Duration> {
        let subnet = self.lab.zone(zone)?.private_subnet;
        let events = self.lab.timeline()?.events;
        let found = events.iter().rev().find(|event| {
            matches!(&event.what, Happening::Route(route)
                if route.is_default_of(&subnet) && route.to == to)
        });
        let at_ms = found.with_context(|| format!("zone {zone} never led to {to}"))?.at_ms;
        Ok(Duration::from_secs_f64(at_ms / 1e3))
    }

    /// Stops a ping meter that should have lost nothing.
    ///
    /// # Errors
    /// When it has lost something: with when, and the consoles.
    pub fn lost_nothing(&self, meter: u64) -> Result<ping::Report> {
        let report = self.lab.pinged(meter)?;
        if report.lost > 0 {
            let error =
                anyhow::anyhow!("{} of {} lost: {:?}", report.lost, report.sent, report.outages);
            return Err(self.explain(error));
        }
        Ok(report)
    }

    /// Stops these nodes by one call to EC2, and waits until they are off.
    ///
    /// # Errors
    /// When EC2 refuses, or they are not off in time.
    pub fn stop_nodes(&self, nodes: &[HostView]) -> Result<()> {
        self.call_for("StopInstances", nodes)?;
        let is_one = |host: &HostView| nodes.iter().any(|node| node.name == host.name);
        let are_off = |status: &crate::Status| {
            status.hosts.iter().filter(|host| is_one(host)).all(|host| host.power == Power::Off)
        };
        self.lab.wait_until(PATIENCE, are_off).map(drop)
    }

    /// Starts these nodes by one call to EC2.
    ///
    /// # Errors
    /// When EC2 refuses.
    pub fn start_nodes(&self, nodes: &[HostView]) -> Result<()> {
        self.call_for("StartInstances", nodes)
    }

    fn call_for(&self, action: &str, nodes: &[HostView]) -> Result<()> {
        let names: Vec<String> = (1..=nodes.len()).map(|n| format!("InstanceId.{n}")).collect();
        let ids = nodes.iter().map(|node| node.instance.as_str());
        let params: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(ids).collect();
        self.lab.ec2(action, &params).map(drop)
    }

    /// Ends a node's monitor as a service manager does.
    ///
    /// # Errors
    /// When none runs there.
    pub fn terminate(&self, host: &str) -> Result<()> {
        self.lab.sh(host, "kill -TERM $(pidof natha)").map(drop)
    }

    /// Restarts a node's monitor as a service manager does, and waits until all is well.
    ///
    /// # Errors
    /// When the monitor does not end, or the cluster is not well in time.
    pub fn restart(&self, host: &str) -> Result<()> {
        self.terminate(host)?;
        let limit = Duration::from_secs(10);
        self.wait_for(|| Ok(self.lab.exec(host, &["pidof", "natha"], limit)?.code != 0))?;
        self.lab.spawn(host, &["natha", "monitor"])?;
        self.wait_well()
    }

    /// The same after the program was replaced by another file.
    ///
    /// # Errors
    /// Likewise.
    pub fn upgrade(&self, host: &str) -> Result<()> {
        // The lab has mounted the program there: another one goes on top.
        let replace =
            "p=$(command -v natha) && cp $p /root/natha.$$ && mount --bind /root/natha.$$ $p";
        self.lab.sh(host, replace)?;
        self.restart(host)
    }

    /// Hands over everything that a node holds.
    ///
    /// # Errors
    /// When not everything is handed over: with what `natha drain` says.
    pub fn drain(&self, host: &str) -> Result<()> {
        let done = self.natha(host, &["drain"])?;
        if done.code == 0 {
            return Ok(());
        }
        Err(self.explain(anyhow::anyhow!("natha drain on {host}: {}{}", done.stdout, done.stderr)))
    }

    /// Runs `natha` with these arguments on a host.
    ///
    /// # Errors
    /// When the host does not run or it takes too long.
    pub fn natha(&self, host: &str, arguments: &[&str]) -> Result<crate::Output> {
        self.lab.exec(host, &[&["natha"], arguments].concat(), Duration::from_secs(90))
    }

    /// An error with what the nodes have logged.
    #[must_use]
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let mut text = String::new();
        for node in &self.nodes {
            let console = self.lab.console(node).unwrap_or_else(|error| format!("{error:#}"));
            text = text + "\n--- console of " + node + "\n" + &console;
        }
        let reason = format!("{error:#}");
        error.context(reason + &text)
    }
}

/// Whether a status has an event of this kind whose text contains `part`.
#[must_use]
pub fn has_event(status: &Value, kind: &str, part: &str) -> bool {
    let has = |event: &Value| {
        event["kind"] == kind && event["text"].as_str().is_some_and(|text| text.contains(part))
    };
    status["events"].as_array().is_some_and(|events| events.iter().any(has))
}

/// The text of the first element of this name in an answer of EC2; empty without one.
#[must_use]
pub fn element(xml: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let found = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    found.map(|(text, _)| text.to_owned()).unwrap_or_default()
}

/// Whether a call changes a route.
#[must_use]
pub fn is_route_write(call: &CallRecord) -> bool {
    ROUTE_WRITES.contains(&&*call.action)
}

/// Fails with what is wrong unless `right`.
///
/// # Errors
/// Unless `right`.
pub fn ensure(right: bool, wrong: &str) -> Result<()> {
    if right { Ok(()) } else { bail!("{wrong}") }
}
