//! The tunnel for copies of packets during planned moves, and the rules that make and admit copies.
//! `docs/connections.md` specifies both. Each second, this node asks every peer for an echo through
//! the tunnel: copies are made only for peers that answer. While packets are copied, it reads each
//! second what the kernel has counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::Context;
use ipnet::Ipv4Net;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::alerts::Alert;
use super::clock;
use super::inbox::Notes;
use super::looks::{Cause, found_how, repaired};
use super::peers::{EchoMark, PeerSocket};
use super::published::publish;
use crate::config::Settings;
use crate::kernel::nft::Nft;
use crate::kernel::relay::{self, Tunnel};
use crate::plan::{RELAY_LINK, RelayCounts, RelayRules, RelayTable, Tally, tunnel_address};
use crate::status::{CopiesReport, PacketCount};
use crate::types::{InstanceId, Member, Time};

/// Time between two echo requests to each peer.
const EVERY: Duration = Duration::from_secs(1);
/// A peer that has not answered for so long gets no copies.
const FRESH: Duration = Duration::from_secs(5);
/// Time between two looks whether another program has removed the tunnel or changed the rules.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Replies read in one round.
const MAX_DRAIN: usize = 64;

/// The peers that answer through the tunnel.
pub(super) type Answering = BTreeSet<InstanceId>;

/// A group of whose packets this node takes copies from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copying {
    pub(super) peer: InstanceId,
    /// Whether it also copies them to the peer.
    pub(super) copies: bool,
    pub(super) sources: Vec<Ipv4Net>,
    pub(super) uplink: String,
    pub(super) vpc_networks: Vec<Ipv4Net>,
}

/// What the task does, for the status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CopyState {
    /// When each peer answered through the tunnel last.
    pub(super) heard: BTreeMap<InstanceId, Time>,
    /// The peers with which packets are copied, as the kernel has it.
    pub(super) active: BTreeSet<InstanceId>,
    /// What was copied since the monitor started.
    pub(super) copied: CopiesReport,
}

/// The ends of the task that the translation holds.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) answering: watch::Receiver<Answering>,
    pub(super) state: watch::Receiver<CopyState>,
    pub(super) copying: watch::Sender<Vec<Copying>>,
}

/// Starts the task on the current runtime. `members` are this node, at `address`, and its peers.
/// The task ends when one of the senders is dropped, and leaves tunnel and rules as they are.
pub(super) fn start(
    settings: &Settings,
    me: &Member,
    token: u64,
    members: watch::Receiver<Vec<Member>>,
    notes: &Notes,
) -> Ends {
    let (answers, answering) = watch::channel(Answering::new());
    let (states, state) = watch::channel(CopyState::default());
    let (copying, wanted) = watch::channel(Vec::new());
    let keeper = Keeper::new(settings, me, token, (members, wanted), notes.clone());
    tokio::spawn(keep(keeper, (answers, states), Alert::new("tunnel", notes)));
    Ends { answering, state, copying }
}

/// Removes what an earlier run of the monitor has left. Without the tunnel, its rules do nothing.
pub(super) async fn clear() {
    let cleared = async {
        if !relay::is_there().await? {
            return Ok(());
        }
        relay::remove().await?;
        Ok::<_, anyhow::Error>(Nft::find()?.replace(&RelayTable::default()).await?)
    };
    if let Err(error) = cleared.await {
        tracing::warn!("`{RELAY_LINK}` and its rules of an earlier run may be left: {error:#}");
    }
}

async fn keep(
    mut keeper: Keeper,
    (answers, states): (watch::Sender<Answering>, watch::Sender<CopyState>),
    mut alert: Alert,
) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not at the kernel's news: the tables change with each planned move, and nothing may hold up
    // what is wanted then.
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = tokio::select! {
            changed = keeper.members.changed() => match changed {
                Ok(()) => Due::Changes,
                Err(_) => return,
            },
            changed = keeper.wanted.changed() => match changed {
                Ok(()) => Due::Changes,
                Err(_) => return,
            },
            _ = rounds.tick() => Due::Probes,
            _ = looks.tick() => Due::Look(Cause::Round),
        };
        let now = clock::now();
        let result = keeper.round(due, now).await;
        let found = if result.is_ok() { keeper.answering(now) } else { Answering::new() };
        publish(&answers, found);
        publish(&states, keeper.state());
        let text = result
            .err()
            .map(|error| format!("packets cannot be copied during planned moves: {error:#}"));
        alert.set(text).await;
    }
}

struct Keeper {
    me: InstanceId,
    own: Ipv4Addr,
    port: u16,
    members: watch::Receiver<Vec<Member>>,
    wanted: watch::Receiver<Vec<Copying>>,
    mark: EchoMark,
    /// The number of the next round.
    sequence: u16,
    /// What the tunnel was made from; none if there is none.
    tunnel: Option<Tunnel>,
    /// What an attempt was made from that failed, and why.
    fault: Option<(Tunnel, String)>,
    socket: Option<PeerSocket>,
    /// When each peer answered last.
    heard: BTreeMap<InstanceId, Time>,
    loaded: Option<RelayTable>,
    /// The peers with which it copies packets.
    active: BTreeSet<InstanceId>,
    copied: Copied,
    notes: Notes,
}

