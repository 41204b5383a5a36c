//! Takeover: inserts what is held of an egress IP into this node's kernel, while EC2 is asked to
//! move it here. Some time after it has left, its connections are removed from the kernel. One that
//! is elsewhere when the monitor starts may have left just before.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use tokio::time::timeout;

use super::pause;
use super::shared::Shared;
use crate::daemon::clock;
use crate::daemon::egress::{Inserting, Published};
use crate::daemon::inbox::Notes;
use crate::failover::{EgressIp, EventKind, Level};
use crate::flows::{Entry, Inserted, InsertedCounts};
use crate::kernel::conntrack::Requests;
use crate::types::{EgressId, InstanceId, Time};

/// New connections of a group wait this long at most for those that are inserted.
const HOLD: Duration = Duration::from_millis(500);
/// Insertions begin when the kernel holds new connections back, or after so long. Loading a table
/// takes tens of milliseconds. Before a planned move has taken effect, the other node serves.
const READY: Duration = Duration::from_millis(200);
const READY_IF_PLANNED: Duration = Duration::from_secs(5);
/// How long after an egress IP has left its connections are removed. Until EC2's effects are
/// complete, packets of them still come.
const LEAVE: Duration = Duration::from_mins(1);
/// While a takeover inserts so many connections of an egress IP, the kernel's news are not read. A
/// resync follows, which takes longer than the messages about fewer connections.
const MANY: usize = 5_000;
/// While an egress IP is on its way, its owner may still send changes: time between two looks.
const PACE: Duration = Duration::from_millis(50);

/// What the insertions need.
#[derive(Debug, Clone)]
pub(super) struct Insertions {
    pub(super) shared: Rc<Shared>,
    pub(super) published: watch::Receiver<Published>,
    /// Tells the translation which egress IPs' new connections wait.
    pub(super) inserting: watch::Sender<Inserting>,
    /// Those whose new connections wait, as the kernel has it.
    pub(super) waiting: watch::Receiver<Inserting>,
    pub(super) notes: Notes,
}

/// The insertions under way, and those of which the egress IP is still here or on its way.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    begun: BTreeMap<EgressId, (Ipv4Addr, JoinHandle<()>)>,
    /// The removals for each egress IP that is elsewhere, begun or done.
    left: BTreeMap<EgressId, JoinHandle<()>>,
}

impl Takeovers {
    /// Begins what the published state asks for.
    pub(super) fn update(&mut self, parts: &Insertions) {
        let Places { here, given, elsewhere } = Places::of(&parts.published);
        for (id, (landing, task)) in self.begun.extract_if(.., |id, _| !here.contains_key(id)) {
            task.abort();
            parts.lift(id);
            if !given.contains_key(&id) {
                self.left.insert(id, spawn_local(leave(landing, parts.published.clone())));
            }
        }
        for (id, ip) in elsewhere {
            let begin = || spawn_local(leave(ip.landing, parts.published.clone()));
            self.left.entry(id).or_insert_with(begin);
        }
        for (id, ip) in here {
            if let Some(task) = self.left.remove(&id) {
                task.abort();
            }
            let begin = || (ip.landing, spawn_local(parts.clone().take(ip)));
            self.begun.entry(id).or_insert_with(begin);
        }
    }
}

/// Removes the connections of an egress IP that has left. Otherwise they would occupy their ports
/// until they are forgotten, and connections that are inserted when it comes back would lack them.
async fn leave(landing: Ipv4Addr, published: watch::Receiver<Published>) {
    pause(LEAVE).await;
    if is_used(&published, landing) {
        return;
    }
    match spawn_blocking(move || Requests::open()?.remove_of(landing)).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(count)) => {
            tracing::info!("{count} connections by {landing} removed: its egress IP has left");
        }
        Ok(Err(error)) => tracing::warn!("connections by {landing} are not removed: {error}"),
    }
}

/// The egress IPs that this node can have.
#[derive(Debug, Default)]
struct Places {
    /// Those that are here or on their way.
    here: BTreeMap<EgressId, EgressIp>,
    /// Those that this node has given away by a planned move that is taking effect.
    given: BTreeMap<EgressId, EgressIp>,
    /// The others.
    elsewhere: BTreeMap<EgressId, EgressIp>,
}

