//! TCP connections at a steady pace, each a new one: which of them are served, by whom, and how
//! long none is. To an address, or to a name whose record is kept as long as its TTL says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::ping::{Outage, outages};
use crate::clock::Clock;
use crate::dataplane::Lookup;
use crate::net::dns;
use crate::net::netns::Netns;

/// The longest answer that is read, in bytes.
const LONGEST: usize = 4_096;

/// What to connect to, and what counts as served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aim {
    /// The port.
    pub port: u16,
    /// A name to look up instead of the order's target.
    #[serde(default)]
    pub name: Option<String>,
    /// What must come back.
    #[serde(default)]
    pub greeting: Greeting,
    /// From one connection to the next, in milliseconds.
    pub interval_ms: u64,
    /// How long a connection may take, with its greeting and the look-up, in milliseconds.
    pub timeout_ms: u64,
}

/// What must come back for a connection to count as served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Greeting {
    /// A line that the server sends by itself: its banner.
    #[default]
    Line,
    /// The last line of the answer to an HTTP request: the banner.
    Http,
    /// Nothing: being connected is enough.
    Connected,
}

/// One connection. Times are in milliseconds, `at_ms` since the lab began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// When it was begun.
    pub at_ms: f64,
    /// How long it took until it was served; none for one that was not.
    pub took_ms: Option<f64>,
    /// Who served it: its banner.
    pub banner: Option<String>,
    /// Where it was to; none where the name could not be looked up.
    pub to: Option<Ipv4Addr>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Connections that were begun and are over.
    pub sent: usize,
    /// Those that were not served.
    pub lost: usize,
    /// Every run of those, in order.
    pub outages: Vec<Outage>,
    /// All of them, by when they were begun.
    pub probes: Vec<Probe>,
}

/// A time in which every served connection had the same banner. Times as in [`Probe::at_ms`].
#[derive(Debug, Clone, PartialEq)]
pub struct Reign {
    /// The banner.
    pub banner: String,
    /// When the first one was begun.
    pub from_ms: f64,
    /// When the last one was begun.
    pub to_ms: f64,
    /// How many there were.
    pub served: usize,
}

impl Report {
    /// The longest outage, from the first connection that was not served to the next one that was,
    /// in milliseconds; 0 without any.
    #[must_use]
    pub fn worst_ms(&self) -> f64 {
        self.outages.iter().map(Outage::ms).fold(0.0, f64::max)
    }

    /// The longest time between two served connections that follow each other, in milliseconds: the
    /// outage and one interval.
    #[must_use]
    pub fn longest_gap_ms(&self) -> f64 {
        let served: Vec<f64> = self.served().map(|probe| probe.at_ms).collect();
        served.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
    }

    /// Who answered when.
    #[must_use]
    pub fn reigns(&self) -> Vec<Reign> {
        let mut reigns: Vec<Reign> = Vec::new();
        for probe in self.served() {
            let (banner, at) = (probe.banner.clone().unwrap_or_default(), probe.at_ms);
            match reigns.last_mut() {
                Some(last) if last.banner == banner => {
                    last.to_ms = at;
                    last.served += 1;
                }
                _ => reigns.push(Reign { banner, from_ms: at, to_ms: at, served: 1 }),
            }
        }
        reigns
    }

    fn served(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(|probe| probe.took_ms.is_some())
    }
}

type Probes = Arc<Mutex<Vec<Probe>>>;

/// A running meter: one thread in the host's network.
pub struct Tcp {
    probes: Probes,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
    clock: Clock,
}

impl Tcp {
    /// Starts in a host's network. `resolver` is asked where the aim has a name.
    ///
    /// # Errors
    /// When the name is none, or the thread cannot be made.
    pub fn start(
        netns: &Netns,
        target: Ipv4Addr,
        resolver: Ipv4Addr,
        aim: Aim,
        clock: Clock,
    ) -> Result<Self> {
        if let Some(name) = aim.name.as_ref().filter(|name| dns::query(0, name).is_none()) {
            bail!("`{name}` is no name to look up");
        }
        let (probes, stop) = (Probes::default(), Arc::new(AtomicBool::new(false)));
        let (netns, seen, end) = (netns.clone(), Arc::clone(&probes), Arc::clone(&stop));
        let runner = Runner {
            target,
            finder: aim.name.clone().map(|name| Finder::new(name, resolver)),
            aim,
            clock,
        };
        let begin = move || {
            netns.enter()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.context("a meter has no runtime")?.block_on(run(Arc::new(runner), &seen, &end));
            Ok(())
        };
        let thread = thread::Builder::new().name("tcp meter".to_owned()).spawn(begin)?;
        Ok(Self { probes, stop, thread, clock })
    }

