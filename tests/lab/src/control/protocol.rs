//! What can be asked of a lab, and the answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::daemon::shared::{Event, HostView, RouteView};
use crate::ec2;
use crate::meter;
use crate::net::faults::{Block, NetFaults};

/// One request. `host` is a host's name or instance id; for programs and meters also `internet`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do", deny_unknown_fields)]
pub enum Request {
    /// How the lab stands; answers [`Status`].
    Status {
        /// Wait until something has changed since this version.
        #[serde(default)]
        after: Option<u64>,
        /// But no longer than this.
        #[serde(default)]
        limit_ms: u64,
    },
    /// What happened; answers [`Timeline`].
    Timeline,
    /// What happened since; answers [`Timeline`].
    News {
        /// How many events the asker has seen.
        events: usize,
        /// How many calls.
        calls: usize,
    },
    /// Runs a program to its end; answers [`Output`].
    Exec {
        /// Where.
        host: String,
        /// The program and its arguments.
        argv: Vec<String>,
        /// Its standard input.
        #[serde(default)]
        input: String,
        /// How long it may take.
        limit_ms: u64,
    },
    /// Starts a program and leaves it running, its output going nowhere; answers `null`.
    Spawn {
        /// Where.
        host: String,
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// Kills processes by name with SIGKILL; answers how many.
    Kill {
        /// Where.
        host: String,
        /// What the kernel calls them.
        process: String,
    },
    /// Every console of a host, oldest boot first; answers a text.
    Console {
        /// Whose.
        host: String,
    },
    /// Calls EC2 as the account's owner, without a network; answers [`Called`].
    Ec2 {
        /// The action.
        action: String,
        /// Its parameters as in the Query protocol.
        params: BTreeMap<String, String>,
    },
    /// Replaces the API's faults; answers `null`.
    ApiFaults {
        /// All of them.
        faults: ec2::Faults,
    },
    /// Adds a fault of the API; answers `null`.
    AddApiFault {
        /// The fault and whom it meets.
        rule: ec2::FaultRule,
    },
    /// Limits what instances with an instance profile may do; answers `null`.
    RolePolicy {
        /// The profile's name.
        profile: String,
        /// What they may do.
        policy: ec2::Policy,
    },
    /// Changes the API's delays and times; answers `null`.
    Timings {
        /// All of them.
        timings: ec2::Timings,
    },
    /// Changes one fault of the network; answers `null`.
    Net(NetChange),
    /// Stops a host's kernel: nothing runs, answers or forwards; answers `null`.
    Freeze {
        /// Whose.
        host: String,
    },
    /// Lets it run again.
    Thaw {
        /// Whose.
        host: String,
    },
    /// A kernel panic: as [`Request::Freeze`], but only a stop and start helps.
    Panic {
        /// Whose.
        host: String,
    },
    /// Sets an item of a host's metadata, such as `spot/instance-action`; answers `null`.
    Metadata {
        /// Whose.
        host: String,
        /// The path below `/latest/meta-data/`.
        path: String,
        /// What it says; none makes it 404 again.
        #[serde(default)]
        value: Option<String>,
    },
    /// Starts a meter; answers its number.
    Measure(meter::Order),
    /// Stops a meter; answers its [`meter::Report`].
    Measured {
        /// Its number.
        meter: u64,
    },
    /// What a ping meter has measured of the probes after the first `seen`, as far as it is
    /// certain; it goes on. Answers a list of [`meter::ping::Probe`].
    Probes {
        /// Its number.
        meter: u64,
        /// How many probes the asker has seen.
        seen: usize,
    },
    /// What a meter of connections has measured so far; it goes on. Answers a
    /// [`meter::tcp::Report`].
    SoFar {
        /// Its number.
        meter: u64,
    },
    /// What the resolvers answer about a name; answers a [`crate::dataplane::Lookup`].
    Resolve {
        /// The name.
        name: String,
    },
    /// Ends the lab.
    Down,
}

/// One change to the network's faults.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault", deny_unknown_fields)]
pub enum NetChange {
    /// Cuts a host's link.
    CutLink {
        /// Whose.
        host: String,
    },
    /// Cuts a host off the internet, in both directions.
    CutUplink {
        /// Whose.
        host: String,
    },
    /// Undoes every cut and loss of a host.
    Mend {
        /// Whose.
        host: String,
    },
    /// Drops traffic one way.
    Block(Block),
    /// Lets it pass again.
    Unblock(Block),
    /// Loses packets to and from a host at random; 0 ends it.
    Loss {
        /// Whose.
        host: String,
        /// How many of a hundred.
        percent: u8,
    },
    /// Undoes everything but freezes and panics.
    Clear,
    /// Replaces everything but freezes and panics.
    Replace(NetFaults),
}

/// How a lab stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Counts changes.
    pub version: u64,
    /// The time, in milliseconds since the lab began.
    pub now_ms: f64,
    /// The instances.
    pub hosts: Vec<HostView>,
    /// The routes in force.
    pub routes: Vec<RouteView>,
    /// The network's faults.
    pub faults: NetFaults,
    /// The ids of what was set up.
    pub account: crate::daemon::account::Account,
    /// What the lab itself could not do: none in a healthy lab.
    pub problems: Vec<String>,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timeline {
    /// Routes, power and faults.
    pub events: Vec<Event>,
    /// Every call of the EC2 API.
    pub calls: Vec<ec2::CallRecord>,
}

/// What a program printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its exit code, or 128 plus the signal that ended it, as a shell says it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// EC2's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// The elements of a successful answer, XML.
    pub body: String,
    /// The error's code; none for success.
    pub error: Option<String>,
    /// The error's message.
    pub message: String,
}

impl NetChange {
    /// Makes the change.
    pub fn apply(self, faults: &mut NetFaults) {
        match self {
            Self::CutLink { host } => drop(faults.cut_link.insert(host)),
            Self::CutUplink { host } => drop(faults.cut_uplink.insert(host)),
            Self::Mend { host } => {
                faults.cut_link.remove(&host);
                faults.cut_uplink.remove(&host);
                faults.loss.remove(&host);
            }
            Self::Block(block) => drop(faults.blocks.insert(block)),
            Self::Unblock(block) => drop(faults.blocks.remove(&block)),
            Self::Loss { host, percent: 0 } => drop(faults.loss.remove(&host)),
            Self::Loss { host, percent } => drop(faults.loss.insert(host, percent.min(100))),
            Self::Replace(wanted) => {
                let silent = std::mem::take(&mut faults.silent);
                *faults = NetFaults { silent, ..wanted };
            }
            Self::Clear => {
                let silent = std::mem::take(&mut faults.silent);
                *faults = NetFaults { silent, ..NetFaults::default() };
            }
        }
    }

    /// The host it is about, if it is about one.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::CutLink { host }
            | Self::CutUplink { host }
            | Self::Mend { host }
            | Self::Loss { host, .. } => Some(host),
            Self::Block(_) | Self::Unblock(_) | Self::Clear | Self::Replace(_) => None,
        }
    }
}
