use natha_lab::dataplane::Target;

use super::scene::{Lab, at, texts, timings};

/// When a gateway that is made at 2 s is available.
const AVAILABLE: u64 = 3_000;

/// Allocates an address and asks for a gateway with it: the ids of both.
fn made(lab: &mut Lab) -> (String, String) {
    let allocated = lab.call(2_000, "AllocateAddress", &[]).unwrap();
    let allocation = texts(&allocated, "allocationId")[0].to_owned();
    (made_with(lab, 2_000, &allocation), allocation)
}

fn made_with(lab: &mut Lab, ms: u64, allocation: &str) -> String {
    let params = [("SubnetId", &*lab.public.clone()), ("AllocationId", allocation)];
    let answer = lab.call(ms, "CreateNatGateway", &params).unwrap();
    texts(&answer, "natGatewayId")[0].to_owned()
}

fn shown(lab: &mut Lab, ms: u64, gateway: &str, element: &str) -> Vec<String> {
    let answer = lab.call(ms, "DescribeNatGateways", &[("NatGatewayId.1", gateway)]).unwrap();
    texts(&answer, element).into_iter().map(str::to_owned).collect()
}

fn lead_to(lab: &mut Lab, ms: u64, gateway: &str) -> Result<String, natha_lab::ec2::ApiError> {
    let table = lab.table.clone();
    let params = [
        ("RouteTableId", &*table),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("NatGatewayId", gateway),
    ];
    lab.call(ms, "ReplaceRoute", &params)
}

fn in_force(lab: &Lab, ms: u64) -> Target {
    let dataplane = lab.world.dataplane(at(ms));
    let subnet = dataplane.subnets.values().find(|s| s.cidr.to_string() == "10.0.1.0/24").unwrap();
    subnet.routes[&"0.0.0.0/0".parse().unwrap()].clone()
}

#[test]
fn a_gateway_is_pending_available_deleting_and_deleted_and_its_route_becomes_a_blackhole() {
    let mut lab = Lab::new(timings());
    let (gateway, allocation) = made(&mut lab);
    assert_eq!(shown(&mut lab, 2_500, &gateway, "state"), ["pending"]);
    assert_eq!(shown(&mut lab, AVAILABLE, &gateway, "state"), ["available"]);
    let interface = shown(&mut lab, AVAILABLE, &gateway, "networkInterfaceId").remove(0);
    lead_to(&mut lab, 3_500, &gateway).unwrap();
    assert_eq!(lab.route_state(3_500), "active");
    assert_eq!(in_force(&lab, 3_500), Target::Interface(interface.clone()));
    assert!(lab.world.dataplane(at(3_500)).interfaces.contains_key(&interface));

    lab.call(4_000, "DeleteNatGateway", &[("NatGatewayId", &gateway)]).unwrap();
    assert_eq!(shown(&mut lab, 4_500, &gateway, "state"), ["deleting"]);
    assert_eq!(in_force(&lab, 4_500), Target::Interface(interface));
    assert_eq!(shown(&mut lab, 5_000, &gateway, "state"), ["deleted"]);
    assert_eq!(lab.route_state(5_000), "blackhole");
    assert_eq!(in_force(&lab, 5_000), Target::Blackhole);
    let address = [("AllocationId.1", &*allocation)];
    let address = lab.call(5_000, "DescribeAddresses", &address).unwrap();
    assert!(texts(&address, "associationId").is_empty(), "{address}");
    assert_eq!(
        lead_to(&mut lab, 5_500, &gateway).unwrap_err().code,
        "InvalidNatGatewayID.NotFound"
    );
}

#[test]
fn the_address_of_a_gateway_cannot_be_taken_from_it() {
    let mut lab = Lab::new(timings());
    let (gateway, allocation) = made(&mut lab);
    let interface = lab.interfaces[0].clone();
    let move_it = [("AllocationId", &*allocation), ("NetworkInterfaceId", &*interface)];
    assert_eq!(lab.code(AVAILABLE, "AssociateAddress", &move_it), "AuthFailure");
    let association = shown(&mut lab, AVAILABLE, &gateway, "associationId").remove(0);
    let release = [("AssociationId", &*association)];
    assert_eq!(lab.code(AVAILABLE, "DisassociateAddress", &release), "AuthFailure");
}

#[test]
fn a_gateway_without_a_free_address_fails_and_says_why() {
    let mut lab = Lab::new(timings());
    let (_, allocation) = made(&mut lab);
    let second = made_with(&mut lab, AVAILABLE, &allocation);
    assert_eq!(shown(&mut lab, 3_500, &second, "state"), ["pending"]);
    assert_eq!(shown(&mut lab, 4_000, &second, "state"), ["failed"]);
    let code = shown(&mut lab, 4_000, &second, "failureCode");
    assert_eq!(code, ["Resource.AlreadyAssociated"]);
    assert_eq!(lead_to(&mut lab, 4_000, &second).unwrap_err().code, "InvalidNatGatewayID.NotFound");
    let unknown = [("NatGatewayId", "nat-00000000000000000")];
    assert_eq!(lab.code(4_000, "DeleteNatGateway", &unknown), "NatGatewayNotFound");
}