    /// What it has measured so far; it goes on.
    #[must_use]
    pub fn so_far(&self) -> Report {
        sum_up(&self.probes, self.clock.now())
    }

    /// Begins no more connections, waits for those that are begun and sums up.
    ///
    /// # Errors
    /// When the meter could not work in its network.
    pub fn stop(self) -> Result<Report> {
        let end = self.clock.now();
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a meter's thread panicked"))??;
        Ok(sum_up(&self.probes, end))
    }
}

/// What every connection needs to know.
struct Runner {
    target: Ipv4Addr,
    aim: Aim,
    finder: Option<Finder>,
    clock: Clock,
}

async fn run(runner: Arc<Runner>, probes: &Probes, stop: &AtomicBool) {
    let mut pace = tokio::time::interval(Duration::from_millis(runner.aim.interval_ms.max(1)));
    // After a stall the pace starts anew: a burst would say nothing about the network.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = JoinSet::new();
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let (runner, probes) = (Arc::clone(&runner), Arc::clone(probes));
        open.spawn(async move {
            let probe = runner.probe().await;
            probes.lock().unwrap_or_else(PoisonError::into_inner).push(probe);
        });
        while open.try_join_next().is_some() {}
    }
    // Each of them has a time limit.
    while open.join_next().await.is_some() {}
}

impl Runner {
    async fn probe(&self) -> Probe {
        let begun = self.clock.now();
        let limit = Duration::from_millis(self.aim.timeout_ms);
        let mut probe =
            Probe { at_ms: begun.as_secs_f64() * 1e3, took_ms: None, banner: None, to: None };
        let served = tokio::time::timeout(limit, self.connect(&mut probe.to)).await;
        if let Ok(Ok(banner)) = served {
            let took = self.clock.now().saturating_sub(begun);
            probe.took_ms = Some(took.as_secs_f64() * 1e3);
            probe.banner = banner;
        }
        probe
    }

    async fn connect(&self, to: &mut Option<Ipv4Addr>) -> Result<Option<String>> {
        let address = match &self.finder {
            Some(finder) => finder.find().await?,
            None => self.target,
        };
        *to = Some(address);
        let mut stream = TcpStream::connect(SocketAddrV4::new(address, self.aim.port)).await?;
        // Closing then leaves nothing behind: the port is free at once.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        let banner = match self.aim.greeting {
            Greeting::Connected => return Ok(None),
            Greeting::Line => first_line(&mut stream).await?,
            Greeting::Http => {
                stream.write_all(b"GET / HTTP/1.0\r\nHost: probe\r\n\r\n").await?;
                last_line(&mut stream).await?
            }
        };
        if banner.is_empty() {
            bail!("no greeting");
        }
        Ok(Some(banner))
    }
}

async fn first_line(stream: &mut TcpStream) -> Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 256]);
    while !text.contains(&b'\n') && text.len() < LONGEST {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

async fn last_line(stream: &mut TcpStream) -> Result<String> {
    let mut text = Vec::new();
    stream.take(LONGEST as u64).read_to_end(&mut text).await?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Ok(body.trim_end().lines().next_back().unwrap_or_default().trim().to_owned())
}

/// A name, and where it led while its record may be kept.
struct Finder {
    name: String,
    resolver: SocketAddr,
    kept: tokio::sync::Mutex<Option<(Instant, Ipv4Addr)>>,
}

impl Finder {
    fn new(name: String, resolver: Ipv4Addr) -> Self {
        let resolver = SocketAddr::new(IpAddr::V4(resolver), 53);
        Self { name, resolver, kept: tokio::sync::Mutex::default() }
    }

    /// The name's first address: the one that is kept, or what the resolver says now.
    async fn find(&self) -> Result<Ipv4Addr> {
        let mut kept = self.kept.lock().await;
        if let Some((until, address)) = *kept
            && Instant::now() < until
        {
            return Ok(address);
        }
        *kept = None;
        let (ttl, address) = self.ask().await?;
        *kept = Some((Instant::now() + Duration::from_secs(ttl.into()), address));
        Ok(address)
    }

    async fn ask(&self) -> Result<(u32, Ipv4Addr)> {
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|problem| anyhow!("no randomness: {problem}"))?;
        let id = u16::from_be_bytes(id);
        let query = dns::query(id, &self.name).context("no name to look up")?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(self.resolver).await?;
        socket.send(&query).await?;
        let mut buffer = [0; dns::LONGEST];
        loop {
            let count = socket.recv(&mut buffer).await?;
            match dns::read_reply(&buffer[..count], id) {
                None => {}
                Some(Lookup::Addresses { ttl, addresses }) => {
                    return Ok((ttl, *addresses.first().context("no address")?));
                }
                Some(other) => bail!("{}: {other:?}", self.name),
            }
        }
    }
}

