//! Translates private hosts to the egress IPs that are on this node. An egress IP has arrived when
//! a host on the internet replies to a probe that this node sent by it: EC2 accepts an association
//! some seconds before packets follow it. While replicated connections of a group are inserted, its
//! new ones wait. The same nft table resets connections that were idle for too long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::alerts::Alert;
use super::clock;
use super::egress_probes::{Arrivals, PACE, Probes};
use super::inbox::{Note, Notes};
use super::looks::{Cause, LEAST, Looks, found_how};
use super::peers::EchoMark;
use super::published::publish;
use super::relay::{Answering, Copying, Ends};
use super::resets::{EgressHere, Resets, within};
use crate::config::{Probe, Settings};
use crate::failover::{EgressGroup, EgressIp, Relay, ServedGroup};
use crate::kernel::egress::EgressRecord;
use crate::kernel::nft::Nft;
use crate::kernel::{addresses, journal};
use crate::plan::{EgressRules, EgressTable, HostPlan};
use crate::status::{EgressProof, LandingState};
use crate::types::{EgressId, Time};

/// Time between two looks while nothing changes.
const EVERY: Duration = Duration::from_secs(30);
/// The same while hosts are soon to get resets: these begin late by as much.
const RIPENING: Duration = Duration::from_secs(5);
/// How long the first look waits for replies. Until then the host translates as an earlier run of
/// the monitor left it.
const SETTLE: Duration = Duration::from_secs(2);

/// The egress IPs of the groups on this node; none until all of them are known.
pub(super) type Published = Option<Vec<EgressGroup>>;

/// The egress IPs whose connections are being inserted.
pub(super) type Inserting = BTreeSet<EgressId>;

/// Tells the task what the machine knows.
#[derive(Debug)]
pub(crate) struct Publishers {
    /// Where the egress IPs are.
    pub(crate) ips: watch::Sender<Published>,
    /// Whose private hosts this node serves.
    pub(crate) served: watch::Sender<Vec<ServedGroup>>,
}

/// What the task and others tell each other.
#[derive(Debug)]
pub(super) struct Others {
    pub(super) inserting: watch::Receiver<Inserting>,
    /// Told the egress IPs whose new connections wait, once the kernel has the rules for it.
    pub(super) waits: watch::Sender<Inserting>,
    /// None if no packets are copied.
    pub(super) relay: Option<Ends>,
}

/// Starts the task on the current runtime. `address` is the first address of the forwarding
/// interface, which identifies the interface. The task ends when the senders are dropped, and
/// leaves the translation as it is.
pub(super) fn start(
    settings: &Settings,
    address: Ipv4Addr,
    token: u64,
    Others { inserting, waits, relay }: Others,
    notes: &Notes,
) -> Publishers {
    let (ips, published) = watch::channel(None);
    let (served, is_served) = watch::channel(Vec::new());
    let targets = settings.uplink.targets.iter().filter_map(|target| match target {
        Probe::Icmp(address) => Some(*address),
        Probe::Tcp(_) => None,
    });
    let probes = Probes { targets: targets.collect(), mark: EchoMark::new(token), sequence: 0 };
    let keeper = Keeper {
        state_dir: settings.state_dir.clone(),
        address,
        known: None,
        arrivals: Arrivals::new(probes),
        inserting,
        waits,
        relay,
        resets: Resets::new(&settings.host),
        is_ripening: false,
        loaded: None,
        has_inherited: false,
        put: BTreeSet::new(),
        status: LandingState::default(),
        notes: notes.clone(),
    };
    tokio::spawn(keep(keeper, published, is_served, Alert::new("egress", notes)));
    Publishers { ips, served }
}

