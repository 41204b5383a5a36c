//! From nothing to a running loop, and to its end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::alerts::Alert;
use super::calls::{Executors, StoppedPeersFile};
use super::carrier::{self, Carrier};
use super::control_socket::{self, StatusEndpoint};
use super::discovery::{self, Cluster, Discovery, Membership};
use super::event_loop::{
    EventLoop, Memory, Notifier, Recorder, notify, prioritise, stay_in_memory,
};
use super::health::{FitnessBoard, conntrack, host, interruptions, service_checks, uplink};
use super::inbox::{self, Notes};
use super::peers::{Exchange, ExchangeParts};
use super::{clock, single};
use crate::cloud::Imds;
use crate::config::{Failover, Flags, PairFlags, Settings, load_with_pair, settings_digest};
use crate::failover::{Command, Input};
use crate::record::Header;
use crate::types::SessionId;
use crate::wire::{HeartbeatKey, Sender};

/// How long handing everything over may take once the monitor is asked to end.
const LEAVE_LIMIT: Duration = Duration::from_secs(20);
/// Heartbeats that tell the peers that this node leaves, the one before it may go included, and
/// the longest time for the rest.
const LAST_BEATS: u32 = 3;
const LINGER_MAX: Duration = Duration::from_secs(3);
/// The first pause between two attempts to find the cluster, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Runs the monitor until it is asked to end.
///
/// What the metadata service or EC2 cannot tell yet is asked for again, with growing pauses, for
/// as long as it takes: a node that waits is of more use than one that has given up.
///
/// # Errors
/// Where the settings are wrong, a monitor runs on this host already, a socket cannot be opened,
/// or not everything could be handed over in time at the end.
pub(crate) async fn run(flags: &Flags, pair: &PairFlags) -> anyhow::Result<()> {
    let settings = load_with_pair(flags, pair, None)?.settings;
    let directory = settings.socket.parent().context("the socket has no directory")?;
    let _only = single::lock(directory)?;
    let mut signals = Signals::new()?;
    let endpoint =
        StatusEndpoint::starting("asking the instance metadata service who this host is");
    tokio::spawn(control_socket::serve(
        control_socket::listen(&settings.socket)?,
        endpoint.clone(),
    ));

    let found = tokio::select! {
        found = find(flags, pair, settings, &endpoint) => found?,
        () = signals.end() => return Ok(()),
    };
    let running = start(&found, &endpoint)?;
    watch(running, &mut signals).await
}

