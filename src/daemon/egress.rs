//! Translates private hosts to the egress IPs that are on this node. An egress IP has arrived when
//! a host on the internet replies to a probe that this node sent by it: EC2 accepts an association
//! some seconds before packets follow it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::alerts::Alert;
use super::clock;
use super::inbox::Notes;
use super::looks::{LEAST, Looks};
use super::peers::{EchoMark, PeerSocket};
use crate::config::{Probe, Settings};
use crate::failover::{EgressGroup, EgressIp};
use crate::kernel::nft::Nft;
use crate::kernel::{addresses, journal};
use crate::plan::{EgressRules, EgressTable};
use crate::types::Time;

/// Time between two looks while nothing changes.
const EVERY: Duration = Duration::from_secs(30);
/// Time between two probes by an egress IP that is on its way.
const PACE: Duration = Duration::from_millis(50);
/// After this, an egress IP that EC2 shows here counts as arrived, whatever the probes say: their
/// targets may answer no echo.
const ASSUMED: Duration = Duration::from_secs(15);
/// How long the first look waits for replies. Until then the host translates as an earlier run of
/// the monitor left it.
const SETTLE: Duration = Duration::from_secs(2);
/// Replies read in one round.
const MAX_DRAIN: usize = 64;

/// The egress IPs of the groups on this node; none until all of them are known.
pub(super) type Published = Option<Vec<EgressGroup>>;

/// Starts the task on the current runtime. `address` is the first address of the forwarding
/// interface, which identifies the interface. The task ends when the sender is dropped, and leaves
/// the translation as it is.
pub(super) fn start(
    settings: &Settings,
    address: Ipv4Addr,
    token: u64,
    notes: &Notes,
) -> watch::Sender<Published> {
    let (sender, published) = watch::channel(None);
    let targets = settings.uplink.targets.iter().filter_map(|target| match target {
        Probe::Icmp(address) => Some(*address),
        Probe::Tcp(_) => None,
    });
    let keeper = Keeper {
        state_dir: settings.state_dir.clone(),
        address,
        probes: Probes { targets: targets.collect(), mark: EchoMark::new(token), sequence: 0 },
        known: None,
        coming: BTreeMap::new(),
        arrived: BTreeSet::new(),
        loaded: None,
    };
    tokio::spawn(keep(keeper, published, Alert::new("egress", notes)));
    sender
}

async fn keep(mut keeper: Keeper, mut published: watch::Receiver<Published>, mut alert: Alert) {
    let mut looks = Looks::new(EVERY, LEAST);
    let mut paces: Interval = interval(PACE);
    paces.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let check = tokio::select! {
            changed = published.changed() => {
                if changed.is_err() {
                    return;
                }
                let groups = published.borrow_and_update().clone();
                keeper.take(groups, clock::now());
                false
            }
            _ = looks.next() => true,
            _ = paces.tick(), if !keeper.coming.is_empty() => false,
        };
        let result = keeper.round(check, clock::now()).await;
        let text = result.err().map(|error| {
            format!("cannot translate private hosts to the group's egress IPs: {error:#}")
        });
        alert.set(text).await;
    }
}

/// An egress IP that EC2 shows here and that has not arrived yet.
struct Coming {
    ip: EgressIp,
    since: Time,
    /// None until its landing address is on this host.
    socket: Option<PeerSocket>,
}

