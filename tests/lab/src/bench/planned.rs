//! What must move no route, and a boot without EC2.

use std::time::Duration;

use anyhow::{Context, Result};

use super::figures::Figures;
use super::pair::{CONFIG, NODES};
use super::{Bench, stats};
use crate::NetChange;
use crate::daemon::shared::Power;
use crate::ec2::{Fault, FaultRule, Faults, Principal};
use crate::scene::{self, Scene};

pub(super) const RESTARTS: [&str; 2] = ["restart.moves", "upgrade.moves"];
pub(super) const BLIP: [&str; 1] = ["shared_blip.moves"];
pub(super) const BOOT: [&str; 1] = ["boot_without_api.s_to_forwarding"];

/// How long both nodes have no uplink, and how much longer the second one has none.
const BLIP_FOR: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(250));
const BLIPS: usize = 6;
/// What a wrong decision would need to show itself.
const AFTERWARDS: Duration = Duration::from_secs(3);

fn pair(bench: &Bench<'_>) -> Result<Scene> {
    Scene::start(&scene::spec(2, &bench.options.natha, CONFIG))
}

/// Restarts of each node's monitor, and upgrades of the program.
pub(super) fn restarts(bench: &Bench<'_>) -> Result<Figures> {
    let scene = pair(bench)?;
    let mut figures = Figures::new();
    let ways: [fn(&Scene, &str) -> Result<()>; 2] = [Scene::restart, Scene::upgrade];
    for (name, again) in RESTARTS.into_iter().zip(ways) {
        let before = scene.route_writes()?;
        for node in NODES {
            again(&scene, node)?;
        }
        scene.pass(AFTERWARDS);
        figures.insert(name, stats::count(scene.route_writes()? - before));
    }
    Ok(figures)
}

/// Both nodes lose their uplink for a while, again and again, and one gets it back a bit earlier.
pub(super) fn shared_blip(bench: &Bench<'_>) -> Result<Figures> {
    let scene = pair(bench)?;
    let before = scene.route_writes()?;
    for blip in 0..BLIPS {
        for host in NODES {
            scene.net(NetChange::CutUplink { host: host.to_owned() })?;
        }
        scene.pass(BLIP_FOR.0);
        let first = blip % NODES.len();
        scene.mend(NODES[first])?;
        scene.pass(BLIP_FOR.1);
        scene.mend(NODES[1 - first])?;
        scene.wait_well()?;
    }
    scene.pass(AFTERWARDS);
    let moves = scene.route_writes()? - before;
    Ok(BLIP.into_iter().zip([stats::count(moves)]).collect())
}

/// Both nodes boot while no call to EC2 returns: from a node's boot to the first packet that it
/// forwards.
pub(super) fn boot_without_api(bench: &Bench<'_>) -> Result<Figures> {
    let scene = pair(bench)?;
    let nodes = NODES.into_iter().map(|name| scene.host(name)).collect::<Result<Vec<_>>>()?;
    let hang = |instance: &String| {
        FaultRule::everywhere(Fault::Hang).by(Principal::Instance(instance.clone()))
    };
    let hangs = Faults { rules: nodes.iter().map(|node| hang(&node.instance)).collect() };
    let mut times = Vec::new();
    for _ in 0..bench.scale.broken {
        scene.stop_nodes(&nodes)?;
        scene.api_faults(hangs.clone())?;
        let meter = scene.ping("host-a", 10)?;
        scene.start_nodes(&nodes)?;
        let first = || -> Result<Option<f64>> {
            let probes = scene.probes(meter, 0)?;
            Ok(probes.iter().find(|(_, answer)| answer.is_some()).map(|(at, _)| *at))
        };
        scene.wait_for(|| Ok(first()?.is_some()))?;
        let forwards = first()?.context("no ping was answered")?;
        let booted = scene.power_at("nat-a", Power::On)?;
        times.push(forwards / 1e3 - booted.as_secs_f64());
        scene.pinged(meter)?;
        scene.api_faults(Faults::none())?;
        scene.wait_well()?;
    }
    let median = stats::median(&times).context("no round was measured")?;
    Ok(BOOT.into_iter().zip([stats::rounded(median, 2)]).collect())
}
