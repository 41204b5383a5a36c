//! Building a VPC in a few lines of Rust, and looking at it without the API.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::beyond;
use super::error::{self, ApiError};
use super::gateways;
use super::instances;
use super::interfaces;
use super::model::{Health, Instance, Phase, RouteTarget, find, find_mut};
use super::nat_gateways;
use super::params::Params;
use super::power;
use super::settings::IMAGE;
use super::vpcs;
use super::world::World;
use super::{groups, listing, routes, tables};

/// What a new instance is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Its `Name` tag.
    pub name: String,
    /// Its subnet.
    pub subnet: String,
    /// Its private address; none for the lowest free one.
    pub address: Option<Ipv4Addr>,
    /// Its security groups; none for the VPC's default one.
    pub groups: Vec<String>,
    /// Whether each start gives it a public address.
    pub public: bool,
    /// What it runs at every boot.
    pub user_data: Option<String>,
    /// Whether its metadata shows its tags.
    pub metadata_tags: bool,
    /// Further tags.
    pub tags: BTreeMap<String, String>,
}

impl InstanceSpec {
    /// An instance with nothing special about it.
    #[must_use]
    pub fn new(name: &str, subnet: &str) -> Self {
        Self {
            name: name.to_owned(),
            subnet: subnet.to_owned(),
            address: None,
            groups: Vec::new(),
            public: false,
            user_data: None,
            metadata_tags: false,
            tags: BTreeMap::new(),
        }
    }
}

/// What an instance's metadata says of it, besides its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Particulars {
    /// Its zone.
    pub zone: String,
    /// Its type.
    pub kind: String,
    /// `arm64` or `x86_64`.
    pub architecture: &'static str,
    /// Its image.
    pub image: String,
    /// Its reservation.
    pub reservation: String,
    /// `on-demand` or `spot`.
    pub life_cycle: &'static str,
    /// When it was launched or started last.
    pub launched: Duration,
    /// Whether its metadata is refused without a token.
    pub tokens_required: bool,
}

/// What a route may lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteVia {
    /// The VPC's own network.
    Local,
    /// An internet gateway.
    Gateway(String),
    /// A network interface.
    Interface(String),
    /// A NAT gateway.
    NatGateway(String),
    /// A transit gateway, a peering connection or another gateway that carries no packet here.
    Beyond(String),
}

/// The set-up changes the account at once and outside the history, rates and faults.
impl World {
    /// Makes a VPC.
    ///
    /// # Errors
    /// As CreateVpc.
    pub fn create_vpc(&mut self, cidr: Ipv4Net, now: Duration) -> Result<String, ApiError> {
        let params = Params::new().with("CidrBlock", cidr);
        self.set_up(now, |state, ctx| {
            let known: Vec<String> = state.vpcs.keys().cloned().collect();
            vpcs::create_vpc(state, ctx, &params)?;
            Ok(newest(state.vpcs.keys(), &known))
        })
    }

    /// Makes a subnet.
    ///
    /// # Errors
    /// As CreateSubnet.
    pub fn create_subnet(
        &mut self,
        vpc: &str,
        cidr: Ipv4Net,
        zone: &str,
        now: Duration,
    ) -> Result<String, ApiError> {
        let params =
            Params::new().with("VpcId", vpc).with("CidrBlock", cidr).with("AvailabilityZone", zone);
        self.set_up(now, |state, ctx| {
            let known: Vec<String> = state.subnets.keys().cloned().collect();
            vpcs::create_subnet(state, ctx, &params)?;
            Ok(newest(state.subnets.keys(), &known))
        })
    }

    /// Makes an internet gateway and attaches it.
    ///
    /// # Errors
    /// As AttachInternetGateway.
    pub fn create_gateway(&mut self, vpc: &str, now: Duration) -> Result<String, ApiError> {
        self.set_up(now, |state, ctx| {
            let known: Vec<String> = state.gateways.keys().cloned().collect();
            gateways::create(state, ctx, &Params::new())?;
            let id = newest(state.gateways.keys(), &known);
            let params = Params::new().with("InternetGatewayId", &id).with("VpcId", vpc);
            gateways::attach(state, ctx, &params)?;
            Ok(id)
        })
    }

