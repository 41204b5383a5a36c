//! A well cluster of two, for the tests of the checks.

use serde_json::json;

use super::facts::{ClusterFacts, Facts, MonitorFacts};
use crate::failover::Verdict;
use crate::status::{Counters, Report};
use crate::types::{
    Group, InstanceId, Member, Resource, Roster, RouteEntry, RouteTableInfo, RouteTarget,
};

/// Node `n`, `nat-a` and so on.
pub(super) fn node(n: u8) -> InstanceId {
    format!("i-0000000{n}").parse().unwrap()
}

fn member(n: u8) -> Member {
    let letter = char::from(b'a' + n - 1);
    serde_json::from_value(json!({
        "id": node(n),
        "interface": format!("eni-0000000{n}"),
        "address": format!("10.0.0.{n}"),
        "zone": format!("eu-west-1{letter}"),
        "name": format!("nat-{letter}"),
    }))
    .unwrap()
}

/// Nodes 1 and 2, and a group with one table for each.
pub(super) fn roster() -> Roster {
    let group = |n: u8| {
        let table = format!("rtb-0000000{n}").parse().unwrap();
        let route = Resource::DefaultRoute { table, cidr: "0.0.0.0/0".parse().unwrap() };
        Group::new(format!("zone-{n}").parse().unwrap(), Some(node(n)), vec![route])
    };
    Roster { members: vec![member(1), member(2)], groups: vec![group(1), group(2)] }
}

/// Node 1's monitor while all is well.
pub(super) fn report() -> Report {
    let peer = json!({
        "verdict": Verdict::Alive,
        "verdict_age_ms": 60_000,
        "heartbeat_age_ms": 40,
        "echo_age_ms": 600,
        "fitness": { "faults": [] },
        "hears_me": true,
        "settings_differ": false,
        "power": null,
        "power_age_ms": null,
        "repair": null,
    });
    let group = |n: u8| {
        json!({
            "home": node(n),
            "goes_home": true,
            "holder": node(n),
            "targets": {},
            "read_age_ms": 4_000,
            "generation": 1,
            "doing": null,
        })
    };
    serde_json::from_value(json!({
        "version": "0.1.0",
        "pid": 7,
        "cluster": "blue",
        "now_ms": 100_000,
        "uptime_ms": 90_000,
        "roster": roster(),
        "view": {
            "me": node(1),
            "fitness": { "faults": [] },
            "peers": { (node(2).to_string()): peer },
            "groups": { "zone-1": group(1), "zone-2": group(2) },
            "timers_ms": {},
        },
        "events": [],
        "counters": Counters::default(),
        "lateness_max_ms": 0,
    }))
    .unwrap()
}

/// The facts of a host whose monitor reports this.
pub(super) fn running(report: Report) -> Facts {
    Facts { monitor: Ok(MonitorFacts::Running(Box::new(report))), ..Facts::default() }
}

/// The table of node `n` with a default route to this.
pub(super) fn table(n: u8, to: Option<RouteTarget>) -> RouteTableInfo {
    let default = |target| ("0.0.0.0/0".parse().unwrap(), RouteEntry::active(target));
    RouteTableInfo {
        id: format!("rtb-0000000{n}").parse().unwrap(),
        vpc: "vpc-00000001".parse().unwrap(),
        routes: to.into_iter().map(default).collect(),
        subnets: Vec::new(),
        main: false,
        tags: std::collections::BTreeMap::new(),
    }
}

/// The interface of node `n` as a target.
pub(super) fn interface(n: u8) -> RouteTarget {
    RouteTarget::Interface(format!("eni-0000000{n}").parse().unwrap())
}

/// The cluster of [`roster`] with these tables, as node 1 sees it.
pub(super) fn cluster(tables: Vec<RouteTableInfo>) -> ClusterFacts {
    let (warnings, findings) = (Vec::new(), Vec::new());
    ClusterFacts { me: node(1), roster: roster(), warnings, findings, tables }
}
