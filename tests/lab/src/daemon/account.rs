//! The lab's account: a VPC with three zones, made through EC2's own calls.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::extras;
use crate::ec2::{
    ApiError, Credentials, Fault, FaultRule, InstanceSpec, RouteVia, Timings, World, WorldSettings,
};
use crate::guest::taps;
use crate::net::internet::EC2_API;
use crate::spec::{HostSpec, Role, Spec, TABLES};

/// The region.
pub const REGION: &str = "us-east-1";
/// The role of every instance that was launched without an instance profile.
pub const IAM_ROLE: &str = "natha-lab";

/// The ids of what was set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The VPC.
    pub vpc: String,
    /// The internet gateway.
    pub gateway: String,
    /// The security group of all hosts.
    pub group: String,
    /// The zones: `a`, `b` and `c`, in order.
    pub zones: Vec<Zone>,
    /// The public subnets' route table.
    pub public_table: String,
    /// The Elastic IP addresses, by name.
    pub elastic: BTreeMap<String, Elastic>,
    /// The ids of the hosted zones, by name.
    pub hosted_zones: BTreeMap<String, String>,
    /// The owner's access key, for clients in the internet.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

/// An Elastic IP address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elastic {
    /// Its allocation id.
    pub allocation: String,
    /// The address.
    pub address: Ipv4Addr,
}

/// A zone's subnets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Its public subnet.
    pub public_subnet: String,
    /// Its private subnet.
    pub private_subnet: String,
    /// The private subnet's own route table.
    pub private_table: String,
}

impl Account {
    /// What the lab adds to the environment of everything on an instance.
    #[must_use]
    pub fn guest_environment(&self) -> Vec<(String, String)> {
        let endpoints = ["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_ROUTE_53"]
            .map(|name| (name.to_owned(), format!("http://{EC2_API}")));
        endpoints.into_iter().chain([taps::environment()]).collect()
    }

    /// The environment in which AWS clients in the internet act for the account's owner.
    #[must_use]
    pub fn operator_environment(&self) -> Vec<(String, String)> {
        let mut all = self.guest_environment();
        all.push(("AWS_DEFAULT_REGION".into(), REGION.into()));
        all.push(("AWS_ACCESS_KEY_ID".into(), self.access_key.clone()));
        all.push(("AWS_SECRET_ACCESS_KEY".into(), self.secret_key.clone()));
        all.push(("AWS_EC2_METADATA_DISABLED".into(), "true".into()));
        all
    }

    /// A route table by its name: one of [`TABLES`].
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&str> {
        let number = TABLES.iter().position(|table| *table == name)?;
        match number.checked_sub(1) {
            None => Some(&self.public_table),
            Some(zone) => self.zones.get(zone).map(|zone| &*zone.private_table),
        }
    }
}

/// Makes the account that `spec` describes: its instances are running from the start.
///
/// # Errors
/// When EC2 refuses one of the calls: the specification asks for something it does not allow.
pub fn make(spec: &Spec, now: Duration) -> Result<(World, Account)> {
    let settings = WorldSettings {
        region: REGION.into(),
        public_pool: "192.0.2.0/24".parse().context("the pool of public addresses")?,
        timings: Timings { start_ms: 0, ..Timings::default() },
        // Requests are signed with the real time.
        epoch: SystemTime::now().checked_sub(now).context("the clock shows no time")?,
        ..WorldSettings::default()
    };
    let operator = settings.operators.first().cloned().context("an account without an owner")?;
    let mut world = World::new(settings);
    let mut account = network(&mut world, spec, &operator, now)?;
    let mut nodes: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for host in &spec.hosts {
        let interface = launch(&mut world, &account, host, now)
            .with_context(|| format!("cannot launch {}", host.name))?;
        if host.role == Role::Node {
            nodes.entry(host.zone).or_default().push(interface);
        }
    }
    let first = nodes.values().flatten().next().cloned();
    for (number, zone) in (0_u8..).zip(&account.zones) {
        let own = nodes.get(&number).and_then(|nodes| nodes.first());
        let Some(node) = own.or(first.as_ref()) else { continue };
        let via = RouteVia::Interface(node.clone());
        world.create_route(&zone.private_table, Ipv4Net::default(), &via, now).map_err(refused)?;
    }
    extras::make(&mut world, &mut account, spec, now)?;
    world.advance(now);
    world.settle();
    world.timings_mut().start_ms = spec.ec2.boot_ms;
    world.timings_mut().stop_ms = spec.ec2.stop_ms;
    world.timings_mut().force_ms = spec.ec2.force_ms;
    world.timings_mut().status_fail_ms = spec.ec2.status_fail_ms;
    world.timings_mut().propagation_ms = spec.ec2.propagation_ms;
    world.timings_mut().elastic_ms = spec.ec2.elastic_ms;
    world.timings_mut().dns_sync_ms = spec.ec2.dns_sync_ms;
    if spec.ec2.latency_ms > 0 {
        let fault = Fault::LatencyBefore { ms: spec.ec2.latency_ms };
        world.faults_mut().add(FaultRule::everywhere(fault));
    }
    Ok((world, account))
}