struct Keeper {
    state_dir: PathBuf,
    address: Ipv4Addr,
    probes: Probes,
    /// The groups, and when they became known first.
    known: Option<(Vec<EgressGroup>, Time)>,
    /// By landing address.
    coming: BTreeMap<Ipv4Addr, Coming>,
    /// Landing addresses.
    arrived: BTreeSet<Ipv4Addr>,
    loaded: Option<EgressTable>,
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
        self.arrived.retain(|landing| here.contains_key(landing));
        self.coming.retain(|landing, _| here.contains_key(landing));
        for (landing, ip) in here {
            if !self.arrived.contains(&landing) {
                self.coming.entry(landing).or_insert(Coming { ip, since: now, socket: None });
            }
        }
        let since = self.known.as_ref().map_or(now, |(_, since)| *since);
        self.known = Some((groups, since));
    }

    /// Probes, and makes the host translate as the egress IPs are. `check`: the host may have been
    /// changed by another program.
    async fn round(&mut self, check: bool, now: Time) -> anyhow::Result<()> {
        let Some((groups, known_since)) = self.known.clone() else { return Ok(()) };
        if check || self.coming.values().any(|coming| coming.socket.is_none()) {
            self.put_landings(&groups).await?;
        }
        self.probe(now)?;
        let settles = self.loaded.is_none() && now.since(known_since) < SETTLE;
        if settles && !self.coming.is_empty() {
            return Ok(());
        }
        let table = self.table(&groups)?;
        if check || self.loaded.as_ref() != Some(&table) {
            let nft = Nft::find()?;
            if !nft.has(&table).await? {
                nft.replace(&table).await?;
            }
            self.loaded = Some(table);
        }
        Ok(())
    }

    /// Puts the landing addresses on the forwarding interface.
    async fn put_landings(&self, groups: &[EgressGroup]) -> anyhow::Result<()> {
        let own = addresses::read().await?;
        let missing = groups.iter().flat_map(|group| &group.ips).map(|ip| ip.landing);
        let missing: BTreeSet<Ipv4Addr> =
            missing.filter(|landing| own.iter().all(|own| own.address != *landing)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let link = own.iter().find(|own| own.address == self.address);
        let link = link.ok_or_else(|| anyhow!("no interface has {}", self.address))?;
        for landing in missing {
            addresses::add(&link.link, landing).await?;
            tracing::info!("landing address {landing} added to {}", link.link);
        }
        Ok(())
    }

    /// Takes in replies, and sends the next probes.
    fn probe(&mut self, now: Time) -> anyhow::Result<()> {
        let mut arrived = Vec::new();
        self.probes.sequence = self.probes.sequence.wrapping_add(1);
        for (landing, coming) in &mut self.coming {
            let took = now.since(coming.since);
            if coming.socket.is_none() {
                let socket = PeerSocket::echo(*landing, None, self.probes.mark, now)
                    .with_context(|| format!("cannot probe by {landing}"))?;
                coming.socket = Some(socket);
            }
            let replied =
                coming.socket.as_mut().is_some_and(|one| self.probes.is_answered(one, now));
            if replied || took >= ASSUMED {
                let how = if replied { "a probe by it was answered" } else { "EC2 shows it here" };
                let ms = took.as_millis();
                tracing::info!(
                    "egress IP {} has arrived on {landing}: {how}, {ms} ms after EC2 accepted it",
                    coming.ip.address
                );
                arrived.push(*landing);
            } else if let Some(socket) = &coming.socket {
                self.probes.ask(socket);
            }
        }
        for landing in arrived {
            self.coming.remove(&landing);
            self.arrived.insert(landing);
        }
        Ok(())
    }

    /// The table that belongs to what is known.
    fn table(&self, groups: &[EgressGroup]) -> anyhow::Result<EgressTable> {
        let with_ips = groups.iter().filter(|group| !group.ips.is_empty());
        let groups: Vec<EgressRules> = with_ips
            .map(|group| {
                let landings: Vec<Ipv4Addr> = group.ips.iter().map(|ip| ip.landing).collect();
                EgressRules {
                    sources: group.egress.sources.clone(),
                    arrived: landings.iter().all(|landing| self.arrived.contains(landing)),
                    landings,
                    strict: group.egress.strict,
                }
            })
            .collect();
        if groups.is_empty() {
            return Ok(EgressTable::default());
        }
        let plan = journal::last_plan(&self.state_dir)?;
        let plan = plan.ok_or_else(|| anyhow!("this host is not set up: run `natha setup`"))?;
        let (uplink, vpc_networks) = (plan.table.uplink, plan.table.vpc_networks);
        Ok(EgressTable { uplink, vpc_networks, groups })
    }
}

/// Echo requests by landing addresses.
struct Probes {
    targets: Vec<Ipv4Addr>,
    mark: EchoMark,
    sequence: u16,
}

impl Probes {
    fn ask(&self, socket: &PeerSocket) {
        let request = self.mark.request(self.sequence);
        for target in &self.targets {
            // A request that cannot be sent gets no reply, which is what counts.
            let _ = socket.send(&request, SocketAddrV4::new(*target, 0));
        }
    }

    fn is_answered(&self, socket: &mut PeerSocket, now: Time) -> bool {
        let mut answered = false;
        socket.drain(now, MAX_DRAIN, |datagram| {
            let asked = self.targets.contains(datagram.from.ip());
            answered |= asked && self.mark.is_reply(datagram.bytes);
        });
        answered
    }
}
