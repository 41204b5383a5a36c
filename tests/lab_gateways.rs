//! Tables that lead to gateways of EC2's own: left alone as long as the gateway exists, taken when
//! it is gone.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::net::internet::{INTERNET_HOST, WHOAMI_PORT};
use natha_lab::scene::{self, QUICK, Scene, element, has_event, is_route_write};
use natha_lab::{HostSpec, Role};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const NODES: [&str; 2] = ["nat-a", "nat-b"];
/// The group and the zone of the table that leads to a gateway.
const GROUP: &str = "/view/groups/us-east-1c";
const ZONE: usize = 2;

/// Makes a NAT gateway with the address `gateway`; its id once it forwards.
fn nat_gateway(scene: &Scene) -> String {
    let allocation = scene.account().unwrap().elastic["gateway"].allocation.clone();
    let subnet = scene.zone(ZONE).unwrap().public_subnet;
    let params = [("SubnetId", &*subnet), ("AllocationId", &*allocation)];
    let id = element(&scene.ec2("CreateNatGateway", &params).unwrap(), "natGatewayId");
    let shown = || scene.ec2("DescribeNatGateways", &[("NatGatewayId.1", &id)]);
    scene.wait_for(|| Ok(element(&shown()?, "state") == "available")).unwrap();
    id
}

/// Leads the table to a target, as an operator does.
fn lead(scene: &Scene, kind: &str, target: &str) {
    let table = scene.zone(ZONE).unwrap().private_table;
    let destination = ("DestinationCidrBlock", "0.0.0.0/0");
    scene.ec2("ReplaceRoute", &[("RouteTableId", &table), destination, (kind, target)]).unwrap();
}

/// Waits until both nodes say that the table leads to this target, and leave it alone.
fn is_left_alone(scene: &Scene, target: &str) {
    for node in NODES {
        let finding = format!("points to {target}, which is not a member; it is left alone");
        let respected = |status: &Value| {
            let group = status.pointer(GROUP).cloned().unwrap_or_default();
            let leads_there = group["targets"].to_string().contains(target);
            leads_there && group["holder"].is_null() && has_event(status, "foreign", &finding)
        };
        scene.wait_status(node, respected).unwrap();
        let told = scene.natha(node, &["status"]).unwrap();
        assert_eq!(told.code, 3, "{}", told.stdout);
        assert!(told.stdout.contains(target), "{}", told.stdout);
    }
}

/// Waits until both nodes say that a node holds the table.
fn is_held(scene: &Scene, by: &str) {
    let holder = Value::from(scene.host(by).unwrap().instance);
    for node in NODES {
        let held = |status: &Value| status.pointer(&format!("{GROUP}/holder")) == Some(&holder);
        scene.wait_status(node, held).unwrap();
    }
}

/// The address from which the internet sees the host of the table.
fn seen_as(scene: &Scene) -> String {
    let ask = format!(
        "bash -c 'exec 3<>/dev/tcp/{INTERNET_HOST}/{WHOAMI_PORT}; \
         printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; tail -n1 <&3'"
    );
    scene.sh("host-c", &ask).unwrap().trim().to_owned()
}

fn writes_of_table(scene: &Scene) -> usize {
    let table = scene.zone(ZONE).unwrap().private_table;
    let calls = scene.calls().unwrap();
    calls.iter().filter(|call| is_route_write(call) && call.params.contains(&table)).count()
}

#[test]
fn a_nat_gateway_keeps_its_table_until_it_is_deleted_and_the_way_there_and_back_loses_no_packet() {
    let config = format!("failover.first_contact = \"5s\"\n{QUICK}");
    let spec = scene::spec(2, NATHA, &config)
        .with_host(HostSpec::new("host-c", 2, Role::Private))
        .with_address("gateway", None);
    let scene = Scene::start(&spec).unwrap();
    let address = scene.account().unwrap().elastic["gateway"].address.to_string();

    // A node dies while one table leads out of the cluster: the others are covered, and the dead
    // node is repaired.
    let gateway = nat_gateway(&scene);
    let meter = scene.ping("host-c", 10).unwrap();
    lead(&scene, "NatGatewayId", &gateway);
    is_left_alone(&scene, &gateway);
    assert_eq!(seen_as(&scene), address);
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    is_left_alone(&scene, &gateway);
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
    assert_eq!(writes_of_table(&scene), 0, "the table was not given to natha");
    scene.lost_nothing(meter).unwrap();

    // The gateway is deleted, and its route with it becomes a blackhole.
    let meter = scene.ping("host-c", 10).unwrap();
    scene.ec2("DeleteNatGateway", &[("NatGatewayId", &gateway)]).unwrap();
    let taken = || scene.route(ZONE).map(|holder| NODES.contains(&&*holder));
    scene.wait_for(taken).unwrap();
    scene.wait_well().unwrap();
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
    // The table is read every `reread`, 10 s.
    assert!(report.worst_ms() < 15_000.0, "{:?}", report.outages);
    println!("outage after the end of the gateway: {:.0} ms", report.worst_ms());

    // An operator's way back to a gateway and to natha again: both forward all the while.
    let holder = scene.route(ZONE).unwrap();
    let writes = writes_of_table(&scene);
    let gateway = nat_gateway(&scene);
    let meter = scene.ping("host-c", 10).unwrap();
    lead(&scene, "NatGatewayId", &gateway);
    is_left_alone(&scene, &gateway);
    assert_eq!(seen_as(&scene), address);
    lead(&scene, "NetworkInterfaceId", &scene.host(&holder).unwrap().interface);
    is_held(&scene, &holder);
    assert_ne!(seen_as(&scene), address);
    lead(&scene, "NatGatewayId", &gateway);
    is_left_alone(&scene, &gateway);
    assert_eq!(writes_of_table(&scene), writes);

    // The same by the setting that has natha take what leads out of the cluster.
    for node in NODES {
        let adopt = "sed -i '1i failover.adopt = true' /etc/natha/natha.toml && \
                     kill -HUP $(pidof natha)";
        scene.sh(node, adopt).unwrap();
    }
    scene.wait_for(taken).unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
}
