//! What the patterns of the documents need of the VPC: virtual IP routes, secondary private
//! addresses, Elastic IP addresses and names. Services and clients by hand, no natha.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be done is a failure")]

#[path = "lab_support/wait.rs"]
mod wait;

use std::net::Ipv4Addr;
use std::time::Duration;

use natha_lab::dataplane::Lookup;
use natha_lab::meter::tcp::{Aim, Report};
use natha_lab::spec::HostSpec;
use natha_lab::{Ec2Spec, Lab, Role, Spec};
use wait::eventually;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 1);
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
const PORT: u16 = 5000;
const NAME: &str = "db.example.test";

/// Hosts with a service that says who it is, in two zones, without a source/dest check, and clients
/// in the private subnets of both and in the first zone's public subnet.
fn spec(tables: &[&str]) -> Spec {
    let mut spec = Spec::nodes(2)
        .with_host(HostSpec::new("web", 0, Role::Public))
        .with_route(VIP.into(), "nat-a", tables)
        .with_ingress("203.0.113.0/24".parse().unwrap());
    spec.hosts.iter_mut().for_each(|host| host.source_dest_check = false);
    spec
}

fn start(spec: &Spec) -> Lab {
    let lab = Lab::start(spec).unwrap();
    for (host, line) in [("nat-a", "I am a"), ("nat-b", "I am b")] {
        lab.greet(host, PORT, line).unwrap();
    }
    lab
}

/// Waits until a meter has got this banner.
fn answered(lab: &Lab, meter: u64, banner: &str) {
    let told = || lab.connected_so_far(meter).unwrap().reigns();
    eventually(&format!("`{banner}` answers"), || {
        told().last().is_some_and(|last| last.banner == banner && last.served > 3)
    });
}

fn all_answered(lab: &Lab, meters: &[u64], banner: &str) {
    for meter in meters {
        answered(lab, *meter, banner);
    }
}

/// Whether the last ten connections of a meter were not served.
fn unserved(lab: &Lab, meter: u64) -> bool {
    let probes = lab.connected_so_far(meter).unwrap().probes;
    probes.len() >= 10 && probes.iter().rev().take(10).all(|probe| probe.took_ms.is_none())
}

fn banners(report: &Report) -> Vec<String> {
    report.reigns().into_iter().map(|reign| reign.banner).collect()
}

fn move_vip(lab: &Lab, to: &str, tables: &[&str]) {
    let (account, target) = (lab.account().unwrap(), lab.host(to).unwrap().interface);
    for table in tables {
        let params = [
            ("RouteTableId", account.table(table).unwrap()),
            ("DestinationCidrBlock", "192.168.100.1/32"),
            ("NetworkInterfaceId", &target),
        ];
        lab.ec2("ReplaceRoute", &params).unwrap();
    }
}

#[test]
fn a_virtual_address_follows_its_routes_for_clients_of_every_subnet() {
    let tables = ["public", "private-a", "private-b"];
    let lab = start(&spec(&tables));
    for host in ["nat-a", "nat-b"] {
        lab.sh(host, &format!("ip addr add {VIP}/32 dev lo")).unwrap();
    }
    let clients = ["host-a", "host-b", "web"];
    let meters = clients.map(|host| lab.connect(host, VIP, Aim::port(PORT)).unwrap());
    all_answered(&lab, &meters, "I am a");
    move_vip(&lab, "nat-b", &tables);
    all_answered(&lab, &meters, "I am b");
    for (meter, client) in meters.into_iter().zip(clients) {
        let report = lab.connected(meter).unwrap();
        assert_eq!(banners(&report), ["I am a", "I am b"], "{client}");
    }
    let routes = lab.status().unwrap().routes;
    let led = routes.iter().filter(|route| route.destination == "192.168.100.1/32");
    assert_eq!(led.count(), 5, "three public subnets share a table");
    eventually("the status tells it", || lab.leads(VIP.into()).unwrap().iter().eq(["nat-b"]));
}

