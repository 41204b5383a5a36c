//! ICMP echo at a steady pace, each probe matched with its answer.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Clock;
use crate::net::netns::Netns;

/// How long the meter waits for an answer when it stops. A later answer counts as lost.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Where the probe's number is in an echo message: behind the header.
const NUMBER: std::ops::Range<usize> = 8..16;

/// What was measured. Times are in milliseconds since the lab began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Probes sent.
    pub sent: usize,
    /// Probes that were not answered.
    pub lost: usize,
    /// Every run of lost probes, in order.
    pub outages: Vec<Outage>,
    /// For each probe when it was sent and how long its answer took; none for a lost one.
    pub probes: Vec<Probe>,
}

/// A run of lost probes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// When its first lost probe was sent.
    pub start_ms: f64,
    /// When the first probe after it that was answered was sent; when the meter stopped, if none.
    pub end_ms: f64,
    /// How many probes it lost.
    pub lost: usize,
}

impl Outage {
    /// How long it was.
    #[must_use]
    pub fn ms(&self) -> f64 {
        self.end_ms - self.start_ms
    }
}

impl Report {
    /// The longest outage in milliseconds; 0 without any.
    #[must_use]
    pub fn worst_ms(&self) -> f64 {
        self.outages.iter().map(Outage::ms).fold(0.0, f64::max)
    }
}

/// When a probe was sent and how long its answer took, in milliseconds; none for a lost one.
pub type Probe = (f64, Option<f64>);

type Probes = Arc<Mutex<Vec<(Duration, Option<Duration>)>>>;

/// A running meter.
pub struct Ping {
    probes: Probes,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<()>,
    receiver: JoinHandle<Result<()>>,
    drained: Arc<AtomicBool>,
    clock: Clock,
}

impl Ping {
    /// Starts in a host's network.
    ///
    /// # Errors
    /// When a raw socket cannot be opened.
    pub fn start(netns: &Netns, target: Ipv4Addr, interval: u64, clock: Clock) -> Result<Self> {
        let socket = netns.run(|| {
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
                .context("cannot open a raw socket")
        })?;
        socket.connect(&SocketAddrV4::new(target, 0).into())?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket.set_recv_buffer_size(1 << 20)?;
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|problem| anyhow!("no randomness: {problem}"))?;
        let probes = Probes::default();
        let (stop, drained) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let sender = {
            let (socket, probes) = (socket.try_clone()?, Arc::clone(&probes));
            let stop = Arc::clone(&stop);
            let interval = Duration::from_millis(interval.max(1));
            thread::spawn(move || send(&socket, id, &probes, interval, &stop, clock))
        };
        let receiver = {
            let (probes, drained) = (Arc::clone(&probes), Arc::clone(&drained));
            thread::spawn(move || receive(&socket, id, &probes, &drained, clock))
        };
        Ok(Self { probes, stop, sender, receiver, drained, clock })
    }

    /// The probes after the first `seen` that are answered, or that are lost by now.
    #[must_use]
    pub fn probes(&self, seen: usize) -> Vec<Probe> {
        let certain = self.clock.now().saturating_sub(LAST_ANSWERS);
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = probes.iter().skip(seen);
        new.take_while(|(at, _)| *at <= certain)
            .map(|(at, answer)| (ms(*at), answer.map(ms)))
            .collect()
    }

    /// Stops sending, waits for the last answers and sums up.
    ///
    /// # Errors
    /// When sending or receiving had failed for good.
    pub fn stop(self) -> Result<Report> {
        let end = self.clock.now();
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().map_err(|_| anyhow!("a meter's thread panicked"))?;
        while is_any_awaited(&self.probes, self.clock.now()) {
            thread::sleep(Duration::from_millis(5));
        }
        self.drained.store(true, Ordering::Relaxed);
        self.receiver.join().map_err(|_| anyhow!("a meter's thread panicked"))??;
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(sum_up(&probes, end))
    }
}

/// Whether an answer can still come. The last probe's answer may overtake earlier ones: two CPUs
/// forward packets, and either may be late.
fn is_any_awaited(probes: &Probes, now: Duration) -> bool {
    let probes = probes.lock().unwrap_or_else(PoisonError::into_inner);
    let mut recent = probes.iter().rev().take_while(|(at, _)| now < *at + LAST_ANSWERS);
    recent.any(|(_, answer)| answer.is_none())
}

fn send(
    socket: &Socket,
    id: [u8; 2],
    probes: &Probes,
    interval: Duration,
    stop: &AtomicBool,
    clock: Clock,
) {
    let mut next = clock.now();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let probe = echo_request(id, number);
        let mut sent = probes.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push((clock.now(), None));
        drop(sent);
        // A probe that the host cannot send, say for want of a route, is a lost one.
        drop(socket.send(&probe));
        next += interval;
        let now = clock.now();
        // After a stall the pace starts anew: a burst would say nothing about the network.
        next = next.max(now);
        thread::sleep(next.saturating_sub(now));
    }
}

