//! The founding documents, each with its own story: what it describes is built as it says, and
//! what it wished for, or warned of, is shown with packets. The unmodified program, configured as
//! anybody would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "seeds/s000.rs"]
mod s000;
#[path = "seeds/s001.rs"]
mod s001;
#[path = "seeds/s002.rs"]
mod s002;
#[path = "seeds/s003.rs"]
mod s003;
#[path = "seeds/s004.rs"]
mod s004;
#[path = "seeds/s004_alone.rs"]
mod s004_alone;
#[path = "seeds/s004_scripts.rs"]
mod s004_scripts;

use std::net::Ipv4Addr;

use natha_lab::Scene;
use natha_lab::meter::tcp::Report;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// A host in the internet of every lab comes from here.
const INTERNET: &str = "203.0.113.0/24";

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Who served a meter's connections, one after the other.
fn banners(report: &Report) -> Vec<&str> {
    let mut banners: Vec<&str> =
        report.probes.iter().filter_map(|probe| probe.banner.as_deref()).collect();
    banners.dedup();
    banners
}

/// Stops an instance and starts it again, as its owner would.
fn restart(scene: &Scene, node: &str) {
    let id = scene.host(node).unwrap().instance;
    for action in ["StopInstances", "StartInstances"] {
        let done = || Ok(scene.ec2(action, &[("InstanceId.1", &id)]).is_ok());
        scene.wait_for(done).unwrap();
    }
}

/// Fails, with what the nodes have logged, unless a meter's connections were lost in so many runs.
fn assert_outages(scene: &Scene, report: &Report, count: usize) {
    if report.outages.len() == count {
        return;
    }
    let (outages, reigns) = (&report.outages, report.reigns());
    let error = anyhow::anyhow!("not {count} outages: {outages:#?}; served by {reigns:#?}");
    panic!("{:?}", scene.explain(error));
}

/// The names of the databases that a client finds by this connection string, with what the client
/// said if it found none.
fn databases(scene: &Scene, client: &str, to: &str) -> Result<Vec<String>, String> {
    let query = "select datname from pg_database where datname like 'DB%' order by 1";
    let script = format!("psql \"{to}\" -Atc \"{query}\"");
    let found = scene.sh(client, &script).map_err(|error| format!("{error:#}"))?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// Waits until every route to this destination leads to a host.
fn wait_led(scene: &Scene, destination: &str, to: &str) {
    scene.wait_leads(destination.parse().unwrap(), to).unwrap();
}

/// Waits until a client finds this database and no other.
fn wait_database(scene: &Scene, client: &str, to: &str, database: &str) {
    let there = || Ok(databases(scene, client, to).is_ok_and(|found| found == [database]));
    scene.wait_for(there).unwrap();
}
