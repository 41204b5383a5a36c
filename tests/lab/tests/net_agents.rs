//! Real clients, unmodified: the resource agents of ClusterLabs that Debian packages, as Pacemaker
//! runs them on an instance, with the instance's own role; and the AWS CLI, in the internet.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be done is a failure")]

#[path = "lab_support/agents.rs"]
mod agents;
#[path = "lab_support/wait.rs"]
mod wait;

use std::net::Ipv4Addr;

use agents::{Agent, NOT_RUNNING, SUCCESS, configure};
use natha_lab::dataplane::Lookup;
use natha_lab::ec2::Principal;
use natha_lab::meter::tcp::Aim;
use natha_lab::{Lab, Spec};
use wait::eventually;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 1);
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
const NAME: &str = "db.example.test.";
const PORT: u16 = 5000;
const NODES: [&str; 2] = ["nat-a", "nat-b"];

fn start(spec: &Spec) -> Lab {
    let lab = Lab::start(spec).unwrap();
    for (host, line) in NODES.iter().zip(["I am a", "I am b"]) {
        lab.greet(host, PORT, line).unwrap();
        configure(&lab, host).unwrap();
    }
    lab
}

/// Fails unless the agent says that the resource runs on the first host, and on no other.
fn runs_only_on(agent: &Agent<'_>, host: &str) {
    for node in NODES {
        let expected = if node == host { SUCCESS } else { NOT_RUNNING };
        agent.run(node, "monitor", expected);
    }
}

/// Which nodes succeeded in these calls, one after the other, without repetitions.
fn callers(lab: &Lab, action: &str) -> Vec<String> {
    let hosts = NODES.map(|node| (node, lab.host(node).unwrap().instance));
    let calls = lab.timeline().unwrap().calls.into_iter();
    let done = calls.filter(|call| call.action == action && call.error.is_none());
    let by = |principal: &Principal| {
        let found = hosts.iter().find(|(_, id)| *principal == Principal::Instance(id.clone()));
        found.map_or("the owner", |(node, _)| *node).to_owned()
    };
    let mut names: Vec<String> = done.map(|call| by(&call.principal)).collect();
    names.dedup();
    names
}

fn banner(lab: &Lab, meter: u64, wanted: &str) {
    eventually(&format!("`{wanted}` answers"), || {
        let last = lab.connected_so_far(meter).unwrap().reigns().pop();
        last.is_some_and(|last| last.banner == wanted && last.served > 3)
    });
}

/// Waits until packets to the floating address get to a host, or to none.
fn delivered(lab: &Lab, to: Option<&str>) {
    let there = || lab.private_on(FLOATING).unwrap().as_deref() == to;
    eventually(&format!("the address is on {to:?}"), there);
}

/// Waits until packets to the Elastic IP address get to a host.
fn published(lab: &Lab, to: &str) {
    let there = || lab.elastic_on("web").unwrap().as_deref() == Some(to);
    eventually(&format!("the Elastic IP address is on {to}"), there);
}

#[test]
fn aws_vpc_move_ip_starts_moves_is_monitored_and_stops() {
    let mut spec = Spec::nodes(2).with_route(VIP.into(), "nat-a", &["public", "private-a"]);
    spec.hosts.iter_mut().for_each(|host| host.source_dest_check = false);
    let lab = start(&spec);
    let account = lab.account().unwrap();
    let tables = ["public", "private-a"].map(|name| account.table(name).unwrap()).join(",");
    let address = VIP.to_string();
    let params = [("ip", &*address), ("routing_table", &*tables), ("interface", "ens5")];
    let agent = Agent::new(&lab, "aws-vpc-move-ip", &params).with("monapi", "true");
    // The route leads there, and the address is not on the interface.
    agent.run("nat-a", "monitor", NOT_RUNNING);
    agent.run("nat-b", "start", SUCCESS);
    runs_only_on(&agent, "nat-b");
    let client = lab.connect("host-a", VIP, Aim::port(PORT)).unwrap();
    banner(&lab, client, "I am b");
    // As Pacemaker moves it: it stops on one node and starts on the other. The route stays.
    agent.run("nat-b", "stop", SUCCESS);
    agent.run("nat-b", "monitor", NOT_RUNNING);
    assert!(lab.leads(VIP.into()).unwrap().iter().eq(["nat-b"]));
    let by_interface = agent.with("lookup_type", "NetworkInterfaceId");
    by_interface.run("nat-a", "start", SUCCESS);
    runs_only_on(&by_interface, "nat-a");
    banner(&lab, client, "I am a");
    by_interface.run("nat-a", "stop", SUCCESS);
    assert_eq!(callers(&lab, "ReplaceRoute"), ["nat-b", "nat-a"]);
}

