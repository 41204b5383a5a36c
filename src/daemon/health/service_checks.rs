//! Service checks: whether the service behind a group works on this node. A node whose check fails
//! is unfit for that group only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::{GroupSetting, ServiceCheck, ServiceProbe, Settings};
use crate::daemon::inbox::{Note, Notes};
use crate::failover::Input;
use crate::kernel::addresses::{self, AddressError};
use crate::kernel::{carry, run};
use crate::plan::{Carried, LOOPBACK};
use crate::types::GroupName;

/// Time between two polls of an address, in case a notification of the kernel was missed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Starts a task for each group that has a check.
pub(crate) fn start(settings: &Settings, notes: &Notes) {
    let checked: Vec<(&GroupSetting, &ServiceCheck)> = settings
        .groups
        .iter()
        .filter_map(|group| group.check.as_ref().map(|check| (group, check)))
        .collect();
    let names = checked.iter().map(|(group, _)| group.name.clone());
    let board = ServiceBoard::new(names, notes.clone());
    for (group, check) in checked {
        let (name, board) = (group.name.clone(), board.clone());
        if check.probe == ServiceProbe::Address {
            if let Some(address) = group.first_address() {
                tokio::spawn(follow(name, address, settings.state_dir.clone(), board));
            }
        } else {
            tokio::spawn(watch(name, check.clone(), board));
        }
    }
}

/// Shared by all service checks. The machine gets the complete set of failing groups: first when
/// every check has a result, and then at each change.
#[derive(Debug, Clone)]
struct ServiceBoard {
    works: Arc<Mutex<BTreeMap<GroupName, Option<bool>>>>,
    notes: Notes,
}

impl ServiceBoard {
    fn new(groups: impl Iterator<Item = GroupName>, notes: Notes) -> Self {
        Self { works: Arc::new(Mutex::new(groups.map(|group| (group, None)).collect())), notes }
    }

    /// Records a check's result. The lock is held until the loop has the change, so that two checks
    /// cannot overtake each other.
    async fn set(&self, group: &GroupName, found: bool) {
        let mut works = self.works.lock().await;
        if works.insert(group.clone(), Some(found)) == Some(Some(found)) {
            return;
        }
        if works.values().all(Option::is_some) {
            let failing: BTreeSet<GroupName> = works
                .iter()
                .filter(|(_, works)| **works == Some(false))
                .map(|(group, _)| group.clone())
                .collect();
            self.notes.input(Input::ServiceChecks { failing }).await;
        }
    }

    /// Tells the loop that a check has ended, whatever its result.
    async fn note_end(&self, group: &GroupName) {
        self.notes.send(Note::Checked(group.clone())).await;
    }
}

/// Counts rounds. Pure. The first round decides alone, since nothing is known before it.
#[derive(Debug, Clone)]
struct ServiceJudge {
    fall: u32,
    rise: u32,
    works: Option<bool>,
    /// Consecutive rounds that contradict `works`.
    against: u32,
}

impl ServiceJudge {
    const fn new(fall: u32, rise: u32) -> Self {
        Self { fall, rise, works: None, against: 0 }
    }

    /// Counts one round. Returns whether the service works now, if that has changed.
    fn round(&mut self, good: bool) -> Option<bool> {
        self.against = if self.works == Some(good) { 0 } else { self.against.saturating_add(1) };
        let enough = match self.works {
            None => 1,
            Some(true) => self.fall,
            Some(false) => self.rise,
        };
        if self.against < enough {
            return None;
        }
        self.against = 0;
        self.works = Some(good);
        self.works
    }
}

/// Probes for as long as the runtime lives.
async fn watch(group: GroupName, check: ServiceCheck, board: ServiceBoard) {
    let mut judge = ServiceJudge::new(check.fall, check.rise);
    let mut rounds = interval(check.interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let answer = ask(&check.probe, check.timeout).await;
        if let Some(works) = judge.round(answer.is_ok()) {
            match &answer {
                Ok(()) => tracing::info!(%group, "the service check succeeds"),
                Err(why) => tracing::warn!(%group, "the service check fails: {why}"),
            }
            board.set(&group, works).await;
        }
        board.note_end(&group).await;
    }
}

