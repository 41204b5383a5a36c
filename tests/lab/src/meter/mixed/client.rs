//! The private host's end of the flows.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::progress::{Progress, stalls};
use super::server::runtime;
use super::streams::{self, Request, greet};
use super::{Kind, Mix, PATIENCE, PORT, Report, Stalls, datagrams, newcomers};
use crate::net::netns::Netns;

/// A running meter.
pub struct Mixed {
    stop: watch::Sender<bool>,
    done: JoinHandle<Report>,
}

/// How one flow ended.
struct Ended {
    kind: Kind,
    end: io::Result<()>,
    progress: Progress,
    seen: Vec<Ipv4Addr>,
}

/// A flow that is open.
enum Open {
    Stream(TcpStream, Request, Ipv4Addr),
    Datagrams(UdpSocket, u32),
}

impl Mixed {
    /// Opens every flow, then lets them run.
    ///
    /// # Errors
    /// When a flow cannot be opened.
    pub fn start(netns: &Netns, target: Ipv4Addr, mix: Mix) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (opened, outcome) = mpsc::sync_channel(1);
        // The thread stays in the namespace of the one that starts it.
        let done = netns.run(move || {
            let work = move || match runtime() {
                Ok(runtime) => runtime.block_on(measure(target, &mix, stopped, &opened)),
                Err(problem) => {
                    let _ = opened.send(Err(problem));
                    Report::none()
                }
            };
            Ok(thread::spawn(work))
        })?;
        let opened = outcome.recv().context("the meter has ended")?;
        opened.with_context(|| format!("cannot open flows to {target} port {PORT}"))?;
        Ok(Self { stop, done })
    }

    /// Lets each flow carry its last message, and sums up.
    ///
    /// # Errors
    /// When the meter has failed.
    pub fn stop(self) -> Result<Report> {
        self.stop.send_replace(true);
        self.done.join().map_err(|_| anyhow!("the meter of mixed flows panicked"))
    }
}

impl Report {
    fn none() -> Self {
        let stall = Stalls::default();
        Self { kinds: [].into(), stall, newcomers: None, seen: BTreeSet::new() }
    }
}

/// Opens the flows, says whether that succeeded, and measures until `stop`.
async fn measure(
    target: Ipv4Addr,
    mix: &Mix,
    stop: watch::Receiver<bool>,
    opened: &mpsc::SyncSender<io::Result<()>>,
) -> Report {
    let server = SocketAddr::from((target, PORT));
    let flows = match open_all(server, mix).await {
        Ok(flows) => flows,
        Err(problem) => {
            let _ = opened.send(Err(problem));
            return Report::none();
        }
    };
    let pace = Duration::from_millis(mix.interval_ms.max(1));
    let mut running: JoinSet<Ended> =
        flows.into_iter().map(|(kind, flow)| run(kind, flow, pace, stop.clone())).collect();
    let _ = opened.send(Ok(()));
    let newcomers = async {
        match mix.newcomers_ms {
            Some(pace) => Some(newcomers::run(server, Duration::from_millis(pace), stop).await),
            None => None,
        }
    };
    let (newcomers, ended) = tokio::join!(newcomers, async {
        let mut ended = Vec::new();
        while let Some(flow) = running.join_next().await {
            ended.extend(flow);
        }
        ended
    });
    let mut report = sum_up(ended);
    if let Some((newcomers, seen)) = newcomers {
        report.newcomers = Some(newcomers);
        report.seen.extend(seen);
    }
    report
}

/// Opens every flow, one after the other: what opens thousands at once measures its own queue.
async fn open_all(server: SocketAddr, mix: &Mix) -> io::Result<Vec<(Kind, Open)>> {
    let kinds = mix.flows.iter();
    let kinds: Vec<Kind> =
        kinds.flat_map(|(kind, count)| vec![*kind; usize::from(*count)]).collect();
    let mut flows = Vec::with_capacity(kinds.len());
    for (number, kind) in (0_u16..).zip(kinds) {
        let port = mix.source_ports.map_or(0, |first| first.saturating_add(number));
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let request = Request::new(number.into(), kind, mix);
        let flow = if kind == Kind::Datagrams {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(server).await?;
            Open::Datagrams(socket, request.flow)
        } else {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(local)?;
            let mut stream = timeout(PATIENCE, socket.connect(server)).await??;
            let seen = greet(&mut stream, request).await?;
            Open::Stream(stream, request, seen)
        };
        flows.push((kind, flow));
    }
    Ok(flows)
}