#[test]
fn awsvip_takes_a_secondary_address_from_the_other_node_and_gives_it_up() {
    let mut spec = Spec::nodes(2);
    spec.hosts[1].zone = 0;
    let lab = start(&spec);
    let address = FLOATING.to_string();
    let agent = Agent::new(&lab, "awsvip", &[("secondary_private_ip", &*address)]);
    for node in NODES {
        agent.run(node, "start", SUCCESS);
        runs_only_on(&agent, node);
        delivered(&lab, Some(node));
    }
    agent.run("nat-b", "stop", SUCCESS);
    agent.run("nat-b", "monitor", NOT_RUNNING);
    delivered(&lab, None);
    assert_eq!(callers(&lab, "AssignPrivateIpAddresses"), NODES);
    assert_eq!(callers(&lab, "UnassignPrivateIpAddresses"), ["nat-b"]);
}

#[test]
fn awseip_moves_an_elastic_address_from_the_other_node() {
    let lab = start(&Spec::nodes(2).with_address("web", None));
    let web = lab.account().unwrap().elastic["web"].clone();
    let address = web.address.to_string();
    let params = [("elastic_ip", &*address), ("allocation_id", &*web.allocation)];
    let agent = Agent::new(&lab, "awseip", &params);
    for node in NODES {
        agent.run(node, "start", SUCCESS);
        runs_only_on(&agent, node);
        published(&lab, node);
    }
    agent.run("nat-b", "stop", SUCCESS);
    agent.run("nat-b", "monitor", NOT_RUNNING);
    // On a private address, the interface of which it looks up in the metadata.
    let own = lab.host("nat-a").unwrap().private[0].to_string();
    let on_own = agent.with("private_ip_address", &own);
    on_own.run("nat-a", "start", SUCCESS);
    runs_only_on(&on_own, "nat-a");
    published(&lab, "nat-a");
    assert_eq!(callers(&lab, "AssociateAddress"), ["nat-a", "nat-b", "nat-a"]);
}

#[test]
fn aws_vpc_route53_points_a_name_to_the_node_where_it_starts() {
    let mut spec = Spec::nodes(2).with_zone("example.test");
    spec.ec2.dns_sync_ms = 500;
    let lab = start(&spec);
    let zone = lab.account().unwrap().hosted_zones["example.test"].clone();
    let params = [("hostedzoneid", &*zone), ("fullname", NAME), ("ttl", "5"), ("ip", "local")];
    let agent = Agent::new(&lab, "aws-vpc-route53", &params);
    for node in NODES {
        agent.run(node, "start", SUCCESS);
        let own = lab.host(node).unwrap().private[0];
        let wanted = Lookup::Addresses { ttl: 5, addresses: vec![own] };
        assert_eq!(lab.resolve(NAME.trim_end_matches('.')).unwrap(), wanted);
        let asked = lab.sh(node, &format!("dig +short {NAME}")).unwrap();
        assert_eq!(asked.trim(), own.to_string());
    }
    // Where the name leads, it asks the resolver and changes nothing.
    agent.run("nat-b", "monitor", SUCCESS);
    agent.run("nat-b", "stop", SUCCESS);
    assert_eq!(callers(&lab, "ChangeResourceRecordSets"), NODES);
    let changes = lab.timeline().unwrap().calls;
    let changes = changes.iter().filter(|call| call.action == "ChangeResourceRecordSets");
    assert_eq!(changes.count(), NODES.len());
}