    /// Makes a public NAT gateway of a subnet, with an Elastic IP of its own.
    ///
    /// # Errors
    /// What EC2 would answer.
    pub fn create_nat_gateway(&mut self, subnet: &str, now: Duration) -> Result<String, ApiError> {
        let (allocation, _) = self.allocate_address(&[], now)?;
        self.set_up(now, |state, ctx| {
            let known: Vec<String> = state.nat_gateways.keys().cloned().collect();
            let params = Params::new().with("SubnetId", subnet).with("AllocationId", allocation);
            nat_gateways::create(state, ctx, &params)?;
            Ok(newest(state.nat_gateways.keys(), &known))
        })
    }

    /// Makes a route table for some subnets.
    ///
    /// # Errors
    /// As CreateRouteTable and AssociateRouteTable.
    pub fn create_table(
        &mut self,
        vpc: &str,
        subnets: &[&str],
        tags: &[(&str, &str)],
        now: Duration,
    ) -> Result<String, ApiError> {
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.set_up(now, |state, ctx| {
            let id = tables::add(state, vpc, tags)?;
            for subnet in subnets {
                let params = Params::new().with("RouteTableId", &id).with("SubnetId", subnet);
                tables::associate(state, ctx, &params)?;
            }
            Ok(id)
        })
    }

    /// Makes a route.
    ///
    /// # Errors
    /// As CreateRoute.
    pub fn create_route(
        &mut self,
        table: &str,
        cidr: Ipv4Net,
        via: &RouteVia,
        now: Duration,
    ) -> Result<(), ApiError> {
        let params = Params::new().with("RouteTableId", table).with("DestinationCidrBlock", cidr);
        let params = match via {
            RouteVia::Local => params.with("LocalTarget", true),
            RouteVia::Gateway(id) => params.with("GatewayId", id),
            RouteVia::Interface(id) => params.with("NetworkInterfaceId", id),
            RouteVia::NatGateway(id) => params.with("NatGatewayId", id),
            RouteVia::Beyond(id) => params.with(beyond::parameter(id), id),
        };
        self.set_up(now, |state, ctx| routes::create(state, ctx, &params).map(|_| ()))
    }

    /// Makes a security group that lets in what the blocks send and everything out.
    ///
    /// # Errors
    /// As CreateSecurityGroup.
    pub fn create_group(
        &mut self,
        vpc: &str,
        name: &str,
        from: &[Ipv4Net],
        now: Duration,
    ) -> Result<String, ApiError> {
        let params =
            Params::new().with("VpcId", vpc).with("GroupName", name).with("GroupDescription", name);
        self.set_up(now, |state, ctx| {
            let known: Vec<String> = state.groups.keys().cloned().collect();
            groups::create(state, ctx, &params)?;
            let id = newest(state.groups.keys(), &known);
            for block in from {
                let rule = Params::new()
                    .with("GroupId", &id)
                    .with("IpPermissions.1.IpProtocol", "-1")
                    .with("IpPermissions.1.IpRanges.1.CidrIp", block);
                groups::authorize_ingress(state, ctx, &rule)?;
            }
            Ok(id)
        })
    }

