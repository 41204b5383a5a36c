//! Taking a VPC apart: what has dependencies stays, and in the right order all of it goes.

use natha_lab::ec2::{Consoles, Grant, Policy, Principal};

use super::scene::{Lab, inside, texts, timings};

/// The ids of the VPC's gateway and of a new group.
struct Rest {
    gateway: String,
    group: String,
}

fn rest(lab: &mut Lab) -> Rest {
    let answer = lab.call(1_000, "DescribeInternetGateways", &[]).unwrap();
    let gateway = texts(&answer, "internetGatewayId")[0].to_owned();
    assert_eq!(texts(&answer, "vpcId"), [&*lab.vpc]);
    let vpc = lab.vpc.clone();
    let named = [("VpcId", &*vpc), ("GroupName", "one"), ("GroupDescription", "one")];
    let answer = lab.call(1_000, "CreateSecurityGroup", &named).unwrap();
    Rest { gateway, group: texts(&answer, "groupId")[0].to_owned() }
}

#[test]
fn a_description_has_no_apostrophe() {
    let mut lab = Lab::new(timings());
    let vpc = lab.vpc.clone();
    for (name, description) in [("one", "natha's nodes"), ("a'b", "the nodes of natha")] {
        let named = [("VpcId", &*vpc), ("GroupName", name), ("GroupDescription", description)];
        assert_eq!(lab.code(1_000, "CreateSecurityGroup", &named), "InvalidParameterValue");
    }
    let Rest { group, .. } = rest(&mut lab);
    let rule = [
        ("GroupId", &*group),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8"),
        ("IpPermissions.1.IpRanges.1.Description", "the VPC's own"),
    ];
    assert_eq!(lab.code(1_000, "AuthorizeSecurityGroupIngress", &rule), "InvalidParameterValue");
}

/// The ids of the route tables that someone made, and of their associations.
fn tables(lab: &mut Lab, ms: u64) -> (Vec<String>, Vec<String>) {
    let answer = lab.call(ms, "DescribeRouteTables", &[]).unwrap();
    let is_main = |table: &&str| table.contains("<main>true</main>");
    let whole = answer.split("<propagatingVgwSet>").filter(|table| table.contains("<routeSet>"));
    let own: Vec<&str> = whole.filter(|table| !is_main(table)).collect();
    let ids = own.iter().map(|table| texts(table, "routeTableId")[0].to_owned()).collect();
    let associations = own.iter().flat_map(|table| texts(table, "routeTableAssociationId"));
    (ids, associations.map(str::to_owned).collect())
}

#[test]
fn what_others_need_is_not_deleted() {
    let mut lab = Lab::new(timings());
    let Rest { gateway, group } = rest(&mut lab);
    let (vpc, public, table) = (lab.vpc.clone(), lab.public.clone(), lab.table.clone());
    let interface = lab.interfaces[0].clone();
    let joined = [("NetworkInterfaceId", &*interface), ("SecurityGroupId.1", &*group)];
    lab.call(1_000, "ModifyNetworkInterfaceAttribute", &joined).unwrap();
    let of_vpc = [("InternetGatewayId", &*gateway), ("VpcId", &*vpc)];
    let refused: [(&str, &[(&str, &str)]); 6] = [
        ("DeleteVpc", &[("VpcId", &vpc)]),
        ("DeleteSubnet", &[("SubnetId", &public)]),
        ("DeleteRouteTable", &[("RouteTableId", &table)]),
        ("DeleteSecurityGroup", &[("GroupId", &group)]),
        ("DeleteInternetGateway", &[("InternetGatewayId", &gateway)]),
        ("DetachInternetGateway", &of_vpc),
    ];
    for (action, params) in refused {
        assert_eq!(lab.code(1_000, action, params), "DependencyViolation", "{action}");
    }
    let made = lab.call(1_000, "AllocateAddress", &[]).unwrap();
    let eip = texts(&made, "allocationId")[0].to_owned();
    let there = [("AllocationId", &*eip), ("NetworkInterfaceId", &*interface)];
    lab.call(1_000, "AssociateAddress", &there).unwrap();
    let release = [("AllocationId", &*eip)];
    assert_eq!(lab.code(1_000, "ReleaseAddress", &release), "InvalidIPAddress.InUse");
    let answer = lab.call(1_000, "DescribeSecurityGroups", &[("GroupName.1", "default")]).unwrap();
    let default = texts(&answer, "groupId")[0].to_owned();
    assert_eq!(lab.code(1_000, "DeleteSecurityGroup", &[("GroupId", &default)]), "CannotDelete");
    assert_eq!(lab.code(1_000, "DeleteVpc", &[("VpcId", "vpc-01234567")]), "InvalidVpcID.NotFound");
}

