//! `natha reboot` and `natha when-safe`: planned work on one node of the cluster after the other.
//!
//! A node takes its turn when its monitor sees the whole cluster well. It then drains itself, which
//! the others hear. Of two nodes that begin at the same moment, the one with the lower id goes
//! on; the other one takes part again and waits.

use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use humantime::parse_duration;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::process::{self, Child};
use tokio::time::Instant;

use super::{control, drain, needs_attention, polls, print};
use crate::failover::{Command, Verdict};
use crate::kernel::run::{Program, RunError};
use crate::kernel::signals::{Ending, Endings};
use crate::status::Report;

/// Time between two reads of the monitor's status.
const POLL: Duration = Duration::from_millis(500);
/// How long a node that has begun listens for another one that has begun at the same moment: more
/// than 30 heartbeats at the default interval.
const LISTEN: Duration = Duration::from_secs(3);
/// How long the hand-over may take.
const HAND_OVER: Duration = Duration::from_secs(20);
/// How long systemd and the package manager may take to answer.
const ASK: Duration = Duration::from_secs(30);
/// Debian and Ubuntu make this file where an update needs a reboot,
const REBOOT_REQUIRED: &str = "run/reboot-required";
/// if one of these is installed.
const REBOOT_HOOKS: [&str; 2] =
    ["etc/kernel/postinst.d/unattended-upgrades", "etc/kernel/postinst.d/update-notifier"];

const AFTER_HELP: &str = "\
With --when-safe, several nodes may start this at the same time, from a timer for example. One node
reboots at a time, and the next one only once all groups are back and every node is proven.

Exit code 3: the turn did not come in time, or no peer could take what this node holds. The node
then takes part as before.";

/// Flags of `natha reboot`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RebootArgs {
    /// Wait for this node's turn: until the whole cluster is well
    #[arg(long)]
    pub(crate) when_safe: bool,

    /// Do nothing unless the operating system says that it needs a reboot
    #[arg(long)]
    pub(crate) if_required: bool,

    /// How long to wait for the turn
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = parse_duration)]
    pub(crate) within: Duration,
}

const AFTER_HELP_OF_WHEN_SAFE: &str = "\
Examples:
  natha when-safe -- apt-get -y install /root/natha.deb
  natha when-safe -- systemctl restart nftables

The exit code is the command's, or 3: the turn did not come in time, or no peer could take what this
node holds.";

/// Flags of `natha when-safe`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP_OF_WHEN_SAFE)]
pub(crate) struct WhenSafeArgs {
    /// How long to wait for the turn
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = parse_duration)]
    pub(crate) within: Duration,

    /// The command to run while this node holds nothing
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Hands everything over and reboots this host.
///
/// # Errors
/// If no monitor is running, or the reboot cannot be asked for.
pub(crate) async fn reboot(args: &RebootArgs, socket: &Path) -> anyhow::Result<ExitCode> {
    if args.if_required && !is_reboot_required(Path::new("/")).await? {
        print("The operating system does not need a reboot.\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let within = args.when_safe.then_some(args.within);
    let mut endings = Endings::listen()?;
    if let Err(reason) = interruptible(socket, &mut endings, begin(within, socket)).await? {
        print(&format!("Not rebooted: {reason}\n"))?;
        return Ok(needs_attention());
    }
    let asked = ask_for_reboot().await;
    if asked.is_err() {
        control::command(socket, &Command::Stay).await?;
    }
    asked.map(|()| ExitCode::SUCCESS)
}

async fn ask_for_reboot() -> anyhow::Result<()> {
    print("Rebooting.\n")?;
    Program::find("systemctl", "systemd")?.run(&["reboot"], b"", ASK).await?;
    Ok(())
}

/// Runs a command while this node holds nothing, and takes part again after it.
///
/// # Errors
/// If no monitor is running, or the command cannot be run.
pub(crate) async fn when_safe(args: &WhenSafeArgs, socket: &Path) -> anyhow::Result<ExitCode> {
    let mut endings = Endings::listen()?;
    let begun = begin(Some(args.within), socket);
    if let Err(reason) = interruptible(socket, &mut endings, begun).await? {
        print(&format!("Not run: {reason}\n"))?;
        return Ok(needs_attention());
    }
    let ended = run(&args.command, &mut endings).await;
    // The command may have restarted the monitor, which then takes part already.
    if let Err(error) = control::command(socket, &Command::Stay).await {
        tracing::warn!("cannot end the drain, run `natha undrain`: {error:#}");
    }
    Ok(ended?.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, Into::into))
}

/// Runs the command, and waits for its end in any case: until then, its work may need the drain.
async fn run(command: &[String], endings: &mut Endings) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    #[expect(clippy::disallowed_methods, reason = "the operator's command ends when it likes")]
    let child = process::Command::new(program).args(arguments).spawn();
    let mut child = child.with_context(|| format!("cannot run {program}"))?;
    loop {
        tokio::select! {
            ended = child.wait() => return ended.with_context(|| format!("cannot run {program}")),
            ending = endings.next() => pass_on(ending, &child),
        }
    }
}