    /// Starts a new instance; it is `pending` first, as any other.
    ///
    /// # Errors
    /// As RunInstances.
    pub fn run_instance(&mut self, spec: &InstanceSpec, now: Duration) -> Result<String, ApiError> {
        let at = "NetworkInterface.1";
        let mut params = Params::new()
            .with("ImageId", IMAGE)
            .with("MinCount", 1)
            .with("MaxCount", 1)
            .with(&format!("{at}.DeviceIndex"), 0)
            .with(&format!("{at}.SubnetId"), &spec.subnet)
            .with(&format!("{at}.AssociatePublicIpAddress"), spec.public);
        if let Some(address) = spec.address {
            params = params.with(&format!("{at}.PrivateIpAddress"), address);
        }
        for (n, group) in spec.groups.iter().enumerate() {
            params = params.with(&format!("{at}.SecurityGroupId.{}", n + 1), group);
        }
        self.set_up(now, |state, ctx| {
            let known: Vec<String> = state.instances.keys().cloned().collect();
            instances::run(state, ctx, &params)?;
            let id = newest(state.instances.keys(), &known);
            let instance = find_mut(&mut state.instances, &error::INSTANCE, &id)?;
            instance.tags.clone_from(&spec.tags);
            instance.tags.insert("Name".to_owned(), spec.name.clone());
            instance.user_data.clone_from(&spec.user_data);
            instance.metadata_tags = spec.metadata_tags;
            Ok(id)
        })
    }

    /// Makes an interface and attaches it to an instance.
    ///
    /// # Errors
    /// As CreateNetworkInterface and AttachNetworkInterface.
    pub fn add_interface(
        &mut self,
        instance: &str,
        subnet: &str,
        device_index: u32,
        now: Duration,
    ) -> Result<String, ApiError> {
        self.set_up(now, |state, ctx| {
            find(&state.instances, &error::INSTANCE, instance)?;
            let wanted = interfaces::Wanted {
                subnet,
                address: None,
                groups: Vec::new(),
                description: String::new(),
                tags: BTreeMap::new(),
            };
            let id = interfaces::add(state, wanted)?;
            interfaces::join(state, &id, instance, device_index, true, ctx)?;
            Ok(id)
        })
    }

