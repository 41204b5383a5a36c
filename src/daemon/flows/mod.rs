//! Replicates connections by egress IPs to the other members, and inserts them on takeover.
//! `docs/connections.md` specifies it; [`crate::flows`] decides what is sent and kept.
//!
//! All of it runs on a thread of its own, one task for each part:
//!
//! - `owner`: the kernel's news and dumps, and a stream to each heir;
//! - `heir`: the streams from the other members;
//! - `insert`: takeovers;
//! - `pauses`: no news while many connections are inserted;
//! - `report`: the status.
//!
//! The event loop publishes the members and where the egress IPs are, and waits for nothing here.

mod heir;
mod insert;
mod owner;
mod pauses;
mod pipe;
mod report;
mod shared;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::insert::{Insertions, Takeovers};
use self::shared::{Identity, Shared};
use super::alerts::Alert;
use super::clock;
use super::discovery::Cluster;
use super::egress::{Inserting, Published};
use super::inbox::{Note, Notes};
use super::relay::{Answering, CopyState};
use crate::config::{ClusterKey, Settings, settings_digest};
use crate::flows::StreamKeys;
use crate::kernel::{journal, links};
use crate::types::Member;
use crate::wire::{StreamKey, cluster_digest};

/// Time between two reports, and two readings of the traffic.
const EVERY: Duration = Duration::from_secs(1);

/// What the event loop publishes.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) members: watch::Receiver<Vec<Member>>,
    pub(super) published: watch::Receiver<Published>,
    /// The egress IPs whose new connections wait, as the kernel has it.
    pub(super) waiting: watch::Receiver<Inserting>,
    /// The peers to which packets can be copied; none if natha copies none.
    pub(super) answering: Option<watch::Receiver<Answering>>,
    /// What is copied, likewise.
    pub(super) copies: Option<watch::Receiver<CopyState>>,
}

/// Starts the thread. It ends when the event loop does.
pub(super) fn start(
    settings: &Settings,
    cluster: &Cluster,
    inputs: Inputs,
    inserting: watch::Sender<Inserting>,
    notes: &Notes,
) -> anyhow::Result<()> {
    let key = |key: &Option<ClusterKey>| key.as_ref().map(|key| StreamKey::derive(&key.0));
    let heartbeat = &settings.heartbeat;
    let boot = journal::boot_id().map_err(|error| anyhow!("no boot id: {error}"))?;
    let identity = Identity {
        me: cluster.me.id.clone(),
        address: heartbeat.bind.unwrap_or(cluster.me.address),
        port: settings.replicate.port.unwrap_or(heartbeat.port),
        boot: boot.parse().context("the kernel's boot id")?,
        cluster: cluster_digest(&cluster.name),
        settings: settings_digest(settings),
        keys: StreamKeys { own: key(&heartbeat.key), second: key(&heartbeat.second_key) },
        replicate: settings.replicate.clone(),
    };
    let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let (state_dir, notes) = (settings.state_dir.clone(), notes.clone());
    let body = move || {
        let shared = Rc::new(Shared::new(identity));
        let published = inputs.published.clone();
        let waiting = inputs.waiting.clone();
        let insertions = Insertions { shared, published, inserting, waiting, notes };
        LocalSet::new().block_on(&runtime, run(insertions, inputs, state_dir));
    };
    let thread = std::thread::Builder::new().name("natha-flows".to_owned());
    thread.spawn(body).context("cannot start the thread that replicates connections")?;
    Ok(())
}

async fn run(insertions: Insertions, mut inputs: Inputs, state_dir: PathBuf) {
    let shared = insertions.shared.clone();
    let mut alert = Alert::new("flows", &insertions.notes);
    let mut uncopied = Alert::new("relay", &insertions.notes);
    // They run until the runtime ends.
    drop(spawn_local(owner::news(shared.clone())));
    drop(spawn_local(owner::dumps(shared.clone())));
    drop(spawn_local(heir::accept(shared.clone())));
    let (mut links, mut takeovers) = (owner::Links::default(), Takeovers::default());
    let mut traffic = Traffic { state_dir, uplink: None, octets: None };
    let mut rounds: Interval = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let goes_on = tokio::select! {
            changed = inputs.published.changed() => {
                takeovers.update(&insertions);
                serve(&shared, &inputs.published);
                links.update(&shared);
                changed.is_ok()
            }
            changed = inputs.members.changed() => {
                let members = inputs.members.borrow_and_update().clone();
                *shared.members.borrow_mut() =
                    members.into_iter().map(|member| (member.id.clone(), member)).collect();
                links.update(&shared);
                changed.is_ok()
            }
            _ = rounds.tick() => {
                if let Some(octets) = traffic.per_second() {
                    shared.each_sender(|sender| sender.traffic(octets));
                }
                let now = clock::now();
                shared.age(now);
                if let Some(answering) = &inputs.answering {
                    shared.note_answering(&answering.borrow(), now);
                    uncopied.set(report::uncopied(&shared, now)).await;
                }
                alert.set(report::complaint(&shared, now)).await;
                let copies = inputs.copies.as_ref().map(|copies| copies.borrow().clone());
                let report = report::report(&shared, copies.as_ref(), now);
                insertions.notes.send(Note::Flows(report)).await
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// Waits where there is no event to wait for.
#[expect(clippy::disallowed_methods, reason = "the tasks that wait so are ended from outside")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Tells every sender which landing addresses have an egress IP now, or had it until a planned move
/// that is taking effect.
fn serve(shared: &Shared, published: &watch::Receiver<Published>) {
    let Some(groups) = published.borrow().clone() else { return };
    let here = groups.iter().flat_map(|group| {
        let gives = group.relay.as_ref().is_some_and(|relay| relay.gives);
        group.ips.iter().filter(move |ip| ip.is_here || gives)
    });
    let served: std::collections::BTreeMap<_, _> = here.map(|ip| (ip.landing, ip.id)).collect();
    let now = clock::now();
    shared.each_sender(|sender| sender.serve(served.clone(), now));
    *shared.served.borrow_mut() = Some(served);
}

/// Measures what passes the interface to the internet.
#[derive(Debug)]
struct Traffic {
    state_dir: PathBuf,
    uplink: Option<String>,
    octets: Option<u64>,
}

impl Traffic {
    /// Octets a second since the last call; none if that is not known.
    fn per_second(&mut self) -> Option<u64> {
        if self.uplink.is_none() {
            let plan = journal::last_plan(&self.state_dir).ok().flatten();
            self.uplink = plan.map(|plan| plan.table.uplink);
        }
        let now = self.uplink.as_ref().and_then(|name| links::octets(name));
        let before = std::mem::replace(&mut self.octets, now);
        Some(now?.saturating_sub(before?))
    }
}

#[cfg(test)]
mod tests;
