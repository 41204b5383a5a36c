//! Proves that this host reaches the internet, and that packets of private hosts get out and back.
//!
//! Two kinds of probes ask the same targets: the host's own, and those that take the way of a
//! private host's packets. Both look alike on the wire. If only the own ones are answered,
//! forwarding is broken on this host, whatever broke it.

mod own;
mod transit;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use self::own::OwnProbes;
use self::transit::TransitProbes;
use super::FitnessBoard;
use crate::config::{Settings, Uplink};
use crate::daemon::alerts::Alert;
use crate::daemon::boot_memory::BootMemory;
use crate::daemon::clock;
use crate::daemon::inbox::Notes;
use crate::daemon::looks::repaired;
use crate::evidence::{Judge, Pacing, Proven, Round};
use crate::kernel::tun::{self, TransitLink};
use crate::kernel::{journal, links};
use crate::plan::TRANSIT_LINK;
use crate::types::{Evidence, Fitness, Time};

/// Time between two attempts to make the interface: it doubles from the first value to the second.
const OPEN_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));

/// The file in the state directory with what was proven since the host booted.
const MEMORY: &str = "proven.json";

/// What is probed and how.
#[derive(Debug)]
pub(crate) struct ProofParts {
    uplink: Uplink,
    /// The configured uplink, if any.
    device: Option<String>,
    /// Whether forwarding is tested.
    transit: bool,
    pacing: Pacing,
    state_dir: PathBuf,
    token: u64,
    /// Asks for a round at once, and for word of its replies.
    hurry: Arc<Notify>,
    notes: Notes,
}

impl ProofParts {
    /// As the settings say. `token` must be random.
    pub(crate) fn new(settings: &Settings, token: u64, hurry: Arc<Notify>, notes: Notes) -> Self {
        let pacing = Pacing {
            interval: settings.timing.probe_interval,
            pace: settings.timing.probe_pace(),
            lost_after: settings.uplink.lost_after,
        };
        Self {
            uplink: settings.uplink.clone(),
            device: settings.host.uplink.clone(),
            transit: tests_transit(settings),
            pacing,
            state_dir: settings.state_dir.clone(),
            token,
            hurry,
            notes,
        }
    }
}

/// What the host knows of itself before the first probe: what earlier runs of the monitor have
/// proven since the host booted.
pub(crate) fn recall(settings: &Settings) -> Fitness {
    if settings.uplink.targets.is_empty() {
        return Fitness::fit();
    }
    proven(&memory(&settings.state_dir), tests_transit(settings)).fitness()
}

/// Whether forwarding is tested.
fn tests_transit(settings: &Settings) -> bool {
    settings.is_nat() && settings.host.transit_network.0.is_some()
}

fn memory(state_dir: &Path) -> BootMemory<Proven> {
    BootMemory::load(state_dir, MEMORY, |_| Proven::default())
}

/// What counts of it, where forwarding is tested or not.
fn proven(memory: &BootMemory<Proven>, transit: bool) -> Proven {
    let known = *memory.content();
    Proven { transit: transit.then_some(known.transit.unwrap_or(false)), ..known }
}

/// Probes for as long as the runtime lives.
pub(crate) async fn watch(parts: ProofParts, alert: Alert, board: FitnessBoard) {
    let mut rounds = interval(parts.pacing.pace);
    let hurry = parts.hurry.clone();
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::start(parts, alert).await;
    watch.publish(&board, clock::now()).await;
    loop {
        let is_hurried = tokio::select! {
            _ = rounds.tick() => false,
            () = hurry.notified() => true,
        };
        let now = clock::now();
        if is_hurried {
            watch.judge.hurry(now);
        }
        watch.hear(now);
        watch.tend_link(now).await;
        watch.publish(&board, now).await;
        watch.ask(now);
    }
}

struct Watch {
    parts: ProofParts,
    judge: Judge,
    memory: BootMemory<Proven>,
    own: OwnProbes,
    link: Link,
    alert: Alert,
}

/// The interface of the transit probes.
enum Link {
    /// Forwarding is not tested.
    Off,
    /// It could not be made. The next attempt, and the pause after it.
    Closed {
        retry: Time,
        pause: Duration,
    },
    Open(Box<TransitProbes>),
}

