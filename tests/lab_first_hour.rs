//! The commands of `docs/first-hour.md`, run as they are in a VPC with a NAT gateway.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test waits until a deadline")]

#[path = "trial/services.rs"]
mod services;

use std::fs;
use std::time::Instant;

use natha_lab::net::internet::INTERNET_HOST;
use natha_lab::scene::element;
use natha_lab::{HostSpec, Lab, Role, Spec};
use services::{PATIENCE, Services, repository};

/// The commands of the page, one block after the other: what the reader fills in is left out, and
/// so is what says that it was not run.
fn commands(page: &str) -> String {
    let mut marks = page.split("\n```sh\n");
    let mut before = marks.next().unwrap();
    let mut found = String::new();
    for block in marks {
        let (commands, after) = block.split_once("\n```\n").unwrap();
        let mark = before.lines().last().unwrap_or_default();
        if !mark.starts_with("<!-- ") {
            found.push_str(commands);
            found.push('\n');
        }
        before = after;
    }
    found
}

/// Gives the lab's VPC a NAT gateway to which both private subnets lead, and returns its id.
fn add_gateway(lab: &Lab) -> String {
    let made = |action: &str, params: &[(&str, &str)], id: &str| {
        element(&lab.ec2(action, params).unwrap(), id)
    };
    let address = made("AllocateAddress", &[("Domain", "vpc")], "allocationId");
    let subnet = lab.zone(0).unwrap().public_subnet;
    let place = [("SubnetId", &*subnet), ("AllocationId", &*address)];
    let gateway = made("CreateNatGateway", &place, "natGatewayId");
    for zone in 0..2 {
        let table = lab.zone(zone).unwrap().private_table;
        let route = [
            ("RouteTableId", &*table),
            ("DestinationCidrBlock", "0.0.0.0/0"),
            ("NatGatewayId", &*gateway),
        ];
        lab.ec2("CreateRoute", &route).unwrap();
    }
    // The gateway is pending at first.
    let end = Instant::now() + PATIENCE;
    for host in ["host-a", "host-b"] {
        while lab.sh(host, &format!("ping -c1 -W1 {INTERNET_HOST}")).is_err() {
            assert!(Instant::now() < end, "{host} does not reach the internet");
        }
    }
    gateway
}

#[test]
fn the_commands_of_the_page_lead_to_natha_and_back_losing_no_packet() {
    let host = |name: &str, zone| HostSpec::new(name, zone, Role::Private);
    let spec = Spec::nodes(0).with_host(host("host-a", 0)).with_host(host("host-b", 1));
    let services = Services::start(&spec);
    let lab = &services.lab;
    let gateway = add_gateway(lab);
    let page = fs::read_to_string(repository().join("docs/first-hour.md")).unwrap();
    let account = lab.account().unwrap();
    let [a, b] = [&account.zones[0], &account.zones[1]];
    let script = format!(
        "set -euo pipefail; cd {}\n\
         VPC={} SUBNET_A={} SUBNET_B={} TABLE_A={} TABLE_B={} AMI=ami-0123456789abcdef0\n\
         URL={} SUM={}\n{}",
        services.directory.path().display(),
        account.vpc,
        a.public_subnet,
        b.public_subnet,
        a.private_table,
        b.private_table,
        services.package,
        services.sum,
        commands(&page),
    );
    let meters = ["host-a", "host-b"].map(|host| lab.ping(host, 20).unwrap());
    let done = services.run(&["bash", "-c", &script]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    // The tables are shown at first, beside the tag, after the way back, and at the very end.
    for table in [&a.private_table, &b.private_table] {
        let shown = done.stdout.matches(&format!("{table}\t{gateway}")).count();
        assert_eq!(shown, 4, "{table}: {}", done.stdout);
    }
    for meter in meters {
        let report = lab.pinged(meter).unwrap();
        assert_eq!(report.lost, 0, "{} of {} lost", report.lost, report.sent);
    }
    let nodes = lab.status().unwrap().hosts;
    let mut nodes: Vec<&str> = nodes.iter().map(|host| &*host.name).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["host-a", "host-b"]);
}

#[test]
fn what_the_reader_fills_in_and_what_was_not_run_is_left_out() {
    let page = "a\n<!-- yours -->\n```sh\nX=…\n```\nb\n\n```sh\none\n```\n\n\
                <!-- not run -->\n```sh\ntwo\n```\nc\n```sh\nthree\n```\n";
    assert_eq!(commands(page), "one\nthree\n");
}
