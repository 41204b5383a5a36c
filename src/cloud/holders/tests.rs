use std::collections::BTreeMap;

use crate::cloud::fake::{Answer, Fake};
use crate::cloud::tests::{clouds, error, reply};
use crate::cloud::{Clouds, Gate, Sent};
use crate::types::{Assignment, CloudFaultKind as Kind, Location, Member, Resource, RouteTarget};

fn private(last: u8) -> Resource {
    Resource::PrivateIp { address: [10, 0, 0, last].into() }
}

fn eip(id: &str, on: Option<u8>) -> Resource {
    Resource::Eip {
        allocation: format!("eipalloc-{id}").parse().unwrap(),
        address: [203, 0, 113, 7].into(),
        on: on.map(|last| [10, 0, 0, last].into()),
    }
}

fn at(interface: &str) -> Location {
    Location::At(RouteTarget::Interface(interface.parse().unwrap()))
}

/// An interface with one primary and more private addresses of 10.0.0.0/24.
fn interface(id: &str, primary: u8, secondary: &[u8]) -> String {
    let item = |last: u8, primary: bool| {
        format!(
            "<item><privateIpAddress>10.0.0.{last}</privateIpAddress><primary>{primary}</primary>\
             </item>"
        )
    };
    let others: String = secondary.iter().map(|last| item(*last, false)).collect();
    format!(
        "<item><networkInterfaceId>{id}</networkInterfaceId><privateIpAddressesSet>{}{others}\
         </privateIpAddressesSet></item>",
        item(primary, true)
    )
}

async fn seen(fake: &Fake, resources: &[Resource]) -> Vec<Location> {
    let found = clouds(&fake.url).await.holders(resources).await.unwrap();
    assert!(found.iter().map(|(resource, _)| resource).eq(resources), "{found:?}");
    found.into_iter().map(|(_, seen)| seen).collect()
}

#[tokio::test]
async fn private_ips_are_asked_for_in_this_vpc_alone_and_found_on_every_page() {
    let fake = Fake::start(|request| {
        let (inside, next) = if request.contains("NextToken=more") {
            (interface("eni-0000000b", 5, &[99]), "")
        } else {
            (interface("eni-0000000a", 4, &[98]), "<nextToken>more</nextToken>")
        };
        reply(
            "DescribeNetworkInterfaces",
            &format!("<networkInterfaceSet>{inside}</networkInterfaceSet>{next}"),
        )
    })
    .await;
    let wanted = [private(99), private(98), private(97), private(4)];
    let primary = RouteTarget::Other("eni-0000000a, whose primary address it is".to_owned());
    assert_eq!(
        seen(&fake, &wanted).await,
        [at("eni-0000000b"), at("eni-0000000a"), Location::Vacant, Location::At(primary)]
    );
    let requests = fake.seen();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(
            request.contains("Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-00000001"),
            "{request}"
        );
        assert!(request.contains("Filter.2.Name=addresses.private-ip-address"), "{request}");
        assert!(request.contains("Filter.2.Value.4=10.0.0.4"), "{request}");
    }
}

#[tokio::test]
async fn many_addresses_are_asked_for_in_as_many_calls_as_filters_take() {
    let fake = Fake::start(|request| {
        let action = if request.contains("DescribeAddresses") {
            "DescribeAddresses"
        } else {
            "DescribeNetworkInterfaces"
        };
        reply(action, "")
    })
    .await;
    let privates: Vec<Resource> = (4..=204).map(private).collect();
    assert_eq!(seen(&fake, &privates).await, vec![Location::Vacant; 201]);
    assert_eq!(fake.seen().len(), 2);
    let elastic: Vec<Resource> = (0..401).map(|n| eip(&format!("{n:08x}"), None)).collect();
    assert_eq!(seen(&fake, &elastic).await, vec![Location::Absent; 401]);
    assert_eq!(fake.seen().len(), 5);
}

#[tokio::test]
async fn an_address_on_two_interfaces_at_once_is_no_answer() {
    let fake = Fake::start(|_| {
        let both = interface("eni-0000000a", 4, &[99]) + &interface("eni-0000000b", 5, &[99]);
        let inside = format!("<networkInterfaceSet>{both}</networkInterfaceSet>");
        reply("DescribeNetworkInterfaces", &inside)
    })
    .await;
    let fault = clouds(&fake.url).await.holders(&[private(99)]).await.unwrap_err();
    assert!(fault.message.contains("10.0.0.99 is on eni-0000000a and on eni-0000000b"), "{fault}");
}