async fn keep(
    mut keeper: Keeper,
    mut published: watch::Receiver<Published>,
    mut served: watch::Receiver<Vec<ServedGroup>>,
    mut alert: Alert,
) {
    if let Err(error) = stop_resets().await {
        tracing::warn!("hosts may still get resets as before this monitor's start: {error:#}");
    }
    let mut told = None;
    let mut looks = Looks::new(EVERY, LEAST);
    let mut inserting = keeper.inserting.clone();
    let [mut paces, mut ripenings] = [PACE, RIPENING].map(interval);
    paces.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ripenings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let look = tokio::select! {
            changed = published.changed() => {
                if changed.is_err() {
                    return;
                }
                let groups = published.borrow_and_update().clone();
                keeper.take(groups, clock::now());
                None
            }
            Ok(()) = served.changed() => {
                keeper.resets.take(&served.borrow_and_update(), clock::now());
                None
            }
            Ok(()) = inserting.changed() => None,
            Ok(()) = answers_changed(keeper.relay.as_mut()) => None,
            cause = looks.next() => Some(cause),
            _ = paces.tick(), if keeper.arrivals.is_probing() => None,
            _ = ripenings.tick(), if keeper.is_ripening => None,
        };
        let result = keeper.round(look, clock::now()).await;
        let what = if keeper.has_groups() {
            "cannot translate private hosts to the group's egress IPs"
        } else {
            "cannot reset connections that were idle for too long"
        };
        let text = result.err().map(|error| format!("{what}: {error:#}"));
        alert.set(text).await;
        if keeper.known.is_some() && told.as_ref() != Some(&keeper.status) {
            told = Some(keeper.status.clone());
            keeper.notes.send(Note::Landings(keeper.status.clone())).await;
        }
    }
}

/// Waits until another peer answers through the tunnel, or one no longer does.
async fn answers_changed(relay: Option<&mut Ends>) -> Result<(), watch::error::RecvError> {
    match relay {
        Some(ends) => ends.answering.changed().await,
        None => std::future::pending().await,
    }
}

/// Ends the resets of an earlier run: groups may have been elsewhere since.
async fn stop_resets() -> anyhow::Result<()> {
    Ok(Nft::find()?.stop_resets().await?)
}

struct Keeper {
    state_dir: PathBuf,
    address: Ipv4Addr,
    /// The groups, and when they became known first.
    known: Option<(Vec<EgressGroup>, Time)>,
    arrivals: Arrivals,
    inserting: watch::Receiver<Inserting>,
    waits: watch::Sender<Inserting>,
    relay: Option<Ends>,
    resets: Resets,
    /// Whether hosts are to get resets later.
    is_ripening: bool,
    loaded: Option<EgressTable>,
    /// Whether it is known what an earlier run of the monitor left.
    has_inherited: bool,
    /// The landing addresses that this run has found on the host, or put there.
    put: BTreeSet<Ipv4Addr>,
    /// For the status of the monitor.
    status: LandingState,
    notes: Notes,
}

impl Keeper {
    /// Takes in where the egress IPs are.
    fn take(&mut self, groups: Published, now: Time) {
        let Some(groups) = groups else { return };
        let here: BTreeMap<Ipv4Addr, EgressIp> = groups
            .iter()
            .flat_map(|group| &group.ips)
            .filter(|ip| ip.is_here)
            .map(|ip| (ip.landing, ip.clone()))
            .collect();
        self.status.here.retain(|landing, _| here.contains_key(landing));
        for landing in here.keys() {
            self.status.here.entry(*landing).or_insert((now, EgressProof::None));
        }
        self.arrivals.take(here, now);
        let since = self.known.as_ref().map_or(now, |(_, since)| *since);
        self.known = Some((groups, since));
    }

