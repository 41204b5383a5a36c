use super::scene::{Lab, inside, texts, timings};

/// Makes something and returns its id, the first element of this name.
fn made(lab: &mut Lab, action: &str, params: &[(&str, &str)], element: &str) -> String {
    let answer = lab.call(2_000, action, params).unwrap();
    texts(&answer, element)[0].to_owned()
}

fn route(lab: &mut Lab, destination: (&str, &str), target: (&str, &str)) {
    let table = lab.table.clone();
    let params = [("RouteTableId", &*table), destination, target];
    lab.call(2_000, "CreateRoute", &params).unwrap();
}

/// The route with this text in it.
fn shown(lab: &mut Lab, text: &str) -> String {
    let table = lab.table.clone();
    let answer = lab.call(3_000, "DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
    let routes = inside(&answer, "routeSet")[0];
    let found = inside(routes, "item").into_iter().find(|route| route.contains(text));
    found.unwrap_or_default().to_owned()
}

#[test]
fn a_route_to_a_transit_gateway_is_a_blackhole_without_its_attachment() {
    let mut lab = Lab::new(timings());
    let (vpc, subnet) = (lab.vpc.clone(), lab.public.clone());
    let gateway = made(&mut lab, "CreateTransitGateway", &[], "transitGatewayId");
    let table = lab.table.clone();
    let early = [
        ("RouteTableId", &*table),
        ("DestinationCidrBlock", "10.0.0.0/8"),
        ("TransitGatewayId", &gateway),
    ];
    assert_eq!(lab.code(2_000, "CreateRoute", &early), "InvalidTransitGatewayID.NotFound");
    let attach = [("TransitGatewayId", &*gateway), ("VpcId", &vpc), ("SubnetIds.1", &subnet)];
    let attach =
        made(&mut lab, "CreateTransitGatewayVpcAttachment", &attach, "transitGatewayAttachmentId");
    lab.call(2_000, "CreateRoute", &early).unwrap();
    let route = shown(&mut lab, "10.0.0.0/8");
    assert_eq!(texts(&route, "transitGatewayId"), [&*gateway]);
    assert_eq!(texts(&route, "state"), ["active"]);
    let detach = [("TransitGatewayAttachmentId", &*attach)];
    lab.call(2_500, "DeleteTransitGatewayVpcAttachment", &detach).unwrap();
    assert_eq!(texts(&shown(&mut lab, "10.0.0.0/8"), "state"), ["blackhole"]);
}

#[test]
fn a_propagated_route_stands_beside_a_static_one_to_the_same_destination() {
    let mut lab = Lab::new(timings());
    let (vpc, table) = (lab.vpc.clone(), lab.table.clone());
    let gateway = made(&mut lab, "CreateVpnGateway", &[("Type", "ipsec.1")], "vpnGatewayId");
    lab.call(2_000, "AttachVpnGateway", &[("VpnGatewayId", &gateway), ("VpcId", &vpc)]).unwrap();
    let both = [("RouteTableId", &*table), ("GatewayId", &*gateway)];
    lab.call(2_000, "EnableVgwRoutePropagation", &both).unwrap();
    let learned = shown(&mut lab, "0.0.0.0/0</destinationCidrBlock><gatewayId>");
    assert_eq!(texts(&learned, "origin"), ["EnableVgwRoutePropagation"]);
    assert_eq!(texts(&learned, "gatewayId"), [&*gateway]);
    let fixed = shown(&mut lab, "<origin>CreateRoute</origin>");
    assert_eq!(texts(&fixed, "destinationCidrBlock"), ["0.0.0.0/0"]);
    let dead = [("RouteTableId", &*table), ("DestinationCidrBlock", "0.0.0.0/0")];
    lab.call(2_500, "DeleteRoute", &dead).unwrap();
    assert!(shown(&mut lab, "<origin>CreateRoute</origin>").is_empty());
    assert!(!shown(&mut lab, "EnableVgwRoutePropagation").is_empty());
    lab.call(2_500, "DisableVgwRoutePropagation", &both).unwrap();
    assert!(shown(&mut lab, "EnableVgwRoutePropagation").is_empty());
}

#[test]
fn routes_to_a_deleted_peer_or_egress_only_gateway_stay_and_those_of_an_endpoint_go() {
    let mut lab = Lab::new(timings());
    let (vpc, table) = (lab.vpc.clone(), lab.table.clone());
    let other = made(&mut lab, "CreateVpc", &[("CidrBlock", "172.31.0.0/16")], "vpcId");
    let peer = [("VpcId", &*vpc), ("PeerVpcId", &other)];
    let peer = made(&mut lab, "CreateVpcPeeringConnection", &peer, "vpcPeeringConnectionId");
    route(&mut lab, ("DestinationCidrBlock", "172.31.0.0/16"), ("VpcPeeringConnectionId", &peer));
    let only = [("VpcId", &*vpc)];
    let only =
        made(&mut lab, "CreateEgressOnlyInternetGateway", &only, "egressOnlyInternetGatewayId");
    route(&mut lab, ("DestinationIpv6CidrBlock", "::/0"), ("EgressOnlyInternetGatewayId", &only));
    let endpoint = [
        ("VpcId", &*vpc),
        ("ServiceName", "com.amazonaws.eu-central-1.s3"),
        ("RouteTableId.1", &*table),
    ];
    let endpoint = made(&mut lab, "CreateVpcEndpoint", &endpoint, "vpcEndpointId");
    for (text, target) in [
        ("172.31.0.0/16", &peer),
        ("<destinationIpv6CidrBlock>::/0<", &only),
        ("<destinationPrefixListId>pl-", &endpoint),
    ] {
        let route = shown(&mut lab, text);
        assert!(route.contains(target.as_str()) && route.contains(">active<"), "{text}: {route}");
    }
    let gone = [("VpcPeeringConnectionId", &*peer)];
    lab.call(2_500, "DeleteVpcPeeringConnection", &gone).unwrap();
    assert!(shown(&mut lab, "172.31.0.0/16").contains(">blackhole<"));
    let gone = [("EgressOnlyInternetGatewayId", &*only)];
    lab.call(2_500, "DeleteEgressOnlyInternetGateway", &gone).unwrap();
    assert!(shown(&mut lab, "::/0").contains(">blackhole<"));
    lab.call(2_500, "DeleteVpcEndpoints", &[("VpcEndpointId.1", &endpoint)]).unwrap();
    assert!(shown(&mut lab, "pl-").is_empty());
    let rest = [("RouteTableId", &*table), ("DestinationIpv6CidrBlock", "::/0")];
    lab.call(2_500, "DeleteRoute", &rest).unwrap();
    assert_eq!(lab.code(2_500, "DeleteRoute", &rest), "InvalidRoute.NotFound");
}
