//! A lab for a test: made in one call, gone when dropped. Everything blocks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use crate::control::client::Client;
use crate::control::protocol::{Called, NetChange, Output, Request, Status, Timeline};
use crate::daemon::SOCKET;
use crate::daemon::account::{Account, Zone};
use crate::daemon::shared::HostView;
use crate::ec2;
use crate::launch::{self, Launched};
use crate::meter::{self, flows, mixed, ping};
use crate::net::faults::{Block, Traffic};
use crate::net::internet::INTERNET_HOST;
use crate::spec::Spec;

/// Names the `natha-lab` binary where it cannot be found beside the test.
const PROGRAM: &str = "NATHA_LAB";

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    held: Held,
    client: Client,
}

/// Whose a lab is.
#[derive(Debug)]
enum Held {
    /// It ends with its [`Lab`].
    Owned(Launched),
    /// It stays until it is told to end.
    Attached { directory: PathBuf, pid: u32 },
}

impl Lab {
    /// Starts a lab and waits until every instance has booted.
    ///
    /// # Errors
    /// When this machine lacks something, or the specification is wrong.
    pub fn start(spec: &Spec) -> Result<Self> {
        let launched = launch::launch(&program()?, spec)?;
        let client = Client::new(&launched.socket());
        Ok(Self { held: Held::Owned(launched), client })
    }