#[test]
fn a_table_without_the_route_and_a_target_with_the_check_on_serve_nobody() {
    let lab = start(&spec(&["private-a"]));
    lab.sh("nat-a", &format!("ip addr add {VIP}/32 dev lo")).unwrap();
    let [near, far] =
        ["host-a", "host-b"].map(|host| lab.connect(host, VIP, Aim::port(PORT)).unwrap());
    answered(&lab, near, "I am a");
    let interface = lab.host("nat-a").unwrap().interface;
    let on = [("NetworkInterfaceId", &*interface), ("SourceDestCheck.Value", "true")];
    lab.ec2("ModifyNetworkInterfaceAttribute", &on).unwrap();
    eventually("the check drops what is not for the interface", || unserved(&lab, near));
    let own = lab.host("nat-a").unwrap().private[0];
    let direct = lab.connect("host-a", own, Aim::port(PORT)).unwrap();
    answered(&lab, direct, "I am a");
    let report = lab.connected(far).unwrap();
    assert!(report.sent > 0 && report.lost == report.sent, "nothing leads there from host-b");
}

#[test]
fn a_secondary_private_address_is_delivered_to_the_interface_that_holds_it() {
    let mut spec = spec(&[]);
    spec.hosts[1].zone = 0;
    spec.hosts[0].secondary = vec![FLOATING];
    spec.hosts.iter_mut().for_each(|host| host.source_dest_check = true);
    let lab = start(&spec);
    let take = |host: &str| format!("ip addr add {FLOATING}/32 dev ens5 # {host}");
    for host in ["nat-a", "nat-b"] {
        lab.sh(host, &take(host)).unwrap();
    }
    let shown = lab.host("nat-a").unwrap().private;
    assert_eq!(shown.last(), Some(&FLOATING));
    let meters = ["host-a", "host-b", "web"]
        .map(|host| lab.connect(host, FLOATING, Aim::port(PORT)).unwrap());
    all_answered(&lab, &meters, "I am a");
    let to = lab.host("nat-b").unwrap().interface;
    let params = [
        ("NetworkInterfaceId", &*to),
        ("PrivateIpAddress.1", "10.0.0.50"),
        ("AllowReassignment", "true"),
    ];
    lab.ec2("AssignPrivateIpAddresses", &params).unwrap();
    all_answered(&lab, &meters, "I am b");
    let ask = "token=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
                http://169.254.169.254/latest/api/token); \
                at=http://169.254.169.254/latest/meta-data; \
                mac=$(curl -s -H \"X-aws-ec2-metadata-token: $token\" $at/mac); \
                curl -s -H \"X-aws-ec2-metadata-token: $token\" \
                $at/network/interfaces/macs/$mac/local-ipv4s";
    eventually("the status tells it", || {
        lab.private_on(FLOATING).unwrap().as_deref() == Some("nat-b")
    });
    let seen = lab.sh("nat-b", ask).unwrap();
    assert!(seen.lines().any(|line| line == "10.0.0.50"), "{seen}");
    let unassign = [("NetworkInterfaceId", &*to), ("PrivateIpAddress.1", "10.0.0.50")];
    lab.ec2("UnassignPrivateIpAddresses", &unassign).unwrap();
    eventually("nobody holds it", || unserved(&lab, meters[0]));
}

#[test]
fn elastic_addresses_lead_the_internet_to_their_private_ones_and_move_after_their_delay() {
    let mut spec = spec(&[]).with_address("one", Some("nat-a")).with_address("two", None);
    spec.hosts[0].secondary = vec![FLOATING];
    spec.addresses[1].on = Some("nat-a".to_owned());
    spec.addresses[1].private = Some(FLOATING);
    spec.ec2 = Ec2Spec { propagation_ms: 1500, ..Ec2Spec::default() };
    let lab = start(&spec);
    lab.sh("nat-a", &format!("ip addr add {FLOATING}/32 dev ens5")).unwrap();
    let account = lab.account().unwrap();
    let (one, two) = (&account.elastic["one"], &account.elastic["two"]);
    let [first, second] =
        [one, two].map(|it| lab.connect("internet", it.address, Aim::port(PORT)).unwrap());
    answered(&lab, first, "I am a");
    answered(&lab, second, "I am a");
    let to = lab.host("nat-b").unwrap().interface;
    let params = [("AllocationId", &*one.allocation), ("NetworkInterfaceId", &*to)];
    lab.ec2("AssociateAddress", &params).unwrap();
    let moved = lab.timeline().unwrap().calls.pop().unwrap();
    assert_eq!(moved.action, "AssociateAddress");
    answered(&lab, first, "I am b");
    let report = lab.connected(first).unwrap();
    assert_eq!(banners(&report), ["I am a", "I am b"]);
    let (asked, in_force) = (moved.at.as_secs_f64() * 1e3, moved.in_force.unwrap());
    assert_eq!(in_force, moved.at + Duration::from_millis(1500));
    let last = report.reigns()[0].to_ms;
    assert!(last > asked + 300.0, "packets met a half-done move: {last} after {asked}");
    let next = report.reigns()[1].from_ms;
    assert!(next >= in_force.as_secs_f64() * 1e3 - 200.0, "{next} before {in_force:?}");
    let other = lab.connected(second).unwrap();
    assert_eq!(banners(&other), ["I am a"], "the other address stays");
    assert!(other.lost * 10 < other.sent, "{} of {} lost", other.lost, other.sent);
    eventually("the status tells it", || {
        lab.elastic_on("one").unwrap().as_deref() == Some("nat-b")
    });
    assert_eq!(lab.elastic_on("two").unwrap().as_deref(), Some("nat-a"));
    let seen = lab.sh("nat-b", "curl -s --max-time 5 http://203.0.113.10/").unwrap();
    assert_eq!(seen.trim(), one.address.to_string(), "what it sends comes from there, too");
}

#[test]
fn a_name_is_followed_from_the_internet_and_from_the_vpc_once_its_change_is_in_sync() {
    let mut spec = spec(&[])
        .with_address("a", Some("nat-a"))
        .with_address("b", Some("nat-b"))
        .with_zone("example.test");
    spec.ec2.dns_sync_ms = 3000;
    let lab = start(&spec);
    let account = lab.account().unwrap();
    let zone = account.hosted_zones["example.test"].clone();
    let [a, b] = ["a", "b"].map(|name| account.elastic[name].address.to_string());
    let upsert = |address: &str| {
        let params = [
            ("HostedZoneId", &*zone),
            ("Change.1.Action", "UPSERT"),
            ("Change.1.Name", NAME),
            ("Change.1.Type", "A"),
            ("Change.1.TTL", "1"),
            ("Change.1.Value.1", address),
        ];
        lab.ec2("ChangeResourceRecordSets", &params).unwrap()
    };
    upsert(&a);
    let resolved = |host: &str| lab.sh(host, &format!("getent ahostsv4 {NAME}")).ok();
    for host in ["internet", "host-a", "nat-b"] {
        eventually(&format!("{host} resolves it"), || {
            resolved(host).is_some_and(|text| text.starts_with(&a))
        });
    }
    assert!(lab.sh("internet", "getent ahostsv4 other.example.test").is_err());
    let meter = lab.connect_by_name("internet", Aim::name(NAME, PORT)).unwrap();
    answered(&lab, meter, "I am a");
    let answer = upsert(&b);
    let id = answer.split("/change/").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(answer.contains("<Status>PENDING</Status>"), "{answer}");
    assert!(resolved("internet").unwrap().starts_with(&a), "the name servers do not have it yet");
    eventually("the name servers have it", || resolved("internet").unwrap().starts_with(&b));
    let answer = lab.ec2("GetChange", &[("Id", &id)]).unwrap();
    assert!(answer.contains("<Status>INSYNC</Status>"), "{answer}");
    answered(&lab, meter, "I am b");
    let found = lab.resolve(NAME).unwrap();
    assert_eq!(found, Lookup::Addresses { ttl: 1, addresses: vec![b.parse().unwrap()] });
    let report = lab.connected(meter).unwrap();
    assert_eq!(banners(&report), ["I am a", "I am b"], "the record was kept for its TTL");
    let to: Vec<String> =
        report.probes.iter().filter_map(|probe| Some(probe.to?.to_string())).collect();
    assert!(to.contains(&a) && to.last() == Some(&b));
}

#[test]
fn hosts_run_services_with_files_of_their_own_and_lose_them_one_by_one() {
    let spec = Spec::nodes(1).with_host(HostSpec::new("client", 1, Role::Public));
    let lab = Lab::start(&spec).unwrap();
    lab.write("nat-a", "/etc/some/where.conf", "a = 1\n").unwrap();
    assert_eq!(lab.sh("nat-a", "cat /etc/some/where.conf").unwrap(), "a = 1\n");
    lab.greet_http("nat-a", 80, "hello").unwrap();
    lab.greet("nat-a", PORT, "hi").unwrap();
    let address = lab.host("nat-a").unwrap().private[0];
    let fetched = lab.sh("client", &format!("curl -s http://{address}/any")).unwrap();
    assert_eq!(fetched, "hello\n");
    let meter = lab.connect("client", address, Aim::port(80).http()).unwrap();
    let bare = lab.connect("client", address, Aim::port(PORT).connected()).unwrap();
    answered(&lab, meter, "hello");
    assert!(lab.greet("nat-a", PORT, "again").is_err(), "the port is taken");
    assert_eq!(lab.kill_greeters("nat-a").unwrap(), 2);
    for meter in [meter, bare] {
        eventually("the service is gone", || unserved(&lab, meter));
    }
    lab.sh("nat-a", "true").expect("the host runs on");
}

/// PostgreSQL, as it is on Debian: its server program, wherever the package has put it.
const POSTGRES: &str = "set -e
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
install -d -o postgres /run/postgresql /var/lib/postgresql/lab
as() { setpriv --reuid postgres --regid postgres --clear-groups \"$@\"; }
as $bin/initdb -D /var/lib/postgresql/lab -A trust >/dev/null
echo \"host all all 0.0.0.0/0 trust\" >> /var/lib/postgresql/lab/pg_hba.conf
as $bin/pg_ctl -D /var/lib/postgresql/lab -l /var/lib/postgresql/lab/log -w \\
  -o '-c listen_addresses=*' start >/dev/null
as $bin/createdb $NAME";

#[test]
fn a_real_database_runs_on_a_host_and_is_reached_by_a_virtual_address() {
    let mut spec = Spec::nodes(1).with_route(VIP.into(), "nat-a", &["private-a"]);
    spec.hosts[0].source_dest_check = false;
    let lab = Lab::start(&spec).unwrap();
    let script = format!("NAME=db_a\n{POSTGRES}\nip addr add {VIP}/32 dev lo");
    lab.sh("nat-a", &script).unwrap();
    let list = format!("psql -h {VIP} -U postgres -Atc 'select datname from pg_database'");
    let found = lab.sh("host-a", &list).unwrap();
    assert!(found.lines().any(|name| name == "db_a"), "{found}");
}

#[test]
fn nodes_find_their_ids_in_their_user_data() {
    let text = "#!/bin/sh\necho \"I am {{instance.nat-a}} with {{eip.web}}\"\n";
    let spec = Spec::nodes(1).with_address("web", None).with_node_user_data(text);
    let lab = Lab::start(&spec).unwrap();
    let (id, web) = (lab.host("nat-a").unwrap().instance, &lab.account().unwrap().elastic["web"]);
    let told = format!("I am {id} with {}", web.allocation);
    eventually("it has told", || lab.console("nat-a").unwrap().contains(&told));
    let wrong = Spec::nodes(1).with_node_user_data("#!/bin/sh\n# {{eip.other}}\n");
    let error = Lab::start(&wrong).unwrap_err();
    assert!(format!("{error:#}").contains("{{eip.other}}"), "{error:#}");
}
