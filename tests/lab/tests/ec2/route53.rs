//! Route 53, in virtual time.

use std::net::Ipv4Addr;

use natha_lab::dataplane::Lookup;
use natha_lab::ec2::{ApiError, Fault, FaultRule, Grant, Policy, Principal, Timings};

use super::scene::{Lab, at, texts, timings};

const NAME: &str = "db.example.test.";

/// A lab with a zone, and its id; rates are of no account but where a test is about them.
fn zone() -> (Lab, String) {
    let mut lab = Lab::new(Timings { dns_sync_ms: 5_000, ..timings() });
    let zone = lab.world.create_hosted_zone("Example.test", at(1_000)).unwrap();
    (lab, zone)
}

/// A batch of one change of an A record with a TTL of 5 s.
fn change(
    lab: &mut Lab,
    ms: u64,
    zone: &str,
    action: &str,
    value: &str,
) -> Result<String, ApiError> {
    let params = [
        ("HostedZoneId", zone),
        ("Change.1.Action", action),
        ("Change.1.Name", "db.example.test"),
        ("Change.1.Type", "A"),
        ("Change.1.TTL", "5"),
        ("Change.1.Value.1", value),
    ];
    lab.call(ms, "ChangeResourceRecordSets", &params)
}

fn refused(lab: &mut Lab, ms: u64, zone: &str, action: &str, value: &str) -> String {
    let error = change(lab, ms, zone, action, value).unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("InvalidChangeBatch", 400), "{error}");
    error.message
}

fn address(last: u8) -> Lookup {
    Lookup::Addresses { ttl: 5, addresses: vec![Ipv4Addr::new(192, 0, 2, last)] }
}

fn records(lab: &mut Lab, ms: u64, zone: &str) -> Vec<String> {
    let answer = lab.call(ms, "ListResourceRecordSets", &[("HostedZoneId", zone)]).unwrap();
    texts(&answer, "Value").into_iter().map(str::to_owned).collect()
}

#[test]
fn a_change_is_pending_until_the_name_servers_have_it() {
    let (mut lab, zone) = zone();
    let answer = change(&mut lab, 10_000, &zone, "CREATE", "192.0.2.1").unwrap();
    assert_eq!(texts(&answer, "Status"), ["PENDING"]);
    let id = texts(&answer, "Id")[0].to_owned();
    assert!(id.starts_with("/change/C"), "{id}");
    let mut status = |ms| {
        let answer = lab.call(ms, "GetChange", &[("Id", &id)]).unwrap();
        (texts(&answer, "Status")[0].to_owned(), lab.world.resolve(NAME, at(ms)))
    };
    assert_eq!(status(14_999), ("PENDING".to_owned(), Lookup::Unknown));
    assert_eq!(status(15_000), ("INSYNC".to_owned(), address(1)));
    change(&mut lab, 20_000, &zone, "UPSERT", "192.0.2.2").unwrap();
    assert_eq!(lab.world.resolve("DB.example.test", at(24_999)), address(1));
    assert_eq!(lab.world.resolve("db.example.test", at(25_000)), address(2));
    change(&mut lab, 30_000, &zone, "DELETE", "192.0.2.2").unwrap();
    assert_eq!(lab.world.resolve(NAME, at(34_999)), address(2));
    assert_eq!(lab.world.resolve(NAME, at(35_000)), Lookup::Unknown);
    assert_eq!(lab.world.resolve("example.test", at(35_000)), Lookup::NoAddress);
    assert_eq!(lab.world.resolve("elsewhere.test", at(35_000)), Lookup::Unknown);
    let unknown = lab.call(35_000, "GetChange", &[("Id", "C1")]).unwrap_err();
    assert_eq!((unknown.code.as_str(), unknown.status), ("NoSuchChange", 404));
}

#[test]
fn what_the_records_do_not_allow_is_refused_in_route_53s_words() {
    let (mut lab, zone) = zone();
    let mut ms = 10_000;
    let mut say = |action: &str, value: &str| {
        ms += 1_000;
        refused(&mut lab, ms, &zone, action, value)
    };
    let about = "[name='db.example.test.', type='A']";
    assert_eq!(
        say("DELETE", "192.0.2.1"),
        format!("[Tried to delete resource record set {about} but it was not found]")
    );
    assert_eq!(
        say("CREATE", "300.0.2.1"),
        "[Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid \
         IPv4 address) encountered with '300.0.2.1'']"
    );
    change(&mut lab, 30_000, &zone, "CREATE", "192.0.2.1").unwrap();
    assert_eq!(
        refused(&mut lab, 31_000, &zone, "CREATE", "192.0.2.1"),
        format!("[Tried to create resource record set {about} but it already exists]")
    );
    assert_eq!(
        refused(&mut lab, 32_000, &zone, "DELETE", "192.0.2.2"),
        format!(
            "[Tried to delete resource record set {about} but the values provided do not match the \
             current values]"
        )
    );
    assert_eq!(records(&mut lab, 33_000, &zone).last().unwrap(), "192.0.2.1");
}

