//! What can be typed.

mod bench;
mod chaos;
mod demo;
mod run;
mod soak;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use natha_lab::Traffic;

const EXAMPLES: &str = "\
Examples:
  natha-lab up --natha target/debug/natha --cluster --detach
                                                       a natha pair and two private hosts
  natha-lab exec host-a ping -c 3 203.0.113.10         run something on a host
  natha-lab exec internet aws ec2 describe-route-tables
  natha-lab cut nat-a uplink                           no internet, no EC2 API, VPC still there
  natha-lab fault latency-before --ms 500 --action 'Replace*' --host nat-b
  natha-lab panic nat-a                                until it is stopped and started
  natha-lab ping host-a --seconds 10                   count lost probes and outages
  natha-lab down
  natha-lab demo --keep                                see natha at work

Exit codes: 0 ok, 1 error, 2 usage, 3 a ping or a program on a host that failed, or a figure that
is over its budget.";

/// AWS on one machine: a simulated EC2 and a VPC of network namespaces.
#[derive(Debug, Parser)]
#[command(name = "natha-lab", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// The lab's directory; not needed while only one lab runs.
    #[arg(long, global = true, env = "NATHA_LAB_DIR", value_name = "DIR")]
    pub(crate) lab: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a lab; it ends with this command, or with Ctrl-C.
    Up(Up),
    /// Show every lab of this machine.
    List,
    /// Show hosts, routes and faults.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what happened: routes, power, faults and API calls, as JSON.
    Timeline,
    /// Run a program on a host, or in `internet` as the account's owner.
    Exec {
        host: String,
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
        /// How long it may take, in seconds.
        #[arg(long, default_value_t = 3600)]
        limit: u64,
    },
    /// Show a host's consoles, oldest boot first.
    Console { host: String },
    /// Call EC2 as the account's owner: an action and NAME=VALUE parameters.
    Ec2 {
        action: String,
        #[arg(value_parser = pair)]
        params: Vec<(String, String)>,
    },
    /// Make the EC2 API misbehave; faults add up until `fault clear`.
    Fault(Fault),
    /// Cut a host's uplink (internet and API) or its link.
    Cut { host: String, what: Cut },
    /// Undo cuts and loss of a host.
    Mend { host: String },
    /// Drop traffic: hosts, `internet`, addresses or CIDRs at the ends.
    Block(Block),
    /// Undo a block.
    Unblock(Block),
    /// Lose packets of a host at random.
    Loss {
        host: String,
        #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: u8,
    },
    /// Undo every fault of the network but freezes and panics.
    Heal,
    /// Kernel panic: nothing runs, answers or forwards until a stop and start.
    Panic { host: String },
    /// Stop a host's kernel.
    Freeze { host: String },
    /// Let it run again.
    Thaw { host: String },
    /// Kill processes of a host by name, with SIGKILL.
    Kill { host: String, process: String },
    /// Ping the internet host from a host and show the outages.
    Ping {
        host: String,
        /// How long.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// From one probe to the next, in milliseconds.
        #[arg(long, default_value_t = 10)]
        interval: u64,
    },
    /// End a lab.
    Down,
    /// Show a NAT failing, being covered for and repaired, in a lab of its own.
    Demo(demo::Demo),
    /// Measure the figures of `scripts/bench`, in labs of their own.
    Bench(Bench),
    /// Run clusters under random faults and watch from outside that they break no rule.
    Soak(soak::Soak),
    /// Show the figures of a file that `bench` wrote as Markdown tables.
    BenchTable {
        file: PathBuf,
        /// The comparison of ways to keep connections, instead of all other figures.
        #[arg(long)]
        survival: bool,
        /// Put them into this document, between its marks, instead of printing them.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Show the tests that stage the scenarios, as FILE::TEST.
    ChaosTests,
    /// Make figures of the report (JUnit) of a run of those tests.
    ChaosFigures {
        report: PathBuf,
        /// Write them to this file instead of printing them.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Show the scenarios and the results in such a file as a Markdown table.
    ChaosTable {
        file: PathBuf,
        /// Put it into this document, between its marks, instead of printing it.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Tell when the first UDP packet comes from an address to a port.
    #[command(hide = true)]
    FirstPacket { from: Ipv4Addr, port: u16 },
    /// Send packets that nobody should send: a `hostile::Order` as JSON.
    #[command(hide = true)]
    Hurl { order: String },
    /// Record datagrams from an address to a UDP port, as JSON.
    #[command(hide = true)]
    Overhear { from: Ipv4Addr, port: u16, count: usize },
    /// Greet whoever connects with a line, in the background; without a port, on the socket that
    /// is the standard input.
    #[command(hide = true)]
    Greet {
        line: String,
        #[arg(long)]
        port: Option<u16>,
        #[arg(long)]
        http: bool,
    },
    /// The first process of a lab.
    #[command(hide = true)]
    First { directory: PathBuf },
    /// The lab itself.
    #[command(hide = true)]
    Daemon { directory: PathBuf },
    /// The first process of an instance.
    #[command(hide = true)]
    Guest { boot: String },
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Up {
    /// NAT nodes, each in the next zone; every zone with a node has a private host.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) nodes: u8,
    /// A specification in JSON, instead of all other options.
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: Option<PathBuf>,
    /// The natha binary that nodes get as /usr/local/bin/natha.
    #[arg(long, value_name = "FILE")]
    pub(crate) natha: Option<PathBuf>,
    /// Make the nodes a natha cluster: tags on them and on the private route tables, and user
    /// data that runs `natha setup` and `natha monitor`.
    #[arg(long, requires = "natha", conflicts_with = "user_data")]
    pub(crate) cluster: bool,
    /// A root file system, such as scripts/image makes, that nodes boot as a container; what
    /// `--user-data` names is then for its cloud-init, and natha is the image's own.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "natha")]
    pub(crate) image: Option<PathBuf>,
    /// A `#!` script that nodes run at every boot.
    #[arg(long, value_name = "FILE")]
    pub(crate) user_data: Option<PathBuf>,
    /// A tag of every node.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) tag: Vec<(String, String)>,
    /// Start the nodes with their source/dest check off.
    #[arg(long)]
    pub(crate) no_source_dest_check: bool,
    /// From StartInstances to running, in milliseconds.
    #[arg(long, default_value_t = 500)]
    pub(crate) boot_ms: u64,
    /// From StopInstances to stopped, in milliseconds.
    #[arg(long, default_value_t = 300)]
    pub(crate) stop_ms: u64,
    /// From a route's change to the first packet that follows it, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) propagation_ms: u64,
    /// How long every API call takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) latency_ms: u64,
    /// Leave the lab running until `down` and return.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Close the standard streams once the lab is ready: `--detach` starts its owner so.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Fault {
    /// What goes wrong.
    pub(crate) kind: FaultKind,
    /// How much, in milliseconds, for latency and stale answers.
    #[arg(long)]
    pub(crate) ms: Option<u64>,
    /// Only these calls, with * and ?.
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only calls of this host.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Only calls that name this id, of a table or an instance.
    #[arg(long)]
    pub(crate) about: Option<String>,
    /// Only so many times.
    #[arg(long)]
    pub(crate) times: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultKind {
    /// Undo them all.
    Clear,
    /// Delay calls before they take effect.
    LatencyBefore,
    /// Delay answers.
    LatencyAfter,
    /// Never answer.
    Hang,
    /// RequestLimitExceeded.
    Throttle,
    /// UnauthorizedOperation.
    Deny,
    /// HTTP 500.
    ServerError,
    /// Describe answers with the past.
    Stale,
    /// Lists with a filter lack what --about names.
    Omit,
    /// Do it, then close the connection.
    LostReply,
    /// InsufficientInstanceCapacity.
    NoCapacity,
    /// InsufficientCapacityOnHost.
    HostFull,
    /// PriorRequestNotComplete, of Route 53.
    PriorRequest,
    /// Reset connections.
    Unreachable,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Cut {
    /// No internet, in either direction.
    Uplink,
    /// Nothing at all.
    Link,
}

#[derive(Debug, Args)]
pub(crate) struct Block {
    /// Who sends it.
    pub(crate) from: String,
    /// Who would get it.
    pub(crate) to: String,
    /// all, icmp, udp:PORT or tcp:PORT.
    #[arg(default_value = "all")]
    pub(crate) what: Traffic,
    /// The other way as well.
    #[arg(long)]
    pub(crate) both: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Where the figures are written to, as one JSON object.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: PathBuf,
    /// Only these figures: names, or beginnings of names up to a dot.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) only: Vec<String>,
    /// Leave these figures out, named likewise.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) without: Vec<String>,
    /// Fewer rounds and shorter times: under five minutes.
    #[arg(long)]
    pub(crate) quick: bool,
    /// The natha binary to measure [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    pub(crate) natha: Option<PathBuf>,
    /// The AWS CLI, for the 2013 algorithm.
    #[arg(long, env = "NATHA_AWS", value_name = "FILE")]
    pub(crate) aws: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((split.0.to_owned(), split.1.to_owned()))
}

/// Runs the command line.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    run::run(Cli::parse_from(arguments))
}