#[test]
fn an_interface_in_use_is_not_deleted() {
    let mut lab = Lab::new(timings());
    let (used, public) = (lab.interfaces[0].clone(), lab.public.clone());
    let delete = [("NetworkInterfaceId", &*used)];
    assert_eq!(lab.code(1_000, "DeleteNetworkInterface", &delete), "InvalidParameterValue");
    let answer = lab.call(1_000, "CreateNetworkInterface", &[("SubnetId", &public)]).unwrap();
    let delete = [("NetworkInterfaceId", texts(&answer, "networkInterfaceId")[0])];
    lab.call(1_000, "DeleteNetworkInterface", &delete).unwrap();
    let gone = "InvalidNetworkInterfaceID.NotFound";
    assert_eq!(lab.code(1_000, "DeleteNetworkInterface", &delete), gone);
}

#[test]
fn a_group_that_another_group_names_is_not_deleted() {
    let mut lab = Lab::new(timings());
    let group = rest(&mut lab).group;
    let vpc = lab.vpc.clone();
    let named = [("VpcId", &*vpc), ("GroupName", "two"), ("GroupDescription", "two")];
    let answer = lab.call(1_000, "CreateSecurityGroup", &named).unwrap();
    let other = texts(&answer, "groupId")[0].to_owned();
    let rule = [
        ("GroupId", &*other),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.Groups.1.GroupId", &*group),
    ];
    lab.call(1_000, "AuthorizeSecurityGroupIngress", &rule).unwrap();
    let delete = [("GroupId", &*group)];
    assert_eq!(lab.code(1_000, "DeleteSecurityGroup", &delete), "DependencyViolation");
    lab.call(1_000, "RevokeSecurityGroupIngress", &rule).unwrap();
    lab.call(1_000, "DeleteSecurityGroup", &delete).unwrap();
    assert_eq!(lab.code(1_000, "DeleteSecurityGroup", &delete), "InvalidGroup.NotFound");
}

#[test]
fn in_the_right_order_all_of_a_vpc_goes() {
    let mut lab = Lab::new(timings());
    let Rest { gateway, group } = rest(&mut lab);
    let vpc = lab.vpc.clone();
    let [a, b] = lab.nodes.clone();
    lab.call(1_000, "TerminateInstances", &[("InstanceId.1", &a), ("InstanceId.2", &b)]).unwrap();
    let (ids, associations) = tables(&mut lab, 3_000);
    assert_eq!((ids.len(), associations.len()), (2, 3));
    for association in &associations[1..] {
        lab.call(3_000, "DisassociateRouteTable", &[("AssociationId", association)]).unwrap();
    }
    let again = [("AssociationId", &*associations[1])];
    assert_eq!(lab.code(3_000, "DisassociateRouteTable", &again), "InvalidAssociationID.NotFound");
    let answer = lab.call(3_000, "DescribeSubnets", &[]).unwrap();
    for subnet in texts(&answer, "subnetId") {
        lab.call(3_000, "DeleteSubnet", &[("SubnetId", subnet)]).unwrap();
    }
    for table in &ids {
        lab.call(3_000, "DeleteRouteTable", &[("RouteTableId", table)]).unwrap();
    }
    let of_vpc = [("InternetGatewayId", &*gateway), ("VpcId", &*vpc)];
    lab.call(3_000, "DetachInternetGateway", &of_vpc).unwrap();
    assert_eq!(lab.code(3_000, "DetachInternetGateway", &of_vpc), "Gateway.NotAttached");
    lab.call(3_000, "DeleteInternetGateway", &[("InternetGatewayId", &gateway)]).unwrap();
    lab.call(3_000, "DeleteSecurityGroup", &[("GroupId", &group)]).unwrap();
    lab.call(3_000, "DeleteVpc", &[("VpcId", &vpc)]).unwrap();
    for (action, id) in [
        ("DescribeVpcs", "vpcId"),
        ("DescribeSubnets", "subnetId"),
        ("DescribeRouteTables", "routeTableId"),
        ("DescribeInternetGateways", "internetGatewayId"),
        ("DescribeSecurityGroups", "groupId"),
        ("DescribeNetworkInterfaces", "networkInterfaceId"),
    ] {
        let answer = lab.call(3_000, action, &[]).unwrap();
        assert!(texts(&answer, id).is_empty(), "{action}: {answer}");
    }
    assert!(lab.world.dataplane(super::scene::at(3_000)).subnets.is_empty());
}

#[test]
fn a_released_address_is_gone() {
    let mut lab = Lab::new(timings());
    let made = lab.call(1_000, "AllocateAddress", &[]).unwrap();
    let release = [("AllocationId", texts(&made, "allocationId")[0])];
    lab.call(1_000, "ReleaseAddress", &release).unwrap();
    assert_eq!(lab.code(1_000, "ReleaseAddress", &release), "InvalidAllocationID.NotFound");
}

