//! `natha measure`: how long EC2 takes to change a route, and until packets follow it.
//! `docs/measure.md` specifies it.

mod guard;
mod replies;
mod samples;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ipnet::Ipv4Net;
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::guard::Guard;
pub(crate) use self::guard::clean_up_when_stdin_ends;
use self::replies::Replies;
pub(crate) use self::samples::{Change, Sample, summaries};
use super::clock;
use super::discovery::Membership;
use super::peers::{EchoMark, PeerSocket};
use super::take::find_cluster;
use crate::cloud::Gate;
use crate::config::{AcceptMode, Flags};
use crate::types::{
    Member, NetworkInterfaceId, RouteTableId, RouteTableInfo, RouteVia, RouteWrite, RouteWriteVerb,
    Time,
};

/// Reserved for documentation (RFC 5737), so that no host has it.
pub(crate) const SCRATCH: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// Time between two requests.
const PACE: Duration = Duration::from_millis(5);
/// How long a change may take to have an effect.
const PATIENCE: Duration = Duration::from_mins(1);
/// Replies read at once.
const MAX_DRAIN: usize = 1024;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct MeasureRequest {
    pub(crate) table: RouteTableId,
    /// The peer, by id or name.
    pub(crate) peer: String,
    pub(crate) rounds: u32,
}

/// What would be done: two nodes and a table.
pub(crate) struct Plan {
    found: Membership,
    table: RouteTableId,
    peer: Member,
    rounds: u32,
    /// Whether an earlier run has left its route.
    has_left: bool,
}

impl Plan {
    /// Reads the cluster and the table. Changes nothing.
    ///
    /// # Errors
    /// If the cluster cannot be found, the peer is no other member, or the table is not the one
    /// that this node's packets follow.
    pub(crate) async fn new(flags: &Flags, request: &MeasureRequest) -> anyhow::Result<Self> {
        let found = find_cluster(flags).await?;
        let peer = peer_of(&found, &request.peer)?.clone();
        let ec2 = found.discovery.clouds.ec2();
        let table = ec2.route_table(&request.table).await?;
        let table = table.with_context(|| format!("there is no table {}", request.table))?;
        check_table(&found, &table).await?;
        let has_left = table.routes.contains_key(&scratch());
        let (rounds, table) = (request.rounds, table.id);
        Ok(Self { found, table, peer, rounds, has_left })
    }

    /// The plan, in lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Self { found, table, peer, rounds, has_left } = self;
        let name = found.cluster.roster.node_name(&peer.id);
        let mut lines = Vec::new();
        if *has_left {
            lines.push(format!(
                "delete the route {} that an earlier run has left in {table}",
                scratch()
            ));
        }
        lines.push(format!(
            "{rounds} times: create a route {} in {table} to {name}, point it at this node and at \
             {name} again, and delete it",
            scratch()
        ));
        lines.push(format!("meanwhile, ping {SCRATCH} every {} ms", PACE.as_millis()));
        lines
    }

    /// Measures. The scratch route is deleted in any case.
    ///
    /// # Errors
    /// If nothing could be measured; the message gives the reason.
    pub(crate) async fn carry_out(self) -> anyhow::Result<Vec<Sample>> {
        if self.has_left {
            self.delete().await?;
        }
        let guard = Guard::start()?;
        let measured = self.measure().await;
        guard.end().await?;
        measured
    }

    async fn measure(&self) -> anyhow::Result<Vec<Sample>> {
        let mut pinger = Pinger::open()?;
        if pinger.wait(clock::now(), false).await.is_none() {
            bail!("{SCRATCH} answers pings before its route exists: nothing can be measured here");
        }
        let mut samples = Vec::new();
        for _ in 0..self.rounds {
            for change in Change::ROUND {
                match self.change(&mut pinger, change).await {
                    Ok(sample) => samples.push(sample),
                    Err(error) if samples.is_empty() => return Err(error),
                    Err(error) => {
                        tracing::warn!("the measurement ends early: {error:#}");
                        return Ok(samples);
                    }
                }
                if change == Change::Create && samples.iter().all(|one| one.effect.is_none()) {
                    bail!(
                        "no ping of {SCRATCH} was answered within {} s of the route's creation: \
                         set host.accept = [\"{SCRATCH}\"] on {}, run `natha setup` there, and let \
                         its security group pass ICMP echo from this node",
                        PATIENCE.as_secs(),
                        self.found.cluster.roster.node_name(&self.peer.id)
                    );
                }
            }
        }
        Ok(samples)
    }

    /// Makes one change while pings go out, and waits for its effect.
    async fn change(&self, pinger: &mut Pinger, change: Change) -> anyhow::Result<Sample> {
        let asked = clock::now();
        let call = async {
            self.request(change).await?;
            anyhow::Ok(clock::now())
        };
        let answered = pinger.during(call).await?;
        let effect = pinger.wait(asked, change.leads_to_the_peer()).await;
        Ok(Sample { change, call: answered.since(asked), effect: effect.map(|at| at.since(asked)) })
    }

    async fn request(&self, change: Change) -> anyhow::Result<()> {
        let me = &self.found.cluster.me.interface;
        match change {
            Change::Create => self.write(RouteWriteVerb::Create, &self.peer.interface).await,
            Change::Away => self.write(RouteWriteVerb::Replace, me).await,
            Change::Back => self.write(RouteWriteVerb::Replace, &self.peer.interface).await,
            Change::Delete => self.delete().await,
        }
    }

    async fn write(&self, verb: RouteWriteVerb, to: &NetworkInterfaceId) -> anyhow::Result<()> {
        let (table, cidr) = (self.table.clone(), scratch());
        let write = RouteWrite { verb, table, cidr, via: RouteVia::Interface(to.clone()) };
        let ec2 = self.found.discovery.clouds.ec2();
        ec2.write_route(&write, &Gate::open()).await?;
        Ok(())
    }

    async fn delete(&self) -> anyhow::Result<()> {
        self.found.discovery.clouds.ec2().delete_route(&self.table, scratch()).await?;
        Ok(())
    }
}

