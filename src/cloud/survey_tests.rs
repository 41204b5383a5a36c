//! What a filtered list lacks is asked for by id.

use super::*;
use crate::cloud::fake::{Answer, Fake};
use crate::cloud::tests::{clouds, error, member, reply};
use crate::types::{Group, Resource};

const TAG: &str = "<tagSet><item><key>natha:cluster</key><value>blue</value></item></tagSet>";

fn instance(n: u8, state: &str) -> String {
    format!(
        "<item><instancesSet><item><instanceId>i-0000000{n}</instanceId>\
         <instanceState><code>16</code><name>{state}</name></instanceState>\
         <vpcId>vpc-00000001</vpcId>{TAG}<networkInterfaceSet><item>\
         <networkInterfaceId>eni-0000000{n}</networkInterfaceId>\
         <subnetId>subnet-0000000{n}</subnetId><vpcId>vpc-00000001</vpcId>\
         <privateIpAddress>10.0.0.{n}</privateIpAddress>\
         <attachment><deviceIndex>0</deviceIndex></attachment></item></networkInterfaceSet>\
         </item></instancesSet></item>"
    )
}

fn instances(all: &str) -> Answer {
    reply("DescribeInstances", &format!("<reservationSet>{all}</reservationSet>"))
}

fn tables(all: &str) -> Answer {
    reply("DescribeRouteTables", &format!("<routeTableSet>{all}</routeTableSet>"))
}

fn table() -> String {
    format!(
        "<item><routeTableId>rtb-00000001</routeTableId><vpcId>vpc-00000001</vpcId><routeSet/>\
         <associationSet><item><subnetId>subnet-0000000a</subnetId></item></associationSet>{TAG}\
         </item>"
    )
}

fn subnets(all: &str) -> Answer {
    reply("DescribeSubnets", &format!("<subnetSet>{all}</subnetSet>"))
}

fn subnet() -> &'static str {
    "<item><subnetId>subnet-0000000a</subnetId><vpcId>vpc-00000001</vpcId>\
     <availabilityZone>eu-west-1a</availabilityZone><cidrBlock>10.0.1.0/24</cidrBlock></item>"
}

/// Nodes 1 and 2, and one table.
fn known() -> Roster {
    let (table, cidr) = ("rtb-00000001".parse().unwrap(), Ipv4Net::default());
    let route = Resource::DefaultRoute { table, cidr };
    Roster {
        members: vec![member(1), member(2)],
        groups: vec![Group::new("a".parse().unwrap(), None, vec![route])],
    }
}

fn query() -> InventoryQuery {
    InventoryQuery {
        instances: Selector::Tagged("blue".to_owned()),
        tables: Selector::Tagged("blue".to_owned()),
        vips: Vec::new(),
        members_subnets: false,
        allocations: Vec::new(),
        zones: Vec::new(),
        egress_of: None,
    }
}

/// The inventory of node 1 where every list with a filter lacks node 2, the table and its subnet,
/// and `by_id` answers what is asked for by id.
async fn inventory(
    expected: &Expected,
    by_id: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> Result<Inventory, CloudFault> {
    let fake = Fake::start(move |request| {
        let by_filter = request.contains("Filter.1");
        match () {
            () if request.contains("InstanceId.1=i-00000001") => instances(&instance(1, "running")),
            () if !by_filter => by_id(request),
            () if request.contains("Action=DescribeInstances") => {
                instances(&instance(1, "running"))
            }
            () if request.contains("Action=DescribeRouteTables") => tables(""),
            () => subnets(""),
        }
    })
    .await;
    let clouds = clouds(&fake.url).await;
    let me = clouds.ec2().instance(&"i-00000001".parse().unwrap()).await?.unwrap();
    clouds.inventory(&me, &query(), expected, &[]).await
}

fn everything(request: &str) -> Answer {
    match () {
        () if request.contains("InstanceId.1=i-00000002") => instances(&instance(2, "running")),
        () if request.contains("RouteTableId.1=rtb-00000001") => tables(&table()),
        () if request.contains("SubnetId.1=subnet-0000000a") => subnets(subnet()),
        () => error(400, "Unexpected", request),
    }
}

#[tokio::test]
async fn a_list_that_lacks_a_known_member_table_or_subnet_loses_none_of_them() {
    let found = inventory(&Expected::of(&known(), &BTreeSet::new()), everything).await.unwrap();
    let ids: Vec<&str> = found.instances.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["i-00000001", "i-00000002"]);
    assert_eq!(found.tables.len(), 1, "{found:?}");
    assert_eq!(found.subnets.len(), 1, "{found:?}");
}

