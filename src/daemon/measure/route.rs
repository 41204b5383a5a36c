//! The scratch route: a route to an address that no host has, which points at one of two nodes.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::Ipv4Net;

use super::pinger::{PATIENCE, Pings};
use super::record::lock;
use super::samples::Change;
use crate::cloud::{Ec2, Gate};
use crate::config::AcceptMode;
use crate::daemon::discovery::Membership;
use crate::kernel::lock::FileLock;
use crate::types::{
    CloudFaultKind, Member, NetworkInterfaceId, RouteTableId, RouteTableInfo, RouteVia, RouteWrite,
    RouteWriteVerb,
};

/// Reserved for documentation (RFC 5737), so that no host has it.
const SCRATCH: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// Time between two requests. They go to the peer, and not to the internet.
const PACE: Duration = Duration::from_millis(5);

/// The route.
#[derive(Debug)]
pub(super) struct Route {
    table: RouteTableId,
    /// This node's interface.
    own: NetworkInterfaceId,
    peer: NetworkInterfaceId,
    /// The peer's name.
    name: String,
    /// Whether an earlier run has left its route.
    has_left: bool,
    lock: FileLock,
}

impl Route {
    /// Reads the table. Changes nothing.
    ///
    /// # Errors
    /// If the table is not the one that this node's packets follow, or another run measures.
    pub(super) async fn find(
        found: &Membership,
        id: &RouteTableId,
        peer: &Member,
    ) -> anyhow::Result<Self> {
        // Before the read: a route of another run is not left over.
        let lock = lock(&found.discovery.settings.state_dir)?;
        let table = found.discovery.clouds.ec2().route_table(id).await?;
        let table = table.with_context(|| format!("there is no table {id}"))?;
        check_table(found, &table).await?;
        Ok(Self {
            has_left: table.routes.contains_key(&scratch()),
            table: table.id,
            own: found.cluster.me.interface.clone(),
            peer: peer.interface.clone(),
            name: found.cluster.roster.node_name(&peer.id),
            lock,
        })
    }

    /// The plan, in lines for people.
    pub(super) fn lines(&self, rounds: u32) -> Vec<String> {
        let Self { table, name, has_left, .. } = self;
        let (route, pace) = (scratch(), PACE.as_millis());
        let left = format!("delete the route {route} that an earlier run has left in {table}");
        let mut lines: Vec<String> = has_left.then_some(left).into_iter().collect();
        lines.push(format!(
            "{rounds} times: create a route {route} in {table} to {name}, point it at this node \
             and at {name} again, and delete it"
        ));
        lines.push(format!("meanwhile, ping {SCRATCH} every {pace} ms"));
        lines
    }

    pub(super) fn pings() -> Pings {
        Pings { from: None, to: vec![SCRATCH], pace: PACE }
    }

    /// Removes what an earlier run has left.
    pub(super) async fn prepare(&self, ec2: &Ec2) -> anyhow::Result<()> {
        if self.has_left { clean(ec2, &self.table).await } else { Ok(()) }
    }

    /// Makes one change.
    pub(super) async fn make(&self, ec2: &Ec2, change: Change) -> anyhow::Result<()> {
        match change {
            Change::Create => self.write(ec2, RouteWriteVerb::Create, &self.peer).await,
            Change::Away => self.write(ec2, RouteWriteVerb::Replace, &self.own).await,
            Change::Back => self.write(ec2, RouteWriteVerb::Replace, &self.peer).await,
            Change::Delete => Ok(ec2.delete_route(&self.table, scratch()).await?),
            other => bail!("a route cannot {}", other.name()),
        }
    }

    async fn write(
        &self,
        ec2: &Ec2,
        verb: RouteWriteVerb,
        to: &NetworkInterfaceId,
    ) -> anyhow::Result<()> {
        let (table, cidr) = (self.table.clone(), scratch());
        let via = RouteVia::Interface(to.clone());
        ec2.write_route(&RouteWrite { verb, table, cidr, via }, &Gate::open()).await?;
        Ok(())
    }

    /// Lets the process that cleans up delete the route.
    pub(super) fn hand_over(self) {
        drop(self.lock);
    }

    /// The error if pings are answered too early.
    pub(super) fn answered_before() -> String {
        format!("{SCRATCH} answers pings before its route exists: nothing can be measured here")
    }

    /// The error if the first change has no effect.
    pub(super) fn never_answered(&self) -> String {
        format!(
            "no ping of {SCRATCH} was answered within {} s of the route's creation: set \
             host.accept = [\"{SCRATCH}\"] on {}, run `natha setup` there, and let its security \
             group pass ICMP echo from this node",
            PATIENCE.as_secs(),
            self.name
        )
    }
}

/// Deletes the scratch route of a table, if it is there.
pub(super) async fn clean(ec2: &Ec2, table: &RouteTableId) -> anyhow::Result<()> {
    match ec2.delete_route(table, scratch()).await {
        Err(fault) if fault.kind != CloudFaultKind::NotFound => Err(fault.into()),
        _ => Ok(()),
    }
}

fn scratch() -> Ipv4Net {
    Ipv4Net::from(SCRATCH)
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
