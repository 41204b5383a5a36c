//! Starts the monitor, and ends it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::alerts::Alert;
use super::calls::{Executors, StoppedPeersFile};
use super::carrier::{self, Carrier, MustCarry};
use super::control_socket::{self, StatusEndpoint};
use super::discovery::{self, Cluster, Discovery, DiscoveryAlerts, Membership, Rediscover};
use super::event_loop::{
    EventLoop, LoopState, Notifier, Recorder, Watchdog, notify, prioritise, stay_in_memory,
};
use super::health::proof::{self, ProofParts};
use super::health::{
    FitnessBoard, allowances, conntrack, host, interruptions, ports, reach, replies, service_checks,
};
use super::history::{HistoryFileAt, Observers};
use super::inbox::{self, Notes};
use super::notices::{NoticeParts, Tally};
use super::peers::{Exchange, ExchangeParts};
use super::reload::Reload;
use super::waiting::Waiting;
use super::{
    clock, egress, exporter, flows, heard_peers, history, latch, notices, relay, reload, single,
};
use crate::cloud::Imds;
use crate::config::{
    ClusterKey, Flags, PairFlags, Settings, Timing, load_with_pair, settings_digest,
};
use crate::failover::{Command, Input};
use crate::history::{FORMAT, Run, Scribe, names_of};
use crate::kernel::journal;
use crate::record::Header;
use crate::types::{InstanceId, Member, ProgramVersion, SessionId};
use crate::wire::{HeartbeatKey, Sender};

/// How long the loop may take to end, besides the time for the last heartbeats.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Heartbeats that tell the peers that this monitor ends, including the one before it may exit.
/// The others take at most [`LINGER_MAX`].
const LAST_BEATS: u32 = 3;
const LINGER_MAX: Duration = Duration::from_secs(3);
/// The pause between two attempts to find the cluster doubles from the first value to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Runs the monitor until a signal ends it.
///
/// While the metadata service or EC2 does not answer, the start is retried without limit, with
/// growing pauses: a node that waits is more useful than one that has given up. `dropped_lines`
/// says how many log lines have been dropped since the program started.
///
/// # Errors
/// If the settings are wrong, a monitor already runs on this host, a socket cannot be opened, or
/// the loop does not end when it should.
pub(crate) async fn run(
    flags: &Flags,
    pair: &PairFlags,
    dropped_lines: fn() -> u64,
) -> anyhow::Result<Ending> {
    let settings = load_with_pair(flags, pair, None)?.settings;
    let directory = settings.socket.parent().context("the socket has no directory")?;
    let _only = single::lock(directory, single::ENDING).await?;
    let mut signals = Signals::new()?;
    let endpoint = StatusEndpoint::starting("querying the instance metadata service");
    let (listener, _file) = control_socket::listen(&settings.socket)?;
    tokio::spawn(control_socket::serve(listener, endpoint.clone()));

    let found = tokio::select! {
        found = find(flags, pair, settings, &endpoint) => found?,
        () = signals.end() => return Ok(Ending::Stopped),
    };
    let running = start(&found, &endpoint, dropped_lines)?;
    reload::report_last(&running.notes).await;
    let reload = Reload::new(flags, pair, &found, &running.notes);
    watch(running, reload, &mut signals).await
}

/// How a monitor has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A signal has stopped it.
    Stopped,
    /// Its program is to be run again with other settings, as the text says.
    Changed(String),
}

/// Retries until the cluster is found. Only wrong settings end this.
async fn find(
    flags: &Flags,
    pair: &PairFlags,
    settings: Settings,
    endpoint: &StatusEndpoint,
) -> anyhow::Result<Membership> {
    let mut pause = RETRY.0;
    let imds = Imds::new();
    let (begun, mut waiting) = (Instant::now(), Waiting::without_limit());
    loop {
        let why = match discovery::attempt(flags, pair, &settings, &imds).await? {
            Ok(found) => return Ok(found),
            Err(why) => why,
        };
        if let Some(line) = waiting.line(&why, begun.elapsed()) {
            tracing::warn!("{line}");
        }
        endpoint.set_starting(&why.to_string());
        notify(&sd_notify::NotifyState::Status(&format!("Waiting: {}", why.what)));
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
              ends the pause when a signal arrives"
)]
async fn pause_for(pause: Duration) {
    tokio::time::sleep(pause).await;
}

struct Running {
    notes: Notes,
    carrier: Carrier,
    ended: oneshot::Receiver<()>,
}

