//! An instance's metadata beside what others know of it: the paths of AWS's own mock, version 1 of
//! the service, and paths as clients paste them together.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be done is a failure")]

#[path = "lab_support/wait.rs"]
mod wait;

use std::collections::BTreeMap;

use natha_lab::spec::HostSpec;
use natha_lab::{Lab, Role, Spec};
use serde::Deserialize;
use wait::eventually;

/// The paths below `meta-data/` and `dynamic/` that AWS's mock of the service has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    source: String,
    /// Those whose value is the same on every instance of the lab.
    values: BTreeMap<String, String>,
    present: Vec<String>,
    of_an_interface: Vec<String>,
    dynamic: Vec<String>,
    /// Those of what no instance of the lab has, and what that is.
    absent: BTreeMap<String, String>,
}

/// Asks on a host, with a token, for each of these paths; the codes and the bodies.
fn asked(lab: &Lab, host: &str, paths: &[String]) -> Vec<(String, String)> {
    let mut script = "at=http://169.254.169.254/latest
token=$(curl -sf -X PUT $at/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60') || exit 1
ask() { curl -s -w '\\n%{http_code}\\n--\\n' -H \"X-aws-ec2-metadata-token: $token\" $at/$1; }
"
    .to_owned();
    script.extend(paths.iter().map(|path| format!("ask '{path}'\n")));
    let said = lab.sh(host, &script).unwrap();
    let answers = said.split_terminator("\n--\n").map(|answer| {
        let (body, code) = answer.rsplit_once('\n').unwrap();
        (code.to_owned(), body.trim_start_matches('\n').to_owned())
    });
    answers.collect()
}

#[test]
fn the_paths_of_awss_own_mock_are_answered_and_listed() {
    let evidence: Evidence = serde_json::from_str(include_str!("evidence/metadata.json")).unwrap();
    assert!(evidence.source.starts_with("aws/amazon-ec2-metadata-mock"));
    let lab = Lab::start(&Spec::nodes(1)).unwrap();
    let mac = asked(&lab, "nat-a", &["meta-data/mac".to_owned()])[0].1.clone();
    let macs = "meta-data/network/interfaces/macs";
    let below = |directory: &str, names: &[String]| -> Vec<String> {
        names.iter().map(|name| format!("{directory}/{name}")).collect()
    };
    let values: Vec<String> = evidence.values.keys().cloned().collect();
    let absent: Vec<String> = evidence.absent.keys().cloned().collect();
    let mut there = below("meta-data", &evidence.present);
    there.extend(below("meta-data", &values));
    there.extend(below(&format!("{macs}/{mac}"), &evidence.of_an_interface));
    there.extend(below("dynamic", &evidence.dynamic));
    for (path, (code, body)) in there.iter().zip(asked(&lab, "nat-a", &there)) {
        assert!(code == "200" && !body.is_empty(), "{path}: {code} {body}");
        let name = path.trim_start_matches("meta-data/");
        assert!(evidence.values.get(name).is_none_or(|value| *value == body), "{path}: {body}");
    }
    // Each is in the listing of its directory, as clients that read everything expect.
    let directories: Vec<String> =
        there.iter().map(|path| path.rsplit_once('/').unwrap().0.to_owned() + "/").collect();
    for (path, (_, listing)) in there.iter().zip(asked(&lab, "nat-a", &directories)) {
        let name = path.rsplit_once('/').unwrap().1;
        let listed = listing.lines().any(|line| line.trim_end_matches('/') == name);
        assert!(listed, "{path} is not in its directory: {listing}");
    }
    let gone = below("meta-data", &absent);
    for (path, (code, _)) in gone.iter().zip(asked(&lab, "nat-a", &gone)) {
        assert_eq!(code, "404", "{path}");
    }
}

#[test]
fn paths_are_answered_as_clients_paste_them_together() {
    let lab = Lab::start(&Spec::nodes(1)).unwrap();
    let host = lab.host("nat-a").unwrap();
    let mac = asked(&lab, "nat-a", &["meta-data/mac".to_owned()])[0].1.clone();
    let macs = "meta-data/network/interfaces/macs";
    let paths = [
        // As awseip does it: an entry of the listing, which ends in a slash, and another slash.
        format!("{macs}/{mac}//interface-id"),
        format!("{macs}//{mac}/interface-id/"),
        format!("{macs}/"),
        String::new(),
        "dynamic/".to_owned(),
    ];
    let found: Vec<String> =
        asked(&lab, "nat-a", &paths).into_iter().map(|(code, body)| code + " " + &body).collect();
    let interface = format!("200 {}", host.interface);
    let listing = format!("200 {mac}/");
    let wanted = [
        &*interface,
        &interface,
        &listing,
        "200 dynamic\nmeta-data\nuser-data",
        "200 fws/\ninstance-identity/",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn an_instance_that_does_not_require_tokens_answers_without_one() {
    let lab = Lab::start(&Spec::nodes(0).with_host(HostSpec::new("strict", 0, Role::Public)));
    let lab = lab.unwrap();
    let subnet = lab.zone(0).unwrap().public_subnet;
    let run = [
        ("ImageId", "ami-0123456789abcdef0"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SubnetId", &*subnet),
        ("MetadataOptions.HttpTokens", "optional"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "lax"),
    ];
    lab.ec2("RunInstances", &run).unwrap();
    let code = |host: &str, header: &str| {
        let at = "http://169.254.169.254/latest/meta-data/instance-id";
        let script = format!("curl -s -o /dev/null -w '%{{http_code}}' {header} {at}");
        lab.sh(host, &script).unwrap_or_default()
    };
    eventually("it has booted", || code("lax", "") == "200");
    assert_eq!(code("strict", ""), "401");
    let made_up = "-H 'X-aws-ec2-metadata-token: made-up'";
    assert_eq!(code("lax", made_up), "401", "a token that is sent must be good");
    let id = lab.host("lax").unwrap().instance;
    let shown = lab.ec2("DescribeInstances", &[("InstanceId.1", &id)]).unwrap();
    assert!(shown.contains("<httpTokens>optional</httpTokens>"), "{shown}");
}
