//! Replies of EC2 and of the metadata service with anything changed in them, through the real
//! client: what is read from a reply stands in it, what is cut off is an error, and nothing that a
//! reply does not say is taken for an answer.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::fake::{Answer, Fake};
use super::tests::{client, clouds};
use super::*;
use crate::types::{InstanceState, Location, Resource, RouteTarget};

/// Changed replies per test. `NATHA_FUZZ_CASES` sets another number.
const CASES: u32 = 150;

/// Names, numbers and marks that mean something in some reply, to be put anywhere.
const WORDS: [&str; 14] = [
    "<item>",
    "</item>",
    "<item/>",
    "&lt;",
    "&#0;",
    "<!--",
    "]]>",
    "\u{0}",
    "i-0000000b",
    "stopped",
    "<code>80</code>",
    "eni-0000000b",
    "99999999999999999999",
    "\u{1b}[2J",
];

/// One change of a text.
#[derive(Debug, Clone)]
enum Edit {
    /// Everything from here on is missing.
    Cut(Index),
    /// So many bytes are missing.
    Drop(Index, usize),
    /// A piece of it once more, elsewhere.
    Again(Index, Index, usize),
    /// A word that means something.
    Word(Index, &'static str),
    /// Another byte.
    Byte(Index, u8),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        any::<Index>().prop_map(Edit::Cut),
        (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Edit::Drop(at, count)),
        (any::<Index>(), any::<Index>(), 1..200_usize)
            .prop_map(|(from, to, count)| Edit::Again(from, to, count)),
        (any::<Index>(), prop::sample::select(&WORDS[..]))
            .prop_map(|(at, word)| Edit::Word(at, word)),
        (any::<Index>(), 0x20..0x7f_u8).prop_map(|(at, byte)| Edit::Byte(at, byte)),
    ];
    prop::collection::vec(edit, 1..5)
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for edit in edits {
        let length = bytes.len();
        let place = |index: &Index| index.index(length + 1);
        match edit {
            Edit::Cut(at) => bytes.truncate(place(at)),
            Edit::Drop(at, count) => {
                let start = place(at);
                bytes.drain(start..(start + count).min(length));
            }
            Edit::Again(from, to, count) => {
                let (start, to) = (place(from), place(to));
                let piece = bytes[start..(start + count).min(length)].to_vec();
                bytes.splice(to..to, piece);
            }
            Edit::Word(at, word) => {
                let at = place(at);
                bytes.splice(at..at, word.bytes());
            }
            Edit::Byte(at, byte) => {
                if let Some(place) = bytes.get_mut(at.index(length.max(1))) {
                    *place = *byte;
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn cases() -> u32 {
    let asked = std::env::var("NATHA_FUZZ_CASES").ok();
    asked.map_or(CASES, |text| text.parse().expect("NATHA_FUZZ_CASES is a number"))
}

/// Serves replies made of `text` by any edits and judges what is made of each.
fn fuzz<T>(text: &str, ask: &impl AsyncFn(&str) -> T, judge: impl Fn(&str, T)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = Arc::new(Mutex::new(String::new()));
    let shown = body.clone();
    let fake = runtime.block_on(Fake::start(move |request| {
        if request.starts_with("PUT /latest/api/token") {
            return Answer::Reply(200, "token".to_owned());
        }
        let text = shown.lock().unwrap().clone();
        let Some((_, path)) = request.split_once("GET /latest/meta-data/") else {
            return Answer::Reply(200, text);
        };
        let item = path.trim_end();
        let found = text.lines().find_map(|line| line.strip_prefix(item)?.strip_prefix('='));
        found.map_or(Answer::Reply(404, String::new()), |value| {
            Answer::Reply(200, value.replace('|', "\n"))
        })
    }));
    let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&edits(), |edits| {
        let reply = edited(text, &edits);
        body.lock().unwrap().clone_from(&reply);
        let answer = runtime.block_on(ask(&fake.url));
        judge(&reply, answer);
        Ok(())
    });
    outcome.unwrap();
}

const TABLES: &str = "<DescribeRouteTablesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
    <requestId>r</requestId><routeTableSet><item><routeTableId>rtb-0000000a</routeTableId>\
    <vpcId>vpc-0000000a</vpcId><routeSet><item><destinationCidrBlock>10.0.0.0/16\
    </destinationCidrBlock><gatewayId>local</gatewayId><state>active</state></item><item>\
    <destinationCidrBlock>0.0.0.0/0</destinationCidrBlock><instanceId>i-0000000a</instanceId>\
    <networkInterfaceId>eni-0000000a</networkInterfaceId><state>active</state></item></routeSet>\
    <associationSet><item><subnetId>subnet-0000000a</subnetId></item></associationSet><tagSet>\
    <item><key>natha:cluster</key><value>blue</value></item></tagSet></item></routeTableSet>\
    </DescribeRouteTablesResponse>";

#[test]
fn a_route_that_is_read_stands_in_the_reply() {
    let ask = async |url: &str| {
        let vpc = "vpc-0000000a".parse().unwrap();
        client(url).await.cluster_route_tables(&vpc, "blue").await
    };
    fuzz(TABLES, &ask, |reply, answer| {
        let Ok(tables) = answer else { return };
        for table in &tables {
            assert!(reply.contains(table.id.as_str()), "{table:?} of {reply}");
            for (cidr, route) in &table.routes {
                if let RouteTarget::Interface(id) = &route.target {
                    assert!(reply.contains(id.as_str()), "{cidr} {route:?} of {reply}");
                }
                assert!(!route.blackhole || reply.contains("blackhole"), "{route:?} of {reply}");
            }
        }
    });
}

#[test]
fn a_reply_that_is_cut_off_is_an_error_and_no_shorter_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let length = Arc::new(Mutex::new(0));
    let shown = length.clone();
    runtime.block_on(async {
        let fake =
            Fake::start(move |_| Answer::Reply(200, TABLES[..*shown.lock().unwrap()].to_owned()))
                .await;
        let ec2 = client(&fake.url).await;
        let vpc = "vpc-0000000a".parse().unwrap();
        for end in (0..TABLES.len()).step_by(7).chain([TABLES.len() - 1]) {
            *length.lock().unwrap() = end;
            let answer = ec2.cluster_route_tables(&vpc, "blue").await;
            assert!(answer.is_err(), "{} is read as {answer:?}", &TABLES[..end]);
        }
        *length.lock().unwrap() = TABLES.len();
        assert_eq!(ec2.cluster_route_tables(&vpc, "blue").await.unwrap().len(), 1);
    });
}

const INTERFACES: &str = "<DescribeNetworkInterfacesResponse \
    xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
    <networkInterfaceSet><item><networkInterfaceId>eni-0000000a</networkInterfaceId>\
    <privateIpAddressesSet><item><privateIpAddress>10.0.0.4</privateIpAddress><primary>true\
    </primary></item><item><privateIpAddress>10.0.0.99</privateIpAddress><primary>false</primary>\
    </item></privateIpAddressesSet></item></networkInterfaceSet>\
    </DescribeNetworkInterfacesResponse>";

const RECORDS: &str = "<ListResourceRecordSetsResponse \
    xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ResourceRecordSets>\
    <ResourceRecordSet><Name>db.example.com.</Name><Type>A</Type><TTL>5</TTL><ResourceRecords>\
    <ResourceRecord><Value>10.0.0.4</Value></ResourceRecord></ResourceRecords>\
    </ResourceRecordSet></ResourceRecordSets><IsTruncated>false</IsTruncated>\
    <MaxItems>1</MaxItems></ListResourceRecordSetsResponse>";

#[test]
fn whoever_holds_an_address_or_a_record_stands_in_the_reply() {
    let private = Resource::PrivateIp { address: [10, 0, 0, 99].into() };
    let (zone, name) = ("Z1".parse().unwrap(), "db.example.com".parse().unwrap());
    let record = Resource::Dns { zone, name, ttl: 5, public: false };
    for (resource, reply) in [(private, INTERFACES), (record, RECORDS)] {
        let ask =
            async |url: &str| clouds(url).await.holders(std::slice::from_ref(&resource)).await;
        fuzz(reply, &ask, |reply, answer| {
            let Ok(found) = answer else { return };
            assert_eq!(found.len(), 1, "{found:?} of {reply}");
            match &found[0].1 {
                Location::At(RouteTarget::Interface(id)) => {
                    assert!(reply.contains(id.as_str()), "{id} of {reply}");
                }
                Location::At(RouteTarget::Address(address)) => {
                    assert!(reply.contains(&address.to_string()), "{address} of {reply}");
                }
                Location::At(RouteTarget::Other(what)) => {
                    assert!(!what.contains(char::is_control), "{what:?} of {reply}");
                }
                Location::Vacant => {}
                other => panic!("only the API itself says {other:?}: {reply}"),
            }
        });
    }
}

const INSTANCES: &str = "<DescribeInstancesResponse \
    xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId><reservationSet>\
    <item><instancesSet><item><instanceId>i-0000000a</instanceId><instanceState><code>16</code>\
    <name>running</name></instanceState><placement><availabilityZone>eu-west-1a\
    </availabilityZone></placement><vpcId>vpc-0000000a</vpcId></item></instancesSet></item>\
    </reservationSet></DescribeInstancesResponse>";

#[test]
fn a_changed_reply_makes_no_instance_unknown_and_none_stopped_that_it_does_not_call_so() {
    let ask = async |url: &str| client(url).await.power(&"i-0000000a".parse().unwrap()).await;
    fuzz(INSTANCES, &ask, |reply, answer| {
        let Ok(power) = answer else { return };
        assert!(reply.contains("i-0000000a"), "{power:?} of {reply}");
        assert_ne!(power.state, None, "only EC2 itself says that: {reply}");
        if power.state != Some(InstanceState::Running) {
            assert!(!reply.contains("<code>16</code>") || reply.matches("<code>").count() > 1);
        }
    });
}

#[test]
fn an_answer_that_is_silent_about_the_instance_does_not_make_it_unknown() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let silent = INSTANCES.replace("i-0000000a", "i-0000000b");
        for reply in [silent, "<DescribeInstancesResponse/>".to_owned()] {
            let shown = reply.clone();
            let fake = Fake::start(move |_| Answer::Reply(200, shown.clone())).await;
            let ec2 = client(&fake.url).await;
            let id = "i-0000000a".parse().unwrap();
            let power = ec2.power(&id).await.unwrap_err();
            assert!(power.message.contains("i-0000000a is not in the answer"), "{power}");
            assert!(ec2.instance(&id).await.is_err());
        }
    });
}