#[test]
fn a_batch_is_done_as_a_whole_or_not_at_all() {
    let (mut lab, zone) = zone();
    let one = |n: usize, action: &'static str, name: &'static str| {
        [("Action", action), ("Name", name), ("Type", "A"), ("TTL", "5"), ("Value.1", "192.0.2.1")]
            .map(|(field, value)| (format!("Change.{n}.{field}"), value))
    };
    let mut batch = |ms, changes: &[(&'static str, &'static str)]| {
        let fields = changes.iter().enumerate();
        let fields: Vec<(String, &str)> =
            fields.flat_map(|(n, (action, name))| one(n + 1, action, name)).collect();
        let mut params: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        params.push(("HostedZoneId", &zone));
        lab.call(ms, "ChangeResourceRecordSets", &params)
    };
    let error = batch(
        10_000,
        &[("CREATE", "a.example.test"), ("DELETE", "b.example.test"), ("DELETE", "c.example.test")],
    )
    .unwrap_err();
    assert_eq!(error.message.matches("but it was not found").count(), 2, "{}", error.message);
    let elsewhere = batch(11_000, &[("CREATE", "a.elsewhere.test")]).unwrap_err();
    assert_eq!(
        elsewhere.message,
        "[RRSet with DNS name a.elsewhere.test. is not permitted in zone example.test.]"
    );
    let none = batch(12_000, &[]).unwrap_err();
    assert_eq!(none.code, "InvalidInput");
    batch(13_000, &[("CREATE", "a.example.test"), ("DELETE", "a.example.test")])
        .expect("changes of a batch follow each other");
    batch(14_000, &[("CREATE", "a.example.test"), ("UPSERT", "b.example.test")]).unwrap();
    assert_eq!(records(&mut lab, 15_000, &zone).len(), 4 + 1 + 2);
    assert_eq!(lab.world.resolve("a.example.test", at(18_999)), Lookup::Unknown);
    assert_eq!(lab.world.resolve("b.example.test", at(19_000)), address(1));
}

#[test]
fn listings_go_on_where_the_page_before_ended() {
    let (mut lab, zone) = zone();
    for name in ["b.example.test", "a.b.example.test", "c.example.test"] {
        let one = [Ipv4Addr::new(192, 0, 2, 1)];
        lab.world.put_record(&zone, name, 5, &one, at(2_000)).unwrap();
    }
    let prefixed = format!("/hostedzone/{zone}");
    let (mut found, mut from, mut ms) = (Vec::new(), None::<(String, String)>, 10_000);
    loop {
        let mut params = vec![("HostedZoneId", prefixed.as_str()), ("MaxItems", "2")];
        if let Some((name, kind)) = &from {
            params.extend([("StartRecordName", name.as_str()), ("StartRecordType", kind)]);
        }
        let answer = lab.call(ms, "ListResourceRecordSets", &params).unwrap();
        found.extend(texts(&answer, "Name").into_iter().map(str::to_owned));
        let next = |tag| texts(&answer, tag).first().map(|text| (*text).to_owned());
        from = next("NextRecordName").zip(next("NextRecordType"));
        ms += 1_000;
        if from.is_none() {
            assert_eq!(texts(&answer, "IsTruncated"), ["false"]);
            break;
        }
    }
    assert_eq!(
        found,
        [
            "example.test.",
            "example.test.",
            "b.example.test.",
            "a.b.example.test.",
            "c.example.test."
        ]
    );
    let from_name = [("HostedZoneId", &*zone), ("StartRecordName", "C.example.test")];
    let answer = lab.call(ms, "ListResourceRecordSets", &from_name).unwrap();
    assert_eq!(texts(&answer, "Name"), ["c.example.test."]);
    let only_type = [("HostedZoneId", &*zone), ("StartRecordType", "A")];
    assert_eq!(lab.code(ms + 1_000, "ListResourceRecordSets", &only_type), "InvalidInput");
    let other = lab.world.create_hosted_zone("a.test", at(ms + 1_000)).unwrap();
    let answer = lab.call(ms + 2_000, "ListHostedZonesByName", &[("MaxItems", "1")]).unwrap();
    assert_eq!(texts(&answer, "Id"), [format!("/hostedzone/{other}")]);
    assert_eq!(texts(&answer, "NextDNSName"), ["example.test."]);
    let by_name = [("DNSName", "example.test")];
    let answer = lab.call(ms + 3_000, "ListHostedZonesByName", &by_name).unwrap();
    assert_eq!(texts(&answer, "Id"), [format!("/hostedzone/{zone}")]);
    assert_eq!(texts(&answer, "ResourceRecordSetCount"), ["5"]);
    let unknown = lab.call(ms + 4_000, "GetHostedZone", &[("HostedZoneId", "Z1")]).unwrap_err();
    assert_eq!((unknown.code.as_str(), unknown.status), ("NoSuchHostedZone", 404));
}