async fn run(kind: Kind, flow: Open, pace: Duration, stop: watch::Receiver<bool>) -> Ended {
    let mut progress = Progress::new();
    let mut seen = Vec::new();
    let end = match flow {
        Open::Stream(stream, request, address) => {
            seen.push(address);
            streams::run(stream, kind, request, pace, stop, &mut progress).await
        }
        Open::Datagrams(socket, flow) => {
            let mut from = Vec::new();
            let end = datagrams::run(socket, flow, pace, stop, &mut progress, &mut from).await;
            seen.extend(from.iter().map(|seen| *seen.ip()));
            end
        }
    };
    Ended { kind, end, progress, seen }
}

fn sum_up(ended: Vec<Ended>) -> Report {
    let mut report = Report::none();
    let mut longest: std::collections::BTreeMap<Kind, Vec<f64>> = [].into();
    for Ended { kind, end, progress, seen } in ended {
        let share = report.kinds.entry(kind).or_default();
        share.flows += 1;
        share.octets += progress.octets;
        report.seen.extend(seen);
        match end {
            Ok(()) => {
                share.alive += 1;
                longest.entry(kind).or_default().push(progress.longest_ms());
            }
            Err(problem) => *share.broken.entry(reason(&problem)).or_default() += 1,
        }
    }
    let due = longest.iter().filter(|(kind, _)| **kind != Kind::Idle);
    report.stall = stalls(due.flat_map(|(_, longest)| longest.iter().copied()).collect());
    for (kind, longest) in longest {
        report.kinds.entry(kind).or_default().stall = stalls(longest);
    }
    report
}

/// What broke a flow, in words that many flows share.
fn reason(problem: &io::Error) -> String {
    match problem.kind() {
        ErrorKind::TimedOut => "no answer".to_owned(),
        ErrorKind::UnexpectedEof => "closed by the server".to_owned(),
        ErrorKind::ConnectionReset => "reset".to_owned(),
        _ => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::server;
    use super::*;

    fn mix(flows: u16) -> Mix {
        Mix {
            flows: Kind::ALL.map(|kind| (kind, flows)).into(),
            interval_ms: 5,
            download_rate: 1_000_000,
            source_ports: None,
            newcomers_ms: Some(5),
        }
    }

    #[test]
    fn every_flow_of_every_kind_lives_where_nothing_happens() {
        let netns = Netns::new().unwrap();
        netns.ip("link set lo up\n").unwrap();
        netns.run(|| Ok(server::start()?)).unwrap();
        let meter = Mixed::start(&netns, Ipv4Addr::LOCALHOST, mix(3)).unwrap();
        let again = Mixed::start(&netns, Ipv4Addr::LOCALHOST, mix(3)).unwrap();
        let (report, _) = (meter.stop().unwrap(), again.stop().unwrap());
        assert_eq!((report.flows(), report.broken()), (15, 0), "{report:?}");
        assert!(report.kinds.values().all(|share| share.octets > 0), "{report:?}");
        let worst = |kind: Kind| report.kinds[&kind].stall.max_ms;
        let kinds = [Kind::Busy, Kind::ServerFirst, Kind::Download, Kind::Datagrams];
        let longest = kinds.map(worst).into_iter().fold(0.0, f64::max);
        assert!((report.stall.max_ms - longest).abs() < 1e-9, "{report:?}");
        let newcomers = report.newcomers.as_ref().unwrap();
        assert!(newcomers.tried > newcomers.failed, "{report:?}");
        assert_eq!(report.seen, [Ipv4Addr::LOCALHOST].into());
    }

    #[test]
    fn flows_whose_server_is_gone_are_broken_and_say_why() {
        let ended = |kind: ErrorKind| Ended {
            kind: Kind::Busy,
            end: Err(kind.into()),
            progress: Progress::new(),
            seen: Vec::new(),
        };
        let all = [ErrorKind::TimedOut, ErrorKind::ConnectionReset, ErrorKind::ConnectionReset];
        let report = sum_up(all.map(ended).into());
        let broken = BTreeMap::from([("no answer".to_owned(), 1), ("reset".to_owned(), 2)]);
        assert_eq!(report.kinds[&Kind::Busy].broken, broken);
        assert_eq!((report.flows(), report.broken()), (3, 3));
    }

    #[test]
    fn flows_to_a_port_that_is_closed_cannot_be_opened() {
        let netns = Netns::new().unwrap();
        netns.ip("link set lo up\n").unwrap();
        let refused = Mixed::start(&netns, Ipv4Addr::LOCALHOST, mix(1));
        let text = format!("{:#}", refused.err().unwrap());
        assert!(text.contains("port 7100") && text.contains("refused"), "{text}");
    }
}