fn receive(
    socket: &Socket,
    id: [u8; 2],
    probes: &Probes,
    drained: &AtomicBool,
    clock: Clock,
) -> Result<()> {
    let mut buffer = [0; 256];
    while !drained.load(Ordering::Relaxed) {
        let count = match (&mut &*socket).read(&mut buffer) {
            Ok(count) => count,
            Err(problem) => match problem.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => continue,
                // An ICMP error about a probe: the probe is lost, the meter goes on.
                _ if problem.raw_os_error().is_some() => continue,
                _ => return Err(problem).context("cannot receive answers"),
            },
        };
        let now = clock.now();
        if let Some(number) = answered(&buffer[..count], id) {
            let mut probes = probes.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, answer @ None)) = probes.get_mut(number) {
                *answer = Some(now.saturating_sub(*at));
            }
        }
    }
    Ok(())
}

fn echo_request(id: [u8; 2], number: u64) -> [u8; 16] {
    let mut message = [0; 16];
    message[0] = 8;
    message[4..6].copy_from_slice(&id);
    message[6..8].copy_from_slice(&number.to_be_bytes()[6..]);
    message[NUMBER].copy_from_slice(&number.to_be_bytes());
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The number of the probe that a packet answers: an IPv4 header, then an echo reply of ours.
fn answered(packet: &[u8], id: [u8; 2]) -> Option<usize> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let message = packet.get(header..)?;
    if message.get(..2)? != [0, 0] || message.get(4..6)? != id {
        return None;
    }
    let number: [u8; 8] = message.get(NUMBER)?.try_into().ok()?;
    usize::try_from(u64::from_be_bytes(number)).ok()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn sum_up(probes: &[(Duration, Option<Duration>)], end: Duration) -> Report {
    let probes: Vec<Probe> = probes.iter().map(|(at, answer)| (ms(*at), answer.map(ms))).collect();
    let outages = outages(&probes, ms(end));
    let lost = outages.iter().map(|outage| outage.lost).sum();
    Report { sent: probes.len(), lost, outages, probes }
}

/// The runs of lost probes; the last one ends with the meter, if with nothing else.
pub(super) fn outages(probes: &[Probe], end_ms: f64) -> Vec<Outage> {
    let mut outages: Vec<Outage> = Vec::new();
    let mut open = false;
    for (at_ms, answer) in probes {
        match (answer, open) {
            (None, false) => {
                outages.push(Outage { start_ms: *at_ms, end_ms, lost: 1 });
                open = true;
            }
            (None, true) => outages.iter_mut().last().into_iter().for_each(|it| it.lost += 1),
            (Some(_), true) => {
                outages.iter_mut().last().into_iter().for_each(|it| it.end_ms = *at_ms);
                open = false;
            }
            (Some(_), false) => {}
        }
    }
    outages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(at: u64, answered: bool) -> (Duration, Option<Duration>) {
        (Duration::from_millis(at), answered.then_some(Duration::from_millis(1)))
    }

    #[test]
    fn an_outage_runs_from_the_first_lost_probe_to_the_next_answered_one() {
        let pattern = [(0, true), (10, false), (20, false), (30, true), (40, false)];
        let probes: Vec<_> = pattern.map(|(at, answered)| probe(at, answered)).into();
        let report = sum_up(&probes, Duration::from_millis(45));
        assert_eq!((report.sent, report.lost), (5, 3));
        let spans: Vec<_> = report.outages.iter().map(|it| (it.start_ms, it.end_ms)).collect();
        assert_eq!(spans, [(10.0, 30.0), (40.0, 45.0)]);
        assert!((report.worst_ms() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_meter_waits_for_answers_that_a_later_one_overtook() {
        let awaited = |pattern: [(u64, bool); 2], now| {
            let probes = pattern.map(|(at, answered)| probe(at, answered)).into();
            is_any_awaited(&Probes::new(Mutex::new(probes)), Duration::from_millis(now))
        };
        assert!(awaited([(0, false), (10, true)], 20));
        assert!(awaited([(0, true), (10, false)], 1009));
        assert!(!awaited([(0, false), (10, true)], 1000), "it is lost by now");
        assert!(!awaited([(0, true), (10, true)], 20));
    }

    #[test]
    fn an_answer_is_matched_by_id_and_number() {
        let mut packet = vec![0x45; 20];
        let mut reply = echo_request([1, 2], 77_777);
        assert_eq!(checksum(&reply), 0, "a message with its checksum sums to zero");
        packet.extend_from_slice(&reply);
        assert_eq!(answered(&packet, [1, 2]), None, "a request is no answer");
        reply[0] = 0;
        packet.truncate(20);
        packet.extend_from_slice(&reply);
        assert_eq!(answered(&packet, [1, 2]), Some(77_777));
        assert_eq!(answered(&packet, [1, 3]), None);
        assert_eq!(answered(&packet[..30], [1, 2]), None);
    }
}