fn sum_up(probes: &Probes, end: Duration) -> Report {
    let mut probes = probes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    probes.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    let plain: Vec<_> = probes.iter().map(|probe| (probe.at_ms, probe.took_ms)).collect();
    let outages = outages(&plain, end.as_secs_f64() * 1e3);
    let lost = outages.iter().map(|outage| outage.lost).sum();
    Report { sent: probes.len(), lost, outages, probes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(pattern: &[(f64, Option<&str>)]) -> Report {
        let probes = pattern.iter().map(|(at_ms, banner)| Probe {
            at_ms: *at_ms,
            took_ms: banner.map(|_| 1.0),
            banner: banner.map(str::to_owned),
            to: None,
        });
        sum_up(&Arc::new(Mutex::new(probes.collect())), Duration::from_millis(100))
    }

    #[test]
    fn a_report_tells_the_outage_the_gap_and_who_answered_when() {
        let a = Some("a");
        // A connection that took long is noted after those that were begun later.
        let report = report(&[
            (0.0, a),
            (10.0, a),
            (40.0, Some("b")),
            (20.0, None),
            (30.0, None),
            (50.0, Some("b")),
        ]);
        assert_eq!((report.sent, report.lost, report.outages.len()), (6, 2, 1));
        assert!((report.worst_ms() - 20.0).abs() < 1e-9);
        assert!((report.longest_gap_ms() - 30.0).abs() < 1e-9);
        let reigns: Vec<_> = report
            .reigns()
            .into_iter()
            .map(|it| (it.banner, it.from_ms, it.to_ms, it.served))
            .collect();
        assert_eq!(reigns, [("a".into(), 0.0, 10.0, 2), ("b".into(), 40.0, 50.0, 2)]);
    }

    /// A resolver that answers with this TTL, and with another address each time.
    async fn finder(ttl: u32) -> Finder {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let resolver = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; dns::LONGEST];
            for last in 1.. {
                let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
                let addresses = vec![Ipv4Addr::new(192, 0, 2, last)];
                let answer =
                    dns::answer(&buffer[..count], |_| Lookup::Addresses { ttl, addresses });
                socket.send_to(&answer.unwrap(), from).await.unwrap();
            }
        });
        Finder { resolver, ..Finder::new("db.example.test".into(), Ipv4Addr::LOCALHOST) }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_again_only_when_its_ttl_is_over() {
        let kept = finder(60).await;
        let fleeting = finder(0).await;
        for last in 1..=3 {
            assert_eq!(kept.find().await.unwrap(), Ipv4Addr::new(192, 0, 2, 1));
            assert_eq!(fleeting.find().await.unwrap(), Ipv4Addr::new(192, 0, 2, last));
        }
        let second = Duration::from_secs(1);
        *kept.kept.lock().await = Some((Instant::now() + second, Ipv4Addr::LOCALHOST));
        assert_eq!(kept.find().await.unwrap(), Ipv4Addr::LOCALHOST);
        *kept.kept.lock().await = Some((Instant::now(), Ipv4Addr::LOCALHOST));
        assert_eq!(kept.find().await.unwrap(), Ipv4Addr::new(192, 0, 2, 2));
    }

    #[test]
    fn an_outage_that_does_not_end_lasts_until_the_meter_stops() {
        let report = report(&[(0.0, Some("a")), (10.0, None)]);
        assert!((report.worst_ms() - 90.0).abs() < 1e-9, "{:?}", report.outages);
        assert!(report.longest_gap_ms().abs() < 1e-9);
    }
}
