//! Power of simulated instances, their metadata, and what stands still.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot be done is a failure")]

mod lab_support;

use std::time::Duration;

use lab_support::wait::LONG;
use lab_support::{eventually, nat_lab, reaches};
use natha_lab::daemon::shared::{HostView, Power};
use natha_lab::ec2::Principal;
use natha_lab::{Lab, Spec, Status};

fn power(lab: &Lab, host: &str, wanted: &str) {
    lab.wait_until(LONG, |status| {
        let mut hosts = status.hosts.iter();
        hosts.any(|it| it.name == host && serde_json::json!(it.power) == wanted)
    })
    .unwrap();
}

fn subnet_leads(lab: &Lab, to: &str) {
    let subnet = lab.zone(0).unwrap().private_subnet;
    lab.wait_until(LONG, |status| {
        status.routes.iter().any(|route| route.subnet == subnet && route.to == to)
    })
    .unwrap();
}

#[test]
fn a_stopped_instance_is_a_blackhole_and_boots_again_through_user_data() {
    let lab = nat_lab(2);
    eventually("it forwards", || reaches(&lab, "host-a"));
    lab.sh("nat-a", "echo kept > /root/kept; sysctl -w net.ipv4.ip_forward=1").unwrap();
    let before = lab.host("nat-a").unwrap();
    lab.ec2("StopInstances", &[("InstanceId.1", &before.instance)]).unwrap();
    power(&lab, "nat-a", "off");
    subnet_leads(&lab, "nowhere");
    assert!(!reaches(&lab, "host-a"));
    let private = before.private[0];
    assert!(lab.sh("nat-b", &format!("ping -c1 -W1 {private}")).is_err());
    assert!(lab.sh("nat-a", "true").is_err(), "nothing runs on it");

    lab.ec2("StartInstances", &[("InstanceId.1", &before.instance)]).unwrap();
    power(&lab, "nat-a", "on");
    eventually("it forwards again", || reaches(&lab, "host-a"));
    let after = lab.host("nat-a").unwrap();
    assert_eq!((after.boot, after.private.clone()), (before.boot + 1, before.private));
    assert_ne!(after.public, before.public, "an automatic public address is not kept");
    assert_eq!(lab.sh("nat-a", "cat /root/kept").unwrap().trim(), "kept", "the disk is kept");
    assert_eq!(lab.console("nat-a").unwrap().matches("NAT configured").count(), 2);
}

#[test]
fn stopping_asks_the_guest_first() {
    let mut spec = Spec::nodes(1).with_node_user_data(
        "#!/bin/sh\ntrap 'echo told to end' TERM\necho waiting\nsleep 1000 & wait\nwait\n",
    );
    spec.ec2.stop_ms = 1000;
    let lab = Lab::start(&spec).unwrap();
    eventually("it waits", || lab.console("nat-a").unwrap().contains("waiting"));
    let instance = lab.host("nat-a").unwrap().instance;
    lab.ec2("StopInstances", &[("InstanceId.1", &instance)]).unwrap();
    power(&lab, "nat-a", "off");
    assert!(lab.console("nat-a").unwrap().contains("told to end"));
}

#[test]
fn a_guest_that_powers_itself_off_is_stopped_in_ec2() {
    let lab = nat_lab(1);
    let instance = lab.host("nat-a").unwrap().instance;
    lab.spawn("nat-a", &["poweroff"]).unwrap();
    power(&lab, "nat-a", "off");
    let answer = lab.ec2("DescribeInstances", &[("InstanceId.1", &instance)]).unwrap();
    assert!(answer.contains("Client.InstanceInitiatedShutdown"), "{answer}");
}

#[test]
fn a_guest_that_reboots_itself_boots_again_and_runs_in_ec2_all_the_while() {
    let lab = nat_lab(1);
    lab.sh("nat-a", "echo kept > /root/kept; echo lost > /run/lost").unwrap();
    let before = lab.host("nat-a").unwrap();
    lab.spawn("nat-a", &["reboot"]).unwrap();
    let again = |status: &Status| {
        let found = status.hosts.iter().find(|it| it.name == before.name);
        found.is_some_and(|it| it.boot > before.boot && it.power == Power::On)
    };
    lab.wait_until(LONG, again).unwrap();
    assert_eq!(lab.sh("nat-a", "cat /root/kept; ls /run/lost || true").unwrap(), "kept\n");
    let after = lab.host("nat-a").unwrap();
    assert_eq!((after.boot, after.public), (before.boot + 1, before.public));
    let answer = lab.ec2("DescribeInstances", &[("InstanceId.1", &before.instance)]).unwrap();
    assert!(answer.contains("<name>running</name>"), "{answer}");
    eventually("it forwards again", || reaches(&lab, "host-a"));
}

