use crate::cloud::fake::{Answer, Fake};
use crate::cloud::tests::{clouds, error, member, reply};
use crate::cloud::{Clouds, Gate, Sent};
use crate::types::{Assignment, CloudFaultKind as Kind, Location, Resource, RouteTarget};

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
    let many: Vec<_> = (0..401).map(|n| format!("eipalloc-{n:08x}").parse().unwrap()).collect();
    let fault = clouds(&fake.url).await.ec2().elastic_addresses(&many).await.unwrap_err();
    assert!(fault.message.contains("eipalloc-00000000 is not in the answer"), "{fault}");
    // By filter, then by id.
    let calls = fake.seen().split_off(2);
    let values = |call: &String| call.matches("eipalloc-").count();
    assert_eq!(calls.iter().map(values).collect::<Vec<_>>(), [200, 200]);
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

/// The members' interfaces are those of nodes 1 and 2.
async fn clouds_of_two(fake: &Fake) -> Clouds {
    let clouds = clouds(&fake.url).await;
    clouds.remember_members(&[member(1), member(2)]);
    clouds
}

fn interfaces(all: &str) -> Answer {
    reply("DescribeNetworkInterfaces", &format!("<networkInterfaceSet>{all}</networkInterfaceSet>"))
}

/// Where 10.0.0.99 is if lists lack the interfaces that exist: those of these nodes, the last of
/// which has the address. And how many calls that took.
async fn hidden_private(exist: &'static [u8]) -> (Location, usize) {
    let fake = Fake::start(|request| {
        if request.contains("Filter.1") {
            return interfaces("");
        }
        let asked = (1..=9).filter(|n| request.contains(&format!("=eni-0000000{n}")));
        let asked: Vec<u8> = asked.collect();
        if asked.iter().any(|n| !exist.contains(n)) {
            return error(400, "InvalidNetworkInterfaceID.NotFound", "does not exist");
        }
        let secondary = |n: u8| if exist.last() == Some(&n) { &[99][..] } else { &[] };
        let shown = asked.iter().map(|n| interface(&format!("eni-0000000{n}"), *n, secondary(*n)));
        interfaces(&shown.collect::<String>())
    })
    .await;
    let found = clouds_of_two(&fake).await.holders(&[private(99)]).await.unwrap();
    (found[0].1.clone(), fake.seen().len())
}

#[tokio::test]
async fn a_private_ip_that_a_list_lacks_is_where_the_members_interfaces_show_it() {
    assert_eq!(hidden_private(&[2, 1]).await, (at("eni-00000001"), 2));
    // The other member was terminated, and its interface is gone.
    assert_eq!(hidden_private(&[2]).await, (at("eni-00000002"), 4));
    // An outsider's interface is not asked: EC2 itself then refuses to assign the address.
    assert_eq!(hidden_private(&[1, 2, 3]).await, (Location::Vacant, 2));
    assert_eq!(hidden_private(&[]).await, (Location::Vacant, 4));
}

#[tokio::test]
async fn a_private_ip_is_not_vacant_if_an_answer_by_id_fails_or_lacks_an_interface() {
    let answers: [fn() -> Answer; 3] = [
        || error(500, "InternalError", "try again"),
        || interfaces(""),
        || interfaces(&interface("eni-00000001", 1, &[])),
    ];
    for answer in answers {
        let fake =
            Fake::start(
                move |request| {
                    if request.contains("Filter.1") { interfaces("") } else { answer() }
                },
            )
            .await;
        clouds_of_two(&fake).await.holders(&[private(99)]).await.unwrap_err();
    }
}

#[tokio::test]
async fn what_a_list_has_is_not_asked_for_by_id() {
    let fake = Fake::start(|request| {
        if request.contains("DescribeAddresses") {
            let item = elastic("0000000a", Some(("eni-00000001", 1)));
            reply("DescribeAddresses", &format!("<addressesSet>{item}</addressesSet>"))
        } else {
            interfaces(&interface("eni-00000001", 1, &[99]))
        }
    })
    .await;
    let clouds = clouds_of_two(&fake).await;
    for resource in [private(99), eip("0000000a", None)] {
        let found = clouds.holders(std::slice::from_ref(&resource)).await.unwrap();
        assert_eq!(found[0].1, at("eni-00000001"));
    }
    assert_eq!(fake.seen().len(), 2);
}

