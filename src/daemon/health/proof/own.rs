//! This host's own probes of hosts on the internet.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
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
    icmp: Option<PeerSocket>,
    tcp_answered: (UnboundedSender<u16>, UnboundedReceiver<u16>),
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
        Self { targets, limit, device, mark, icmp, tcp_answered: unbounded_channel() }
    }

    /// Sends the round with this number: to all targets, or only to those that are asked by ICMP.
    pub(super) fn ask(&self, round: u16, all: bool) {
        for target in &self.targets {
            match target {
                Probe::Icmp(address) => {
                    if let Some(socket) = &self.icmp {
                        let request = self.mark.request(round);
                        // A request that cannot be sent gets no reply, which is what counts.
                        let _ = socket.send(&request, SocketAddrV4::new(*address, 0));
                    }
                }
                Probe::Tcp(address) if all => {
                    let (answered, device) = (self.tcp_answered.0.clone(), self.device.clone());
                    let connected = connect(*address, device, self.limit);
                    tokio::spawn(async move {
                        if connected.await {
                            // No one listens any more if the monitor is ending.
                            let _ = answered.send(round);
                        }
                    });
                }
                Probe::Tcp(_) => {}
            }
        }
    }

    /// The replies since the last call.
    pub(super) fn answered(&mut self) -> Answered {
        let (targets, mark) = (&self.targets, self.mark);
        let mut icmp = None;
        if let Some(socket) = &mut self.icmp {
            socket.drain(clock::now(), MAX_DRAIN, |datagram| {
                let asked = targets.contains(&Probe::Icmp(*datagram.from.ip()));
                icmp = mark.reply(datagram.bytes).filter(|_| asked).or(icmp);
            });
        }
        let tcp = std::iter::from_fn(|| self.tcp_answered.1.try_recv().ok()).last();
        Answered { icmp, tcp }
    }
}

/// The rounds that the last replies answer, by ICMP and by TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answered {
    pub(super) icmp: Option<u16>,
    pub(super) tcp: Option<u16>,
}

impl Answered {
    /// A round that was answered, if one was.
    pub(super) fn round(self) -> Option<u16> {
        self.icmp.or(self.tcp)
    }
}

/// One TCP probe: whether it gets a reply. A refused connection is one too.
async fn connect(address: SocketAddr, device: Option<String>, limit: Duration) -> bool {
    let attempt = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind_device(device.as_deref().map(str::as_bytes))?;
        socket.connect(address).await
    };
    let result = timeout(limit, attempt).await;
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    result.is_ok_and(|connected| connected.as_ref().err().is_none_or(refused))
}