fn scratch() -> Ipv4Net {
    Ipv4Net::from(SCRATCH)
}

fn peer_of<'a>(found: &'a Membership, text: &str) -> anyhow::Result<&'a Member> {
    let others = || {
        let members = found.cluster.roster.members.iter();
        members.filter(|member| member.id != found.cluster.me.id)
    };
    let is_it =
        |member: &&Member| member.id.as_str() == text || member.name.as_deref() == Some(text);
    let mut matching = others().filter(is_it);
    if let (Some(peer), None) = (matching.next(), matching.next()) {
        return Ok(peer);
    }
    let roster = &found.cluster.roster;
    let known: Vec<String> = others().map(|member| roster.node_name(&member.id)).collect();
    bail!("no single other node is called `{text}`; there are: {}", known.join(", "))
}

/// This node's packets must follow the table, and nothing real may be at the scratch address.
async fn check_table(found: &Membership, table: &RouteTableInfo) -> anyhow::Result<()> {
    let ec2 = found.discovery.clouds.ec2();
    let me = &found.cluster.me;
    let instance = ec2.instance(&me.id).await?;
    let mut interfaces = instance.into_iter().flat_map(|instance| instance.interfaces);
    let own = interfaces.find(|interface| interface.id == me.interface);
    let subnet = own.context("EC2 does not know this node's interface")?.subnet;
    let tables = ec2.route_tables_of(std::slice::from_ref(&subnet)).await?;
    let is_followed = match tables.first() {
        Some(own) => own.id == table.id,
        None => table.main,
    };
    if !is_followed {
        let own = tables.first().map_or("its VPC's main table", |own| own.id.as_str());
        bail!("the packets of this node follow {own}, not {}: name that one", table.id);
    }
    let host = &found.discovery.settings.host;
    if host.accept_mode == AcceptMode::Lo && host.accept.contains(&SCRATCH) {
        bail!(
            "this node accepts {SCRATCH} itself, so its pings never leave it: measure from a node \
             that does not have it in host.accept, or set host.accept_mode = \"redirect\""
        );
    }
    let is_inside = |block: &Ipv4Net| block.contains(&SCRATCH);
    if let Some(block) = found.cluster.vpc_blocks.iter().find(|block| is_inside(block)) {
        bail!("the VPC has {block}, which contains {SCRATCH}: nothing can be measured here");
    }
    Ok(())
}

/// Pings the scratch address.
struct Pinger {
    socket: PeerSocket,
    mark: EchoMark,
    replies: Replies,
    pace: Interval,
}

impl Pinger {
    fn open() -> anyhow::Result<Self> {
        let token = getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"))?;
        let mark = EchoMark::new(token);
        let socket = PeerSocket::echo(Ipv4Addr::UNSPECIFIED, None, mark, clock::now());
        let socket = socket.context("cannot send pings: run this as root")?;
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { socket, mark, replies: Replies::default(), pace })
    }

    /// Takes in replies, and sends the next request.
    fn turn(&mut self) {
        let now = clock::now();
        let (mark, replies) = (self.mark, &mut self.replies);
        self.socket.drain(now, MAX_DRAIN, |datagram| {
            if let Some(sequence) = mark.reply(datagram.bytes) {
                replies.receive(sequence);
            }
        });
        let sequence = self.replies.send(now);
        // A request that cannot be sent has no reply, as before the route exists.
        let _ = self.socket.send(&self.mark.request(sequence), SocketAddrV4::new(SCRATCH, 0));
    }

    /// Pings until `work` is done.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = self.pace.tick() => self.turn(),
            }
        }
    }

    /// Pings until replies begin, or end, after `asked`. Returns when; none if they do not in time.
    async fn wait(&mut self, asked: Time, begin: bool) -> Option<Time> {
        while clock::now().since(asked) < PATIENCE {
            self.pace.tick().await;
            self.turn();
            let found = if begin {
                self.replies.begin(asked)
            } else {
                self.replies.end(asked, clock::now())
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}