/// Elastic IPs of which lists lack all, and of which EC2 knows `exist` by id.
async fn hidden_elastic(exist: &'static [&'static str]) -> Fake {
    Fake::start(|request| {
        let asked = ["0000000a", "0000000b"].into_iter();
        let asked = asked.filter(|id| request.contains(&format!("=eipalloc-{id}")));
        let asked: Vec<&str> = asked.filter(|_| !request.contains("Filter.1")).collect();
        if asked.iter().any(|id| !exist.contains(id)) {
            return error(400, "InvalidAllocationID.NotFound", "does not exist");
        }
        let shown = asked.iter().map(|id| elastic(id, Some(("eni-00000001", 1))));
        let shown: String = shown.collect();
        reply("DescribeAddresses", &format!("<addressesSet>{shown}</addressesSet>"))
    })
    .await
}

#[tokio::test]
async fn an_elastic_ip_that_a_list_lacks_is_absent_only_if_ec2_does_not_know_its_id() {
    let wanted = [eip("0000000a", None), eip("0000000b", None)];
    let (here, absent) = (at("eni-00000001"), Location::Absent);
    let all = hidden_elastic(&["0000000a", "0000000b"]).await;
    assert_eq!(seen(&all, &wanted).await, [here.clone(), here.clone()]);
    assert_eq!(all.seen().len(), 2);
    let one = hidden_elastic(&["0000000b"]).await;
    assert_eq!(seen(&one, &wanted).await, [absent.clone(), here]);
    let none = hidden_elastic(&[]).await;
    assert_eq!(seen(&none, &wanted).await, [absent.clone(), absent]);
    // Discovery asks in the same way.
    let ids = ["eipalloc-0000000a", "eipalloc-0000000b"].map(|id| id.parse().unwrap());
    for (fake, known) in [(all, 2), (one, 1), (none, 0)] {
        let found = clouds(&fake.url).await.ec2().elastic_addresses(&ids).await.unwrap();
        assert_eq!(found.len(), known);
    }
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
    let fake = Fake::start(|request| {
        if request.contains("AllocationId.1") {
            return error(400, "InvalidAllocationID.NotFound", "does not exist");
        }
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
    let mut member = member(4);
    member.landings.insert("eipalloc-0000000a".parse().unwrap(), [10, 0, 0, 99].into());
    clouds.remember_members(&[member]);
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
    let fake = Fake::start(|request| {
        if request.contains("AllocationId.1") {
            return error(400, "InvalidAllocationID.NotFound", "does not exist");
        }
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
    let (interface, address) = ("eni-0000000b".parse().unwrap(), [10, 0, 0, 5].into());
    let assignment = Assignment { resource, interface, address, only_if_free: false };
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
async fn a_private_ip_that_reads_showed_nowhere_is_not_taken_from_another_interface() {
    let used = "[10.0.0.99] assigned, but move is not allowed.";
    let fake = Fake::start(|_| error(400, "InvalidParameterValue", used)).await;
    let (interface, address) = ("eni-0000000b".parse().unwrap(), [10, 0, 0, 5].into());
    let resource = private(99);
    let assignment = Assignment { resource, interface, address, only_if_free: true };
    let refused = clouds(&fake.url).await.assign(&assignment, &Gate::open()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Exists);
    assert!(fake.seen()[0].contains("AllowReassignment=false"), "{:?}", fake.seen());
}

#[tokio::test]
async fn a_closed_gate_moves_no_address_and_a_failure_is_not_sent_again() {
    let fake = Fake::start(|_| error(400, "InvalidAllocationID.NotFound", "no such")).await;
    let clouds = clouds(&fake.url).await;
    let shut = Gate::new(|_| false);
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