/// What the metadata service says: an item and its text a line, `|` for a line's end.
const METADATA: &str = "instance-id=i-0000000a\nplacement/availability-zone=eu-west-1a\n\
    placement/region=eu-west-1\nnetwork/interfaces/macs/=02:00:00:00:00:01/|02:00:00:00:00:02/\n\
    network/interfaces/macs/02:00:00:00:00:01/device-number=0\n\
    network/interfaces/macs/02:00:00:00:00:01/interface-id=eni-0000000a\n\
    network/interfaces/macs/02:00:00:00:00:01/local-ipv4s=10.0.0.4|10.0.0.5\n\
    network/interfaces/macs/02:00:00:00:00:01/subnet-id=subnet-0000000a\n\
    network/interfaces/macs/02:00:00:00:00:01/vpc-id=vpc-0000000a\n\
    network/interfaces/macs/02:00:00:00:00:01/vpc-ipv4-cidr-blocks=10.0.0.0/16\n\
    network/interfaces/macs/02:00:00:00:00:02/device-number=1\n\
    network/interfaces/macs/02:00:00:00:00:02/interface-id=eni-0000000b\n\
    network/interfaces/macs/02:00:00:00:00:02/subnet-id=subnet-0000000a";

#[test]
fn metadata_of_any_text_is_read_as_it_is_or_refused_in_words() {
    let ask = async |url: &str| Imds::at(url).unwrap().identity().await;
    fuzz(METADATA, &ask, |reply, answer| match answer {
        Ok(identity) => {
            assert!(reply.contains(identity.instance.as_str()), "{identity:?} of {reply}");
            assert!(reply.contains(identity.vpc.as_str()), "{identity:?} of {reply}");
            for interface in &identity.interfaces {
                assert!(reply.contains(interface.id.as_str()), "{interface:?} of {reply}");
            }
        }
        Err(fault) => {
            let told = fault.to_string();
            assert!(!told.contains(char::is_control), "{told:?}");
            assert!(told.len() < 1_000, "{told}");
        }
    });
}
