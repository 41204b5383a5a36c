//! Pings some targets, and notes which requests have a reply.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::replies::Replies;
use crate::daemon::clock;
use crate::daemon::peers::{EchoMark, PeerSocket};
use crate::types::Time;

/// How long a change may take to have an effect.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// Replies read at once.
const MAX_DRAIN: usize = 1024;

/// What to ping.
#[derive(Debug, Clone)]
pub(super) struct Pings {
    /// The address of this host that the requests come from; none for the host's choice.
    pub(super) from: Option<Ipv4Addr>,
    /// Each request goes to the next of them.
    pub(super) to: Vec<Ipv4Addr>,
    /// Time between two requests.
    pub(super) pace: Duration,
}

/// Sends the requests.
pub(super) struct Pinger {
    socket: PeerSocket,
    targets: Vec<Ipv4Addr>,
    mark: EchoMark,
    replies: Replies,
    pace: Interval,
}

impl Pinger {
    pub(super) fn open(pings: Pings) -> anyhow::Result<Self> {
        let Pings { from, to, pace } = pings;
        let token = getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"))?;
        let mark = EchoMark::new(token);
        let from = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let socket = PeerSocket::echo(from, None, mark, clock::now());
        let socket = socket.context("cannot send pings: run this as root")?;
        let mut pace = interval(pace);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { socket, targets: to, mark, replies: Replies::default(), pace })
    }

    /// Takes in replies, and sends the next request.
    fn turn(&mut self) {
        let now = clock::now();
        let (mark, replies) = (self.mark, &mut self.replies);
        self.socket.drain(now, MAX_DRAIN, |datagram| {
            if let Some(sequence) = mark.reply(datagram.bytes) {
                replies.receive(sequence);
            }
        });
        let sequence = self.replies.send(now);
        self.targets.rotate_left(1);
        if let Some(target) = self.targets.first() {
            // A request that cannot be sent has no reply, as before the change.
            let _ = self.socket.send(&self.mark.request(sequence), SocketAddrV4::new(*target, 0));
        }
    }

    /// Pings until `work` is done.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = self.pace.tick() => self.turn(),
            }
        }
    }

    /// Pings until replies begin, or end, after `asked`. Returns when; none if they do not in time.
    pub(super) async fn wait(&mut self, asked: Time, begin: bool) -> Option<Time> {
        while clock::now().since(asked) < PATIENCE {
            self.pace.tick().await;
            self.turn();
            let found = if begin {
                self.replies.begin(asked)
            } else {
                self.replies.end(asked, clock::now())
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}