impl Places {
    fn of(published: &watch::Receiver<Published>) -> Self {
        let mut places = Self::default();
        for group in published.borrow().iter().flatten() {
            let gives = group.relay.as_ref().is_some_and(|relay| relay.gives);
            for ip in &group.ips {
                let place = if ip.is_here || ip.is_coming {
                    &mut places.here
                } else if gives {
                    &mut places.given
                } else {
                    &mut places.elsewhere
                };
                place.insert(ip.id, ip.clone());
            }
        }
        places
    }
}

/// Whether a landing address has an egress IP: perhaps another one than it had before.
fn is_used(published: &watch::Receiver<Published>, landing: Ipv4Addr) -> bool {
    let Places { here, given, .. } = Places::of(published);
    here.values().chain(given.values()).any(|ip| ip.landing == landing)
}

impl Insertions {
    /// Inserts what is held of an egress IP, and what still arrives of it until it is settled here.
    async fn take(mut self, ip: EgressIp) {
        let is_planned = self.is_planned(ip.id);
        if is_planned || self.has_records(ip.id) {
            self.inserting.send_if_modified(|held| held.insert(ip.id));
            let limit = if is_planned { READY_IF_PLANNED } else { READY };
            let _ = timeout(limit, self.waiting.wait_for(|held| held.contains(&ip.id))).await;
        }
        let begun = clock::now();
        let first = self.due(&ip, Time::default());
        let count: usize = first.iter().map(|(_, entries)| entries.len()).sum();
        if count > 0 {
            let is_urgent = !is_planned && count >= MANY;
            let mut work = spawn_local(self.clone().insert_first(first, is_urgent));
            let in_time = timeout(HOLD, &mut work).await;
            self.lift(ip.id);
            let results = if let Ok(results) = in_time { results } else { work.await };
            let took = clock::now().since(begun);
            self.report(&ip, count, results.context("it was interrupted").flatten(), took).await;
        } else {
            self.lift(ip.id);
        }
        self.follow(&ip, begun).await;
    }

    /// Inserts what is held when an egress IP begins to come.
    async fn insert_first(
        self,
        due: Vec<(InstanceId, Vec<Entry>)>,
        is_urgent: bool,
    ) -> anyhow::Result<InsertedCounts> {
        let pauses = self.shared.pauses.clone();
        let _pause = if is_urgent { Some(pauses.begin().await) } else { None };
        self.insert(due, true).await
    }

    /// Inserts what arrives after `since`, until the egress IP is settled here.
    async fn follow(&mut self, ip: &EgressIp, mut since: Time) {
        loop {
            let is_settled = self.is_settled(ip.id);
            let now = clock::now();
            let late = self.due(ip, since);
            since = now;
            if let Err(error) = self.clone().insert(late, false).await {
                tracing::warn!("late connections of {} are not inserted: {error:#}", ip.address);
            }
            if is_settled {
                break;
            }
            let _ = timeout(PACE, self.published.changed()).await;
        }
        // This node's kernel has them now.
        for held in self.shared.held.borrow_mut().values_mut() {
            held.replica.forget(ip.id);
        }
    }

    /// Whether connections of an egress IP are held.
    fn has_records(&self, id: EgressId) -> bool {
        let held = self.shared.held.borrow();
        let mut records = held.values().flat_map(|held| held.replica.records());
        records.any(|record| record.egress == id)
    }

    /// What is to be inserted of each owner, the one that has shown its connections last first.
    fn due(&self, ip: &EgressIp, since: Time) -> Vec<(InstanceId, Vec<Entry>)> {
        let now = clock::now();
        let held = self.shared.held.borrow();
        let mut owners: Vec<_> = held.iter().collect();
        owners.sort_by_key(|(_, held)| Reverse((held.replica.shown(), held.heard)));
        let entries = owners.into_iter().map(|(owner, held)| {
            (owner.clone(), held.replica.injection_since(ip.id, ip.landing, since, now))
        });
        entries.filter(|(_, entries)| !entries.is_empty()).collect()
    }

