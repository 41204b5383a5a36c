//! Serves a page for people, metrics and health by HTTP, and prints metrics for CloudWatch.
//! `docs/metrics.md` specifies it; [`crate::metrics`] makes the text.
//!
//! All of it runs on a thread of its own:
//!
//! - `server`: the listener;
//! - `pages`: the page for people;
//! - `changes`: the last changes, for that page;
//! - `host`: reads the kernel and the network driver on request;
//! - `peaks`: the greatest averages of the last minute;
//! - `talkers`: the hosts with the most traffic.
//!
//! The event loop answers it as it answers `natha status`, at most once a second for all requests.

mod changes;
mod host;
mod pages;
mod peaks;
mod server;
mod talkers;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use hyper::body::Bytes;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::{Interval, MissedTickBehavior, interval};

pub(super) use self::changes::Changes;
use self::host::HostReader;
use self::peaks::Peaks;
use super::alerts::Alert;
use super::carrier::MustCarry;
use super::history::{CAPACITY, Observation, Observers, Queue};
use super::inbox::Notes;
use super::{clock, control_socket};
use crate::config::{Metrics, Settings};
use crate::metrics::{Embedded, HostReading, Moment, TopTalkers};
use crate::status::Report;
use crate::types::Time;

/// What was gathered serves all requests for so long.
const FRESH: Duration = Duration::from_secs(1);
/// Time between two lines for CloudWatch, as for a managed gateway.
const CLOUDWATCH_EVERY: Duration = Duration::from_mins(1);
/// Blocking calls at once: a listing of connections, and a line for CloudWatch.
const BLOCKING: usize = 2;

/// Starts the thread, if the settings ask for metrics. It ends with the process. A node without
/// metrics is better than one without a monitor: a failure is logged.
pub(super) fn start(
    settings: &Settings,
    must_carry: Option<watch::Receiver<MustCarry>>,
    changes: Changes,
    notes: &Notes,
    observers: &mut Observers,
) {
    if settings.metrics.listen.0.is_none() && !settings.metrics.cloudwatch {
        return;
    }
    if let Err(error) = spawn(settings, must_carry, changes, notes, observers) {
        tracing::error!("there are no metrics: {error:#}");
    }
}

fn spawn(
    settings: &Settings,
    must_carry: Option<watch::Receiver<MustCarry>>,
    changes: Changes,
    notes: &Notes,
    observers: &mut Observers,
) -> anyhow::Result<()> {
    let metrics = settings.metrics.clone();
    let has_page = metrics.listen.0.is_some();
    let reader = HostReader::new(settings, must_carry);
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING).build();
    let (runtime, notes) = (runtime.context("no runtime")?, notes.clone());
    let (queue, observed) = mpsc::channel(CAPACITY);
    let changes = (changes, observed);
    let body = move || LocalSet::new().block_on(&runtime, run(metrics, reader, changes, notes));
    let thread = std::thread::Builder::new().name("natha-metrics".to_owned());
    thread.spawn(body).context("cannot start the thread that serves metrics")?;
    if has_page {
        // Nothing waits for the page when the monitor exits.
        let (ended, finished) = sync_channel(1);
        drop(ended);
        observers.add(Queue::Task(queue), finished);
    }
    Ok(())
}

async fn run(
    metrics: Metrics,
    reader: HostReader,
    (changes, observed): (Changes, mpsc::Receiver<Observation>),
    notes: Notes,
) {
    let alert = Alert::new("metrics", &notes);
    let exporter = Rc::new(Exporter {
        notes,
        reader,
        peaks: RefCell::default(),
        talkers: RefCell::default(),
        changes: RefCell::new(changes),
        asked: Cell::new(None),
        gathered: Mutex::new(None),
    });
    // They run until the runtime ends.
    drop(spawn_local(peaks::watch(exporter.clone())));
    if metrics.cloudwatch {
        drop(spawn_local(tell_cloudwatch(exporter.clone())));
    }
    let Some(address) = metrics.listen.0 else { return std::future::pending().await };
    drop(spawn_local(talkers::follow(exporter.clone(), metrics.talkers)));
    drop(spawn_local(changes::follow(exporter.clone(), observed)));
    server::serve(address, exporter, alert).await;
}

/// What all tasks of the thread share.
#[derive(Debug)]
struct Exporter {
    notes: Notes,
    reader: HostReader,
    peaks: RefCell<Peaks>,
    /// The hosts with the most traffic, and when connections were listed last.
    talkers: RefCell<Option<(TopTalkers, Time)>>,
    changes: RefCell<Changes>,
    /// When the metrics were asked for last.
    asked: Cell<Option<Time>>,
    gathered: Mutex<Option<Rc<Gathered>>>,
}

/// What was known at one moment.
#[derive(Debug)]
struct Gathered {
    at: Time,
    /// None if the event loop did not respond.
    report: Option<Box<Report>>,
    host: HostReading,
    /// The metrics; none without a report.
    page: Option<Bytes>,
}

impl Exporter {
    /// What is known now. Requests at the same time get the same.
    async fn gather(&self) -> Rc<Gathered> {
        let mut gathered = self.gathered.lock().await;
        let is_fresh = |known: &&Rc<Gathered>| clock::now().since(known.at) < FRESH;
        if let Some(known) = gathered.as_ref().filter(is_fresh) {
            return known.clone();
        }
        let read = async { (self.reader.read().await, clock::now()) };
        let (report, (mut host, read_at)) = tokio::join!(control_socket::report(&self.notes), read);
        host.peak = self.peaks.borrow().greatest();
        let at = clock::now();
        let aged = (&host, at.since(read_at));
        let page = report.as_deref().and_then(|report| self.page(report, aged, at));
        let new = Rc::new(Gathered { at, report, host, page });
        *gathered = Some(new.clone());
        new
    }

    fn page(&self, report: &Report, host: (&HostReading, Duration), at: Time) -> Option<Bytes> {
        let talkers = self.talkers.borrow();
        let talkers = talkers.as_ref().map(|(top, listed)| (top, at.since(*listed)));
        let report = (report, at.since(report.now));
        match (Moment { report, host, talkers }).page().into_text() {
            Ok(text) => Some(Bytes::from(text)),
            Err(error) => {
                tracing::warn!(%error, "cannot write the metrics");
                None
            }
        }
    }
}

/// Prints a line each minute. A reader that is slow delays the lines and nothing else.
async fn tell_cloudwatch(exporter: Rc<Exporter>) {
    let mut embedded = Embedded::default();
    let mut rounds = rounds(CLOUDWATCH_EVERY);
    loop {
        rounds.tick().await;
        let gathered = exporter.gather().await;
        let Some(report) = &gathered.report else { continue };
        let wall = clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let Some(line) = embedded.line(report, &gathered.host, wall) else { continue };
        let printed = spawn_blocking(move || {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        });
        if let Ok(Err(error)) = printed.await {
            tracing::debug!(%error, "cannot print the metrics for CloudWatch");
        }
    }
}

/// An interval that does not catch up.
fn rounds(every: Duration) -> Interval {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}
