//! Where packets find what a group moves: virtual IPs, private and public addresses, names.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use ipnet::Ipv4Net;

use crate::control::protocol::{Request, Status};
use crate::daemon::shared::HostView;
use crate::dataplane::Lookup;
use crate::lab::Lab;
use crate::scene::Scene;

impl Lab {
    /// Where the routes in force of a destination lead, over all subnets that have one: hosts'
    /// names, `internet` or `nowhere`.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn leads(&self, destination: Ipv4Net) -> Result<BTreeSet<String>> {
        let destination = destination.to_string();
        let routes = self.status()?.routes.into_iter();
        Ok(routes.filter(|it| it.destination == destination).map(|it| it.to).collect())
    }

    /// The host that packets to a private address are delivered to, if any.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn private_on(&self, address: Ipv4Addr) -> Result<Option<String>> {
        Ok(host_with(&self.status()?, |host| host.private.contains(&address)))
    }

    /// The host that packets to an Elastic IP address are delivered to, if any, by the address's
    /// name.
    ///
    /// # Errors
    /// When the lab does not answer, or there is no such address.
    pub fn elastic_on(&self, name: &str) -> Result<Option<String>> {
        let status = self.status()?;
        let elastic = status.account.elastic.get(name);
        let address = elastic.with_context(|| format!("no address is named {name}"))?.address;
        Ok(host_with(&status, |host| host.public.contains(&address)))
    }

    /// What the resolvers answer about a name now.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn resolve(&self, name: &str) -> Result<Lookup> {
        self.ask(&Request::Resolve { name: name.to_owned() })
    }
}

fn host_with(status: &Status, so: impl Fn(&HostView) -> bool) -> Option<String> {
    status.hosts.iter().find(|host| so(host)).map(|host| host.name.clone())
}

impl Scene {
    /// Waits until every route of a destination leads to a host.
    ///
    /// # Errors
    /// When that is not so in time: with the consoles.
    pub fn wait_leads(&self, destination: Ipv4Net, to: &str) -> Result<()> {
        self.wait_for(|| Ok(self.leads(destination)?.iter().eq([to])))
            .with_context(|| format!("{destination} does not come to lead to {to} alone"))
    }

    /// Waits until packets to a private address are delivered to a host.
    ///
    /// # Errors
    /// As [`Scene::wait_leads`].
    pub fn wait_private(&self, address: Ipv4Addr, on: &str) -> Result<()> {
        self.wait_for(|| Ok(self.private_on(address)?.as_deref() == Some(on)))
            .with_context(|| format!("{address} does not come to {on}"))
    }

    /// Waits until packets to an Elastic IP address are delivered to a host.
    ///
    /// # Errors
    /// As [`Scene::wait_leads`].
    pub fn wait_elastic(&self, name: &str, on: &str) -> Result<()> {
        self.wait_for(|| Ok(self.elastic_on(name)?.as_deref() == Some(on)))
            .with_context(|| format!("Elastic IP address {name} does not come to {on}"))
    }

    /// Waits until the resolvers answer with this address, and no other.
    ///
    /// # Errors
    /// As [`Scene::wait_leads`].
    pub fn wait_resolves(&self, name: &str, to: Ipv4Addr) -> Result<()> {
        let found = || match self.resolve(name)? {
            Lookup::Addresses { addresses, .. } => Ok(addresses == [to]),
            _ => Ok(false),
        };
        self.wait_for(found).with_context(|| format!("{name} does not come to be {to}"))
    }
}