/// Runs the AWS CLI as the account's owner; what it prints, or its error.
fn aws(lab: &Lab, arguments: &[&str]) -> Result<String, String> {
    let cli = agents::cli();
    let argv = [&[&*cli], arguments].concat();
    let done = lab.exec("internet", &argv, agents::LIMIT).unwrap();
    if done.code == 0 { Ok(done.stdout) } else { Err(done.stderr) }
}

#[test]
fn the_aws_cli_describes_replaces_associates_and_assigns() {
    let spec =
        Spec::nodes(2).with_route(VIP.into(), "nat-a", &["private-a"]).with_address("web", None);
    let lab = Lab::start(&spec).unwrap();
    let account = lab.account().unwrap();
    let [a, b] = NODES.map(|node| lab.host(node).unwrap());
    let table = account.table("private-a").unwrap();
    let block = format!("{VIP}/32");
    let query =
        format!("RouteTables[].Routes[?DestinationCidrBlock=='{block}'][].[InstanceId,State]");
    let describe = ["ec2", "describe-route-tables", "--route-table-ids", table, "--query", &query];
    let shown = || aws(&lab, &[&describe[..], &["--output", "text"]].concat()).unwrap();
    assert_eq!(shown(), format!("{}\tactive\n", a.instance));
    let there = ["ec2", "replace-route", "--route-table-id", table];
    let to = ["--network-interface-id", &*b.interface, "--destination-cidr-block"];
    let replaced = aws(&lab, &[&there[..], &to, &[&*block]].concat());
    assert_eq!(replaced.unwrap(), "", "as on AWS, the answer has no member");
    assert_eq!(shown(), format!("{}\tactive\n", b.instance));
    let refused = aws(&lab, &[&there[..], &to, &["192.168.7.7/32"]].concat()).unwrap_err();
    let said = "An error occurred (InvalidParameterValue) when calling the ReplaceRoute \
                operation: There is no route defined for '192.168.7.7/32' in the route table. \
                Use CreateRoute instead.";
    assert!(refused.contains(said), "{refused}");

    let web = &account.elastic["web"];
    let associate = ["ec2", "associate-address", "--allocation-id", &*web.allocation];
    let move_to = |instance: &str| {
        aws(&lab, &[&associate[..], &["--instance-id", instance]].concat()).unwrap()
    };
    let first: serde_json::Value = serde_json::from_str(&move_to(&a.instance)).unwrap();
    assert!(first["AssociationId"].as_str().unwrap().starts_with("eipassoc-"), "{first}");
    // It moves without --allow-reassociation: see docs/lab.md.
    move_to(&b.instance);
    let public = web.address.to_string();
    let addresses = ["ec2", "describe-addresses", "--public-ips", &*public, "--output", "text"];
    let text = aws(&lab, &addresses).unwrap();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<&str> = line.split('\t').collect();
    assert_eq!(fields[0], "ADDRESSES");
    for wanted in [&*web.allocation, &public, &b.instance, &b.interface, "vpc"] {
        assert!(fields.contains(&wanted), "no {wanted} in {line}");
    }

    let assign = ["ec2", "assign-private-ip-addresses", "--network-interface-id", &*a.interface];
    let address = FLOATING.to_string();
    let assigned =
        aws(&lab, &[&assign[..], &["--private-ip-addresses", &address]].concat()).unwrap();
    let assigned: serde_json::Value = serde_json::from_str(&assigned).unwrap();
    assert_eq!(assigned["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"], *address);
    delivered(&lab, Some("nat-a"));
    let waited = ["ec2", "wait", "instance-running", "--instance-ids", &*a.instance];
    assert_eq!(aws(&lab, &waited).unwrap(), "");
}