/// Opens the sockets and starts the loop's thread and all tasks.
fn start(
    found: &Membership,
    endpoint: &StatusEndpoint,
    dropped_lines: fn() -> u64,
) -> anyhow::Result<Running> {
    let Membership { discovery, cluster, .. } = found;
    let Discovery { clouds, settings, .. } = discovery;
    let session = SessionId(random()?);
    let (notes, inbox) = inbox::channel().context("cannot make the loop's eventfd")?;
    let exchange = open_exchange(settings, cluster, session)?;
    let now = clock::now();
    let mut header = Header::new(
        &cluster.me.id,
        session,
        settings.timing.clone(),
        settings_digest(settings),
        &cluster.roster,
        now,
    );
    let stopped_peers = StoppedPeersFile::in_directory(&settings.state_dir);
    header.stopped = stopped_before(&stopped_peers);
    let (before, heard) = heard_peers::start(&settings.state_dir);
    (header.heard, header.heard_long_ago) = (before.heard, before.long_ago);
    let (latch, latches) = latch::start(&settings.state_dir);
    header.latches = latch.latches();
    header.fitness = proof::recall(settings);
    let board = FitnessBoard::new(notes.clone(), header.fitness.clone());
    let (must_carry, carrier) =
        carrier::start(settings, cluster.me.address, &cluster.primaries, &notes);
    let (egress, members) = start_egress(settings, cluster, &notes)?;
    let wanted = must_carry.as_ref().map(watch::Sender::subscribe);
    let (watchers, tally) = observe(settings, cluster, wanted, &notes);
    let rediscover = Rediscover::default();
    let hurry_probes = Arc::new(Notify::new());
    let event_loop = EventLoop {
        // Made from the header that a replay reads, so that a recording cannot lack anything.
        machine: header.machine(),
        exchange,
        inbox,
        executors: Executors::start(clouds, stopped_peers, &notes, settings.api.timeout),
        notifier: Notifier::start().context("cannot start the thread that writes the log")?,
        dropped_lines,
        recorder: record(settings, header),
        observers: watchers,
        tally,
        must_carry,
        egress,
        members,
        heard,
        latches,
        rediscover: rediscover.clone(),
        hurry_probes: hurry_probes.clone(),
        watchdog: Watchdog::from_environment(),
        linger: (settings.timing.interval * (LAST_BEATS - 1)).min(LINGER_MAX),
        severed_after: severed_after(&settings.timing),
        interval: settings.timing.interval,
        state: LoopState::new(cluster.name.clone(), cluster.roster.clone(), &latch, now),
    };
    let ended = spawn_loop(event_loop)?;
    endpoint.set_running(notes.clone());

    watch_host(found, hurry_probes, &notes, board)?;
    watch_cluster(found, rediscover, &notes);
    log_start(cluster);
    Ok(Running { notes, carrier, ended })
}

/// The peers that an earlier run stopped.
fn stopped_before(file: &StoppedPeersFile) -> BTreeSet<InstanceId> {
    file.load().unwrap_or_else(|error| {
        // A peer may then stay stopped; a node without a monitor would be worse.
        tracing::error!(
            "unknown which peers an earlier monitor stopped; start them by hand if any: {error:#}"
        );
        BTreeSet::default()
    })
}

fn log_start(cluster: &Cluster) {
    tracing::info!(
        cluster = cluster.name,
        node = %cluster.me.id,
        members = cluster.roster.members.len(),
        groups = cluster.roster.groups.len(),
        "the monitor is running"
    );
}

/// What the loop publishes of egress IPs and members, as far as something here needs it.
type EgressSide = (Option<egress::Publishers>, Option<watch::Sender<Vec<Member>>>);

/// Starts the translation to egress IPs on a NAT, and the replication of connections if it is on.
fn start_egress(
    settings: &Settings,
    cluster: &Cluster,
    notes: &Notes,
) -> anyhow::Result<EgressSide> {
    if !settings.is_nat() {
        return Ok((None, None));
    }
    let (inserting, is_inserting) = watch::channel(egress::Inserting::new());
    let (waits, waiting) = watch::channel(egress::Inserting::new());
    let replicate = &settings.replicate;
    let (members, receiver) = watch::channel(Vec::new());
    let relay = if replicate.enabled && replicate.relay {
        Some(relay::start(settings, &cluster.me, random()?, receiver.clone(), notes))
    } else {
        tokio::spawn(relay::clear());
        None
    };
    let answering = relay.as_ref().map(|ends| ends.answering.clone());
    let copies = relay.as_ref().map(|ends| ends.state.clone());
    let address = cluster.me.address;
    let others = egress::Others { inserting: is_inserting, waits, relay };
    let publishers = egress::start(settings, address, random()?, others, notes);
    if !replicate.enabled {
        return Ok((Some(publishers), None));
    }
    let published = publishers.ips.subscribe();
    let inputs = flows::Inputs { members: receiver, published, waiting, answering, copies };
    flows::start(settings, cluster, inputs, inserting, notes)?;
    Ok((Some(publishers), Some(members)))
}