/// Asks until everything is known. Only settings that are wrong end this.
async fn find(
    flags: &Flags,
    pair: &PairFlags,
    settings: Settings,
    endpoint: &StatusEndpoint,
) -> anyhow::Result<Membership> {
    let mut pause = RETRY.0;
    let imds = Imds::new();
    loop {
        let why = match discovery::attempt(flags, pair, &settings, &imds).await? {
            Ok(found) => return Ok(found),
            Err(why) => why,
        };
        tracing::warn!("cannot start yet: {why}");
        endpoint.waits(&why);
        notify(&sd_notify::NotifyState::Status(&format!("Cannot start yet: {why}")));
        let patience = u32::try_from(pause.as_micros()).unwrap_or(u32::MAX).saturating_mul(4);
        notify(&sd_notify::NotifyState::ExtendTimeoutUsec(patience));
        pause_for(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

/// The pause between two attempts to find the cluster.
#[expect(
    clippy::disallowed_methods,
    reason = "neither the metadata service nor EC2 announces that it is ready; the caller's select \
              ends the pause when the monitor is told to end"
)]
async fn pause_for(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// A loop that runs.
struct Running {
    notes: Notes,
    local: Carrier,
    ended: oneshot::Receiver<()>,
}

/// Opens the sockets, starts the loop's thread and everything around it.
fn start(found: &Membership, endpoint: &StatusEndpoint) -> anyhow::Result<Running> {
    let Membership { discovery, cluster } = found;
    let Discovery { clouds, settings, .. } = discovery;
    let session = SessionId(random()?);
    let (notes, inbox) = inbox::channel().context("cannot make the loop's eventfd")?;
    let exchange = open_exchange(settings, cluster, session)?;
    let now = clock::now();
    let mut header = Header::new(
        &cluster.me.id,
        session,
        settings.failover.clone(),
        settings_digest(settings),
        &cluster.roster,
        now,
    );
    let stopped_peers = StoppedPeersFile::in_directory(&settings.state_dir);
    match stopped_peers.load() {
        Ok(stopped) => header.stopped = stopped,
        // A peer may then stay stopped; a node without a monitor would be worse.
        Err(error) => tracing::error!(
            "which peers an earlier monitor stopped is not known, start those by hand: {error:#}"
        ),
    }
    let (must_carry, local) = carrier::start(settings, cluster.me.address, &notes);
    let looking = Arc::new(Notify::new());
    let event_loop = EventLoop {
        // Made of the very header that a replay has, so that nothing else can enter.
        machine: header.machine(),
        exchange,
        inbox,
        executors: Executors::start(clouds, stopped_peers, &notes, settings.api.timeout),
        notifier: Notifier::start(),
        recorder: record(settings, header),
        local: must_carry,
        looking: Arc::clone(&looking),
        watchdog: sd_notify::watchdog_enabled().map(|limit| limit / 2),
        linger: (settings.failover.interval * (LAST_BEATS - 1)).min(LINGER_MAX),
        severed_after: severed_after(&settings.failover),
        memory: Memory::new(cluster.name.clone(), cluster.roster.clone(), now),
    };
    let ended = spawn_loop(event_loop)?;
    endpoint.runs(notes.clone());

    watch_host(found, &notes)?;
    let refused = Alert::new("settings", &notes);
    discovery::warn(&cluster.warnings, &[]);
    tokio::spawn(discovery::keep_looking(
        discovery.clone(),
        cluster.roster.clone(),
        cluster.warnings.clone(),
        refused,
        looking,
        notes.clone(),
    ));
    tracing::info!(
        cluster = cluster.name,
        node = %cluster.me.id,
        members = cluster.roster.members.len(),
        groups = cluster.roster.groups.len(),
        "the monitor runs"
    );
    Ok(Running { notes, local, ended })
}

/// Starts what finds out about this host: whether it can serve, and what a person should know.
fn watch_host(found: &Membership, notes: &Notes) -> anyhow::Result<()> {
    let Membership { discovery: Discovery { clouds, settings, .. }, cluster } = found;
    let board = FitnessBoard::new(notes.clone());
    if !settings.uplink.targets.is_empty() {
        let device = settings.host.uplink.clone();
        tokio::spawn(uplink::watch(settings.uplink.clone(), device, random()?, board.clone()));
    }
    service_checks::start(settings, notes);
    host::start(settings, clouds.ec2(), &cluster.me.interface, &board);
    let tracked = Alert::new("conntrack", notes);
    tokio::spawn(conntrack::watch(settings.host.conntrack_alert, tracked));
    let announced = Alert::new("notices", notes);
    tokio::spawn(interruptions::watch(settings.interruptions.clone(), announced, board));
    Ok(())
}

/// Starts the recording that the settings ask for. Without it, the monitor runs as well.
fn record(settings: &Settings, mut header: Header) -> Option<Recorder> {
    let file = settings.record.file.as_ref()?;
    header.wall = Some(clock::wall_text());
    let limit = u64::from(settings.record.max_mib) << 20;
    match Recorder::start(file, limit, &header) {
        Ok((recorder, file)) => {
            tracing::info!(file = %file.display(), "recording what this monitor decides from");
            Some(recorder)
        }
        Err(error) => {
            tracing::warn!(file = %file.display(), "nothing is recorded: {error}");
            None
        }
    }
}

/// How long every heartbeat must be refused before this node finds itself cut off: as many as it
/// can miss of a peer before it would judge it lost, less one, so that it doubts itself first. The
/// half interval is for beats that are sent early.
fn severed_after(numbers: &Failover) -> Duration {
    (numbers.interval * numbers.lost_after.saturating_sub(2)).saturating_sub(numbers.interval / 2)
}

fn open_exchange(
    settings: &Settings,
    cluster: &Cluster,
    session: SessionId,
) -> anyhow::Result<Exchange> {
    let key = settings.heartbeat.key.as_ref().map(|key| HeartbeatKey::derive(&key.0));
    if key.is_none() {
        tracing::warn!("heartbeats are not authenticated: set heartbeat.key_file on all nodes");
    }
    let (me, port) = (cluster.me.id.clone(), settings.heartbeat.port);
    let address = settings.heartbeat.bind.unwrap_or(cluster.me.address);
    let sender = Sender::new(me.clone(), session, &cluster.name, key);
    let parts = ExchangeParts { me, address, port, session, sender };
    let now = clock::now();
    let (mut exchange, echo_fault) = Exchange::open(parts, now)
        .with_context(|| format!("cannot open the heartbeat socket {address}:{port}"))?;
    if let Some(error) = echo_fault {
        tracing::warn!(%error, "no ICMP echo to the peers: heartbeats alone tell who is lost");
    }
    exchange.set_roster(&cluster.roster, now);
    Ok(exchange)
}

/// Starts the thread. The receiver resolves when the loop has ended by itself, and fails if it
/// has come to grief.
fn spawn_loop(event_loop: EventLoop) -> anyhow::Result<oneshot::Receiver<()>> {
    let (sender, ended) = oneshot::channel();
    if let Err(reason) = stay_in_memory() {
        tracing::debug!("{reason}");
    }
    let body = move || {
        if let Err(reason) = prioritise() {
            tracing::debug!("{reason}");
        }
        event_loop.run();
        // Nobody listens where the process is on its way out already.
        let _ = sender.send(());
    };
    let builder = std::thread::Builder::new().name("natha-loop".to_owned());
    builder.spawn(body).context("cannot start the loop's thread")?;
    Ok(ended)
}

/// Waits for the end: of the loop, or by signal. What this host carried for groups that were handed
/// over is taken off it; what nobody could take stays.
async fn watch(running: Running, signals: &mut Signals) -> anyhow::Result<()> {
    let Running { notes, local, mut ended } = running;
    tokio::select! {
        end = &mut ended => return end.map_err(|_| anyhow!("the loop's thread has died")),
        () = signals.end() => {}
    }
    tracing::info!("leaving: handing over what this node holds");
    notify(&sd_notify::NotifyState::Stopping);
    notes.input(Input::Command { command: Command::Leave }).await;
    tokio::select! {
        end = timeout(LEAVE_LIMIT, &mut ended) => match end {
            Ok(end) => end.map_err(|_| anyhow!("the loop's thread has died"))?,
            Err(_) => bail!(
                "not everything could be handed over within {}: the peers will take the rest",
                humantime::format_duration(LEAVE_LIMIT)
            ),
        },
        () = signals.end() => bail!("ended by a second signal, before everything was handed over"),
    }
    local.finish().await;
    Ok(())
}

/// The signals that end the monitor. SIGHUP is taken and ignored: settings are read at the start
/// only, and a closed terminal must not end a monitor.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Resolves when one of SIGTERM and SIGINT has come.
    async fn end(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    tracing::info!("SIGHUP ignored: restart to read the settings again");
                }
            }
        }
    }
}

fn random() -> anyhow::Result<u64> {
    getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"))
}
