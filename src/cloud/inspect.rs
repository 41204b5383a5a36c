//! The EC2 client: what only a diagnosis reads.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ec2::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::types as sdk;
use ipnet::Ipv4Net;

use super::convert::{EC2_OWNS, field, tags};
use super::ec2::{Ec2, call};
use super::errors::{difference, unexpected, wall_clock};
use crate::types::{
    ClockDifference, CloudFault, InstanceId, InstanceOptions, MetadataOptions, NatGatewayInfo,
    NetworkInterfaceId, PublicAddress, SecurityGroup, TrafficPeer, TrafficRule,
};

impl Ec2 {
    /// The options and addresses of an instance. Fails with `Other` if EC2 does not know it.
    pub(crate) async fn options(&self, id: &InstanceId) -> Result<InstanceOptions, CloudFault> {
        const CALL: &str = "DescribeInstances";
        let found = self.raw_instance(id).await?;
        let found = found.ok_or_else(|| unexpected(CALL, format!("there is no {id}")))?;
        options(CALL, &found)
    }

    /// The tags of an interface, which a description of its instance lacks. Fails with `NotFound`
    /// if there is no such interface.
    pub(crate) async fn interface_tags(
        &self,
        interface: &NetworkInterfaceId,
    ) -> Result<BTreeMap<String, String>, CloudFault> {
        const CALL: &str = "DescribeNetworkInterfaces";
        let request =
            self.client.describe_network_interfaces().network_interface_ids(interface.as_str());
        let answer = call(CALL, request.send()).await?;
        let mut all = answer.network_interfaces().iter();
        let found = all.find(|one| one.network_interface_id() == Some(interface.as_str()));
        let missing = || unexpected(CALL, format!("{interface} is not in the answer"));
        Ok(tags(found.ok_or_else(missing)?.tag_set()))
    }

    /// These security groups.
    pub(crate) async fn security_groups(
        &self,
        ids: &[String],
    ) -> Result<Vec<SecurityGroup>, CloudFault> {
        const CALL: &str = "DescribeSecurityGroups";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let request = self.client.describe_security_groups().set_group_ids(Some(ids.to_vec()));
        let answer = call(CALL, request.send()).await?;
        answer.security_groups().iter().map(|group| security_group(CALL, group)).collect()
    }

    /// Those of these NAT gateways that EC2 knows.
    pub(crate) async fn nat_gateways(
        &self,
        ids: &[String],
    ) -> Result<Vec<NatGatewayInfo>, CloudFault> {
        const CALL: &str = "DescribeNatGateways";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let these = sdk::Filter::builder().name("nat-gateway-id").set_values(Some(ids.to_vec()));
        let request = self.client.describe_nat_gateways().filter(these.build());
        let answer = call(CALL, request.send()).await?;
        let read = |one: &sdk::NatGateway| {
            let id = field(CALL, "natGatewayId", one.nat_gateway_id())?;
            let private = Some(&sdk::ConnectivityType::Private);
            Ok(NatGatewayInfo {
                id,
                vpc: one.vpc_id().map(str::to_owned),
                state: one.state().map_or("unknown", |state| state.as_str()).to_owned(),
                is_public: one.connectivity_type() != private,
            })
        };
        answer.nat_gateways().iter().map(read).collect()
    }

    /// This host's clock against that of EC2. A refusal tells the time as well, and EC2 refuses
    /// what is signed with a wrong one.
    pub(crate) async fn clock(&self, id: &InstanceId) -> Result<ClockDifference, CloudFault> {
        const CALL: &str = "DescribeInstances";
        let seen = SeenClock::default();
        let request = self.client.describe_instances().instance_ids(id.as_str());
        let answer = call(CALL, request.customize().interceptor(seen.clone()).send()).await;
        match (seen.last(), answer) {
            (Some(difference), _) => Ok(difference),
            (None, Err(fault)) => Err(fault),
            (None, Ok(_)) => Err(unexpected(CALL, "the answer does not tell the time")),
        }
    }
}

/// Keeps the difference between this host's clock and the `Date` of the last answer.
#[derive(Debug, Clone, Default)]
struct SeenClock(Arc<Mutex<Option<ClockDifference>>>);