fn network(
    world: &mut World,
    spec: &Spec,
    operator: &Credentials,
    now: Duration,
) -> Result<Account> {
    let block = spec.vpc.trunc();
    let [first, second, ..] = block.addr().octets();
    let vpc = world.create_vpc(block, now).map_err(refused)?;
    let gateway = world.create_gateway(&vpc, now).map_err(refused)?;
    let from: Vec<Ipv4Net> = [block].into_iter().chain(spec.ingress.iter().copied()).collect();
    let group = world.create_group(&vpc, "lab", &from, now).map_err(refused)?;
    let mut zones = Vec::new();
    for (number, letter) in (0_u8..).zip(["a", "b", "c"]) {
        let name = format!("{REGION}{letter}");
        let cidr = |third: u8| Ipv4Net::new(Ipv4Addr::new(first, second, third, 0), 24);
        let public = world.create_subnet(&vpc, cidr(number)?, &name, now).map_err(refused)?;
        let private = world.create_subnet(&vpc, cidr(100 + number)?, &name, now);
        let private = private.map_err(refused)?;
        let name_tag = format!("private-{letter}");
        // A zone without hosts has nothing to be served.
        let used = spec.hosts.iter().any(|host| host.zone == number);
        let given = spec.table_tags.iter().filter(|_| used);
        let given = given.map(|(key, value)| (&**key, &**value));
        let tags: Vec<(&str, &str)> = given.chain([("Name", &*name_tag)]).collect();
        let table = world.create_table(&vpc, &[&private], &tags, now).map_err(refused)?;
        zones.push(Zone {
            name,
            public_subnet: public,
            private_subnet: private,
            private_table: table,
        });
    }
    let public: Vec<&str> = zones.iter().map(|zone| &*zone.public_subnet).collect();
    let tag = [("Name", "public")];
    let public_table = world.create_table(&vpc, &public, &tag, now).map_err(refused)?;
    let via = RouteVia::Gateway(gateway.clone());
    world.create_route(&public_table, Ipv4Net::default(), &via, now).map_err(refused)?;
    let (access_key, secret_key) =
        (operator.access_key_id.clone(), operator.secret_access_key.clone());
    Ok(Account {
        vpc,
        gateway,
        group,
        zones,
        public_table,
        elastic: BTreeMap::new(),
        hosted_zones: BTreeMap::new(),
        access_key,
        secret_key,
    })
}

fn launch(world: &mut World, account: &Account, host: &HostSpec, now: Duration) -> Result<String> {
    let zone = account.zones.get(usize::from(host.zone)).context("there are three zones")?;
    let subnet = match host.role {
        Role::Node | Role::Public => &zone.public_subnet,
        Role::Private => &zone.private_subnet,
    };
    let mut spec = InstanceSpec::new(&host.name, subnet);
    spec.groups = vec![account.group.clone()];
    spec.public = host.role != Role::Private;
    spec.address = host.address;
    spec.metadata_tags = host.metadata_tags;
    spec.tags.clone_from(&host.tags);
    let instance = world.run_instance(&spec, now).map_err(refused)?;
    let interface = world.primary_interface(&instance).context("it has no interface")?;
    world.set_source_dest_check(&interface, host.source_dest_check, now).map_err(refused)?;
    for address in &host.secondary {
        world.assign_private_address(&interface, *address, now).map_err(refused)?;
    }
    Ok(interface)
}

pub(super) fn refused(error: ApiError) -> anyhow::Error {
    let ApiError { code, message, .. } = error;
    anyhow!("EC2 refuses: {code}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_three_zones_and_routes_to_its_nodes() {
        let (world, account) = make(&Spec::nodes(2), Duration::ZERO).unwrap();
        assert_eq!(account.zones.len(), 3);
        let dataplane = world.dataplane(Duration::ZERO);
        assert_eq!(dataplane.instances.len(), 4);
        let routed = dataplane.subnets.values().filter(|subnet| !subnet.routes.is_empty());
        assert_eq!(routed.count(), 6);
    }
}