    /// Starts a lab that stays until [`Lab::down`], whatever becomes of this process.
    ///
    /// # Errors
    /// As [`Lab::start`].
    pub fn start_detached(spec: &Spec) -> Result<Self> {
        let (directory, pid) = launch::detach(&program()?, spec)?;
        let client = Client::new(&directory.join(SOCKET));
        Ok(Self { held: Held::Attached { directory, pid }, client })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn down(&self) -> Result<()> {
        self.client.ask(&Request::Down)
    }

    /// Its directory on this machine: control socket, log and consoles.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match &self.held {
            Held::Owned(launched) => launched.directory(),
            Held::Attached { directory, .. } => directory,
        }
    }

    /// The process id of its outermost process, or of its owner where it is detached. Ending that
    /// ends the lab.
    #[must_use]
    pub fn pid(&self) -> u32 {
        match &self.held {
            Held::Owned(launched) => launched.pid(),
            Held::Attached { pid, .. } => *pid,
        }
    }

    /// How it stands.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn status(&self) -> Result<Status> {
        self.client.ask(&Request::Status { after: None, limit_ms: 0 })
    }

    /// Waits until `ready` holds, looking again whenever something has changed.
    ///
    /// # Errors
    /// When it does not hold within `limit`: with how it stands.
    pub fn wait_until(&self, limit: Duration, ready: impl Fn(&Status) -> bool) -> Result<Status> {
        let end = Instant::now() + limit;
        let mut status = self.status()?;
        while !ready(&status) {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                bail!("not so within {} s; it stands like this: {status:#?}", limit.as_secs_f32());
            }
            let limit_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX).max(1);
            status = self.client.ask(&Request::Status { after: Some(status.version), limit_ms })?;
        }
        Ok(status)
    }

    /// What happened so far.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn timeline(&self) -> Result<Timeline> {
        self.client.ask(&Request::Timeline)
    }

    /// The ids of what was set up.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn account(&self) -> Result<Account> {
        Ok(self.status()?.account)
    }

    /// A zone by its number.
    ///
    /// # Errors
    /// When there is none.
    pub fn zone(&self, number: usize) -> Result<Zone> {
        self.account()?.zones.into_iter().nth(number).context("there are three zones")
    }

    /// A host by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> Result<HostView> {
        let mut hosts = self.status()?.hosts.into_iter();
        hosts.find(|host| host.name == name).with_context(|| format!("no host is named {name}"))
    }

    /// Runs a program on a host, or in `internet` as the account's owner.
    ///
    /// # Errors
    /// When the host does not run, the program does not exist, or it takes longer than `limit`.
    pub fn exec(&self, host: &str, argv: &[&str], limit: Duration) -> Result<Output> {
        let (host, argv) = (host.to_owned(), argv.iter().map(|&word| word.to_owned()).collect());
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.client.ask(&Request::Exec { host, argv, input: String::new(), limit_ms })
    }

    /// Runs a shell script on a host and returns what it printed.
    ///
    /// # Errors
    /// As [`Lab::exec`], and when the script fails: with what it said.
    pub fn sh(&self, host: &str, script: &str) -> Result<String> {
        let done = self.exec(host, &["sh", "-c", script], Duration::from_secs(30))?;
        if done.code != 0 {
            bail!("on {host}, `{script}` failed ({}): {}{}", done.code, done.stdout, done.stderr);
        }
        Ok(done.stdout)
    }

    /// Starts a program on a host and leaves it running.
    ///
    /// # Errors
    /// When the host does not run or the program does not exist.
    pub fn spawn(&self, host: &str, argv: &[&str]) -> Result<()> {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        self.client.ask(&Request::Spawn { host: host.to_owned(), argv })
    }

    /// Kills processes of a host by name and returns how many there were.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn kill(&self, host: &str, process: &str) -> Result<usize> {
        let (host, process) = (host.to_owned(), process.to_owned());
        self.client.ask(&Request::Kill { host, process })
    }

    /// Every console of a host.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn console(&self, host: &str) -> Result<String> {
        self.client.ask(&Request::Console { host: host.to_owned() })
    }

    /// Calls EC2 as the account's owner and returns the answer's elements.
    ///
    /// # Errors
    /// When EC2 refuses.
    pub fn ec2(&self, action: &str, params: &[(&str, &str)]) -> Result<String> {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        let params: BTreeMap<_, _> = params.iter().map(owned).collect();
        let called: Called =
            self.client.ask(&Request::Ec2 { action: action.to_owned(), params })?;
        match called.error {
            Some(code) => bail!("{action}: {code}: {}", called.message),
            None => Ok(called.body),
        }
    }

    /// Leads a zone's private subnet to a host by its default route, through EC2.
    ///
    /// # Errors
    /// When there is no such zone or host, or EC2 refuses.
    pub fn route_to(&self, zone: usize, host: &str) -> Result<()> {
        let (table, target) = (self.zone(zone)?.private_table, self.host(host)?.interface);
        let everywhere = ("DestinationCidrBlock", "0.0.0.0/0");
        let target = ("NetworkInterfaceId", &*target);
        self.ec2("ReplaceRoute", &[("RouteTableId", &table), everywhere, target]).map(drop)
    }

    /// Replaces the API's faults.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn api_faults(&self, faults: ec2::Faults) -> Result<()> {
        self.client.ask(&Request::ApiFaults { faults })
    }

    /// Limits what instances that are launched with an instance profile may do.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn role_policy(&self, profile: &str, policy: ec2::Policy) -> Result<()> {
        self.client.ask(&Request::RolePolicy { profile: profile.to_owned(), policy })
    }

    /// Changes EC2's times.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn timings(&self, timings: ec2::Timings) -> Result<()> {
        self.client.ask(&Request::Timings { timings })
    }

    /// Changes one fault of the network. It is in force when this returns.
    ///
    /// # Errors
    /// When it names an unknown host.
    pub fn net(&self, change: NetChange) -> Result<()> {
        self.client.ask(&Request::Net(change))
    }

    /// Cuts a host off the internet, its access to the EC2 API included.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn cut_uplink(&self, host: &str) -> Result<()> {
        self.net(NetChange::CutUplink { host: host.to_owned() })
    }

    /// Cuts a host's link.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn cut_link(&self, host: &str) -> Result<()> {
        self.net(NetChange::CutLink { host: host.to_owned() })
    }

    /// Undoes every cut and loss of a host.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn mend(&self, host: &str) -> Result<()> {
        self.net(NetChange::Mend { host: host.to_owned() })
    }

    /// Drops traffic from one end to another, one way.
    ///
    /// # Errors
    /// When an end is unknown.
    pub fn block(&self, from: &str, to: &str, what: Traffic) -> Result<()> {
        self.net(NetChange::Block(Block { from: from.to_owned(), to: to.to_owned(), what }))
    }

    /// Stops a host's kernel.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self, host: &str) -> Result<()> {
        self.client.ask(&Request::Freeze { host: host.to_owned() })
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self, host: &str) -> Result<()> {
        self.client.ask(&Request::Thaw { host: host.to_owned() })
    }

    /// Makes a host's kernel panic: EC2 says `running`, and only a stop and start helps.
    ///
    /// # Errors
    /// When it does not run.
    pub fn panic(&self, host: &str) -> Result<()> {
        self.client.ask(&Request::Panic { host: host.to_owned() })
    }

    /// Sets an item of a host's metadata, or makes it 404.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn metadata(&self, host: &str, path: &str, value: Option<&str>) -> Result<()> {
        let (host, path) = (host.to_owned(), path.to_owned());
        self.client.ask(&Request::Metadata { host, path, value: value.map(str::to_owned) })
    }

    /// Starts to ping the internet host from a host and returns the meter's number.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn ping(&self, host: &str, interval_ms: u64) -> Result<u64> {
        self.measure(host, INTERNET_HOST, meter::What::Ping { interval_ms })
    }

    /// Opens TCP flows from a host to the internet host and returns the meter's number.
    ///
    /// # Errors
    /// When a flow cannot be opened.
    pub fn flows(&self, host: &str, count: u16, interval_ms: u64) -> Result<u64> {
        self.measure(host, INTERNET_HOST, meter::What::Flows { count, interval_ms })
    }

    /// Starts a meter and returns its number.
    ///
    /// # Errors
    /// When the host does not run, or a flow cannot be opened.
    pub fn measure(&self, host: &str, target: Ipv4Addr, what: meter::What) -> Result<u64> {
        self.client.ask(&Request::Measure(meter::Order { host: host.to_owned(), target, what }))
    }

    /// Stops a ping meter.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn pinged(&self, meter: u64) -> Result<ping::Report> {
        match self.stop_meter(meter)? {
            meter::Report::Ping(report) => Ok(report),
            _ => bail!("meter {meter} does not ping"),
        }
    }

    /// What a ping meter knows for certain of its probes after the first `seen`; it goes on.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn probes(&self, meter: u64, seen: usize) -> Result<Vec<ping::Probe>> {
        self.client.ask(&Request::Probes { meter, seen })
    }

    /// What happened after so many events and calls.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn news(&self, events: usize, calls: usize) -> Result<Timeline> {
        self.client.ask(&Request::News { events, calls })
    }

    /// Asks anything.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        self.client.ask(request)
    }

    /// Stops a meter of any kind.
    pub(crate) fn stop_meter(&self, meter: u64) -> Result<meter::Report> {
        self.client.ask(&Request::Measured { meter })
    }

    /// Stops a flow meter.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn flowed(&self, meter: u64) -> Result<flows::Report> {
        match self.stop_meter(meter)? {
            meter::Report::Flows(report) => Ok(report),
            _ => bail!("meter {meter} does not measure flows"),
        }
    }

    /// Opens flows of several kinds from a host to the internet host and returns the meter's
    /// number.
    ///
    /// # Errors
    /// When a flow cannot be opened.
    pub fn mixed(&self, host: &str, mix: mixed::Mix) -> Result<u64> {
        self.measure(host, INTERNET_HOST, meter::What::Mixed(mix))
    }

    /// Stops a meter of flows of several kinds.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn mixed_done(&self, meter: u64) -> Result<mixed::Report> {
        match self.stop_meter(meter)? {
            meter::Report::Mixed(report) => Ok(report),
            _ => bail!("meter {meter} does not measure flows of several kinds"),
        }
    }
}

/// The `natha-lab` binary: what the environment names, else the one built beside this program.
///
/// # Errors
/// When there is none.
pub fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(PROGRAM) {
        return Ok(named.into());
    }
    let itself = std::env::current_exe().context("this program cannot find itself")?;
    let places = itself.ancestors().skip(1).take(2).map(|place| place.join("natha-lab"));
    places.into_iter().find(|place| place.is_file()).with_context(|| {
        format!("no `natha-lab` beside this program: build the workspace or set {PROGRAM}")
    })
}