    /// Probes, and makes the host translate as the egress IPs are. With a look, another program may
    /// have changed the host.
    async fn round(&mut self, look: Option<Cause>, now: Time) -> anyhow::Result<()> {
        let Some((groups, known_since)) = self.known.clone() else { return Ok(()) };
        if !self.has_inherited {
            let translated = Nft::find()?.landings().await?;
            self.has_inherited = true;
            self.arrivals.inherit(&translated, now);
        }
        if look.is_some() || self.arrivals.is_new() {
            self.put_landings(&groups, look, now).await?;
        }
        let (proven, failure) = self.arrivals.probe(now);
        for (landing, proof) in proven {
            if let Some((_, known)) = self.status.here.get_mut(&landing) {
                *known = proof;
            }
        }
        if let Some((landing, error)) = failure {
            return Err(error).with_context(|| format!("cannot probe by {landing}"));
        }
        let settles = self.loaded.is_none() && now.since(known_since) < SETTLE;
        if settles && self.arrivals.awaits() {
            return Ok(());
        }
        let table = self.table(&groups, now)?;
        let copying = self.copying(&groups, &table);
        let waiting = waiting(&groups, &table);
        if look.is_some() || self.loaded.as_ref() != Some(&table) {
            let was = Nft::find()?.ensure(&table).await?;
            if let (Some(was), Some(cause)) = (was, look)
                && self.loaded.as_ref() == Some(&table)
            {
                self.notes.table_drift::<EgressTable>(was, cause.age()).await;
            }
            EgressRecord::keep_guard(&self.state_dir, &table)?;
            log_resets(self.loaded.as_ref(), &table);
            self.loaded = Some(table);
        }
        // Only now: copies of packets that the host would treat wrongly must not be admitted.
        if let Some(Ends { copying: told, .. }) = &self.relay {
            publish(told, copying);
        }
        publish(&self.waits, waiting);
        Ok(())
    }

    /// Puts the landing addresses on the forwarding interface.
    async fn put_landings(
        &mut self,
        groups: &[EgressGroup],
        look: Option<Cause>,
        now: Time,
    ) -> anyhow::Result<()> {
        let own = addresses::read().await?;
        let is_there = |landing: &Ipv4Addr| own.iter().any(|own| own.address == *landing);
        self.status.on_host = own.iter().map(|own| own.address).collect();
        self.status.read = Some(now);
        let wanted: BTreeSet<Ipv4Addr> =
            groups.iter().flat_map(|group| &group.ips).map(|ip| ip.landing).collect();
        self.put.retain(|landing| wanted.contains(landing));
        self.put.extend(wanted.iter().filter(|landing| is_there(landing)));
        let missing: Vec<Ipv4Addr> = wanted.into_iter().filter(|one| !is_there(one)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let link = own.iter().find(|own| own.address == self.address);
        let link = link.ok_or_else(|| anyhow!("no interface has {}", self.address))?;
        let uplink = self.plan()?.table.uplink;
        if link.link != uplink {
            bail!(
                "landing addresses are of the forwarding interface, `{}`, but packets to the \
                 internet leave by `{uplink}`: use nodes with one interface for both, or remove \
                 the `egress-ip`",
                link.link
            );
        }
        for landing in missing {
            EgressRecord::keep_landing(&self.state_dir, landing, &link.link)?;
            addresses::add(&link.link, landing).await?;
            self.status.on_host.insert(landing);
            let text = format!("landing address {landing} added to {}", link.link);
            if self.put.insert(landing) {
                tracing::info!("{text}");
            } else {
                let age = look.and_then(Cause::age);
                self.notes.drift(format!("{text}, {}", found_how(age)), age).await;
            }
        }
        Ok(())
    }

    /// Whether a group has egress IPs.
    fn has_groups(&self) -> bool {
        self.known.as_ref().is_some_and(|(groups, _)| !groups.is_empty())
    }

    /// The table that belongs to what is known.
    fn table(&mut self, groups: &[EgressGroup], now: Time) -> anyhow::Result<EgressTable> {
        let inserting = self.inserting.borrow().clone();
        let here = EgressHere { groups, arrived: self.arrivals.arrived(), inserting: &inserting };
        let reset = self.resets.networks(here, now);
        self.is_ripening = self.resets.are_coming(here, now);
        let answering = self.answering();
        let here =
            Here { arrived: self.arrivals.arrived(), inserting: &inserting, answering: &answering };
        let groups: Vec<EgressRules> =
            groups.iter().filter_map(|group| here.rules(group)).collect();
        let plan = if !groups.is_empty() {
            Some(self.plan()?)
        } else if reset.is_empty() {
            None
        } else {
            // A host that is not set up knows no connections of private hosts.
            journal::last_plan(&self.state_dir)?
        };
        let Some(plan) = plan else { return Ok(EgressTable::default()) };
        let is_long_enough = self.resets.outlast(plan.established_timeout());
        let reset = if is_long_enough { within(&reset, &plan.table.sources) } else { Vec::new() };
        let (uplink, vpc_networks) = (plan.table.uplink, plan.table.vpc_networks);
        Ok(EgressTable { uplink, vpc_networks, groups, reset })
    }

    /// The peers that answer through the tunnel.
    fn answering(&self) -> Answering {
        self.relay.as_ref().map(|ends| ends.answering.borrow().clone()).unwrap_or_default()
    }

    /// The groups of whose packets copies are taken, where this is the table of the translation.
    fn copying(&self, groups: &[EgressGroup], table: &EgressTable) -> Vec<Copying> {
        let (answering, inserting) = (self.answering(), Inserting::new());
        let here =
            Here { arrived: self.arrivals.arrived(), inserting: &inserting, answering: &answering };
        let copies = groups.iter().filter_map(|group| {
            let relay = here.relay(group)?;
            Some(Copying {
                peer: relay.peer.clone(),
                copies: relay.gives || !here.has_arrived(group),
                sources: group.egress.sources.clone(),
                uplink: table.uplink.clone(),
                vpc_networks: table.vpc_networks.clone(),
            })
        });
        copies.collect()
    }

    /// The plan that `natha setup` applied.
    fn plan(&self) -> anyhow::Result<HostPlan> {
        let plan = journal::last_plan(&self.state_dir)?;
        plan.ok_or_else(|| anyhow!("this host is not set up: run `natha setup`"))
    }
}

/// Logs which hosts get resets, if that has changed.
fn log_resets(before: Option<&EgressTable>, table: &EgressTable) {
    let before = before.map_or(&[][..], |table| &table.reset[..]);
    if before != table.reset {
        let networks: Vec<String> = table.reset.iter().map(ToString::to_string).collect();
        let hosts = if networks.is_empty() { "none".to_owned() } else { networks.join(", ") };
        tracing::info!("private hosts that get resets for idle connections: {hosts}");
    }
}

/// The egress IPs whose new connections wait by this table.
fn waiting(groups: &[EgressGroup], table: &EgressTable) -> Inserting {
    let waits: BTreeSet<Ipv4Addr> = table
        .groups
        .iter()
        .filter(|rules| rules.inserting)
        .flat_map(|rules| rules.landings.iter().copied())
        .collect();
    let ips = groups.iter().flat_map(|group| &group.ips);
    ips.filter(|ip| waits.contains(&ip.landing)).map(|ip| ip.id).collect()
}

/// What the translation of a group depends on.
#[derive(Debug, Clone, Copy)]
struct Here<'a> {
    arrived: &'a BTreeMap<Ipv4Addr, Time>,
    inserting: &'a Inserting,
    /// The peers that answer through the tunnel.
    answering: &'a Answering,
}

