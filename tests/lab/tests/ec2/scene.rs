//! A small VPC to ask questions about, and reading the answers.

use std::time::Duration;

use natha_lab::ec2::{
    ApiError, InstanceSpec, Params, Principal, RouteVia, Timings, World, WorldSettings,
};

/// A VPC with one node in each of two zones, a private subnet and its table.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) vpc: String,
    pub(crate) public: String,
    pub(crate) table: String,
    pub(crate) nodes: [String; 2],
    pub(crate) interfaces: [String; 2],
}

pub(crate) fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn timings() -> Timings {
    Timings {
        start_ms: 1_000,
        stop_ms: 5_000,
        force_ms: 1_000,
        terminate_ms: 1_000,
        status_ms: 0,
        ..Timings::default()
    }
}

impl Lab {
    /// Everything is made at 0; both nodes run from 1 s on.
    pub(crate) fn new(timings: Timings) -> Self {
        let mut world = World::new(WorldSettings { timings, ..WorldSettings::default() });
        let now = Duration::ZERO;
        let vpc = world.create_vpc("10.0.0.0/16".parse().unwrap(), now).unwrap();
        let gateway = world.create_gateway(&vpc, now).unwrap();
        let mut subnet = |cidr: &str, zone: &str| {
            world.create_subnet(&vpc, cidr.parse().unwrap(), zone, now).unwrap()
        };
        let public = subnet("10.0.0.0/24", "eu-central-1a");
        let other = subnet("10.0.2.0/24", "eu-central-1b");
        let private = subnet("10.0.1.0/24", "eu-central-1a");
        let open = world.create_table(&vpc, &[&public, &other], &[], now).unwrap();
        let default = "0.0.0.0/0".parse().unwrap();
        world.create_route(&open, default, &RouteVia::Gateway(gateway), now).unwrap();
        let table = world.create_table(&vpc, &[&private], &[("Name", "private")], now).unwrap();
        let nodes = [("node-a", &public), ("node-b", &other)].map(|(name, subnet)| {
            let spec = InstanceSpec { public: true, ..InstanceSpec::new(name, subnet) };
            world.run_instance(&spec, now).unwrap()
        });
        let interfaces = nodes.clone().map(|node| world.primary_interface(&node).unwrap());
        world
            .create_route(&table, default, &RouteVia::Interface(interfaces[0].clone()), now)
            .unwrap();
        world.advance(at(1_000));
        Self { world, vpc, public, table, nodes, interfaces }
    }

    pub(crate) fn call(
        &mut self,
        ms: u64,
        action: &str,
        params: &[(&str, &str)],
    ) -> Result<String, ApiError> {
        self.call_as(&Principal::Operator, ms, action, params)
    }

    pub(crate) fn call_as(
        &mut self,
        principal: &Principal,
        ms: u64,
        action: &str,
        params: &[(&str, &str)],
    ) -> Result<String, ApiError> {
        let params = params.iter().fold(Params::new(), |all, (name, value)| all.with(name, value));
        self.world.call(principal, action, &params, at(ms)).map(|body| body.as_str().to_owned())
    }

    /// The error code of a call.
    pub(crate) fn code(&mut self, ms: u64, action: &str, params: &[(&str, &str)]) -> String {
        self.call(ms, action, params).expect_err("the call must fail").code
    }

    pub(crate) fn state(&mut self, ms: u64, node: usize) -> String {
        let id = self.nodes[node].clone();
        let answer = self.call(ms, "DescribeInstances", &[("InstanceId.1", &id)]).unwrap();
        let state = inside(&answer, "instanceState");
        texts(state[0], "name")[0].to_owned()
    }

    pub(crate) fn route_state(&mut self, ms: u64) -> String {
        let table = self.table.clone();
        let answer = self.call(ms, "DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
        let routes = inside(&answer, "routeSet");
        texts(routes[0], "state").last().copied().unwrap().to_owned()
    }
}

/// What stands between the tags of one name.
pub(crate) fn inside<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).collect()
}

pub(crate) fn texts<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    inside(xml, tag).into_iter().filter(|text| !text.contains('<')).collect()
}
