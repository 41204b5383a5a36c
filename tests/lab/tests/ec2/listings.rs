use super::scene::{Lab, texts, timings};

fn found(lab: &mut Lab, action: &str, tag: &str, filters: &[(&str, &str)]) -> Vec<String> {
    let named: Vec<(String, &str)> = filters
        .iter()
        .enumerate()
        .flat_map(|(n, (name, value))| {
            let at = format!("Filter.{}", n + 1);
            [(format!("{at}.Name"), *name), (format!("{at}.Value.1"), *value)]
        })
        .collect();
    let params: Vec<(&str, &str)> = named.iter().map(|(name, v)| (name.as_str(), *v)).collect();
    let answer = lab.call(2_000, action, &params).unwrap();
    let mut ids: Vec<String> = texts(&answer, tag).into_iter().map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn filters_find_tables_by_what_is_in_them() {
    let mut lab = Lab::new(timings());
    let (vpc, node, table) = (lab.vpc.clone(), lab.nodes[0].clone(), lab.table.clone());
    for filter in [
        ("route.instance-id", node.as_str()),
        ("tag:Name", "priv?te"),
        ("tag-key", "Name"),
        ("route-table-id", &table),
    ] {
        let ids = found(&mut lab, "DescribeRouteTables", "routeTableId", &[filter]);
        assert_eq!(ids, std::slice::from_ref(&table), "{filter:?}");
    }
    let main = [("association.main", "true"), ("vpc-id", vpc.as_str())];
    assert_eq!(found(&mut lab, "DescribeRouteTables", "routeTableId", &main).len(), 1);
    let nothing = [("tag:Name", "private"), ("route.state", "blackhole")];
    assert!(found(&mut lab, "DescribeRouteTables", "routeTableId", &nothing).is_empty());
}

#[test]
fn filters_find_instances_by_zone_state_and_network() {
    let mut lab = Lab::new(timings());
    let (a, public) = (lab.nodes[0].clone(), lab.public.clone());
    for filter in [
        ("availability-zone", "eu-central-1a"),
        ("network-interface.subnet-id", public.as_str()),
        ("tag:Name", "node-a"),
        ("instance-id", &a),
    ] {
        let ids = found(&mut lab, "DescribeInstances", "instanceId", &[filter]);
        assert_eq!(ids, std::slice::from_ref(&a), "{filter:?}");
    }
    let running = [("instance-state-name", "running")];
    assert_eq!(found(&mut lab, "DescribeInstances", "instanceId", &running).len(), 2);
}

#[test]
fn what_does_not_exist_is_refused_and_not_ignored() {
    let mut lab = Lab::new(timings());
    let filter = [("Filter.1.Name", "route.network-interface-id"), ("Filter.1.Value.1", "x")];
    assert_eq!(lab.code(2_000, "DescribeRouteTables", &filter), "InvalidParameterValue");
    assert_eq!(lab.code(2_000, "DescribeVpcs", &[("Colour", "red")]), "UnknownParameter");
    assert_eq!(lab.code(2_000, "DescribeRegions", &[]), "InvalidAction");
    let unknown = [("InstanceId.1", "i-00000000000000000")];
    assert_eq!(lab.code(2_000, "DescribeInstances", &unknown), "InvalidInstanceID.NotFound");
    let odd = [("InstanceId.1", "i-xyz")];
    assert_eq!(lab.code(2_000, "DescribeInstances", &odd), "InvalidInstanceID.Malformed");
}

#[test]
fn a_page_and_a_list_of_ids_exclude_each_other() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    let params = [("InstanceId.1", node.as_str()), ("MaxResults", "5")];
    assert_eq!(lab.code(2_000, "DescribeInstances", &params), "InvalidParameterCombination");
}