/// What was copied. Each table counts from 0.
#[derive(Debug, Default)]
struct Copied {
    /// By all tables since the monitor started.
    total: CopiesReport,
    /// By the table that is loaded, when it was read last.
    of_table: RelayCounts,
}

impl Copied {
    /// Takes in the counts of the table that is loaded.
    fn read(&mut self, found: RelayCounts) {
        let RelayCounts { made, sent_on } = std::mem::replace(&mut self.of_table, found);
        add(&mut self.total.made, made, found.made);
        add(&mut self.total.sent_on, sent_on, found.sent_on);
    }

    /// Another table was loaded.
    fn restart(&mut self) {
        self.of_table = RelayCounts::default();
    }
}

/// Adds what a counter has grown by. One that is smaller has begun again at 0.
fn add(total: &mut PacketCount, before: Tally, now: Tally) {
    let growth = |before: u64, now: u64| now.checked_sub(before).unwrap_or(now);
    total.packets += growth(before.packets, now.packets);
    total.bytes += growth(before.bytes, now.bytes);
}

/// Why a round is due.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// Other peers, or other groups.
    Changes,
    /// Probes.
    Probes,
    /// Another program may have changed the host.
    Look(Cause),
}

impl Keeper {
    /// A keeper of the members' tunnel that has made nothing yet.
    fn new(
        settings: &Settings,
        me: &Member,
        token: u64,
        (members, wanted): (watch::Receiver<Vec<Member>>, watch::Receiver<Vec<Copying>>),
        notes: Notes,
    ) -> Self {
        Self {
            me: me.id.clone(),
            own: me.address,
            port: settings.replicate.relay_port,
            members,
            wanted,
            mark: EchoMark::new(token),
            sequence: 0,
            tunnel: None,
            fault: None,
            socket: None,
            heard: BTreeMap::new(),
            loaded: None,
            active: BTreeSet::new(),
            copied: Copied::default(),
            notes,
        }
    }

    /// Makes tunnel and rules as they should be, and probes if that is due.
    async fn round(&mut self, due: Due, now: Time) -> anyhow::Result<()> {
        let look = match due {
            Due::Look(cause) => Some(cause),
            Due::Changes | Due::Probes => None,
        };
        let peers = self.peers();
        let wanted =
            Tunnel { own: self.own, peers: peers.values().copied().collect(), port: self.port };
        let (table, has_tunnel) = (self.table(&peers), !wanted.peers.is_empty());
        // Only what was as it should be can drift.
        let drift = look.map(Cause::age).filter(|_| self.tunnel.as_ref() == Some(&wanted));
        let rules_drift = drift.filter(|_| self.loaded.as_ref() == Some(&table));
        if self.tunnel.as_ref() != Some(&wanted) {
            self.make(wanted, matches!(look, Some(Cause::Round))).await?;
        } else if look.is_some() && !wanted.peers.is_empty() && !relay::is_there().await? {
            self.make(wanted, true).await?;
            if let Some(age) = drift {
                let how = found_how(age);
                let text = format!("repaired interface `{RELAY_LINK}`, {how}: it was absent");
                self.notes.drift(text, age).await;
            }
        }
        // In each round: the tunnel answers echo also while a filter drops every copy in it.
        if has_tunnel && let Some(text) = repaired(RELAY_LINK, &relay::hold()?) {
            self.notes.drift(text, None).await;
        }
        if matches!(due, Due::Probes) {
            self.sequence = self.sequence.wrapping_add(1);
            self.probe(&peers, now)?;
        }
        if look.is_some() || self.loaded.as_ref() != Some(&table) {
            // The table that follows counts from 0.
            self.count().await;
            let was = Nft::find()?.ensure(&table).await?;
            if let Some(was) = was {
                self.copied.restart();
                if let Some(age) = rules_drift {
                    self.notes.table_drift::<RelayTable>(was, age).await;
                }
            }
            self.active = active(&table, &peers);
            self.loaded = Some(table);
        } else if matches!(due, Due::Probes) {
            self.count().await;
        }
        Ok(())
    }

    /// Reads what was copied. Without groups, the table counts nothing, and no program is run.
    async fn count(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let read = async { anyhow::Ok(Nft::find()?.copies().await?) };
        match read.await {
            Ok(found) => self.copied.read(found),
            Err(error) => tracing::debug!("no counts of copies: {error:#}"),
        }
    }

    fn state(&self) -> CopyState {
        let (heard, active) = (self.heard.clone(), self.active.clone());
        CopyState { heard, active, copied: self.copied.total }
    }