impl Watch {
    async fn start(parts: ProofParts, alert: Alert) -> Self {
        let device = match parts.device.clone() {
            Some(name) => Some(name),
            None => default_uplink().await,
        };
        tracing::debug!(device, targets = parts.uplink.targets.len(), "watching the uplink");
        let memory = memory(&parts.state_dir);
        let proven = proven(&memory, parts.transit);
        let Pacing { interval, pace, lost_after } = parts.pacing;
        let limit = interval.max(pace * lost_after);
        let own = OwnProbes::new(parts.uplink.targets.clone(), limit, device, parts.token);
        let closed = Link::Closed { retry: Time::default(), pause: OPEN_EVERY.0 };
        Self {
            judge: Judge::new(parts.pacing, proven),
            memory,
            own,
            link: if parts.transit { closed } else { Link::Off },
            alert,
            parts,
        }
    }

    /// Takes in the replies that have come.
    fn hear(&mut self, now: Time) {
        let own = self.own.answered();
        if let Some(round) = own.round() {
            self.judge.own_answered(round, now);
        }
        if own.icmp.is_some() {
            self.judge.icmp_replied();
        }
        if let Link::Open(probes) = &mut self.link
            && let Some(round) = probes.answered().round()
        {
            self.judge.transit_answered(round, now);
        }
    }

    /// Makes the interface, and repairs it or makes it anew where it was changed: what that breaks
    /// is not forwarding.
    async fn tend_link(&mut self, now: Time) {
        let mut repaired = None;
        if let Link::Open(probes) = &self.link
            && self.judge.transit_is_silent(now)
        {
            if probes.is_intact() {
                repaired = hold_sysctls();
            } else {
                self.link = Link::Closed { retry: now, pause: OPEN_EVERY.0 };
            }
        }
        if let Some(text) = repaired {
            self.parts.notes.drift(text, None).await;
        }
        let Link::Closed { retry, pause } = self.link else { return };
        if now < retry {
            return;
        }
        match self.open() {
            Ok(probes) => {
                self.link = Link::Open(Box::new(probes));
                self.judge.restart_transit();
                self.alert.set(None).await;
            }
            Err(why) => {
                self.link =
                    Link::Closed { retry: now + pause, pause: (pause * 2).min(OPEN_EVERY.1) };
                self.judge.forget_transit();
                self.alert.set(Some(format!("forwarding is not tested: {why}"))).await;
            }
        }
    }

    fn open(&self) -> Result<TransitProbes, String> {
        let plan = journal::last_plan(&self.parts.state_dir).map_err(|error| error.to_string())?;
        let network = plan.and_then(|plan| plan.table.transit).ok_or(
            "this host's rules have no room for it: run `natha setup`, or set \
             host.transit_network to `off`",
        )?;
        let link = TransitLink::open(network)
            .map_err(|error| format!("{error}; or set host.transit_network to `off`"))?;
        Ok(TransitProbes::new(link, self.parts.uplink.targets.clone(), self.parts.token))
    }

    async fn publish(&mut self, board: &FitnessBoard, now: Time) {
        board.prove(Evidence::Uplink, self.judge.uplink(now)).await;
        if let Some(found) = self.judge.transit(now) {
            board.prove(Evidence::Transit, found).await;
        }
        for (kind, sent) in self.judge.take_news() {
            board.answered(kind, sent).await;
        }
        drop(self.memory.save(&self.judge.proven()));
    }

    /// Sends a round if it is time for one.
    fn ask(&mut self, now: Time) {
        let Some(round) = self.judge.due(now) else { return };
        let all = round == Round::All;
        let number = self.judge.sent(now, matches!(self.link, Link::Open(_)));
        self.own.ask(number, all);
        if let Link::Open(probes) = &mut self.link {
            probes.ask(number, all);
        }
    }
}

/// Sets the interface's sysctls where another program has changed them, and returns what to report
/// of that.
fn hold_sysctls() -> Option<String> {
    match tun::hold() {
        Ok(changed) => repaired(TRANSIT_LINK, &changed),
        Err(error) => {
            tracing::debug!(%error, "cannot repair interface `{TRANSIT_LINK}`");
            None
        }
    }
}

/// The interface with the best default route. Without one, the kernel chooses for each packet.
async fn default_uplink() -> Option<String> {
    match links::read().await {
        Ok((_, routes)) => {
            let default = routes.iter().filter(|route| route.default_link().is_some());
            default.min_by_key(|route| route.metric)?.link.clone()
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read the default route");
            None
        }
    }
}