/// An Elastic IP, free or on a private IP of an interface.
fn elastic(id: &str, on: Option<(&str, u8)>) -> String {
    let on = on.map_or_else(String::new, |(interface, last)| {
        format!(
            "<networkInterfaceId>{interface}</networkInterfaceId>\
             <privateIpAddress>10.0.0.{last}</privateIpAddress>"
        )
    });
    format!(
        "<item><publicIp>203.0.113.7</publicIp><allocationId>eipalloc-{id}</allocationId>{on}\
         </item>"
    )
}

#[tokio::test]
async fn an_egress_ip_is_held_by_the_landing_address_that_it_is_on() {
    let fake = Fake::start(|_| {
        let all = [
            elastic("0000000a", Some(("eni-0000000a", 99))),
            elastic("0000000b", Some(("eni-0000000b", 5))),
            elastic("0000000c", Some(("eni-0000000f", 7))),
            elastic("0000000d", None),
        ];
        reply("DescribeAddresses", &format!("<addressesSet>{}</addressesSet>", all.concat()))
    })
    .await;
    let egress = |id: &str| {
        let allocation = format!("eipalloc-{id}").parse().unwrap();
        Resource::EgressIp { allocation, address: [203, 0, 113, 7].into() }
    };
    let clouds = clouds(&fake.url).await;
    let members = ["eni-0000000a", "eni-0000000b"].map(|one| one.parse().unwrap());
    clouds
        .remember(members.into_iter().zip([[10, 0, 0, 4].into(), [10, 0, 0, 5].into()]).collect());
    let mut member = Member {
        id: "i-0000000a".parse().unwrap(),
        interface: "eni-0000000a".parse().unwrap(),
        address: [10, 0, 0, 4].into(),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: BTreeMap::new(),
    };
    member.landings.insert("eipalloc-0000000a".parse().unwrap(), [10, 0, 0, 99].into());
    clouds.remember_landings(&[member]);
    let wanted = ["0000000a", "0000000b", "0000000c", "0000000d", "0000000e"].map(egress);
    let found = clouds.holders(&wanted).await.unwrap();
    let found: Vec<Location> = found.into_iter().map(|(_, seen)| seen).collect();
    let landed = Location::At(RouteTarget::Address([10, 0, 0, 99].into()));
    let foreign = at("eni-0000000f");
    // On another address of a member it is of no use.
    assert_eq!(found, [landed, Location::Vacant, foreign, Location::Vacant, Location::Absent]);
}

#[tokio::test]
async fn an_elastic_ip_is_held_where_it_is_on_the_private_ip_that_it_belongs_to() {
    let fake = Fake::start(|_| {
        let all = [
            elastic("0000000a", Some(("eni-0000000a", 99))),
            elastic("0000000b", Some(("eni-0000000b", 5))),
            elastic("0000000c", None),
            // One of the classic kind has no allocation.
            "<item><publicIp>203.0.113.8</publicIp></item>".to_owned(),
        ];
        reply("DescribeAddresses", &format!("<addressesSet>{}</addressesSet>", all.concat()))
    })
    .await;
    let wanted = [
        eip("0000000a", Some(99)),
        eip("0000000a", None),
        eip("0000000b", Some(99)),
        eip("0000000c", None),
        eip("0000000d", None),
    ];
    assert_eq!(
        seen(&fake, &wanted).await,
        [
            at("eni-0000000a"),
            at("eni-0000000a"),
            Location::Vacant,
            Location::Vacant,
            Location::Absent
        ]
    );
    let ids = ["eipalloc-0000000a", "eipalloc-0000000d"].map(|id| id.parse().unwrap());
    let known = clouds(&fake.url).await.ec2().elastic_addresses(&ids).await.unwrap();
    let known: Vec<String> = known.iter().map(|(id, address)| format!("{id} {address}")).collect();
    // What was not asked for does no harm.
    assert!(known.contains(&"eipalloc-0000000a 203.0.113.7".to_owned()), "{known:?}");
    assert!(!known.iter().any(|one| one.contains("0000000d")), "{known:?}");
}

