//! Watches the uplink: probes hosts on the internet; one reply is enough.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::FitnessBoard;
use crate::config::{Probe, Uplink};
use crate::daemon::clock;
use crate::daemon::peers::{EchoMark, PeerSocket};
use crate::kernel::links;
use crate::types::Fault;

/// Replies read in one round.
const MAX_DRAIN: usize = 1024;

/// Counts rounds without a reply. Pure.
///
/// The uplink can only be lost after it has worked. If no target has ever replied, ICMP or the
/// targets may be blocked, which says nothing about the uplink.
#[derive(Debug, Clone)]
struct UplinkJudge {
    lost_after: u32,
    silent: Option<u32>,
}

impl UplinkJudge {
    fn new(lost_after: u32) -> Self {
        Self { lost_after, silent: None }
    }

    /// Counts one round. `answered`: whether any target has replied since the last round.
    fn round(&mut self, answered: bool) {
        if answered {
            self.silent = Some(0);
        } else if let Some(silent) = &mut self.silent {
            *silent = silent.saturating_add(1);
        }
    }

    fn is_lost(&self) -> bool {
        self.silent.is_some_and(|silent| silent >= self.lost_after)
    }
}

/// Probes for as long as the runtime lives. `uplink` is the configured interface, if any.
pub(crate) async fn watch(
    settings: Uplink,
    uplink: Option<String>,
    token: u64,
    board: FitnessBoard,
) {
    let device = match uplink {
        Some(name) => Some(name),
        None => default_uplink().await,
    };
    tracing::debug!(device, targets = settings.targets.len(), "watching the uplink");
    let mut prober = Prober::new(settings, device, token);
    let mut judge = UplinkJudge::new(prober.settings.lost_after);
    let mut rounds = interval(prober.settings.interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds.tick().await;
    loop {
        prober.ask();
        rounds.tick().await;
        judge.round(prober.answered());
        board.set(Fault::Uplink, judge.is_lost()).await;
    }
}

/// The interface with the best default route. Without one, the kernel chooses for each packet.
async fn default_uplink() -> Option<String> {
    match links::read().await {
        Ok((_, routes)) => {
            routes.into_iter().min_by_key(|route| route.metric).map(|route| route.link)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read the default route");
            None
        }
    }
}

struct Prober {
    settings: Uplink,
    device: Option<String>,
    mark: EchoMark,
    sequence: u16,
    icmp: Option<PeerSocket>,
    tcp_answered: Arc<AtomicBool>,
}

impl Prober {
    fn new(settings: Uplink, device: Option<String>, token: u64) -> Self {
        let wants_icmp = settings.targets.iter().any(|one| matches!(one, Probe::Icmp(_)));
        let mark = EchoMark::new(token);
        let open =
            || PeerSocket::echo(Ipv4Addr::UNSPECIFIED, device.as_deref(), mark, clock::now());
        let icmp = match wants_icmp.then(open).transpose() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot probe the uplink by ICMP: no raw socket");
                None
            }
        };
        Self { settings, device, mark, sequence: 0, icmp, tcp_answered: Arc::default() }
    }

    fn ask(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        let patience = self.settings.interval.saturating_mul(self.settings.lost_after);
        for target in &self.settings.targets {
            match target {
                Probe::Icmp(address) => {
                    if let Some(socket) = &self.icmp {
                        let request = self.mark.request(self.sequence);
                        // A request that cannot be sent gets no reply, which is what counts.
                        let _ = socket.send(&request, SocketAddrV4::new(*address, 0));
                    }
                }
                Probe::Tcp(address) => {
                    let (answered, device) = (self.tcp_answered.clone(), self.device.clone());
                    tokio::spawn(connect(*address, device, patience, answered));
                }
            }
        }
    }

    /// Whether any target has replied since the last call.
    fn answered(&mut self) -> bool {
        let mut answered = self.tcp_answered.swap(false, Ordering::Relaxed);
        let (targets, mark) = (&self.settings.targets, self.mark);
        if let Some(socket) = &mut self.icmp {
            socket.drain(clock::now(), MAX_DRAIN, |datagram| {
                let asked = targets.contains(&Probe::Icmp(*datagram.from.ip()));
                answered |= asked && mark.is_reply(datagram.bytes);
            });
        }
        answered
    }
}

/// One TCP probe. A refused connection is a reply too.
async fn connect(
    address: SocketAddr,
    device: Option<String>,
    patience: Duration,
    answered: Arc<AtomicBool>,
) {
    let attempt = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind_device(device.as_deref().map(str::as_bytes))?;
        socket.connect(address).await
    };
    let result = timeout(patience, attempt).await;
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    if result.is_ok_and(|connected| connected.as_ref().err().is_none_or(refused)) {
        answered.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_ever_answers_nothing_is_lost() {
        let mut judge = UplinkJudge::new(3);
        (0..100).for_each(|_| judge.round(false));
        assert!(!judge.is_lost());
    }

    #[test]
    fn silence_after_an_answer_counts_and_any_answer_ends_it() {
        let mut judge = UplinkJudge::new(3);
        judge.round(true);
        judge.round(false);
        judge.round(false);
        assert!(!judge.is_lost());
        judge.round(false);
        assert!(judge.is_lost());
        judge.round(true);
        assert!(!judge.is_lost());
    }
}