#[test]
fn five_requests_a_second_are_served_and_the_rest_told_so_in_route_53s_way() {
    let (mut lab, zone) = zone();
    let ask = |lab: &mut Lab, ms| {
        let outcomes = (0..8).map(|_| lab.call(ms, "GetHostedZone", &[("HostedZoneId", &zone)]));
        outcomes.filter_map(Result::err).collect::<Vec<_>>()
    };
    let errors = ask(&mut lab, 10_000);
    assert_eq!(errors.len(), 3);
    let error = &errors[0];
    assert_eq!(
        (error.code.as_str(), error.status, error.message.as_str()),
        ("Throttling", 400, "Rate exceeded")
    );
    assert_eq!(ask(&mut lab, 10_400).len(), 6, "five tokens a second, for all calls together");
    lab.call(10_400, "DescribeVpcs", &[]).expect("EC2 has rates of its own");
}

#[test]
fn a_change_while_another_is_worked_on_is_refused() {
    let (mut lab, zone) = zone();
    lab.world.timings_mut().dns_busy_ms = 300;
    change(&mut lab, 10_000, &zone, "UPSERT", "192.0.2.1").unwrap();
    let error = change(&mut lab, 10_299, &zone, "UPSERT", "192.0.2.2").unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("PriorRequestNotComplete", 400));
    change(&mut lab, 10_300, &zone, "UPSERT", "192.0.2.2").unwrap();
    lab.world.timings_mut().dns_busy_ms = 0;
    let rule = FaultRule::on("ChangeResourceRecordSets", Fault::PriorRequest).times(1);
    lab.world.faults_mut().add(rule);
    let error = change(&mut lab, 12_000, &zone, "UPSERT", "192.0.2.3").unwrap_err();
    assert_eq!(error.code, "PriorRequestNotComplete");
    assert_eq!(records(&mut lab, 12_000, &zone).last().unwrap(), "192.0.2.2");
    change(&mut lab, 13_000, &zone, "UPSERT", "192.0.2.3").unwrap();
}

#[test]
fn faults_permissions_and_the_history_are_those_of_all_calls() {
    let (mut lab, zone) = zone();
    let node = Principal::Instance(lab.nodes[0].clone());
    let allow = vec![Grant {
        actions: vec!["ChangeResourceRecordSets".into()],
        resources: Some([zone.clone()].into()),
        ..Grant::default()
    }];
    lab.world.set_policy(node.clone(), Some(Policy { allow }));
    let prefixed = format!("/hostedzone/{zone}");
    let params = [
        ("HostedZoneId", prefixed.as_str()),
        ("Change.1.Action", "UPSERT"),
        ("Change.1.Name", NAME),
        ("Change.1.Type", "A"),
        ("Change.1.TTL", "5"),
        ("Change.1.Value.1", "192.0.2.1"),
    ];
    lab.call_as(&node, 10_000, "ChangeResourceRecordSets", &params).unwrap();
    let denied = lab.call_as(&node, 10_000, "GetHostedZone", &params[..1]).unwrap_err();
    assert_eq!((denied.code.as_str(), denied.status), ("AccessDenied", 403));
    assert!(denied.message.contains("route53:GetHostedZone"), "{}", denied.message);
    let about = FaultRule::everywhere(Fault::ServerError).about(&zone).times(1);
    lab.world.faults_mut().add(about);
    let failed = lab.call(11_000, "GetHostedZone", &[("HostedZoneId", &zone)]).unwrap_err();
    assert_eq!((failed.code.as_str(), failed.status), ("InternalFailure", 500));
    lab.world.faults_mut().add(FaultRule::on("List*", Fault::Stale { ms: 2_000 }));
    assert!(!records(&mut lab, 11_999, &zone).contains(&"192.0.2.1".to_owned()));
    assert!(records(&mut lab, 12_000, &zone).contains(&"192.0.2.1".to_owned()));
    let dry = [("HostedZoneId", &*zone), ("DryRun", "true")];
    assert_eq!(lab.code(13_000, "GetHostedZone", &dry), "UnknownParameter");
    let calls = lab.world.history();
    assert_eq!((&calls[0].principal, calls[0].error.as_deref()), (&node, None));
    assert_eq!(calls[1].error.as_deref(), Some("AccessDenied"));
}