impl SeenClock {
    fn last(&self) -> Option<ClockDifference> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for SeenClock {
    fn name(&self) -> &'static str {
        "natha::SeenClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_ec2::error::BoxError> {
        let found = difference(context.response().headers().get("date"), wall_clock());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }
}

fn options(call: &str, from: &sdk::Instance) -> Result<InstanceOptions, CloudFault> {
    let interfaces = from.network_interfaces();
    let mut public = Vec::new();
    let mut groups = Vec::new();
    for interface in interfaces {
        public.extend(addresses(call, interface)?);
        if let Some(address) = interface.private_ip_address() {
            let ids = interface.groups().iter().filter_map(sdk::GroupIdentifier::group_id);
            let address = field(call, "privateIpAddress", Some(address))?;
            groups.push((address, ids.map(str::to_owned).collect()));
        }
    }
    Ok(InstanceOptions {
        instance_type: from.instance_type().map(|kind| kind.as_str().to_owned()),
        metadata: from.metadata_options().and_then(metadata),
        root_is_ebs: from.root_device_type().map(|kind| *kind == sdk::DeviceType::Ebs),
        public,
        interfaces: interfaces.len(),
        groups,
    })
}

fn metadata(from: &sdk::InstanceMetadataOptionsResponse) -> Option<MetadataOptions> {
    Some(MetadataOptions {
        token_required: *from.http_tokens()? == sdk::HttpTokensState::Required,
        hop_limit: u32::try_from(from.http_put_response_hop_limit()?).ok()?,
    })
}

/// The public addresses of an interface: of its primary and of its secondary private addresses.
fn addresses(
    call: &str,
    from: &sdk::InstanceNetworkInterface,
) -> Result<Vec<PublicAddress>, CloudFault> {
    let every = from.private_ip_addresses().iter();
    let every = every.filter_map(sdk::InstancePrivateIpAddress::association);
    let mut found: Vec<PublicAddress> = Vec::new();
    for association in from.association().into_iter().chain(every) {
        let Some(address) = association.public_ip() else { continue };
        let address: Ipv4Addr = field(call, "publicIp", Some(address))?;
        // The primary private address is in the list as well.
        if found.iter().any(|known| known.address == address) {
            continue;
        }
        found.push(PublicAddress {
            address,
            interface: field(call, "networkInterfaceId", from.network_interface_id())?,
            is_elastic: association.ip_owner_id().is_some_and(|owner| owner != EC2_OWNS),
        });
    }
    Ok(found)
}

fn security_group(call: &str, from: &sdk::SecurityGroup) -> Result<SecurityGroup, CloudFault> {
    let rules = |all: &[sdk::IpPermission]| -> Result<Vec<TrafficRule>, CloudFault> {
        all.iter().map(|one| rule(call, one)).collect()
    };
    Ok(SecurityGroup {
        id: field(call, "groupId", from.group_id())?,
        inbound: rules(from.ip_permissions())?,
        outbound: rules(from.ip_permissions_egress())?,
    })
}