#[tokio::test]
async fn a_read_of_routes_that_lacks_a_table_asks_for_it_by_id() {
    let fake =
        Fake::start(
            |request| {
                if request.contains("Filter.1") { tables("") } else { everything(request) }
            },
        )
        .await;
    let clouds = clouds(&fake.url).await;
    let found = clouds.ec2().route_tables(&["rtb-00000001".parse().unwrap()]).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
}

#[tokio::test]
async fn what_ec2_does_not_know_by_id_is_gone() {
    let gone = |request: &str| match () {
        () if request.contains("InstanceId.1") => {
            error(400, "InvalidInstanceID.NotFound", "does not exist")
        }
        () => error(400, "InvalidRouteTableID.NotFound", "does not exist"),
    };
    let found = inventory(&Expected::of(&known(), &BTreeSet::new()), gone).await.unwrap();
    assert_eq!((found.instances.len(), found.tables.len()), (1, 0), "{found:?}");
}

#[tokio::test]
async fn an_answer_by_id_that_fails_or_lacks_what_was_asked_for_makes_no_inventory() {
    for lacks in ["InstanceId.1", "RouteTableId.1", "SubnetId.1"] {
        let fails = move |request: &str| match () {
            () if request.contains(lacks) => error(500, "InternalError", "try again"),
            () => everything(request),
        };
        inventory(&Expected::of(&known(), &BTreeSet::new()), fails).await.unwrap_err();
        let empty = move |request: &str| match () {
            () if !request.contains(lacks) => everything(request),
            () if lacks == "InstanceId.1" => instances(""),
            () if lacks == "RouteTableId.1" => tables(""),
            () => subnets(""),
        };
        let fault = inventory(&Expected::of(&known(), &BTreeSet::new()), empty).await.unwrap_err();
        assert!(fault.message.contains("is not in the answer"), "{fault}");
    }
}

#[tokio::test]
async fn nothing_is_asked_for_by_id_that_was_not_known() {
    let found = inventory(&Expected::default(), everything).await.unwrap();
    assert_eq!((found.instances.len(), found.tables.len()), (1, 0), "{found:?}");
}

#[tokio::test]
async fn a_node_that_is_heard_is_asked_for_though_no_roster_has_it() {
    let heard = BTreeSet::from(["i-00000002".parse().unwrap()]);
    let expected = Expected::of(&Roster::default(), &heard);
    let found = inventory(&expected, everything).await.unwrap();
    let ids: Vec<&str> = found.instances.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["i-00000001", "i-00000002"]);
}

/// An Elastic IP as EC2 returns it, for the group `a` of a cluster.
fn elastic(cluster: &str) -> String {
    format!(
        "<item><publicIp>203.0.113.7</publicIp><allocationId>eipalloc-00000001</allocationId>\
         <tagSet><item><key>natha:cluster</key><value>{cluster}</value></item><item>\
         <key>natha:group</key><value>a</value></item></tagSet></item>"
    )
}

fn addresses(all: &str) -> Answer {
    reply("DescribeAddresses", &format!("<addressesSet>{all}</addressesSet>"))
}