#[test]
fn a_console_is_told_by_its_last_64_kb() {
    let mut lab = Lab::new(timings());
    let [a, b] = lab.nodes.clone();
    let long = a.clone();
    lab.world.set_consoles(Consoles::new(move |instance| {
        if instance == long { [vec![b'x'; 10], vec![b'y'; 65_536]].concat() } else { b"hi".into() }
    }));
    let mut output = |instance: &str| {
        let params = [("InstanceId", instance), ("Latest", "true")];
        let answer = lab.call(1_000, "GetConsoleOutput", &params).unwrap();
        texts(&answer, "output")[0].to_owned()
    };
    assert_eq!(output(&b), "aGk=");
    assert!(output(&a).starts_with("eXl5"), "it begins with the first of the y");
    let unknown = [("InstanceId", "i-0123456789abcdef0")];
    assert_eq!(lab.code(1_000, "GetConsoleOutput", &unknown), "InvalidInstanceID.NotFound");
}

#[test]
fn a_type_is_offered_in_each_zone() {
    let mut lab = Lab::new(timings());
    let asked = [
        ("LocationType", "availability-zone"),
        ("Filter.1.Name", "instance-type"),
        ("Filter.1.Value.1", "t4g.nano"),
    ];
    let answer = lab.call(1_000, "DescribeInstanceTypeOfferings", &asked).unwrap();
    let zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"];
    assert_eq!(texts(&answer, "location"), zones);
    let here = [("Filter.2.Name", "location"), ("Filter.2.Value.1", "eu-central-1b")];
    let asked: Vec<_> = asked.into_iter().chain(here).collect();
    let answer = lab.call(1_000, "DescribeInstanceTypeOfferings", &asked).unwrap();
    assert_eq!(texts(&answer, "location"), zones[1..2]);
}

/// Launches an instance in the public subnet and returns its id and its interface's.
fn launch(lab: &mut Lab, more: &[(&str, &str)]) -> (String, String) {
    let public = lab.public.clone();
    let usual = [
        ("ImageId", "ami-0123456789abcdef0"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SubnetId", &*public),
    ];
    let params: Vec<_> = usual.into_iter().chain(more.iter().copied()).collect();
    let answer = lab.call(1_000, "RunInstances", &params).unwrap();
    let id = |tag: &str| texts(&answer, tag)[0].to_owned();
    (id("instanceId"), id("networkInterfaceId"))
}

#[test]
fn an_instance_profile_limits_the_instances_that_have_it() {
    let mut lab = Lab::new(timings());
    let (limited, _) = launch(&mut lab, &[("IamInstanceProfile.Name", "reader")]);
    let (free, _) = launch(&mut lab, &[("IamInstanceProfile.Name", "other")]);
    let allow = vec![Grant { actions: vec!["Describe*".to_owned()], ..Grant::default() }];
    lab.world.set_role_policy("reader", Policy { allow });
    let dry = [("Domain", "vpc"), ("DryRun", "true")];
    let mut code = |instance: &str, action: &str, params: &[(&str, &str)]| {
        let caller = Principal::Instance(instance.to_owned());
        lab.call_as(&caller, 1_000, action, params).expect_err("a DryRun is an error").code
    };
    assert_eq!(code(&limited, "AllocateAddress", &dry), "UnauthorizedOperation");
    assert_eq!(code(&limited, "DescribeVpcs", &dry[1..]), "DryRunOperation");
    assert_eq!(code(&free, "AllocateAddress", &dry), "DryRunOperation");
}

#[test]
fn a_resource_has_at_most_50_tags() {
    let mut lab = Lab::new(timings());
    let vpc = lab.vpc.clone();
    let mut code = |number: u32| {
        let key = format!("key-{number}");
        let params = [("ResourceId.1", &*vpc), ("Tag.1.Key", &*key), ("Tag.1.Value", "")];
        lab.call(1_000, "CreateTags", &params).map_err(|error| error.code)
    };
    assert!((1..=50).all(|number| code(number).is_ok()));
    assert_eq!(code(51).unwrap_err(), "TagLimitExceeded");
    assert!(code(50).is_ok(), "a tag that is there is only changed");
}

#[test]
fn a_launch_tags_the_interfaces_that_it_makes() {
    let mut lab = Lab::new(timings());
    let tagged = [
        ("TagSpecification.1.ResourceType", "network-interface"),
        ("TagSpecification.1.Tag.1.Key", "natha:cluster"),
        ("TagSpecification.1.Tag.1.Value", "blue"),
        ("MetadataOptions.InstanceMetadataTags", "enabled"),
    ];
    let (instance, interface) = launch(&mut lab, &tagged);
    let asked = [("NetworkInterfaceId.1", &*interface)];
    let answer = lab.call(1_000, "DescribeNetworkInterfaces", &asked).unwrap();
    assert_eq!(texts(inside(&answer, "tagSet")[0], "value"), ["blue"]);
    assert!(lab.world.metadata_tags(&instance).is_some());
    let plain = launch(&mut lab, &[]).0;
    assert!(lab.world.metadata_tags(&plain).is_none());
}
