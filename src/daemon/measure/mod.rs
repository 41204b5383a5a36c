//! `natha measure`: how long EC2 takes to move a route or an Elastic IP, and until packets follow
//! it. `docs/measure.md` specifies it.

mod address;
mod guard;
mod pinger;
mod record;
mod replies;
mod route;
mod samples;
mod spots;

use anyhow::bail;

use self::address::Address;
use self::guard::Guard;
pub(crate) use self::guard::clean_up_when_stdin_ends;
use self::pinger::Pinger;
use self::route::Route;
pub(crate) use self::samples::{Change, Sample, summaries};
use super::clock;
use super::discovery::Membership;
use super::take::find_cluster;
use crate::cloud::Ec2;
use crate::config::Flags;
use crate::types::{AllocationId, Member, RouteTableId};

/// What to move.
#[derive(Debug, Clone)]
pub(crate) enum Measurand {
    /// A route of its own in this table.
    Route(RouteTableId),
    /// This Elastic IP.
    ElasticIp(AllocationId),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct MeasureRequest {
    pub(crate) what: Measurand,
    /// The peer, by id or name.
    pub(crate) peer: String,
    pub(crate) rounds: u32,
}

/// What is moved.
enum Moved {
    Route(Route),
    Address(Box<Address>),
}

/// What would be done.
pub(crate) struct Plan {
    found: Membership,
    moved: Moved,
    rounds: u32,
}

impl Plan {
    /// Reads the cluster and what is to be moved. Changes nothing.
    ///
    /// # Errors
    /// If the cluster cannot be found, the peer is no other member, or the measurement would
    /// disturb the cluster or measure nothing.
    pub(crate) async fn new(flags: &Flags, request: &MeasureRequest) -> anyhow::Result<Self> {
        let found = find_cluster(flags).await?;
        let peer = peer_of(&found, &request.peer)?;
        let moved = match &request.what {
            Measurand::Route(table) => Moved::Route(Route::find(&found, table, peer).await?),
            Measurand::ElasticIp(id) => {
                Moved::Address(Box::new(Address::find(&found, id, peer).await?))
            }
        };
        Ok(Self { found, moved, rounds: request.rounds })
    }

    /// The plan, in lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        match &self.moved {
            Moved::Route(route) => route.lines(self.rounds),
            Moved::Address(address) => address.lines(self.rounds),
        }
    }

    /// Measures. What was made for that is removed in any case.
    ///
    /// # Errors
    /// If nothing could be measured; the message gives the reason.
    pub(crate) async fn carry_out(mut self) -> anyhow::Result<Vec<Sample>> {
        if let Moved::Address(address) = &self.moved {
            address.announce(self.ec2()).await?;
        }
        let guard = match Guard::start().await {
            Ok(guard) => guard,
            Err(error) => {
                if let Moved::Address(address) = &self.moved {
                    address.withdraw()?;
                }
                return Err(error);
            }
        };
        let measured = self.measure().await;
        match self.moved {
            Moved::Route(route) => route.hand_over(),
            Moved::Address(address) => address.hand_over(),
        }
        guard.end().await?;
        measured
    }

    async fn measure(&mut self) -> anyhow::Result<Vec<Sample>> {
        let (pings, changes) = match &self.moved {
            Moved::Route(route) => {
                route.prepare(self.ec2()).await?;
                (Route::pings(), Change::OF_ROUTE)
            }
            Moved::Address(address) => {
                address.prepare(self.ec2()).await?;
                (address.pings(), Change::OF_ELASTIC_IP)
            }
        };
        let mut pinger = Pinger::open(pings)?;
        if pinger.wait(clock::now(), false).await.is_none() {
            bail!("{}", self.answered_before());
        }
        let mut samples = Vec::new();
        for _ in 0..self.rounds {
            for change in changes {
                match self.change(&mut pinger, change).await {
                    Ok(sample) => samples.push(sample),
                    Err(error) if samples.is_empty() => return Err(error),
                    Err(error) => {
                        tracing::warn!("the measurement ends early: {error:#}");
                        return Ok(samples);
                    }
                }
                if let [Sample { effect: None, .. }] = samples[..] {
                    bail!("{}", self.never_answered());
                }
            }
        }
        Ok(samples)
    }

    /// Makes one change while pings go out, and waits for its effect.
    async fn change(&mut self, pinger: &mut Pinger, change: Change) -> anyhow::Result<Sample> {
        let asked = clock::now();
        let ec2 = self.found.discovery.clouds.ec2();
        let call = async {
            match &mut self.moved {
                Moved::Route(route) => route.make(ec2, change).await?,
                Moved::Address(address) => address.make(ec2, change).await?,
            }
            anyhow::Ok(clock::now())
        };
        let answered = pinger.during(call).await?;
        let effect = pinger.wait(asked, change.brings_replies()).await;
        Ok(Sample { change, call: answered.since(asked), effect: effect.map(|at| at.since(asked)) })
    }

    fn ec2(&self) -> &Ec2 {
        self.found.discovery.clouds.ec2()
    }

    fn answered_before(&self) -> String {
        match &self.moved {
            Moved::Route(_) => Route::answered_before(),
            Moved::Address(address) => address.answered_before(),
        }
    }

    fn never_answered(&self) -> String {
        match &self.moved {
            Moved::Route(route) => route.never_answered(),
            Moved::Address(address) => address.never_answered(),
        }
    }
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
