use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::cloud::fake::{Answer, Fake};
use crate::cloud::tests::clouds;
use crate::types::{Assignment, CloudFaultKind as Kind};

const NAMESPACE: &str = "xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"";

fn record(name: &str) -> Resource {
    let (zone, name) = ("Z1".parse().unwrap(), name.parse().unwrap());
    Resource::Dns { zone, name, ttl: 5, public: false }
}

/// A list with this inside its record sets.
fn list(inside: &str) -> Answer {
    Answer::Reply(
        200,
        format!(
            "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse {NAMESPACE}>\
             <ResourceRecordSets>{inside}</ResourceRecordSets><IsTruncated>false</IsTruncated>\
             <MaxItems>1</MaxItems></ListResourceRecordSetsResponse>"
        ),
    )
}

fn set(name: &str, kind: &str, values: &[&str]) -> String {
    let mut records = String::new();
    for value in values {
        records.extend(["<ResourceRecord><Value>", value, "</Value></ResourceRecord>"]);
    }
    format!(
        "<ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><TTL>5</TTL><ResourceRecords>\
         {records}</ResourceRecords></ResourceRecordSet>"
    )
}

fn change(id: &str, status: &str) -> String {
    format!(
        "<ChangeInfo><Id>/change/{id}</Id><Status>{status}</Status>\
         <SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo>"
    )
}

