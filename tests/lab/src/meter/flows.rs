//! Flows that stay open, over TCP and UDP: how many of them live through what happens.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::net::internet::ECHO_PORT;
use crate::net::netns::Netns;

/// How long an answer may take, retransmissions included, before its flow counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer to a datagram may take, and how often the last one is sent before its flow
/// counts as broken.
const ANSWER: Duration = Duration::from_secs(1);
const LAST_TRIES: usize = 3;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Flows that were opened.
    pub flows: usize,
    /// Flows that were reset, closed or left without an answer.
    pub broken: usize,
    /// Messages that were answered, over all flows.
    pub answered: u64,
    /// Why the broken ones broke.
    pub reasons: Vec<String>,
}

/// A running meter: one thread for each flow.
pub struct Flows {
    stop: Arc<AtomicBool>,
    flows: Vec<JoinHandle<(u64, std::io::Result<()>)>>,
}

impl Flows {
    /// Opens every flow, then starts sending.
    ///
    /// # Errors
    /// When a flow cannot be opened.
    pub fn start(netns: &Netns, target: Ipv4Addr, count: u16, interval: u64) -> Result<Self> {
        let address = SocketAddr::from((target, ECHO_PORT));
        let streams = netns.run(|| {
            let open = |_| TcpStream::connect_timeout(&address, PATIENCE);
            let streams: std::io::Result<Vec<_>> = (0..count).map(open).collect();
            streams.with_context(|| format!("cannot connect to {address}"))
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let interval = Duration::from_millis(interval.max(1));
        let flows = streams.into_iter().map(|stream| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut answered = 0;
                let end = tick(stream, interval, &stop, &mut answered);
                (answered, end)
            })
        });
        Ok(Self { flows: flows.collect(), stop })
    }

    /// The same over UDP. A datagram may be lost; a flow is broken when the last ones are.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn datagrams(netns: &Netns, target: Ipv4Addr, count: u16, interval: u64) -> Result<Self> {
        let address = SocketAddr::from((target, ECHO_PORT));
        let sockets = netns.run(|| {
            let open = |_| {
                let socket = UdpSocket::bind(("0.0.0.0", 0))?;
                socket.connect(address)?;
                socket.set_read_timeout(Some(ANSWER))?;
                Ok(socket)
            };
            let sockets: std::io::Result<Vec<_>> = (0..count).map(open).collect();
            sockets.with_context(|| format!("cannot send to {address}"))
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let interval = Duration::from_millis(interval.max(1));
        let flows = sockets.into_iter().map(|socket| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || exchange(&socket, interval, &stop))
        });
        Ok(Self { flows: flows.collect(), stop })
    }

    /// Stops after each flow's current message and sums up.
    #[must_use]
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let flows = self.flows.len();
        let mut answered = 0;
        let mut reasons = Vec::new();
        for flow in self.flows {
            match flow.join() {
                Ok((count, end)) => {
                    answered += count;
                    reasons.extend(end.err().map(|problem| problem.to_string()));
                }
                Err(_) => reasons.push("its thread panicked".into()),
            }
        }
        Report { flows, broken: reasons.len(), answered, reasons }
    }
}

fn tick(
    mut stream: TcpStream,
    interval: Duration,
    stop: &AtomicBool,
    answered: &mut u64,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 8];
    // At least one message follows every stop, so that no flow is called alive unasked.
    loop {
        let last = stop.load(Ordering::Relaxed);
        stream.write_all(&answered.to_be_bytes())?;
        stream.read_exact(&mut buffer)?;
        *answered += 1;
        if last {
            return Ok(());
        }
        thread::sleep(interval);
    }
}

/// Sends a number, waits for it to come back, and again; tells how many came back.
fn exchange(
    socket: &UdpSocket,
    interval: Duration,
    stop: &AtomicBool,
) -> (u64, std::io::Result<()>) {
    let (mut number, mut answered, mut tries) = (0_u64, 0, 0);
    loop {
        let last = stop.load(Ordering::Relaxed);
        number += 1;
        // An error here is one about an earlier datagram, such as an unreachable network.
        let came_back = match socket.send(&number.to_be_bytes()) {
            Ok(_) => receive(socket, number),
            Err(problem) => Err(problem),
        };
        answered += u64::from(came_back.is_ok());
        tries += usize::from(last);
        match came_back {
            Ok(()) if last => return (answered, Ok(())),
            Err(problem) if tries >= LAST_TRIES => return (answered, Err(problem)),
            _ => thread::sleep(interval),
        }
    }
}

/// Waits for a number; earlier ones may still be on their way.
fn receive(socket: &UdpSocket, number: u64) -> std::io::Result<()> {
    let mut buffer = [0; 8];
    loop {
        let count = socket.recv(&mut buffer)?;
        if count == buffer.len() && u64::from_be_bytes(buffer) == number {
            return Ok(());
        }
    }
}