/// Starts the repeated discovery.
fn watch_cluster(found: &Membership, rediscover: Rediscover, notes: &Notes) {
    let Membership { discovery, cluster, .. } = found;
    let alerts = DiscoveryAlerts {
        refused: Alert::new("settings", notes),
        findings: Alert::new("cluster", notes),
    };
    discovery::warn(&cluster.warnings, &[]);
    tokio::spawn(discovery::keep_looking(
        discovery.clone(),
        cluster.clone(),
        alerts,
        rediscover,
        notes.clone(),
    ));
}

/// Starts the checks of this host.
fn watch_host(
    found: &Membership,
    hurry_probes: Arc<Notify>,
    notes: &Notes,
    board: FitnessBoard,
) -> anyhow::Result<()> {
    let Membership { discovery: Discovery { clouds, settings, .. }, cluster, .. } = found;
    if !settings.uplink.targets.is_empty() {
        let parts = ProofParts::new(settings, random()?, hurry_probes, notes.clone());
        tokio::spawn(proof::watch(parts, Alert::new("transit", notes), board.clone()));
    }
    service_checks::start(settings, notes);
    host::start(settings, clouds.ec2(), &cluster.me.interface, notes, &board);
    let tracked = Alert::new("conntrack", notes);
    tokio::spawn(conntrack::watch(settings.host.conntrack_alert, tracked));
    if settings.is_nat() {
        let exceeded = Alert::new("allowances", notes);
        tokio::spawn(reach::watch(settings.state_dir.clone(), Alert::new("reach", notes)));
        tokio::spawn(ports::watch(notes.clone(), Alert::new("ports", notes)));
        tokio::spawn(replies::watch(Alert::new("replies", notes)));
        tokio::spawn(allowances::watch(settings.state_dir.clone(), notes.clone(), exceeded));
    }
    let announced = Alert::new("notices", notes);
    tokio::spawn(interruptions::watch(settings.interruptions.clone(), announced, board));
    Ok(())
}

/// Starts the threads that write the history, send notices and serve the metrics. The monitor runs
/// without one that cannot be started.
fn observe(
    settings: &Settings,
    cluster: &Cluster,
    must_carry: Option<watch::Receiver<MustCarry>>,
    notes: &Notes,
) -> (Observers, Option<Arc<Tally>>) {
    let run = Run {
        format: FORMAT,
        natha: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: cluster.name.clone(),
        node: cluster.me.id.clone(),
        boot: journal::boot_id().unwrap_or_default(),
        names: names_of(&cluster.roster),
        continued: false,
    };
    let scribe = Scribe::new(cluster.me.id.clone(), cluster.roster.clone());
    let mut observers = Observers::default();
    let state_dir = settings.state_dir.clone();
    let place = HistoryFileAt { state_dir: &state_dir, max_mib: settings.history.max_mib };
    if let Err(error) = history::start(place, run.clone(), scribe.clone(), &mut observers) {
        tracing::warn!("no history is kept: cannot start its thread: {error}");
    }
    let changes = exporter::Changes::new(run.clone(), scribe.clone());
    exporter::start(settings, must_carry, changes, notes, &mut observers);
    let ways = notices::ways(settings);
    if ways.is_empty() {
        return (observers, None);
    }
    let parts = NoticeParts { ways, state_dir, run, scribe };
    let tally = notices::start(parts, notes, &mut observers);
    let tally = tally
        .inspect_err(|error| tracing::error!("no notices: cannot start their thread: {error}"));
    (observers, tally.ok())
}

/// Starts the recording, if configured. If that fails, the monitor runs without it.
fn record(settings: &Settings, mut header: Header) -> Option<Recorder> {
    let file = settings.record.file.as_ref()?;
    header.wall = Some(clock::wall_text());
    let limit = u64::from(settings.record.max_mib) << 20;
    match Recorder::start(file, limit, &header) {
        Ok((recorder, file)) => {
            tracing::info!(file = %file.display(), "recording this run");
            Some(recorder)
        }
        Err(error) => {
            tracing::warn!(file = %file.display(), "cannot record this run: {error}");
            None
        }
    }
}

