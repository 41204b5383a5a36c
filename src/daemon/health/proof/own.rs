//! This host's own probes of hosts on the internet.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::config::Probe;
use crate::daemon::clock;
use crate::daemon::peers::{EchoMark, PeerSocket};

/// Replies read in one round.
const MAX_DRAIN: usize = 1024;

/// Sends probes from this host's own address.
pub(super) struct OwnProbes {
    targets: Vec<Probe>,
    /// How long a TCP connection may take.
    limit: Duration,
    device: Option<String>,
    mark: EchoMark,
    sequence: u16,
    icmp: Option<PeerSocket>,
    tcp_answered: Arc<AtomicBool>,
}

impl OwnProbes {
    /// Probes that leave through `device`, or as the kernel chooses for each packet.
    pub(super) fn new(
        targets: Vec<Probe>,
        limit: Duration,
        device: Option<String>,
        token: u64,
    ) -> Self {
        let wants_icmp = targets.iter().any(|one| matches!(one, Probe::Icmp(_)));
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
        Self { targets, limit, device, mark, sequence: 0, icmp, tcp_answered: Arc::default() }
    }

    /// Sends a round: to all targets, or only to those that are asked by ICMP.
    pub(super) fn ask(&mut self, all: bool) {
        self.sequence = self.sequence.wrapping_add(1);
        for target in &self.targets {
            match target {
                Probe::Icmp(address) => {
                    if let Some(socket) = &self.icmp {
                        let request = self.mark.request(self.sequence);
                        // A request that cannot be sent gets no reply, which is what counts.
                        let _ = socket.send(&request, SocketAddrV4::new(*address, 0));
                    }
                }
                Probe::Tcp(address) if all => {
                    let (answered, device) = (self.tcp_answered.clone(), self.device.clone());
                    tokio::spawn(connect(*address, device, self.limit, answered));
                }
                Probe::Tcp(_) => {}
            }
        }
    }

    /// Whether a target has replied since the last call, by ICMP and by TCP.
    pub(super) fn answered(&mut self) -> Answered {
        let (targets, mark) = (&self.targets, self.mark);
        let mut icmp = false;
        if let Some(socket) = &mut self.icmp {
            socket.drain(clock::now(), MAX_DRAIN, |datagram| {
                let asked = targets.contains(&Probe::Icmp(*datagram.from.ip()));
                icmp |= asked && mark.is_reply(datagram.bytes);
            });
        }
        Answered { icmp, tcp: self.tcp_answered.swap(false, Ordering::Relaxed) }
    }
}

/// Which kinds of probes were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answered {
    pub(super) icmp: bool,
    pub(super) tcp: bool,
}

impl Answered {
    pub(super) fn any(self) -> bool {
        self.icmp || self.tcp
    }
}

/// One TCP probe. A refused connection is a reply too.
async fn connect(
    address: SocketAddr,
    device: Option<String>,
    limit: Duration,
    answered: Arc<AtomicBool>,
) {
    let attempt = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind_device(device.as_deref().map(str::as_bytes))?;
        socket.connect(address).await
    };
    let result = timeout(limit, attempt).await;
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    if result.is_ok_and(|connected| connected.as_ref().err().is_none_or(refused)) {
        answered.store(true, Ordering::Relaxed);
    }
}
