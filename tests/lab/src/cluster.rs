//! A cluster of natha nodes in a lab: what tests, demo and bench have in common.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::lab::Lab;
use crate::spec::Spec;

/// What a node runs at boot: the same two commands as on AWS.
const USER_DATA: &str = "natha setup; exec natha monitor";

/// The name of the cluster: the value of the `natha:cluster` tags.
pub const NAME: &str = "lab";

/// A lab of `nodes` natha nodes, found by their tags. `config` becomes `/etc/natha/natha.toml`
/// on each; empty means that there is no such file.
#[must_use]
pub fn spec(nodes: u8, natha: PathBuf, config: &str) -> Spec {
    let user_data = if config.is_empty() {
        format!("#!/bin/sh\n{USER_DATA}\n")
    } else {
        format!(
            "#!/bin/sh\nmkdir -p /etc/natha\ncat > /etc/natha/natha.toml <<'END'\n{config}\nEND\n\
             {USER_DATA}\n"
        )
    };
    let mut spec = Spec::nodes(nodes).with_node_user_data(&user_data).with_cluster(NAME);
    spec.natha = Some(natha);
    spec
}

/// What `natha status --json` says on a host.
///
/// # Errors
/// When no monitor answers there.
pub fn status(lab: &Lab, host: &str) -> Result<Value> {
    let argv = ["natha", "status", "--json"];
    let output = lab.exec(host, &argv, Duration::from_secs(10))?;
    serde_json::from_str(&output.stdout)
        .with_context(|| format!("no status of {host}: {}{}", output.stdout, output.stderr))
}

/// Waits until `natha status` finds nothing amiss on any of these hosts.
///
/// # Errors
/// When that is not so within `limit`: with what is amiss, and the host's console.
pub fn wait_well(lab: &Lab, hosts: &[&str], limit: Duration) -> Result<()> {
    let end = Instant::now() + limit;
    for host in hosts {
        loop {
            let output = lab.exec(host, &["natha", "status"], Duration::from_secs(10))?;
            if output.code == 0 {
                break;
            }
            if Instant::now() >= end {
                let console = lab.console(host)?;
                bail!("{host} is not well: {}{}\n{console}", output.stdout, output.stderr);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}