    /// The peers of the tunnel, and their addresses: those that can have egress IPs, if this node
    /// can, too.
    fn peers(&mut self) -> BTreeMap<InstanceId, Ipv4Addr> {
        let members = self.members.borrow_and_update();
        let able = members.iter().filter(|member| !member.landings.is_empty());
        let mut found: BTreeMap<InstanceId, Ipv4Addr> =
            able.map(|member| (member.id.clone(), member.address)).collect();
        if found.remove(&self.me).is_none() {
            found.clear();
        }
        let mut taken = BTreeMap::from([(tunnel_address(self.own), 1)]);
        for address in found.values() {
            *taken.entry(tunnel_address(*address)).or_insert(0) += 1;
        }
        found.retain(|_, address| taken.get(&tunnel_address(*address)) == Some(&1));
        found
    }

    /// Makes the tunnel, unless the same attempt has failed before and it is too early for another.
    async fn make(&mut self, wanted: Tunnel, again: bool) -> anyhow::Result<()> {
        if let Some((tried, reason)) = &self.fault
            && *tried == wanted
            && !again
        {
            anyhow::bail!("{reason}");
        }
        (self.tunnel, self.socket, self.loaded) = (None, None, None);
        self.heard.clear();
        self.active.clear();
        let made = async {
            if wanted.peers.is_empty() {
                return Ok(relay::remove().await?);
            }
            wanted.make().await?;
            self.check(&wanted).await
        };
        if let Err(error) = made.await {
            self.fault = Some((wanted, format!("{error:#}")));
            return Err(error);
        }
        self.fault = None;
        self.tunnel = Some(wanted);
        Ok(())
    }

    /// Whether the kernel takes rules that copy. Loads none.
    async fn check(&self, tunnel: &Tunnel) -> anyhow::Result<()> {
        let peers: Vec<Ipv4Addr> = tunnel.peers.iter().copied().collect();
        let net = Ipv4Net::from(self.own);
        let rules = |peer: &Ipv4Addr| RelayRules {
            uplink: RELAY_LINK.to_owned(),
            sources: vec![net],
            vpc_networks: vec![net],
            peer: *peer,
            copies: true,
        };
        let groups = peers.first().map(rules).into_iter().collect();
        let table = RelayTable { port: self.port, peers, groups };
        let checked = Nft::find()?.check(&table).await;
        checked.context("the kernel refuses nft rules that copy packets (nft_dup_ipv4)")
    }

    /// Takes in replies, and asks again.
    fn probe(&mut self, peers: &BTreeMap<InstanceId, Ipv4Addr>, now: Time) -> anyhow::Result<()> {
        if peers.is_empty() {
            return Ok(());
        }
        let own = tunnel_address(self.own);
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(
                PeerSocket::echo(own, Some(RELAY_LINK), self.mark, now)
                    .with_context(|| format!("cannot probe by `{RELAY_LINK}`"))?,
            ),
        };
        let (mark, heard) = (self.mark, &mut self.heard);
        socket.drain(now, MAX_DRAIN, |datagram| {
            let from = *datagram.from.ip();
            let peer = peers.iter().find(|(_, address)| tunnel_address(**address) == from);
            if let Some((id, _)) = peer.filter(|_| mark.is_reply(datagram.bytes)) {
                heard.insert(id.clone(), now);
            }
        });
        let request = mark.request(self.sequence);
        for address in peers.values() {
            // A request that cannot be sent gets no reply, which is what counts.
            let _ = socket.send(&request, SocketAddrV4::new(tunnel_address(*address), 0));
        }
        Ok(())
    }

    fn answering(&self, now: Time) -> Answering {
        let fresh = self.heard.iter().filter(|(_, at)| now.since(**at) < FRESH);
        fresh.map(|(peer, _)| peer.clone()).collect()
    }

    fn table(&mut self, peers: &BTreeMap<InstanceId, Ipv4Addr>) -> RelayTable {
        let wanted = self.wanted.borrow_and_update();
        let rules = |copying: &Copying| {
            Some(RelayRules {
                uplink: copying.uplink.clone(),
                sources: copying.sources.clone(),
                vpc_networks: copying.vpc_networks.clone(),
                peer: *peers.get(&copying.peer)?,
                copies: copying.copies,
            })
        };
        RelayTable {
            port: self.port,
            peers: peers.values().copied().collect(),
            groups: wanted.iter().filter_map(rules).collect(),
        }
    }
}

/// The peers with which a table copies packets.
fn active(table: &RelayTable, peers: &BTreeMap<InstanceId, Ipv4Addr>) -> BTreeSet<InstanceId> {
    let groups = table.groups.iter().filter(|group| !group.sources.is_empty());
    let addresses: BTreeSet<Ipv4Addr> = groups.map(|group| group.peer).collect();
    let copied = peers.iter().filter(|(_, address)| addresses.contains(*address));
    copied.map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