fn rule(call: &str, from: &sdk::IpPermission) -> Result<TrafficRule, CloudFault> {
    let mut peers = Vec::new();
    for range in from.ip_ranges() {
        let block: Ipv4Net = field(call, "cidrIp", range.cidr_ip())?;
        peers.push(TrafficPeer::Block(block));
    }
    let groups = from.user_id_group_pairs().iter().filter_map(sdk::UserIdGroupPair::group_id);
    peers.extend(groups.map(|id| TrafficPeer::Group(id.to_owned())));
    let lists = from.prefix_list_ids().iter().filter_map(sdk::PrefixListId::prefix_list_id);
    peers.extend(lists.map(|id| TrafficPeer::PrefixList(id.to_owned())));
    Ok(TrafficRule {
        protocol: field(call, "ipProtocol", from.ip_protocol())?,
        ports: from.from_port().zip(from.to_port()),
        peers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::fake::Fake;
    use crate::cloud::tests::{client, reply};

    #[tokio::test]
    async fn the_tags_are_those_of_the_interface_that_is_asked_for() {
        let fake = Fake::start(|_| {
            let item = |id: &str, cluster: &str| {
                format!(
                    "<item><networkInterfaceId>{id}</networkInterfaceId><tagSet><item><key>\
                     natha:cluster</key><value>{cluster}</value></item></tagSet></item>"
                )
            };
            let all = item("eni-00000009", "red") + &item("eni-00000001", "blue");
            let set = format!("<networkInterfaceSet>{all}</networkInterfaceSet>");
            reply("DescribeNetworkInterfaces", &set)
        })
        .await;
        let ec2 = client(&fake.url).await;
        let found = ec2.interface_tags(&"eni-00000001".parse().unwrap()).await.unwrap();
        assert_eq!(found, BTreeMap::from([("natha:cluster".to_owned(), "blue".to_owned())]));
        let fault = ec2.interface_tags(&"eni-00000002".parse().unwrap()).await.unwrap_err();
        assert_eq!(fault.message, "eni-00000002 is not in the answer");
    }

    fn association(address: &str, owner: &str) -> sdk::InstanceNetworkInterfaceAssociation {
        let made = sdk::InstanceNetworkInterfaceAssociation::builder();
        made.public_ip(address).ip_owner_id(owner).build()
    }

    /// An interface with an address that EC2 assigned, and an Elastic IP on a secondary address.
    fn interface() -> sdk::InstanceNetworkInterface {
        let private = |of| sdk::InstancePrivateIpAddress::builder().association(of).build();
        let assigned = || association("203.0.113.1", EC2_OWNS);
        sdk::InstanceNetworkInterface::builder()
            .network_interface_id("eni-00000001")
            .private_ip_address("10.0.0.1")
            .association(assigned())
            .private_ip_addresses(private(assigned()))
            .private_ip_addresses(private(association("203.0.113.2", "123456789012")))
            .groups(sdk::GroupIdentifier::builder().group_id("sg-1").build())
            .build()
    }

    #[test]
    fn each_public_address_is_told_once_and_elastic_or_not() {
        let metadata = sdk::InstanceMetadataOptionsResponse::builder()
            .http_tokens(sdk::HttpTokensState::Optional)
            .http_put_response_hop_limit(2)
            .build();
        let instance = sdk::Instance::builder()
            .network_interfaces(interface())
            .metadata_options(metadata)
            .root_device_type(sdk::DeviceType::Ebs)
            .build();
        let found = options("DescribeInstances", &instance).unwrap();
        let public: Vec<(String, bool)> =
            found.public.iter().map(|one| (one.address.to_string(), one.is_elastic)).collect();
        let wanted = [("203.0.113.1", false), ("203.0.113.2", true)];
        assert_eq!(public, wanted.map(|(address, elastic)| (address.to_owned(), elastic)));
        assert_eq!(found.groups, [(Ipv4Addr::new(10, 0, 0, 1), vec!["sg-1".to_owned()])]);
        let options = MetadataOptions { token_required: false, hop_limit: 2 };
        assert_eq!((found.metadata, found.root_is_ebs), (Some(options), Some(true)));
        assert_eq!(found.interfaces, 1);
    }

    #[test]
    fn a_rule_keeps_its_ports_and_every_kind_of_other_side() {
        let made = sdk::IpPermission::builder()
            .ip_protocol("udp")
            .from_port(6284)
            .to_port(6284)
            .ip_ranges(sdk::IpRange::builder().cidr_ip("10.0.0.0/16").build())
            .user_id_group_pairs(sdk::UserIdGroupPair::builder().group_id("sg-2").build())
            .prefix_list_ids(sdk::PrefixListId::builder().prefix_list_id("pl-3").build());
        let group = |rule: sdk::IpPermission| {
            let made = sdk::SecurityGroup::builder().group_id("sg-1").ip_permissions(rule);
            security_group("DescribeSecurityGroups", &made.build())
        };
        let found = group(made.clone().build()).unwrap();
        assert_eq!((&*found.id, found.outbound.len()), ("sg-1", 0));
        let peers = vec![
            TrafficPeer::Block("10.0.0.0/16".parse().unwrap()),
            TrafficPeer::Group("sg-2".to_owned()),
            TrafficPeer::PrefixList("pl-3".to_owned()),
        ];
        let (protocol, ports) = ("udp".to_owned(), Some((6284, 6284)));
        assert_eq!(found.inbound, [TrafficRule { protocol, ports, peers }]);
        let broken = made.ip_ranges(sdk::IpRange::builder().cidr_ip("10.0.0.0").build());
        assert!(group(broken.build()).unwrap_err().message.contains("cidrIp"));
    }
}