/// One probe.
async fn ask(probe: &ServiceProbe, limit: Duration) -> Result<(), String> {
    let late = |_| format!("no answer within {}", humantime::format_duration(limit));
    match probe {
        ServiceProbe::Tcp(to) => timeout(limit, connect(*to)).await.map_err(late)?.map(drop),
        ServiceProbe::Http(to, path) => timeout(limit, get(*to, path)).await.map_err(late)?,
        ServiceProbe::Exec(path, args) => {
            run::check(path, args, limit).await.map_err(|error| error.to_string())
        }
        ServiceProbe::Address => Ok(()),
    }
}

async fn connect(to: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(to).await.map_err(|error| format!("cannot connect to {to}: {error}"))
}

/// Requests a page. A final status below 400 is a success; redirects are not followed.
async fn get(to: SocketAddr, path: &str) -> Result<(), String> {
    let request = Request::get(path)
        .header(header::HOST, to.to_string())
        .header(header::USER_AGENT, "natha")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("cannot request {path} from {to}: {error}"))?;
    let stream = TokioIo::new(connect(to).await?);
    let mut http = http1::Builder::new();
    let exchange = async {
        let (mut client, connection) = http.title_case_headers(true).handshake(stream).await?;
        let response = pin!(client.send_request(request));
        match select(response, pin!(connection)).await {
            Either::Left((response, _)) => response,
            // A server that closes at once may have answered all the same.
            Either::Right((_, response)) => response.await,
        }
    };
    match exchange.await {
        Ok(response) if (200..400).contains(&response.status().as_u16()) => Ok(()),
        Ok(response) => {
            Err(format!("{to} answers {path} with status {}", response.status().as_u16()))
        }
        Err(error) if error.is_parse() => Err(format!("{to} does not answer {path} with HTTP")),
        Err(error) => Err(format!("no complete answer from {to} to {path}: {error}")),
    }
}

/// Follows an address that another program, such as keepalived, puts on this host. A change counts
/// from the moment that the kernel reports it.
async fn follow(group: GroupName, address: Ipv4Addr, state_dir: PathBuf, board: ServiceBoard) {
    let mut rounds = interval(LOOK_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Before the first read, so that no change between the two is missed.
        let mut changes = addresses::watch();
        if let Err(error) = &changes {
            let every = LOOK_EVERY.as_secs();
            tracing::warn!(%group, "{error}: {address} is only polled every {every} s");
        }
        loop {
            match is_here(address, &state_dir).await {
                Ok(here) => {
                    board.set(&group, here).await;
                    board.note_end(&group).await;
                }
                Err(error) => {
                    tracing::warn!(%group, "cannot tell whether this host has {address}: {error}");
                }
            }
            let Ok(watch) = &mut changes else {
                rounds.tick().await;
                break;
            };
            let watching = tokio::select! {
                watching = watch.changed() => watching,
                _ = rounds.tick() => true,
            };
            if !watching {
                rounds.tick().await;
                break;
            }
        }
    }
}

/// Whether another program has put the address on an interface of this host. Loopback does not
/// count: natha puts the addresses of the groups it holds there.
async fn is_here(address: Ipv4Addr, state_dir: &Path) -> Result<bool, AddressError> {
    let own = addresses::read().await?;
    let ours = carry::put_there(state_dir).unwrap_or_default();
    Ok(own
        .into_iter()
        .filter(|one| one.address == address && one.link != LOOPBACK)
        .any(|one| !ours.contains(&Carried::Address { link: one.link, address })))
}

#[cfg(test)]
#[path = "service_checks_tests.rs"]
mod tests;
