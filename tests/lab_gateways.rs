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

/// Makes something in EC2; its id, the first element of this name in the answer.
fn made(scene: &Scene, action: &str, params: &[(&str, &str)], name: &str) -> String {
    element(&scene.ec2(action, params).unwrap(), name)
}

/// The ids of all tables, the public one first.
fn tables(scene: &Scene) -> Vec<String> {
    let account = scene.account().unwrap();
    let private = account.zones.iter().map(|zone| zone.private_table.clone());
    [account.public_table].into_iter().chain(private).collect()
}

/// Gives each table the routes that real ones have beside their default route: to a transit
/// gateway, a peer, an egress-only gateway and a gateway endpoint, and what a virtual private
/// gateway propagates, a default route among it. Returns the transit gateway and its attachment.
fn add_other_routes(scene: &Scene) -> (String, String) {
    let vpc = ("VpcId", &*scene.account().unwrap().vpc);
    let subnet = scene.zone(0).unwrap().public_subnet;
    let transit = made(scene, "CreateTransitGateway", &[], "transitGatewayId");
    let attach = [("TransitGatewayId", &*transit), vpc, ("SubnetIds.1", &subnet)];
    let attach =
        made(scene, "CreateTransitGatewayVpcAttachment", &attach, "transitGatewayAttachmentId");
    let other = made(scene, "CreateVpc", &[("CidrBlock", "172.31.0.0/16")], "vpcId");
    let peer = [vpc, ("PeerVpcId", &other)];
    let peer = made(scene, "CreateVpcPeeringConnection", &peer, "vpcPeeringConnectionId");
    let only = "egressOnlyInternetGatewayId";
    let only = made(scene, "CreateEgressOnlyInternetGateway", &[vpc], only);
    let learned = made(scene, "CreateVpnGateway", &[("Type", "ipsec.1")], "vpnGatewayId");
    scene.ec2("AttachVpnGateway", &[("VpnGatewayId", &learned), vpc]).unwrap();
    for table in tables(scene) {
        let table = ("RouteTableId", &*table);
        for (destination, target) in [
            (("DestinationCidrBlock", "10.0.0.0/8"), ("TransitGatewayId", &*transit)),
            (("DestinationCidrBlock", "172.31.0.0/16"), ("VpcPeeringConnectionId", &*peer)),
            (("DestinationIpv6CidrBlock", "::/0"), ("EgressOnlyInternetGatewayId", &*only)),
        ] {
            scene.ec2("CreateRoute", &[table, destination, target]).unwrap();
        }
        let service = ("ServiceName", "com.amazonaws.us-east-1.s3");
        let endpoint = [vpc, service, ("RouteTableId.1", table.1)];
        scene.ec2("CreateVpcEndpoint", &endpoint).unwrap();
        scene.ec2("EnableVgwRoutePropagation", &[table, ("GatewayId", &*learned)]).unwrap();
    }
    (transit, attach)
}

