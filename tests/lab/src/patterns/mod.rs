//! The patterns of `docs/patterns.md` as labs: which instances there are, what their settings say,
//! what they run. The tests of the founding documents and the bench start from these.

pub mod services;
pub mod watch;

use std::path::PathBuf;

use crate::cluster;
use crate::scene;
use crate::spec::{Ec2Spec, HostSpec, Role, Spec};

/// Timers about as short as settings may have them, so that a test sees the whole story.
pub const QUICK: &str = "
api.timeout = \"3s\"
failover.read_valid = \"3s\"

[hand_back]
hold = \"3s\"
hold_max = \"5s\"
";

/// A cluster without its routes and clients: `nodes` by name and zone, all with these settings.
/// `service` is what each runs before natha, by name. EC2 takes 50 ms a call.
#[must_use]
pub fn spec(
    natha: impl Into<PathBuf>,
    nodes: &[(&str, u8)],
    config: &str,
    service: impl Fn(&str) -> String,
) -> Spec {
    let mut spec = Spec::nodes(0);
    for (name, zone) in nodes {
        let mut host = HostSpec::new(name, *zone, Role::Node);
        let commands = format!("{}\nnatha setup; exec natha monitor", service(name));
        host.user_data = Some(scene::user_data(config, &commands));
        spec.hosts.push(host);
    }
    spec = spec.with_node_tag("natha:cluster", cluster::NAME);
    spec.natha = Some(natha.into());
    spec.ec2 = Ec2Spec { latency_ms: 50, ..Ec2Spec::default() };
    spec
}

/// A client in a zone's private subnet.
#[must_use]
pub fn client(name: &str, zone: u8) -> HostSpec {
    HostSpec::new(name, zone, Role::Private)
}