/// Passes a signal on to the command, which may be the only one that it did not reach. Ctrl-C has
/// reached it: a terminal sends that to both.
fn pass_on(ending: Ending, child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id.filter(|_| ending != Ending::Interrupt) {
        // If it has ended meanwhile, the wait for it says so.
        let _ = kill(Pid::from_raw(id), ending.signal());
    }
}

/// Runs a part that drains this node. A signal ends it, and the node then takes part again.
async fn interruptible<T>(
    socket: &Path,
    endings: &mut Endings,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let error = tokio::select! {
        result = work => match result {
            Ok(done) => return Ok(done),
            Err(error) => error,
        },
        ending = endings.next() => anyhow::anyhow!("{ending}"),
    };
    // Without a monitor there is no drain to end.
    if let Err(reason) = control::command(socket, &Command::Stay).await {
        tracing::debug!("cannot end the drain: {reason:#}");
    }
    Err(error)
}

/// Drains this node, in its turn if it is to wait for that for at most `within`. The inner error is
/// the reason why it is not drained; it then takes part as before.
async fn begin(within: Option<Duration>, socket: &Path) -> anyhow::Result<Result<(), String>> {
    let until = within.map(|within| Instant::now() + within);
    let mut ticks = polls(POLL);
    let (mut shown, mut is_remarked) = (String::new(), false);
    while let Some(until) = until {
        ticks.tick().await;
        let turn = match control::running(socket).await {
            Ok(report) => turn(&report),
            Err(error) if shown.is_empty() => return Err(error),
            // An upgrade restarts the monitor while this command waits.
            Err(error) => Err(format!("{error:#}")),
        };
        match turn {
            Ok(others) => {
                for other in others.iter().filter(|_| !is_remarked) {
                    print(&format!("This does not wait for: {other}\n"))?;
                }
                is_remarked = true;
                if takes_its_turn(socket).await? {
                    break;
                }
            }
            Err(reason) if Instant::now() >= until => {
                return Ok(Err(format!("its turn has not come in time: {reason}")));
            }
            Err(reason) if reason != shown => {
                print(&format!("Waiting for this node's turn: {reason}\n"))?;
                shown = reason;
            }
            Err(_) => {}
        }
    }
    if drain::hand_over(socket, HAND_OVER).await?.is_empty() {
        return Ok(Ok(()));
    }
    control::command(socket, &Command::Stay).await?;
    Ok(Err("no peer can take what this node holds; see `natha status`".to_owned()))
}