/// The routes of all tables but the static default ones, without their states.
fn other_routes(scene: &Scene) -> Vec<String> {
    let mut found = Vec::new();
    for table in tables(scene) {
        let shown = scene.ec2("DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
        let routes = element(&shown, "routeSet").replace(">blackhole<", ">active<");
        let is_default =
            |route: &&str| route.contains(">0.0.0.0/0<") && route.contains("<origin>CreateRoute<");
        let all = routes.split("</item>").filter(|route| !route.is_empty());
        let others = all.filter(|route| !is_default(route));
        found.extend(others.map(|route| format!("{table} {route}")));
    }
    found
}

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

/// A pair with settings besides the quick ones, and a third zone whose table leads to a node of it.
fn start(settings: &str) -> Scene {
    let config = format!("{settings}\n{QUICK}");
    let spec = scene::spec(2, NATHA, &config)
        .with_host(HostSpec::new("host-c", 2, Role::Private))
        .with_address("gateway", None);
    Scene::start(&spec).unwrap()
}

/// Waits until a node has taken the table; which one.
fn is_taken(scene: &Scene) -> String {
    let taken = || scene.route(ZONE).map(|holder| NODES.contains(&&*holder));
    scene.wait_for(taken).unwrap();
    scene.route(ZONE).unwrap()
}

/// The public address of the gateway.
fn address(scene: &Scene) -> String {
    scene.account().unwrap().elastic["gateway"].address.to_string()
}

/// A default route to a transit gateway is left alone until it is a blackhole.
fn leads_to_a_transit_gateway(scene: &Scene, transit: &str, attachment: &str) {
    lead(scene, "TransitGatewayId", transit);
    is_left_alone(scene, transit);
    assert_eq!(writes_of_table(scene), 0, "the table was not given to natha");
    let detach = [("TransitGatewayAttachmentId", attachment)];
    scene.ec2("DeleteTransitGatewayVpcAttachment", &detach).unwrap();
    is_taken(scene);
}

/// A node dies while the table leads out of the cluster: the others are covered, and the dead node
/// is repaired.
fn a_node_dies(scene: &Scene, gateway: &str) {
    let writes = writes_of_table(scene);
    let meter = scene.ping("host-c", 10).unwrap();
    lead(scene, "NatGatewayId", gateway);
    is_left_alone(scene, gateway);
    assert_eq!(seen_as(scene), address(scene));
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    is_left_alone(scene, gateway);
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
    assert_eq!(writes_of_table(scene), writes, "the table was not given to natha");
    scene.lost_nothing(meter).unwrap();
}

/// The gateway is deleted, and its route becomes a blackhole. Returns the outage, in milliseconds.
fn the_gateway_goes(scene: &Scene, gateway: &str) -> f64 {
    let meter = scene.ping("host-c", 10).unwrap();
    scene.ec2("DeleteNatGateway", &[("NatGatewayId", gateway)]).unwrap();
    is_taken(scene);
    scene.wait_well().unwrap();
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
    // The table is read every `reread`, 10 s.
    assert!(report.worst_ms() < 15_000.0, "{:?}", report.outages);
    report.worst_ms()
}

#[test]
fn a_table_that_leads_to_a_gateway_is_left_alone_until_the_gateway_is_gone() {
    let scene = start("");
    let (transit, attachment) = add_other_routes(&scene);
    let others = other_routes(&scene);
    // Four static ones and two propagated ones in each table, and the local one.
    assert_eq!(others.len(), 4 * 7, "{others:?}");
    leads_to_a_transit_gateway(&scene, &transit, &attachment);
    let gateway = nat_gateway(&scene);
    a_node_dies(&scene, &gateway);
    let outage = the_gateway_goes(&scene, &gateway);
    println!("outage after the end of the gateway: {outage:.0} ms");

    assert_eq!(other_routes(&scene), others);
    let calls = scene.calls().unwrap();
    let mut written = calls.iter().filter(|call| is_route_write(call));
    assert!(written.all(|call| call.params.contains("DestinationCidrBlock=0.0.0.0/0 ")));
    let policy = scene.sh("nat-a", "natha policy --cluster lab").unwrap();
    let is_allowed = |action: &str| policy.contains(&format!("\"ec2:{action}\""));
    assert!(calls.iter().all(|call| is_allowed(&call.action)), "{policy}");
}

#[test]
fn a_table_goes_from_a_nat_gateway_to_natha_and_back_losing_no_packet() {
    let scene = start("failover.first_contact = \"5s\"\nfailover.reread = \"2s\"");
    let gateway = nat_gateway(&scene);
    let meter = scene.ping("host-c", 10).unwrap();
    for _ in 0..2 {
        lead(&scene, "NatGatewayId", &gateway);
        is_left_alone(&scene, &gateway);
        assert_eq!(seen_as(&scene), address(&scene));
        lead(&scene, "NetworkInterfaceId", &scene.host("nat-a").unwrap().interface);
        is_held(&scene, "nat-a");
        assert_ne!(seen_as(&scene), address(&scene));
    }
    lead(&scene, "NatGatewayId", &gateway);
    is_left_alone(&scene, &gateway);
    assert_eq!(writes_of_table(&scene), 0, "natha moved what was where it belongs");

    // The setting has natha take what leads out of the cluster.
    for node in NODES {
        let adopt = "sed -i '1i failover.adopt = true' /etc/natha/natha.toml && \
                     kill -HUP $(pidof natha)";
        scene.sh(node, adopt).unwrap();
    }
    is_taken(&scene);
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    scene.nobody_stopped().unwrap();
}
