//! The router's routes in the kernel, changed over one netlink socket: a change takes well under a
//! millisecond, no program is started for it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use netlink_packet_route::route::{RouteMessage, RouteType};
use nix::errno::Errno;
use rtnetlink::{Error, Handle, RouteMessageBuilder};
use tokio::task::JoinHandle;

use super::plan::{self, Change, Hop, Routes};

/// The routes that are in force, and the socket to change them.
pub struct Table {
    handle: Handle,
    pump: JoinHandle<()>,
    in_force: Routes,
    gateway: (u32, Ipv4Addr),
}

impl Table {
    /// Opens the socket in the network namespace of the calling thread. `gateway` is the link and
    /// the address of the internet gateway.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub fn open(gateway: (u32, Ipv4Addr)) -> Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a netlink socket")?;
        let pump = tokio::spawn(connection);
        Ok(Self { handle, pump, in_force: Routes::new(), gateway })
    }

    /// Makes the router's routes equal to `want` and returns what that changed.
    ///
    /// # Errors
    /// When the kernel refuses a change; those before it are made and remembered.
    pub async fn apply(&mut self, want: &Routes) -> Result<Vec<Change>> {
        let changes = plan::difference(&self.in_force, want);
        for change in &changes {
            self.make(*change)
                .await
                .with_context(|| format!("cannot change a route: {change:?}"))?;
        }
        Ok(changes)
    }

    async fn make(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Set(table, destination, hop) => {
                let message = self.message(table, destination, hop);
                self.handle.route().add(message).replace().execute().await?;
                self.in_force.insert((table, destination), hop);
            }
            Change::Remove(table, destination, hop) => {
                let message = self.message(table, destination, hop);
                match self.handle.route().del(message).execute().await {
                    // The kernel drops a link's routes together with the link.
                    Err(Error::NetlinkError(reply))
                        if reply.raw_code().abs() == Errno::ESRCH as i32 => {}
                    other => other?,
                }
                self.in_force.remove(&(table, destination));
            }
        }
        Ok(())
    }

    fn message(&self, table: u32, destination: ipnet::Ipv4Net, hop: Hop) -> RouteMessage {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .table_id(table)
            .destination_prefix(destination.network(), destination.prefix_len());
        match hop {
            Hop::Link(link) => route.output_interface(link).gateway(FAR_END).onlink(),
            Hop::Gateway => route.output_interface(self.gateway.0).gateway(self.gateway.1),
            Hop::Blackhole => route.kind(RouteType::BlackHole),
        }
        .build()
    }
}

/// What the router calls the far end of any interface's link. Every link has a permanent
/// neighbour entry for it with the interface's hardware address, so that a packet routed to an
/// interface arrives there whatever its destination, and no ARP is asked.
pub const FAR_END: Ipv4Addr = Ipv4Addr::new(169, 254, 200, 2);

impl Drop for Table {
    fn drop(&mut self) {
        self.pump.abort();
    }
}