fn refusal(status: u16, code: &str) -> Answer {
    Answer::Reply(
        status,
        format!(
            "<ErrorResponse {NAMESPACE}><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}

/// How a record is seen where the list has this.
async fn seen_of(inside: &str) -> Result<Location, CloudFault> {
    let inside = inside.to_owned();
    let fake = Fake::start(move |_| list(&inside)).await;
    let resource = record("db.example.com");
    let found = clouds(&fake.url).await.holders(std::slice::from_ref(&resource)).await?;
    let [(told, seen)] = found.try_into().unwrap();
    assert_eq!(told, resource);
    Ok(seen)
}

fn at(last: u8) -> Location {
    Location::At(RouteTarget::Address([10, 0, 0, last].into()))
}

fn other(what: &str) -> Location {
    Location::At(RouteTarget::Other(what.to_owned()))
}

#[tokio::test]
async fn a_record_is_read_by_its_name_and_type() {
    let fake = Fake::start(|_| list(&set("db.example.com.", "A", &["10.0.0.4"]))).await;
    let found = clouds(&fake.url).await.holders(&[record("db.example.com")]).await.unwrap();
    assert_eq!(found[0].1, at(4));
    let [request] = fake.seen().try_into().unwrap();
    assert!(request.starts_with("GET /2013-04-01/hostedzone/Z1/rrset?"), "{request}");
    for part in ["name=db.example.com", "type=A", "maxitems=1"] {
        assert!(request.contains(part), "no {part} in {request}");
    }
}

#[tokio::test]
async fn only_a_record_of_exactly_this_name_counts() {
    for (inside, wanted) in [
        (String::new(), Location::Vacant),
        (set("dc.example.com.", "A", &["10.0.0.4"]), Location::Vacant),
        (set("\\052.example.com.", "A", &["10.0.0.4"]), Location::Vacant),
        (set("db.example.com.org.", "A", &["10.0.0.4"]), Location::Vacant),
        (set("db.example.com.", "AAAA", &["::1"]), Location::Vacant),
        (set("DB.example.com", "A", &["10.0.0.4"]), at(4)),
        (set("\\144b.example.com.", "A", &["10.0.0.4"]), at(4)),
        (set("db.example.com.", "CNAME", &["a.b"]), other("a CNAME record")),
        (set("db.example.com.", "A", &["10.0.0.4", "10.0.0.5"]), other("10.0.0.4 and 1 more")),
        (set("db.example.com.", "A", &[]), other("a record without a value")),
        (
            "<ResourceRecordSet><Name>db.example.com.</Name><Type>A</Type><AliasTarget>\
             <HostedZoneId>Z2</HostedZoneId><DNSName>lb.example.com.</DNSName>\
             <EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget></ResourceRecordSet>"
                .to_owned(),
            other("the alias lb.example.com."),
        ),
        (
            set("db.example.com.", "A", &["10.0.0.4"])
                .replace("<TTL>", "<SetIdentifier>one</SetIdentifier><Weight>1</Weight><TTL>"),
            other("a record with a routing policy"),
        ),
    ] {
        assert_eq!(seen_of(&inside).await, Ok(wanted), "{inside}");
    }
    let fault = seen_of(&set("db.example.com.", "A", &["\u{9b}2J"])).await.unwrap_err();
    assert!(fault.message.contains("is not an address") && !fault.message.contains('\u{9b}'));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_no_absent_record() {
    let whole = format!(
        "<ListResourceRecordSetsResponse {NAMESPACE}><ResourceRecordSets>{}</ResourceRecordSets>\
         <IsTruncated>false</IsTruncated><MaxItems>1</MaxItems></ListResourceRecordSetsResponse>",
        set("db.example.com.", "A", &["10.0.0.4"])
    );
    for end in (1..whole.len()).step_by(61) {
        let cut = whole[..end].to_owned();
        let fake = Fake::start(move |_| Answer::Reply(200, cut.clone())).await;
        let answer = clouds(&fake.url).await.holders(&[record("db.example.com")]).await;
        assert!(answer.is_err(), "{} is read as {answer:?}", &whole[..end]);
    }
}

async fn give(clouds: &crate::cloud::Clouds, gate: &Gate) -> Result<Sent, CloudFault> {
    let resource = record("db.example.com");
    let interface = "eni-0000000b".parse().unwrap();
    let address = [10, 0, 0, 5].into();
    let assignment = Assignment { resource, interface, address, only_if_free: false };
    clouds.assign(&assignment, gate).await
}

#[tokio::test]
async fn a_change_settles_until_it_is_everywhere() {
    let done = Arc::new(AtomicBool::new(false));
    let shown = done.clone();
    let fake = Fake::start(move |request| {
        let done = shown.load(Ordering::SeqCst);
        if request.starts_with("POST") {
            let info = change("C1", "PENDING");
            let name = "ChangeResourceRecordSetsResponse";
            Answer::Reply(200, format!("<{name} {NAMESPACE}>{info}</{name}>"))
        } else if request.contains("/change/") {
            assert!(request.starts_with("GET /2013-04-01/change/C1 "), "{request}");
            let info = change("C1", if done { "INSYNC" } else { "PENDING" });
            Answer::Reply(200, format!("<GetChangeResponse {NAMESPACE}>{info}</GetChangeResponse>"))
        } else {
            list(&set("db.example.com.", "A", &["10.0.0.5"]))
        }
    })
    .await;
    let clouds = clouds(&fake.url).await;
    let read = async || clouds.holders(&[record("db.example.com")]).await.unwrap().remove(0).1;
    assert_eq!(give(&clouds, &Gate::open()).await, Ok(Sent::Accepted));
    let sent = fake.seen().remove(0);
    assert!(sent.starts_with("POST /2013-04-01/hostedzone/Z1/rrset"), "{sent}");
    for part in [
        "<Action>UPSERT</Action>",
        "<Name>db.example.com</Name>",
        "<Type>A</Type>",
        "<TTL>5</TTL>",
        "<Value>10.0.0.5</Value>",
    ] {
        assert!(sent.contains(part), "no {part} in {sent}");
    }
    assert_eq!(read().await, Location::Pending);
    assert_eq!(read().await, Location::Pending);
    done.store(true, Ordering::SeqCst);
    assert_eq!(read().await, at(5));
    assert_eq!(read().await, at(5));
    let asked = fake.seen().iter().filter(|request| request.contains("/change/")).count();
    assert_eq!(asked, 3, "once it is everywhere, nobody asks again");
}

#[tokio::test]
async fn a_closed_gate_changes_no_record_and_a_failure_is_not_sent_again() {
    let fake = Fake::start(|_| refusal(400, "PriorRequestNotComplete")).await;
    let clouds = clouds(&fake.url).await;
    assert_eq!(give(&clouds, &Gate::new(|_| false)).await, Ok(Sent::Expired));
    assert_eq!(fake.seen().len(), 0);
    let fault = give(&clouds, &Gate::open()).await.unwrap_err();
    assert_eq!((fault.kind, fake.seen().len()), (Kind::Throttled, 1), "{fault}");
}

#[tokio::test]
async fn errors_of_route_53_have_their_kinds() {
    for (status, code, kind) in [
        (400, "Throttling", Kind::Throttled),
        (403, "AccessDenied", Kind::Denied),
        (400, "InvalidInput", Kind::Other),
        (500, "InternalFailure", Kind::Unknown),
    ] {
        let fake = Fake::start(move |_| refusal(status, code)).await;
        let clouds = clouds(&fake.url).await;
        let fault = clouds.holders(&[record("db.example.com")]).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{fault}");
        assert_eq!(give(&clouds, &Gate::open()).await.unwrap_err().kind, kind);
    }
    let body = format!(
        "<InvalidChangeBatch {NAMESPACE}><Messages><Message>RRSet with DNS name db.example.com. is \
         not permitted in zone example.org.</Message></Messages><RequestId>r</RequestId>\
         </InvalidChangeBatch>"
    );
    let fake = Fake::start(move |_| Answer::Reply(400, body.clone())).await;
    let fault = give(&clouds(&fake.url).await, &Gate::open()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Other);
    assert!(fault.message.contains("InvalidChangeBatch: RRSet with DNS name"), "{fault}");
}

#[tokio::test]
async fn a_record_of_a_zone_that_is_gone_is_absent_and_does_not_hide_the_others() {
    let fake = Fake::start(|request| {
        if request.contains("hostedzone/Z1/") {
            refusal(404, "NoSuchHostedZone")
        } else {
            list(&set("db.example.com.", "A", &["10.0.0.4"]))
        }
    })
    .await;
    let Resource::Dns { name, .. } = record("db.example.com") else { unreachable!() };
    let there = Resource::Dns { zone: "Z2".parse().unwrap(), name, ttl: 60, public: true };
    let clouds = clouds(&fake.url).await;
    let found = clouds.holders(&[record("db.example.com"), there]).await.unwrap();
    assert_eq!(
        found.into_iter().map(|(_, seen)| seen).collect::<Vec<_>>(),
        [Location::Absent, at(4)]
    );
}

#[tokio::test]
async fn the_name_of_a_zone_is_that_of_its_first_record() {
    let fake = Fake::start(|request| {
        if request.contains("/Z1/") {
            list(&set("example.com.", "NS", &["ns.example.com."]))
        } else if request.contains("/Z2/") {
            list(&set("a.example.com.", "A", &["10.0.0.4"]))
        } else {
            refusal(404, "NoSuchHostedZone")
        }
    })
    .await;
    let ids = ["Z1", "Z2", "Z3"].map(|id| id.parse().unwrap());
    let zones = clouds(&fake.url).await.route53().zones(&ids).await.unwrap();
    let named = |id: &HostedZoneId| zones.get(id).cloned();
    assert_eq!(named(&ids[0]), Some(Some("example.com".parse().unwrap())));
    assert_eq!(named(&ids[1]), Some(None));
    assert_eq!(named(&ids[2]), None);
}

#[test]
fn reads_keep_a_pace_and_the_first_does_not_wait() {
    let begin = Instant::now();
    let mut next = begin;
    let turns = [0, 10, 20].map(|ms| turn(&mut next, begin + Duration::from_millis(ms)));
    assert_eq!(turns, [begin, begin + PACE, begin + PACE * 2]);
    let late = begin + PACE * 9;
    assert_eq!(turn(&mut next, late), late, "what was not used is not saved up");
    assert_eq!(turn(&mut next, late), late + PACE);
}

#[test]
fn one_region_signs_for_each_partition() {
    for (own, wanted) in [
        ("eu-west-1", "us-east-1"),
        ("cn-north-1", "cn-northwest-1"),
        ("us-gov-east-1", "us-gov-west-1"),
    ] {
        assert_eq!(signing_region(own), wanted);
    }
}