impl Here<'_> {
    /// The translation of a group; none where this node can never have all of its egress IPs and
    /// its hosts may leave by another address.
    fn rules(self, group: &EgressGroup) -> Option<EgressRules> {
        let EgressGroup { egress, ips, is_complete, .. } = group;
        if !is_complete && !egress.strict {
            return None;
        }
        let relay = self.relay(group);
        Some(EgressRules {
            sources: egress.sources.clone(),
            // The owner translates until its packets certainly go elsewhere.
            arrived: self.has_arrived(group) || relay.is_some_and(|relay| relay.gives),
            landings: ips.iter().map(|ip| ip.landing).collect(),
            strict: egress.strict,
            // The receiver leaves new connections to the owner until they have arrived.
            inserting: ips.iter().any(|ip| self.inserting.contains(&ip.id))
                || (relay.is_some_and(|relay| !relay.gives) && !self.has_arrived(group)),
        })
    }

    /// Whether all egress IPs of the group have arrived here.
    fn has_arrived(self, group: &EgressGroup) -> bool {
        group.is_complete && group.ips.iter().all(|ip| self.arrived.contains_key(&ip.landing))
    }

    /// The planned move of a group that is taking effect, if packets can be copied for it.
    fn relay(self, group: &EgressGroup) -> Option<&Relay> {
        let relay = group.relay.as_ref().filter(|_| group.is_complete);
        relay.filter(|relay| self.answering.contains(&relay.peer))
    }
}

#[cfg(test)]
#[path = "egress_tests.rs"]
mod tests;