    /// Inserts connections of several owners. With `over`, those of the first one replace what an
    /// earlier time of their egress IP here has left. The kernel's part of the work blocks, in a
    /// thread of its own.
    async fn insert(
        self,
        due: Vec<(InstanceId, Vec<Entry>)>,
        mut over: bool,
    ) -> anyhow::Result<InsertedCounts> {
        let mut total = InsertedCounts::default();
        for (owner, entries) in due {
            let replaces = std::mem::take(&mut over);
            let work = move || {
                let mut requests = Requests::open()?;
                if replaces { requests.insert_over(&entries) } else { requests.insert(&entries) }
            };
            let results: Vec<Inserted> = spawn_blocking(work).await.context("interrupted")??;
            for result in &results {
                total.add(*result);
            }
            self.shared.with_held(&owner, |held| held.replica.inserted(results));
        }
        Ok(total)
    }

    /// Whether an egress IP is here, as far as is known, and its earlier holder opens no more
    /// connections by it: the planned move that brought it, if one did, has taken effect.
    fn is_settled(&self, id: EgressId) -> bool {
        // Never two borrows at once: the event loop may wait for the first to end, and the second
        // for the loop.
        let is_planned = self.is_planned(id);
        let published = self.published.borrow();
        let mut ips = published.iter().flatten().flat_map(|group| &group.ips);
        !is_planned && ips.any(|ip| ip.id == id && ip.is_here)
    }

    /// Whether this node gets an egress IP by a planned move that is taking effect.
    fn is_planned(&self, id: EgressId) -> bool {
        let published = self.published.borrow();
        published.iter().flatten().any(|group| {
            let gets = group.relay.as_ref().is_some_and(|relay| !relay.gives);
            gets && group.ips.iter().any(|ip| ip.id == id)
        })
    }

    /// New connections wait no longer.
    fn lift(&self, id: EgressId) {
        self.inserting.send_if_modified(|held| held.remove(&id));
    }

    async fn report(
        &self,
        ip: &EgressIp,
        count: usize,
        results: anyhow::Result<InsertedCounts>,
        took: Duration,
    ) {
        let (level, text) = match results {
            Ok(counts) if counts.new + counts.exists == wide(count) => {
                (Level::Info, format!("of egress IP {}: {}", ip.address, words(&counts)))
            }
            Ok(counts) => {
                (Level::Warning, format!("of egress IP {}: {}", ip.address, words(&counts)))
            }
            Err(error) => (
                Level::Alert,
                format!("not all of the {count} of egress IP {}: {error:#}", ip.address),
            ),
        };
        let text = format!("replicated connections inserted {text}");
        self.notes.event(level, EventKind::Connections, text, Some(took)).await;
    }
}

