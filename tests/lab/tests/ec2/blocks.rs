use super::scene::{Lab, at, inside, texts, timings};

const ADDED: &str = "100.64.0.0/16";

fn add(lab: &mut Lab) -> String {
    let vpc = lab.vpc.clone();
    let params = [("VpcId", &*vpc), ("CidrBlock", ADDED)];
    let answer = lab.call(2_000, "AssociateVpcCidrBlock", &params).unwrap();
    texts(&answer, "associationId")[0].to_owned()
}

fn destinations(lab: &mut Lab) -> Vec<String> {
    let table = lab.table.clone();
    let answer = lab.call(3_000, "DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
    let routes = inside(&answer, "routeSet")[0];
    let local = inside(routes, "item").into_iter().filter(|route| route.contains(">local<"));
    local.flat_map(|route| texts(route, "destinationCidrBlock")).map(str::to_owned).collect()
}

#[test]
fn a_block_that_is_added_is_in_every_table_and_takes_subnets() {
    let mut lab = Lab::new(timings());
    let association = add(&mut lab);
    assert_eq!(destinations(&mut lab), ["10.0.0.0/16", ADDED]);
    assert!(lab.world.dataplane(at(3_000)).blocks.contains(&ADDED.parse().unwrap()));
    assert_eq!(lab.world.blocks_of(&lab.vpc).len(), 2);
    let vpc = lab.vpc.clone();
    let answer = lab.call(3_000, "DescribeVpcs", &[("VpcId.1", &vpc)]).unwrap();
    assert_eq!(texts(inside(&answer, "cidrBlockAssociationSet")[0], "cidrBlock").len(), 2);

    let subnet = [("VpcId", &*vpc), ("CidrBlock", "100.64.1.0/24")];
    lab.call(3_000, "CreateSubnet", &subnet).unwrap();
    let made = lab.call(3_000, "CreateRouteTable", &[("VpcId", &vpc)]).unwrap();
    assert!(made.contains(ADDED), "{made}");
    let end = [("AssociationId", &*association)];
    assert_eq!(lab.code(3_000, "DisassociateVpcCidrBlock", &end), "InvalidCidrBlock.InUse");
}

#[test]
fn a_block_without_subnets_can_be_taken_away_again_and_the_first_one_cannot() {
    let mut lab = Lab::new(timings());
    let association = add(&mut lab);
    lab.call(2_500, "DisassociateVpcCidrBlock", &[("AssociationId", &association)]).unwrap();
    assert_eq!(destinations(&mut lab), ["10.0.0.0/16"]);
    let vpc = lab.vpc.clone();
    let answer = lab.call(3_000, "DescribeVpcs", &[("VpcId.1", &vpc)]).unwrap();
    let first = [("AssociationId", texts(&answer, "associationId")[0])];
    assert_eq!(lab.code(3_000, "DisassociateVpcCidrBlock", &first), "OperationNotPermitted");
}

#[test]
fn a_block_that_overlaps_or_covers_a_route_is_refused() {
    let mut lab = Lab::new(timings());
    let (vpc, table, a) = (lab.vpc.clone(), lab.table.clone(), lab.interfaces[0].clone());
    let route = [
        ("RouteTableId", &*table),
        ("DestinationCidrBlock", "100.65.1.0/24"),
        ("NetworkInterfaceId", &*a),
    ];
    lab.call(2_000, "CreateRoute", &route).unwrap();
    for (block, code) in [
        ("10.0.128.0/20", "CidrConflict"),
        ("100.65.0.0/16", "CidrConflict"),
        ("100.64.0.0/15", "InvalidVpc.Range"),
    ] {
        let params = [("VpcId", &*vpc), ("CidrBlock", block)];
        assert_eq!(lab.code(2_000, "AssociateVpcCidrBlock", &params), code, "{block}");
    }
}
