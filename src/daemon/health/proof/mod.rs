//! Proves that this host reaches the internet, and that packets of private hosts get out and back.
//!
//! Two kinds of probes ask the same targets: the host's own, and those that take the way of a
//! private host's packets. Both look alike on the wire. If only the own ones are answered,
//! forwarding is broken on this host, whatever broke it.

mod own;
mod transit;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use self::own::OwnProbes;
use self::transit::TransitProbes;
use super::FitnessBoard;
use crate::config::{Settings, Uplink};
use crate::daemon::alerts::Alert;
use crate::daemon::boot_memory::BootMemory;
use crate::daemon::clock;
use crate::evidence::{Judge, Pacing, Proven, Round};
use crate::kernel::tun::TransitLink;
use crate::kernel::{journal, links};
use crate::types::{Evidence, Time};

/// The shortest time between two rounds, however short the heartbeat's interval is.
const LEAST_PACE: Duration = Duration::from_millis(50);
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
    pace: Duration,
    state_dir: PathBuf,
    token: u64,
}

impl ProofParts {
    /// As the settings say. `token` must be random.
    pub(crate) fn new(settings: &Settings, token: u64) -> Self {
        let heartbeat = settings.timing.interval;
        Self {
            uplink: settings.uplink.clone(),
            device: settings.host.uplink.clone(),
            transit: settings.is_nat() && settings.host.transit_network.0.is_some(),
            pace: heartbeat.max(LEAST_PACE).min(settings.uplink.interval),
            state_dir: settings.state_dir.clone(),
            token,
        }
    }
}

/// Probes for as long as the runtime lives.
pub(crate) async fn watch(parts: ProofParts, alert: Alert, board: FitnessBoard) {
    let mut rounds = interval(parts.pace);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::start(parts, alert).await;
    watch.publish(&board, clock::now()).await;
    loop {
        rounds.tick().await;
        let now = clock::now();
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
    /// Whether a target has ever answered by ICMP, so that TCP targets need not be asked.
    icmp_works: bool,
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
        let memory = BootMemory::<Proven>::load(&parts.state_dir, MEMORY, |_| Proven::default());
        let known = *memory.content();
        let transit = parts.transit.then_some(known.transit.unwrap_or(false));
        let proven = Proven { uplink: known.uplink, transit };
        let lost_after = parts.uplink.lost_after;
        let limit = parts.uplink.interval.max(parts.pace * lost_after);
        let own = OwnProbes::new(parts.uplink.targets.clone(), limit, device, parts.token);
        let closed = Link::Closed { retry: Time::default(), pause: OPEN_EVERY.0 };
        Self {
            judge: Judge::new(
                Pacing { interval: parts.uplink.interval, pace: parts.pace, lost_after },
                proven,
            ),
            memory,
            own,
            link: if parts.transit { closed } else { Link::Off },
            alert,
            icmp_works: false,
            parts,
        }
    }

    /// Takes in the replies that have come.
    fn hear(&mut self, now: Time) {
        let own = self.own.answered();
        if own.any() {
            self.judge.own_answered(now);
        }
        self.icmp_works |= own.icmp;
        if let Link::Open(probes) = &mut self.link
            && probes.answered().any()
        {
            self.judge.transit_answered(now);
        }
    }

    /// Makes the interface, and makes it anew where it was changed: what its absence breaks is not
    /// forwarding.
    async fn tend_link(&mut self, now: Time) {
        if let Link::Open(probes) = &self.link
            && self.judge.transit_is_silent(now)
            && !probes.is_intact()
        {
            self.link = Link::Closed { retry: now, pause: OPEN_EVERY.0 };
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
        drop(self.memory.save(&self.judge.proven()));
    }

    /// Sends a round if it is time for one.
    fn ask(&mut self, now: Time) {
        let Some(round) = self.judge.due(now) else { return };
        let all = round == Round::All || !self.icmp_works;
        self.own.ask(all);
        let open = if let Link::Open(probes) = &mut self.link {
            probes.ask(all);
            true
        } else {
            false
        };
        self.judge.sent(now, open);
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