/// The results that occurred.
pub(super) fn by_result(counts: &InsertedCounts) -> [(&'static str, u64); 5] {
    [
        ("new", counts.new),
        ("exists", counts.exists),
        ("port-taken", counts.port_taken),
        ("table-full", counts.table_full),
        ("other", counts.other),
    ]
}

fn words(counts: &InsertedCounts) -> String {
    let occurred = by_result(counts).into_iter().filter(|(_, count)| *count > 0);
    occurred.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::super::tests::{egress, entry, landing, node, shared};
    use super::*;
    use crate::daemon::inbox;
    use crate::failover::{EgressGroup, Relay};
    use crate::flows::{Message, Record};
    use crate::types::Egress;

    fn at(ms: u64) -> Time {
        clock::now() + Duration::from_millis(ms)
    }

    fn group(is_here: bool) -> EgressGroup {
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let ip = EgressIp { id: egress(), address, landing: landing(1), is_here, is_coming: false };
        let (name, egress) = ("a".parse().unwrap(), Egress::default());
        EgressGroup { name, egress, ips: vec![ip], is_complete: true, relay: None }
    }

    #[tokio::test]
    async fn connections_of_an_egress_ip_are_removed_after_it_has_left_also_before_this_run() {
        let test = async {
            let (sender, published) = watch::channel(None);
            let parts = parts(35, published);
            let mut takeovers = Takeovers::default();
            takeovers.update(&parts);
            assert!(takeovers.left.is_empty(), "it is not known yet where the egress IP is");
            for is_here in [false, true, false] {
                sender.send_replace(Some(vec![group(is_here)]));
                takeovers.update(&parts);
                assert_eq!(takeovers.left.contains_key(&egress()), !is_here);
                assert_eq!(takeovers.begun.contains_key(&egress()), is_here);
                assert_eq!(is_used(&parts.published, landing(1)), is_here);
            }
        };
        LocalSet::new().run_until(test).await;
    }

    /// What the insertions of the node need whose addresses are of this test.
    fn parts(test: u8, published: watch::Receiver<Published>) -> Insertions {
        Insertions {
            shared: shared(test, 1, "one"),
            published,
            inserting: watch::channel(Inserting::new()).0,
            waiting: watch::channel(Inserting::new()).1,
            notes: inbox::channel().unwrap().0,
        }
    }

    /// A planned move in which this node gives or gets the group.
    fn moving(is_here: bool, gives: bool) -> EgressGroup {
        let peer = "i-00000002".parse().unwrap();
        EgressGroup { relay: Some(Relay { peer, gives }), ..group(is_here) }
    }

    /// A node that gave an egress IP away a moment ago inserts connections when it comes back, by
    /// another planned move or by the death of the node that has it.
    #[tokio::test]
    async fn an_egress_ip_that_comes_back_while_its_move_takes_effect_is_taken_anew() {
        let test = async {
            let (sender, published) = watch::channel(None);
            let parts = parts(37, published);
            let mut takeovers = Takeovers::default();
            for (group, is_begun) in [
                (group(true), true),
                (moving(true, true), true),
                (moving(false, true), false),
                (moving(true, true), true),
                (moving(false, true), false),
            ] {
                sender.send_replace(Some(vec![group]));
                takeovers.update(&parts);
                assert_eq!(takeovers.begun.contains_key(&egress()), is_begun);
                assert!(takeovers.left.is_empty(), "its connections are still in use");
                assert!(is_used(&parts.published, landing(1)));
            }
            sender.send_replace(Some(vec![group(false)]));
            takeovers.update(&parts);
            assert!(takeovers.left.contains_key(&egress()));
        };
        LocalSet::new().run_until(test).await;
    }

    #[test]
    fn an_egress_ip_is_settled_once_the_move_that_brought_it_has_taken_effect() {
        let is_settled = |group| {
            let parts = parts(36, watch::channel(Some(vec![group])).1);
            parts.is_settled(egress())
        };
        assert!(is_settled(group(true)) && !is_settled(group(false)));
        assert!(!is_settled(moving(true, false)) && is_settled(moving(true, true)));
    }

    /// A node that others have taken an egress IP from may still take itself for its owner, and be
    /// heard.
    #[tokio::test]
    async fn the_owner_that_has_shown_its_connections_last_comes_first() {
        let test = async {
            let parts = parts(39, watch::channel(Some(vec![group(true)])).1);
            for (n, shown, heard) in [(1, 10, 90), (3, 20, 30)] {
                let record = Record { egress: egress(), flow: entry(1).flow };
                parts.shared.with_held(&node(n), |held| {
                    for message in [
                        Message::ResyncBegin { count: 1 },
                        Message::Records { oldest: at(shown), records: vec![record] },
                        Message::ResyncEnd { records: 1, removals: 0 },
                    ] {
                        held.replica.apply(&message, at(shown)).unwrap();
                    }
                    held.heard = Some(at(heard));
                });
            }
            let ip = group(true).ips.remove(0);
            let owners = parts.due(&ip, Time::default()).into_iter().map(|(owner, _)| owner);
            assert_eq!(owners.collect::<Vec<_>>(), [node(3), node(1)]);
        };
        LocalSet::new().run_until(test).await;
    }

    /// The event loop publishes from another thread, at any moment.
    #[test]
    fn what_is_published_meanwhile_holds_nobody_up() {
        let (sender, published) = watch::channel(Some(vec![group(true)]));
        let parts = parts(38, published);
        let publishing = std::thread::spawn(move || {
            for turn in 0..20_000 {
                sender.send_replace(Some(vec![group(turn % 2 == 0)]));
            }
        });
        while !publishing.is_finished() {
            parts.is_settled(egress());
            let _ = is_used(&parts.published, landing(1));
            Places::of(&parts.published);
        }
        publishing.join().unwrap();
    }
}