/// Begins to drain this node, and listens for another that begins at the same moment. Says whether
/// this one goes on.
async fn takes_its_turn(socket: &Path) -> anyhow::Result<bool> {
    control::command(socket, &Command::Leave).await?;
    let begun = Instant::now();
    let mut ticks = polls(POLL);
    while begun.elapsed() < LISTEN {
        ticks.tick().await;
        if yields(&*control::running(socket).await?) {
            control::command(socket, &Command::Stay).await?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether this node may begin, and then the findings that it does not wait for; else what it waits
/// for.
fn turn(report: &Report) -> Result<Vec<String>, String> {
    if report.view.peers.is_empty() {
        return Err("there is no other node that could take what this one holds".to_owned());
    }
    let blockers = report.blockers();
    if let Some(finding) = blockers.first() {
        return Err(finding.clone());
    }
    let moving = report.view.groups.iter().find(|(_, group)| group.doing.is_some());
    moving.map_or_else(|| Ok(report.findings()), |(name, _)| Err(format!("group {name} is moving")))
}

/// Whether another node is being drained that goes first.
fn yields(report: &Report) -> bool {
    let mut peers = report.view.peers.iter();
    peers.any(|(id, peer)| peer.verdict == Verdict::Leaving && *id < report.view.me)
}

/// Whether the operating system below `root` asks for a reboot: by Debian's file, or by
/// `needs-restarting` of Red Hat and Amazon Linux, which then ends with 1.
///
/// # Errors
/// If nothing on this host can tell.
async fn is_reboot_required(root: &Path) -> anyhow::Result<bool> {
    if root.join(REBOOT_REQUIRED).exists() {
        return Ok(true);
    }
    if REBOOT_HOOKS.iter().any(|hook| root.join(hook).exists()) {
        return Ok(false);
    }
    let unknown = "cannot tell whether this host needs a reboot";
    let program = Program::find("needs-restarting", "dnf-utils")
        .with_context(|| format!("{unknown}; on Debian and Ubuntu, install unattended-upgrades"))?;
    match program.run(&["-r"], b"", ASK).await {
        Ok(_) => Ok(false),
        Err(RunError::Failed { status, .. }) if status.code() == Some(1) => Ok(true),
        Err(error) => Err(error).context(unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use nix::sys::signal::raise;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;
    use tokio::sync::mpsc;

    use super::super::render::tests::{B, id, well};
    use super::*;

    #[tokio::test]
    async fn a_reboot_is_needed_where_debian_says_so_and_unknown_where_nothing_can_tell() {
        let root = tempfile::tempdir().unwrap();
        let put = |file: &str| {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let asked = is_reboot_required(root.path()).await.unwrap_err();
        assert!(format!("{asked:#}").contains("unattended-upgrades"), "{asked:#}");
        put(REBOOT_HOOKS[0]);
        assert!(!is_reboot_required(root.path()).await.unwrap());
        put(REBOOT_REQUIRED);
        assert!(is_reboot_required(root.path()).await.unwrap());
    }

    #[test]
    fn a_node_begins_when_the_whole_cluster_is_well() {
        assert_eq!(turn(&well()), Ok(Vec::new()));
        let mut alone = well();
        alone.view.peers.clear();
        assert!(turn(&alone).unwrap_err().contains("no other node"));
        let mut sick = well();
        sick.view.peers.get_mut(&id(B)).unwrap().verdict = Verdict::DaemonDown;
        assert!(turn(&sick).unwrap_err().contains("daemon down"));
        let mut moving = well();
        moving.view.groups.values_mut().next().unwrap().doing = Some("handing over".to_owned());
        assert!(turn(&moving).unwrap_err().contains("is moving"));
    }

    #[test]
    fn alerts_that_say_nothing_of_safety_are_reported_and_not_waited_for() {
        let raised = |name: &str| {
            let mut report = well();
            report.alerts = vec!["it is so".to_owned()];
            report.counters.meters.alerts = [name.to_owned()].into();
            report
        };
        for name in ["notices", "notify-webhook", "metrics", "allowances", "cluster", "egress"] {
            assert_eq!(turn(&raised(name)), Ok(vec!["it is so".to_owned()]), "{name}");
        }
        for name in ["drain", "latch", "reload", "settings"] {
            assert_eq!(turn(&raised(name)), Err("it is so".to_owned()), "{name}");
        }
        let mut unnamed = raised("metrics");
        unnamed.counters.meters.alerts.clear();
        assert!(turn(&unnamed).is_err(), "a monitor of another version may not name its alerts");
    }

    /// A monitor that accepts every command, and the commands that it gets.
    fn accepting() -> (tempfile::TempDir, mpsc::UnboundedReceiver<String>) {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let (sender, commands) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut text, mut buffer) = (String::new(), [0; 4096]);
                while text.split_once("\r\n\r\n").is_none_or(|(_, body)| body.is_empty()) {
                    let read = stream.read(&mut buffer).await.unwrap();
                    text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
                }
                let (_, body) = text.split_once("\r\n\r\n").unwrap();
                sender.send(body.to_owned()).unwrap();
                let reply = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(reply).await.unwrap();
            }
        });
        (directory, commands)
    }

    #[tokio::test]
    async fn a_lost_session_ends_the_drain_and_never_the_process() {
        let (directory, mut commands) = accepting();
        let mut endings = Endings::listen().unwrap();
        raise(Ending::HangUp.signal()).unwrap();
        let socket = directory.path().join("socket");
        let drained = interruptible(&socket, &mut endings, pending::<anyhow::Result<()>>()).await;
        assert_eq!(drained.unwrap_err().to_string(), "the session was lost");
        let stay = serde_json::to_string(&Command::Stay).unwrap();
        assert_eq!(commands.recv().await, Some(stay));
    }

    #[tokio::test]
    async fn a_lost_session_reaches_the_command_whose_end_is_awaited() {
        let mut endings = Endings::listen().unwrap();
        let script = "trap 'exit 7' HUP; kill -HUP $PPID; while :; do sleep 0.1; done";
        let command = ["sh", "-c", script].map(str::to_owned);
        let ended = run(&command, &mut endings).await.unwrap();
        assert_eq!(ended.code(), Some(7));
    }

    #[test]
    fn of_two_that_begin_together_the_lower_id_goes_on() {
        let mut report = well();
        assert!(!yields(&report));
        report.view.peers.get_mut(&id(B)).unwrap().verdict = Verdict::Leaving;
        assert_eq!(yields(&report), id(B) < report.view.me);
        let me = std::mem::replace(&mut report.view.me, id(B));
        let peer = report.view.peers.remove(&id(B)).unwrap();
        report.view.peers.insert(me.clone(), peer);
        assert_eq!(yields(&report), me < id(B));
    }
}