#[test]
fn a_frozen_host_is_silent_and_resumes_where_it_was() {
    let lab = nat_lab(2);
    eventually("it forwards", || reaches(&lab, "host-a"));
    lab.spawn("nat-a", &["sh", "-c", "while :; do date +%s%N > /root/tick; sleep 0.02; done"])
        .unwrap();
    eventually("it ticks", || lab.sh("nat-a", "cat /root/tick").is_ok_and(|it| !it.is_empty()));
    let private = lab.host("nat-a").unwrap().private[0];
    let ping = format!("ping -c1 -W1 {private}");
    lab.freeze("nat-a").unwrap();
    assert!(!reaches(&lab, "host-a"), "it forwards nothing");
    assert!(lab.sh("nat-b", &ping).is_err(), "it answers nothing");
    let answer = lab.ec2("DescribeInstances", &[]).unwrap();
    assert!(!answer.contains("<name>stopped</name>"), "EC2 sees nothing of it");
    lab.thaw("nat-a").unwrap();
    eventually("it answers", || lab.sh("nat-b", &ping).is_ok());
    eventually("it forwards", || reaches(&lab, "host-a"));
    let tick = lab.sh("nat-a", "cat /root/tick").unwrap();
    eventually("it ticks on", || lab.sh("nat-a", "cat /root/tick").unwrap() != tick);
}

#[test]
fn a_panicked_host_runs_for_ec2_and_comes_back_only_by_stop_and_start() {
    let lab = nat_lab(2);
    eventually("it forwards", || reaches(&lab, "host-a"));
    let host = lab.host("nat-a").unwrap();
    lab.panic("nat-a").unwrap();
    assert!(!reaches(&lab, "host-a"));
    assert!(lab.thaw("nat-a").is_err());
    let answer = lab.ec2("DescribeInstances", &[("InstanceId.1", &host.instance)]).unwrap();
    assert!(answer.contains("<name>running</name>"), "{answer}");
    lab.ec2("StopInstances", &[("InstanceId.1", &host.instance)]).unwrap();
    power(&lab, "nat-a", "off");
    lab.ec2("StartInstances", &[("InstanceId.1", &host.instance)]).unwrap();
    power(&lab, "nat-a", "on");
    eventually("it forwards again", || reaches(&lab, "host-a"));
}

#[test]
fn killing_by_name_reaches_one_host_only() {
    let lab = nat_lab(2);
    for host in ["nat-a", "nat-b"] {
        lab.spawn(host, &["sleep", "1000"]).unwrap();
    }
    assert_eq!(lab.kill("nat-a", "sleep").unwrap(), 1);
    assert!(lab.sh("nat-b", "pgrep -x sleep").is_ok());
    assert!(lab.sh("nat-a", "pgrep -x sleep").is_err());
}

