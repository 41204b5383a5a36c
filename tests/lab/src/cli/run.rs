//! Doing what was typed.

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use natha_lab::control::client::Client;
use natha_lab::control::protocol::{Called, NetChange, Output, Request, Status, Timeline};
use natha_lab::daemon::{self, Places, SOCKET};
use natha_lab::ec2::{FaultRule, Faults, Principal};
use natha_lab::greet::{self, Greeting};
use natha_lab::guest::init;
use natha_lab::hostile::{self, Order};
use natha_lab::launch::{self, READY};
use natha_lab::meter::{self, Report, What};
use natha_lab::net::internet::INTERNET_HOST;
use natha_lab::{Block, Spec, cluster, first};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};
use serde_json::json;

use super::{Cli, Cut, Fault, FaultKind, Up, Verb, bench, chaos, demo, soak};

/// Not as it should be: a program on a host failed, or pings were lost.
pub(super) const NOT_SO: u8 = 3;

pub(super) fn run(cli: Cli) -> ExitCode {
    match verb(cli) {
        Ok(code) => code,
        Err(problem) => {
            // There is nowhere else to say it.
            let _ = writeln!(stderr(), "natha-lab: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn verb(cli: Cli) -> Result<ExitCode> {
    match cli.verb {
        Verb::First { directory } => first::run(&directory)?,
        Verb::Daemon { directory } => run_daemon(directory)?,
        Verb::Guest { boot } => init::run(&serde_json::from_str(&boot)?)?,
        Verb::Up(up) => start(&up)?,
        Verb::Demo(demo) => return demo::run(&demo),
        Verb::Bench(options) => return bench::run(options),
        Verb::Soak(options) => return soak::run(options),
        Verb::BenchTable { file, survival, into } => {
            bench::table(&file, survival, into.as_deref())?;
        }
        Verb::ChaosTests => chaos::tests()?,
        Verb::ChaosFigures { report, json } => chaos::figures(&report, json.as_deref())?,
        Verb::ChaosTable { file, into } => chaos::table(&file, into.as_deref())?,
        Verb::FirstPacket { from, port } => natha_lab::bench::first_packet(from, port)?,
        Verb::Hurl { order } => {
            let order: Order = serde_json::from_str(&order)?;
            say(&serde_json::to_string(&order.carry_out()?)?)?;
        }
        Verb::Overhear { from, port, count } => {
            say(&serde_json::to_string(&hostile::overhear(from, port, count)?)?)?;
        }
        Verb::Greet { line, port, http } => {
            let greeting = Greeting { line, http };
            match port {
                Some(port) => greet::start(port, &greeting)?,
                None => greet::serve(&greeting)?,
            }
        }
        Verb::List => {
            for (directory, owner) in launch::labs() {
                say(&format!("{} (process {owner})", directory.display()))?;
            }
        }
        Verb::Down => {
            let directory = find(cli.lab)?;
            Client::new(&directory.join(SOCKET)).ask::<()>(&Request::Down)?;
            launch::wait_gone(&directory)?;
        }
        other => return ask(&Client::new(&find(cli.lab)?.join(SOCKET)), other),
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(lab: &Client, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Status { json } => {
            let status: Status = lab.ask(&Request::Status { after: None, limit_ms: 0 })?;
            say(&if json { serde_json::to_string_pretty(&status)? } else { table(&status) })?;
        }
        Verb::Timeline => {
            let timeline: Timeline = lab.ask(&Request::Timeline)?;
            say(&serde_json::to_string_pretty(&timeline)?)?;
        }
        Verb::Exec { host, command, limit } => return exec(lab, host, command, limit),
        Verb::Console { host } => say(lab.ask::<String>(&Request::Console { host })?.trim_end())?,
        Verb::Ec2 { action, params } => {
            let params = params.into_iter().collect();
            let called: Called = lab.ask(&Request::Ec2 { action, params })?;
            if let Some(code) = called.error {
                bail!("{code}: {}", called.message);
            }
            say(&called.body)?;
        }
        Verb::Fault(fault) => api_fault(lab, fault)?,
        Verb::Kill { host, process } => {
            let count: usize = lab.ask(&Request::Kill { host, process })?;
            say(&format!("{count} killed"))?;
        }
        Verb::Ping { host, seconds, interval } => return ping(lab, host, seconds, interval),
        other => {
            for request in change(other) {
                lab.ask::<()>(&request)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The requests of the verbs whose answer is that they are done.
fn change(verb: Verb) -> Vec<Request> {
    let net = |change| vec![Request::Net(change)];
    match verb {
        Verb::Cut { host, what: Cut::Link } => net(NetChange::CutLink { host }),
        Verb::Cut { host, what: Cut::Uplink } => net(NetChange::CutUplink { host }),
        Verb::Mend { host } => net(NetChange::Mend { host }),
        Verb::Block(block) => {
            blocks(block).into_iter().map(NetChange::Block).map(Request::Net).collect()
        }
        Verb::Unblock(block) => {
            blocks(block).into_iter().map(NetChange::Unblock).map(Request::Net).collect()
        }
        Verb::Loss { host, percent } => net(NetChange::Loss { host, percent }),
        Verb::Heal => net(NetChange::Clear),
        Verb::Panic { host } => vec![Request::Panic { host }],
        Verb::Freeze { host } => vec![Request::Freeze { host }],
        Verb::Thaw { host } => vec![Request::Thaw { host }],
        _ => Vec::new(),
    }
}

fn blocks(block: super::Block) -> Vec<Block> {
    let super::Block { from, to, what, both } = block;
    let back = both.then(|| Block { from: to.clone(), to: from.clone(), what });
    std::iter::once(Block { from, to, what }).chain(back).collect()
}

pub(super) fn say(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}").context("cannot write to standard output")
}

fn run_daemon(directory: PathBuf) -> Result<()> {
    tracing_subscriber::fmt().with_writer(stderr).with_ansi(false).init();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon::run(Places { outside: directory }))
}

fn start(up: &Up) -> Result<()> {
    let program = std::env::current_exe().context("cannot find the lab's program")?;
    if up.detach {
        let (directory, _) = launch::detach(&program, &spec(up)?)?;
        return say(&directory.display().to_string());
    }
    let mut launched = launch::launch(&program, &spec(up)?)?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    signals.thread_block().context("cannot hold signals")?;
    let outermost = Pid::from_raw(i32::try_from(launched.pid())?);
    thread::spawn(move || {
        if signals.wait().is_ok() {
            let _ = kill(outermost, Signal::SIGKILL);
        }
    });
    say(READY)?;
    say(&launched.directory().display().to_string())?;
    if up.detached {
        close_streams().context("cannot close the standard streams")?;
    }
    launched.wait()
}

/// Points the standard streams to /dev/null, so that a reader of one sees its end.
fn close_streams() -> Result<()> {
    let null = fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

fn spec(up: &Up) -> Result<Spec> {
    if let Some(path) = &up.spec {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wrong = || format!("{} is not a specification", path.display());
        return serde_json::from_slice(&text).with_context(wrong);
    }
    let mut spec = match &up.natha {
        Some(natha) if up.cluster => cluster::spec(up.nodes, natha.clone(), ""),
        _ => Spec::nodes(up.nodes),
    };
    if let Some(path) = &up.user_data {
        let script = fs::read_to_string(path);
        let script = script.with_context(|| format!("cannot read {}", path.display()))?;
        spec = spec.with_node_user_data(&script);
    }
    for (key, value) in &up.tag {
        spec = spec.with_node_tag(key, value);
    }
    for host in spec.hosts.iter_mut().filter(|_| up.no_source_dest_check) {
        host.source_dest_check = false;
    }
    spec.natha.clone_from(&up.natha);
    spec.image.clone_from(&up.image);
    spec.ec2.boot_ms = up.boot_ms;
    spec.ec2.stop_ms = up.stop_ms;
    spec.ec2.propagation_ms = up.propagation_ms;
    spec.ec2.latency_ms = up.latency_ms;
    Ok(spec)
}

/// The directory of the lab that is meant: the one that is named, or the only one.
fn find(lab: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(directory) = lab {
        return Ok(directory);
    }
    let running: Vec<PathBuf> = launch::labs()
        .into_iter()
        .filter(|(_, owner)| kill(Pid::from_raw(*owner), None).is_ok())
        .map(|(directory, _)| directory)
        .collect();
    match running.as_slice() {
        [only] => Ok(only.clone()),
        [] => bail!("no lab runs: start one with `natha-lab up`"),
        several => {
            let list: Vec<_> = several.iter().map(|lab| lab.display().to_string()).collect();
            bail!("several labs run, choose one with --lab:\n  {}", list.join("\n  "))
        }
    }
}

fn exec(lab: &Client, host: String, argv: Vec<String>, limit: u64) -> Result<ExitCode> {
    let input = String::new();
    let done: Output = lab.ask(&Request::Exec { host, argv, input, limit_ms: limit * 1000 })?;
    write!(stdout(), "{}", done.stdout).context("cannot write to standard output")?;
    write!(stderr(), "{}", done.stderr).context("cannot write to standard error")?;
    if done.code == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(stderr(), "natha-lab: it ended with exit code {}", done.code)?;
    Ok(ExitCode::from(NOT_SO))
}

fn api_fault(lab: &Client, fault: Fault) -> Result<()> {
    if fault.kind == FaultKind::Clear {
        return lab.ask(&Request::ApiFaults { faults: Faults::none() });
    }
    let kind = clap::ValueEnum::to_possible_value(&fault.kind).context("a fault without a name")?;
    let mut described = json!({ "kind": kind.get_name() });
    if let Some(ms) = fault.ms {
        described["ms"] = json!(ms);
    }
    let described = serde_json::from_value(described)
        .with_context(|| format!("{} needs --ms, or takes none", kind.get_name()))?;
    let principal = match fault.host {
        None => None,
        Some(name) => {
            let status: Status = lab.ask(&Request::Status { after: None, limit_ms: 0 })?;
            let host = status.hosts.into_iter().find(|host| host.name == name);
            let host = host.with_context(|| format!("no host is named {name}"))?;
            Some(Principal::Instance(host.instance))
        }
    };
    let (action, about, times) = (fault.action, fault.about, fault.times);
    let rule = FaultRule { principal, action, about, times, fault: described };
    lab.ask(&Request::AddApiFault { rule })
}

fn ping(lab: &Client, host: String, seconds: u64, interval_ms: u64) -> Result<ExitCode> {
    let what = What::Ping { interval_ms };
    let order = meter::Order { host, target: INTERNET_HOST, what };
    let meter: u64 = lab.ask(&Request::Measure(order))?;
    thread::sleep(Duration::from_secs(seconds));
    let Report::Ping(report) = lab.ask(&Request::Measured { meter })? else {
        bail!("the lab answered with another measurement")
    };
    say(&format!("{} sent, {} lost", report.sent, report.lost))?;
    for outage in &report.outages {
        let (lost, ms, start) = (outage.lost, outage.ms(), outage.start_ms / 1e3);
        say(&format!("outage of {ms:.0} ms at {start:.3} s, {lost} probes"))?;
    }
    Ok(if report.lost == 0 { ExitCode::SUCCESS } else { ExitCode::from(NOT_SO) })
}

fn table(status: &Status) -> String {
    let mut lines = vec![format!("after {:.1} s", status.now_ms / 1e3)];
    for host in &status.hosts {
        let list = |addresses: &[std::net::Ipv4Addr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let power = json!(host.power);
        let (private, public) = (list(&host.private), list(&host.public));
        lines.push(format!(
            "{:<10} {:<14} boot {:<3} {} {private:<14} {public}",
            host.name,
            power.as_str().unwrap_or_default(),
            host.boot,
            host.instance,
        ));
    }
    for zone in &status.account.zones {
        let routes = status.routes.iter().filter(|route| route.subnet == zone.private_subnet);
        for route in routes {
            let (name, destination, to) = (&zone.name, &route.destination, &route.to);
            lines.push(format!("{name} private  {destination:<18} → {to}"));
        }
    }
    lines.extend(status.problems.iter().map(|problem| format!("problem: {problem}")));
    lines.join("\n")
}