/// How long the kernel must refuse every heartbeat before this node is unfit: one interval less
/// than a peer may be silent before this node would judge it lost, so that it finds its own fault
/// first. The half interval allows for heartbeats that are sent early.
fn severed_after(timing: &Timing) -> Duration {
    (timing.interval * timing.lost_after.saturating_sub(2)).saturating_sub(timing.interval / 2)
}

fn open_exchange(
    settings: &Settings,
    cluster: &Cluster,
    session: SessionId,
) -> anyhow::Result<Exchange> {
    let derive = |key: &Option<ClusterKey>| key.as_ref().map(|key| HeartbeatKey::derive(&key.0));
    let (key, second) = (derive(&settings.heartbeat.key), derive(&settings.heartbeat.second_key));
    if key.is_none() {
        tracing::warn!("heartbeats are not authenticated: set heartbeat.key_file on all nodes");
    }
    let (me, port) = (cluster.me.id.clone(), settings.heartbeat.port);
    let address = settings.heartbeat.bind.unwrap_or(cluster.me.address);
    let sender = Sender::new(me.clone(), session, &cluster.name, key)
        .accepting(second)
        .with_version(ProgramVersion::own());
    let parts = ExchangeParts { me, address, port, session, sender };
    let now = clock::now();
    let (mut exchange, echo_fault) = Exchange::open(parts, now)
        .with_context(|| format!("cannot open the heartbeat socket {address}:{port}"))?;
    if let Some(error) = echo_fault {
        tracing::warn!(%error, "no ICMP echo to the peers: only heartbeats show that one is lost");
    }
    exchange.set_peers(&cluster.roster.members, now);
    Ok(exchange)
}

/// Starts the thread. The receiver resolves when the loop ends and errors if the loop panicked.
fn spawn_loop(event_loop: EventLoop) -> anyhow::Result<oneshot::Receiver<()>> {
    let (sender, ended) = oneshot::channel();
    // The node works without either, but a busy host then delays its heartbeats.
    if let Err(reason) = stay_in_memory() {
        tracing::info!("{reason}");
    }
    let body = move || {
        if let Err(reason) = prioritise() {
            tracing::info!("{reason}");
        }
        event_loop.run();
        // The receiver is gone if the process is already exiting.
        let _ = sender.send(());
    };
    let builder = std::thread::Builder::new().name("natha-loop".to_owned());
    builder.spawn(body).context("cannot start the loop's thread")?;
    Ok(ended)
}

/// Waits until the loop ends or a signal arrives. A signal hands nothing over: the next monitor
/// continues from the routes as they are, and the host keeps the addresses of its groups.
async fn watch(
    running: Running,
    mut reload: Reload<'_>,
    signals: &mut Signals,
) -> anyhow::Result<Ending> {
    let Running { notes, carrier, mut ended } = running;
    let stopped = |end: Result<(), _>| {
        end.map(|()| Ending::Stopped).map_err(|_| anyhow!("the loop's thread panicked"))
    };
    let ending = loop {
        tokio::select! {
            end = &mut ended => return stopped(end),
            is_reload = signals.is_reload() => if !is_reload {
                break Ending::Stopped;
            },
        }
        // Reading them may take as long as calls of EC2.
        let changed = tokio::select! {
            end = &mut ended => return stopped(end),
            () = signals.end() => break Ending::Stopped,
            changed = reload.changes() => changed,
        };
        if let Some(changed) = changed {
            break Ending::Changed(changed);
        }
    };
    if let Ending::Changed(changed) = &ending {
        tracing::info!("{changed}; the monitor restarts with them");
    } else {
        tracing::info!("stopping; this node keeps its groups (`natha drain` hands them over)");
        notify(&sd_notify::NotifyState::Stopping);
    }
    notes.input(Input::Command { command: Command::Restart }).await;
    tokio::select! {
        end = timeout(LINGER_MAX + END_LIMIT, &mut ended) => match end {
            Ok(end) => stopped(end)?,
            Err(_) => bail!("the loop has not ended in time: the peers were not told"),
        },
        () = signals.end() => bail!("stopped by a second signal before the peers were told"),
    };
    carrier.finish().await;
    Ok(ending)
}

/// The signals that the monitor acts on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let signals = Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        };
        reload::unblock_hang_up();
        Ok(signals)
    }

    /// Resolves on SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Resolves on any of them; false on SIGTERM or SIGINT. A SIGHUP that came while nothing waited
    /// for it counts.
    async fn is_reload(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => false,
            _ = self.interrupt.recv() => false,
            _ = self.hang_up.recv() => true,
        }
    }
}

fn random() -> anyhow::Result<u64> {
    getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"))
}