#[tokio::test]
async fn an_elastic_ip_without_a_private_ip_belongs_to_a_members_primary_one() {
    let fake = Fake::start(|_| {
        let all = [
            elastic("0000000a", Some(("eni-0000000a", 4))),
            elastic("0000000b", Some(("eni-0000000a", 99))),
            elastic("0000000c", Some(("eni-000000ff", 99))),
        ];
        reply("DescribeAddresses", &format!("<addressesSet>{}</addressesSet>", all.concat()))
    })
    .await;
    let clouds = clouds(&fake.url).await;
    let primary = ("eni-0000000a".parse().unwrap(), [10, 0, 0, 4].into());
    clouds.clone().remember([primary].into());
    let wanted = ["0000000a", "0000000b", "0000000c"].map(|id| eip(id, None));
    let found = clouds.holders(&wanted).await.unwrap();
    let found: Vec<Location> = found.into_iter().map(|(_, seen)| seen).collect();
    // The last one is a stranger's, and to be respected wherever it is there.
    assert_eq!(found, [at("eni-0000000a"), Location::Vacant, at("eni-000000ff")]);
    let named = clouds.holders(&[eip("0000000b", Some(99))]).await.unwrap();
    assert_eq!(named[0].1, at("eni-0000000a"));
}

async fn assign(clouds: &Clouds, resource: Resource, gate: &Gate) -> Result<Sent, Kind> {
    let interface = "eni-0000000b".parse().unwrap();
    let assignment = Assignment { resource, interface, address: [10, 0, 0, 5].into() };
    clouds.assign(&assignment, gate).await.map_err(|fault| fault.kind)
}

#[tokio::test]
async fn addresses_are_moved_away_from_whoever_has_them_and_once() {
    let fake = Fake::start(|request| {
        let action = request.split("Action=").nth(1).unwrap();
        reply(action.split('&').next().unwrap(), "<return>true</return>")
    })
    .await;
    let clouds = clouds(&fake.url).await;
    for resource in [private(99), eip("0000000a", Some(99)), eip("0000000a", None)] {
        assert_eq!(assign(&clouds, resource, &Gate::open()).await, Ok(Sent::Accepted));
    }
    let [private, on, primary] = fake.seen().try_into().unwrap();
    for part in
        ["AssignPrivateIpAddresses", "PrivateIpAddress.1=10.0.0.99", "AllowReassignment=true"]
    {
        assert!(private.contains(part), "{private}");
    }
    for part in ["AssociateAddress", "AllowReassociation=true", "AllocationId=eipalloc-0000000a"] {
        assert!(on.contains(part) && primary.contains(part), "{on}\n{primary}");
    }
    assert!(on.contains("PrivateIpAddress=10.0.0.99") && !primary.contains("PrivateIpAddress="));
    for request in [private, on, primary] {
        assert!(request.contains("NetworkInterfaceId=eni-0000000b"), "{request}");
        assert!(!request.contains("InstanceId"), "{request}");
    }
}

#[tokio::test]
async fn a_closed_gate_moves_no_address_and_a_failure_is_not_sent_again() {
    let fake = Fake::start(|_| error(400, "InvalidAllocationID.NotFound", "no such")).await;
    let clouds = clouds(&fake.url).await;
    let shut = Gate::new(|| false);
    for resource in [private(99), eip("0000000a", None)] {
        assert_eq!(assign(&clouds, resource, &shut).await, Ok(Sent::Expired));
    }
    assert_eq!(fake.seen().len(), 0);
    let gone = assign(&clouds, eip("0000000a", None), &Gate::open()).await;
    assert_eq!((gone, fake.seen().len()), (Err(Kind::NotFound), 1));
}

#[tokio::test]
async fn routes_are_neither_read_nor_written_as_addresses() {
    let fake = Fake::start(|_| Answer::Close).await;
    let clouds = clouds(&fake.url).await;
    let address = [192, 168, 9, 9].into();
    let route = Resource::Vip { table: "rtb-0000000a".parse().unwrap(), address };
    assert!(clouds.holders(std::slice::from_ref(&route)).await.is_err());
    assert!(assign(&clouds, route, &Gate::open()).await.is_err());
    assert_eq!(clouds.holders(&[]).await, Ok(Vec::new()));
    assert_eq!(fake.seen().len(), 0);
}