/// The tagged Elastic IPs, where the list by tag is answered with `listed` and the question for
/// the known one with `by_id`.
async fn tagged_elastic(
    known: bool,
    listed: impl Fn() -> Answer + Send + Sync + 'static,
    by_id: impl Fn() -> Answer + Send + Sync + 'static,
) -> Result<Option<Vec<ElasticIpInfo>>, CloudFault> {
    let fake = Fake::start(move |request| match () {
        () if request.contains("AllocationId.1=eipalloc-00000001") => by_id(),
        () if request.contains("tag%3Anatha%3Acluster") => listed(),
        () => error(400, "Unexpected", request),
    })
    .await;
    let expected = known.then(|| "eipalloc-00000001".parse().unwrap());
    let clouds = clouds(&fake.url).await;
    clouds.tagged_elastic("blue", &expected.into_iter().collect()).await
}

#[tokio::test]
async fn a_known_egress_ip_that_the_list_by_tag_lacks_is_asked_for_by_id() {
    let unasked = || error(400, "Unexpected", "it is in the list");
    let found = tagged_elastic(true, || addresses(&elastic("blue")), unasked).await;
    assert_eq!(found.unwrap().unwrap()[0].tags["natha:group"], "a");
    let found = tagged_elastic(true, || addresses(""), || addresses(&elastic("blue"))).await;
    assert_eq!(found.unwrap().unwrap().len(), 1);
    let found = tagged_elastic(true, || addresses(""), || addresses(&elastic("red"))).await;
    assert_eq!(found.unwrap().unwrap(), [], "its tag has changed");
    let gone = || error(400, "InvalidAllocationID.NotFound", "does not exist");
    assert_eq!(tagged_elastic(true, || addresses(""), gone).await.unwrap().unwrap(), []);
    tagged_elastic(true, || addresses(""), || addresses("")).await.unwrap_err();
}

#[tokio::test]
async fn a_role_that_may_not_read_elastic_ips_is_an_error_only_where_some_are_known() {
    let denied = || error(403, "UnauthorizedOperation", "not authorized");
    assert_eq!(tagged_elastic(false, denied, denied).await.unwrap(), None);
    tagged_elastic(true, denied, denied).await.unwrap_err();
}

/// The subnets without a table of their own, if lists with a filter lack the table of `hidden`.
async fn on_main_table(hidden: &'static str) -> BTreeSet<SubnetId> {
    let associated = |letter: &str| {
        format!(
            "<item><routeTableId>rtb-0000000{letter}</routeTableId><vpcId>vpc-00000001</vpcId>\
             <associationSet><item><subnetId>subnet-0000000{letter}</subnetId></item>\
             </associationSet></item>"
        )
    };
    let main = format!(
        "<item><routeTableId>rtb-00000009</routeTableId><vpcId>vpc-00000001</vpcId>\
         <associationSet><item><main>true</main></item></associationSet>{TAG}</item>"
    );
    let fake = Fake::start(move |request| match () {
        () if request.contains("Action=DescribeInstances") => {
            instances(&(instance(1, "running") + &instance(2, "running")))
        }
        () if request.contains("association.subnet-id") => {
            let shown = ["1", "3"].into_iter().filter(|letter| *letter != hidden);
            tables(&shown.map(associated).collect::<String>())
        }
        () if request.contains("Filter.1") => tables(&main),
        () if request.contains("Action=DescribeRouteTables") => {
            tables(&(associated("1") + &associated("3") + &main))
        }
        () => subnets(""),
    })
    .await;
    let clouds = clouds(&fake.url).await;
    let me = clouds.ec2().instance(&"i-00000001".parse().unwrap()).await.unwrap().unwrap();
    let found = clouds.inventory(&me, &query(), &Expected::default(), &[]).await.unwrap();
    assert!(found.tables[0].main);
    found.on_main_table
}

#[tokio::test]
async fn a_subnet_is_on_the_main_table_only_if_no_table_of_an_unfiltered_list_has_it() {
    let second = BTreeSet::from(["subnet-00000002".parse().unwrap()]);
    for hidden in ["", "1"] {
        assert_eq!(on_main_table(hidden).await, second, "hidden: {hidden}");
    }
}