    /// Sets the source/destination check of an interface.
    ///
    /// # Errors
    /// `InvalidNetworkInterfaceID.NotFound`.
    pub fn set_source_dest_check(
        &mut self,
        interface: &str,
        on: bool,
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            find_mut(&mut state.interfaces, &error::INTERFACE, interface)?.source_dest_check = on;
            Ok(())
        })
    }

    /// Makes the status checks of an instance fail or pass.
    ///
    /// # Errors
    /// `InvalidInstanceID.NotFound`.
    pub fn set_health(
        &mut self,
        instance: &str,
        health: Health,
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            find_mut(&mut state.instances, &error::INSTANCE, instance)?.health = health;
            Ok(())
        })
    }

    /// Tells whose guests, by name, give no sign of life; all others do.
    pub fn lose_sight(&mut self, of: &BTreeSet<String>, now: Duration) {
        let unreachable = |instance: &Instance| {
            let name = instance.tags.get("Name");
            name.is_some_and(|name| of.contains(name))
                .then_some(instance.unreachable.unwrap_or(now))
        };
        let mut instances = self.state.instances.values();
        if instances.all(|instance| instance.unreachable == unreachable(instance)) {
            return;
        }
        let told = self.set_up(now, |state, _| {
            for instance in state.instances.values_mut() {
                instance.unreachable = unreachable(instance);
            }
            Ok(())
        });
        debug_assert!(told.is_ok(), "a change that nothing can refuse");
    }

    /// EC2 itself stops an instance, as at the end of its host's life.
    ///
    /// # Errors
    /// `InvalidInstanceID.NotFound`.
    pub fn stop_by_service(&mut self, instance: &str, now: Duration) -> Result<(), ApiError> {
        self.set_up(now, |state, ctx| {
            let instance = find_mut(&mut state.instances, &error::INSTANCE, instance)?;
            power::stop_by_service(instance, ctx);
            Ok(())
        })
    }

    /// Sets what an instance runs at its next boots.
    ///
    /// # Errors
    /// `InvalidInstanceID.NotFound`.
    pub fn set_user_data(
        &mut self,
        instance: &str,
        user_data: &str,
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            let instance = find_mut(&mut state.instances, &error::INSTANCE, instance)?;
            instance.user_data = Some(user_data.to_owned());
            Ok(())
        })
    }

    /// The state of an instance.
    #[must_use]
    pub fn phase(&self, instance: &str) -> Option<Phase> {
        Some(self.state.instances.get(instance)?.phase)
    }

    /// The interface of an instance with device index 0.
    #[must_use]
    pub fn primary_interface(&self, instance: &str) -> Option<String> {
        self.state.primary_of(instance)
    }

    /// The public address of an instance.
    #[must_use]
    pub fn public_address(&self, instance: &str) -> Option<Ipv4Addr> {
        let primary = self.state.primary_of(instance)?;
        let interface = self.state.interfaces.get(&primary)?;
        Some(interface.public.get(&interface.address())?.address)
    }

    /// The instance with a `Name` tag.
    #[must_use]
    pub fn instance_named(&self, name: &str) -> Option<String> {
        let mut live = self.state.instances.values().filter(|i| i.phase != Phase::Terminated);
        live.find(|i| i.tags.get("Name").is_some_and(|n| n == name)).map(|i| i.id.clone())
    }

    /// The name of the role of an instance, where it has one.
    #[must_use]
    pub fn role(&self, instance: &str) -> Option<&str> {
        self.state.instances.get(instance)?.profile.as_deref()
    }

    /// The tags that an instance's metadata shows; none where it shows no tags.
    #[must_use]
    pub fn metadata_tags(&self, instance: &str) -> Option<&BTreeMap<String, String>> {
        let found = self.state.instances.get(instance)?;
        found.metadata_tags.then_some(&found.tags)
    }

    /// The VPC of a subnet.
    #[must_use]
    pub fn vpc_of(&self, subnet: &str) -> Option<&str> {
        Some(&self.state.subnets.get(subnet)?.vpc)
    }

    /// What else an instance's metadata says of it.
    #[must_use]
    pub fn particulars(&self, instance: &str) -> Option<Particulars> {
        let found = self.state.instances.get(instance)?;
        Some(Particulars {
            zone: found.zone.clone(),
            kind: found.kind.clone(),
            architecture: listing::architecture(&found.kind),
            image: found.image.clone(),
            reservation: found.reservation.clone(),
            life_cycle: if found.one_time_spot { "spot" } else { "on-demand" },
            launched: found.launched,
            tokens_required: found.tokens_required,
        })
    }

    /// The blocks of a VPC, the one that it was made with first.
    #[must_use]
    pub fn blocks_of(&self, vpc: &str) -> Vec<Ipv4Net> {
        let blocks = self.state.vpcs.get(vpc).into_iter().flat_map(|vpc| &vpc.blocks);
        blocks.map(|block| block.cidr).collect()
    }

    /// The ids of the security groups of an interface, and their names.
    #[must_use]
    pub fn groups_of(&self, interface: &str) -> Option<(&[String], Vec<String>)> {
        let ids = &self.state.interfaces.get(interface)?.groups;
        Some((ids, groups::names(&self.state, ids)))
    }

    /// Where a route leads according to the API, whether or not packets meet it yet.
    #[must_use]
    pub fn route(&self, table: &str, cidr: Ipv4Net) -> Option<RouteVia> {
        Some(match &self.state.tables.get(table)?.routes.get(&cidr)?.target {
            RouteTarget::Local => RouteVia::Local,
            RouteTarget::Gateway(id) => RouteVia::Gateway(id.clone()),
            RouteTarget::Interface(id) => RouteVia::Interface(id.clone()),
            RouteTarget::NatGateway(id) => RouteVia::NatGateway(id.clone()),
            RouteTarget::Beyond(id) => RouteVia::Beyond(id.clone()),
        })
    }
}

fn newest<'a>(mut ids: impl Iterator<Item = &'a String>, known: &[String]) -> String {
    ids.find(|id| !known.contains(id)).cloned().unwrap_or_default()
}