#[test]
fn each_instance_has_its_own_metadata() {
    let mut spec = Spec::nodes(2).with_node_tag("natha:group", "one");
    spec.hosts[0].metadata_tags = true;
    let lab = Lab::start(&spec).unwrap();
    let get = |host: &str, path: &str| {
        let script = format!(
            "T=$(curl -sf -X PUT http://169.254.169.254/latest/api/token \
             -H 'X-aws-ec2-metadata-token-ttl-seconds: 60') && \
             curl -s -w ' %{{http_code}}' -H \"X-aws-ec2-metadata-token: $T\" \
             http://169.254.169.254/latest/{path}"
        );
        let text = lab.sh(host, &script).unwrap();
        let (body, code) = text.rsplit_once(' ').unwrap();
        (body.to_owned(), code.to_owned())
    };
    for name in ["nat-a", "nat-b", "host-a"] {
        let host = lab.host(name).unwrap();
        assert_eq!(get(name, "meta-data/instance-id"), (host.instance, "200".into()));
        let mac = get(name, "meta-data/mac").0;
        let of = |what: &str| get(name, &format!("meta-data/network/interfaces/macs/{mac}/{what}"));
        assert_eq!(of("interface-id").0, host.interface);
        assert_eq!(of("subnet-id").0, host.subnet);
        assert_eq!(of("local-ipv4s").0, host.private[0].to_string());
        assert_eq!(of("security-group-ids").0, lab.account().unwrap().group);
    }
    assert_eq!(get("host-a", "meta-data/public-ipv4").1, "404");
    assert_eq!(get("nat-a", "meta-data/tags/instance/natha:group"), ("one".into(), "200".into()));
    assert_eq!(get("nat-b", "meta-data/tags/instance/natha:group").1, "404");
    assert_eq!(get("nat-a", "meta-data/spot/instance-action").1, "404");
    lab.metadata("nat-a", "spot/instance-action", Some("{\"action\":\"stop\"}")).unwrap();
    assert_eq!(get("nat-a", "meta-data/spot/instance-action").1, "200");
    let role = get("nat-a", "meta-data/iam/security-credentials/").0;
    let keys = get("nat-a", &format!("meta-data/iam/security-credentials/{role}")).0;
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    assert_eq!(keys["Code"], "Success");
    let document = get("nat-b", "dynamic/instance-identity/document").0;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["availabilityZone"], "us-east-1b");
    let code = |host: &str, arguments: &str| {
        let script = format!("curl -s -o /dev/null -w '%{{http_code}}' {arguments}");
        lab.sh(host, &script).unwrap()
    };
    assert_eq!(code("nat-a", "http://169.254.169.254/latest/meta-data/instance-id"), "401");
    let put = "-X PUT http://169.254.169.254/latest/api/token";
    assert_eq!(code("nat-a", put), "400");
    let ttl = "-H 'X-aws-ec2-metadata-token-ttl-seconds: 60'";
    assert_eq!(code("nat-a", &format!("{put} {ttl} -H 'X-Forwarded-For: 1.2.3.4'")), "403");
}

#[test]
fn a_node_signs_with_its_own_credentials_and_is_known_by_them() {
    let lab = Lab::start(&Spec::nodes(2)).unwrap();
    let python = std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".into());
    // The instance has a clean environment: it is told where this machine's Python and boto3 are.
    let places = ["-c", "import sys, boto3; print(sys.executable); print(sys.path[1:])"];
    let places = std::process::Command::new(python).args(places).output().unwrap();
    assert!(places.status.success(), "set NATHA_PYTHON to a Python with boto3: {places:?}");
    let places = String::from_utf8(places.stdout).unwrap();
    let (python, path) = places.trim().split_once('\n').unwrap();
    let script = format!(
        "import sys\nsys.path = {path}\nimport boto3\n\
         here = dict(region_name='us-east-1')\n\
         print(len(boto3.client('ec2', **here).describe_vpcs()['Vpcs']))\n\
         print(boto3.client('route53', **here).list_hosted_zones_by_name()['HostedZones'])"
    );
    let host = lab.host("nat-b").unwrap();
    let done = lab.exec("nat-b", &[python, "-c", &script], Duration::from_mins(1)).unwrap();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let calls = lab.timeline().unwrap().calls;
    for action in ["DescribeVpcs", "ListHostedZonesByName"] {
        let call = calls.iter().find(|call| call.action == action).unwrap();
        assert_eq!(call.principal, Principal::Instance(host.instance.clone()), "{action}");
    }
}

#[test]
fn what_runs_right_after_a_boot_runs_on_the_instance_and_not_on_the_machine_below() {
    let spec = Spec::nodes(8);
    let lab = Lab::start(&spec).unwrap();
    let named = |host: &HostView| {
        let inside = lab.sh(&host.name, "cat /etc/hostname").unwrap();
        assert_eq!(inside.trim(), format!("ip-{}", host.private[0]).replace('.', "-"));
    };
    lab.status().unwrap().hosts.iter().for_each(named);
    let host = lab.host("nat-a").unwrap();
    lab.ec2("RebootInstances", &[("InstanceId.1", &host.instance)]).unwrap();
    let again = |status: &Status| {
        let found = status.hosts.iter().find(|it| it.name == host.name);
        found.is_some_and(|it| it.boot > host.boot && it.power == Power::On)
    };
    lab.wait_until(LONG, again).unwrap();
    named(&host);
}

#[test]
fn nodes_have_the_binary_under_test_and_private_hosts_have_not() {
    let mut spec = Spec::nodes(1);
    spec.natha = Some("/bin/echo".into());
    let lab = Lab::start(&spec).unwrap();
    assert_eq!(lab.sh("nat-a", "/usr/local/bin/natha under test").unwrap(), "under test\n");
    assert!(lab.sh("host-a", "/usr/local/bin/natha under test").is_err());
}

/// What EC2 says that an instance has written to its console.
fn console(lab: &Lab, host: &str) -> String {
    let id = lab.host(host).unwrap().instance;
    let answer = lab.ec2("GetConsoleOutput", &[("InstanceId", &id), ("Latest", "true")]).unwrap();
    let output = natha_lab::scene::element(&answer, "output");
    lab.sh("internet", &format!("base64 -d <<'END'\n{output}\nEND\n")).unwrap()
}

#[test]
fn a_guest_that_crashes_its_kernel_panics_alone_and_its_last_words_are_kept() {
    let lab = nat_lab(2);
    // The kernel of the machine may have none.
    let panic = || std::fs::read_to_string("/proc/sys/kernel/panic").ok();
    let own = panic();
    drop(lab.sh("nat-a", "echo 7 >/proc/sys/kernel/panic"));
    assert_eq!(panic(), own, "the machine's own reaction to a panic is not changed");
    lab.sh("nat-a", "echo last words >/dev/console").unwrap();
    eventually("EC2 shows them", || console(&lab, "nat-a").contains("last words"));
    // The shell ends with the kernel, and nothing can be said of how.
    drop(lab.sh("nat-a", "echo c >$SYSRQ_TRIGGER; sleep 10"));
    power(&lab, "nat-a", "panicked");
    assert!(lab.sh("nat-a", "true").is_err(), "nothing runs on it");
    assert!(console(&lab, "nat-a").contains("Kernel panic"));
    assert!(lab.sh("nat-b", "true").is_ok(), "no other one is touched");
    let id = lab.host("nat-a").unwrap().instance;
    let answer = lab.ec2("DescribeInstances", &[("InstanceId.1", &id)]).unwrap();
    assert!(answer.contains("<name>running</name>"), "EC2 does not notice: {answer}");
    lab.ec2("StopInstances", &[("InstanceId.1", &id)]).unwrap();
    power(&lab, "nat-a", "off");
    lab.ec2("StartInstances", &[("InstanceId.1", &id)]).unwrap();
    power(&lab, "nat-a", "on");
    assert!(!console(&lab, "nat-a").contains("last words"), "a boot begins a new console");
}

#[test]
fn an_instance_in_another_vpc_boots_with_its_own_metadata() {
    let lab = Lab::start(&Spec::nodes(0)).unwrap();
    let made = |action: &str, params: &[(&str, &str)], id: &str| {
        natha_lab::scene::element(&lab.ec2(action, params).unwrap(), id)
    };
    let vpc = made("CreateVpc", &[("CidrBlock", "10.99.0.0/16")], "vpcId");
    let place = ("AvailabilityZone", "us-east-1b");
    let subnet = [("VpcId", &*vpc), ("CidrBlock", "10.99.1.0/24"), place];
    let subnet = made("CreateSubnet", &subnet, "subnetId");
    let run = [
        ("ImageId", "ami-0123456789abcdef0"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SubnetId", &*subnet),
        ("IamInstanceProfile.Name", "guests"),
        ("MetadataOptions.InstanceMetadataTags", "enabled"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "guest"),
    ];
    lab.ec2("RunInstances", &run).unwrap();
    power(&lab, "guest", "on");
    let script = "at=http://169.254.169.254/latest
T=$(curl -sf -X PUT $at/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60')
item() { curl -sf -H \"X-aws-ec2-metadata-token: $T\" $at/meta-data/$1; echo; }
item placement/availability-zone
item network/interfaces/macs/$(item mac)/vpc-id
item network/interfaces/macs/$(item mac)/vpc-ipv4-cidr-block
item tags/instance/Name
item iam/security-credentials/";
    let told = lab.sh("guest", script).unwrap();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told, ["us-east-1b", &*vpc, "10.99.0.0/16", "guest", "guests"]);
}
