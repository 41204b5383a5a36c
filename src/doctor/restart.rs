//! What is left after a reboot, or after a stop and a start, and the clock.

use std::time::Duration;

use super::facts::{Facts, known};
use super::finding::{Gap, Judged, Outcome, joined};
use crate::types::{Evidence, PublicAddress, display_duration};

/// EC2 refuses a signature that is this old or so far in the future (AWS general reference,
/// "Signature Version 4").
const REFUSED: Duration = Duration::from_mins(5);
/// What is left of [`REFUSED`] for a clock that drifts on.
const MARGIN: Duration = Duration::from_mins(1);
/// A clock that is kept in step by NTP is within milliseconds; EC2's answers tell whole seconds.
const TOLERATED: Duration = Duration::from_secs(5);
/// Free space that the state directory needs, in bytes: plans, notes and room for an upgrade.
const LEAST_FREE: u64 = 64 << 20;

/// `clock-skew`
pub(super) fn clock(facts: &Facts) -> Judged {
    let found = known(&facts.clock)?;
    let direction = if found.is_ahead { "ahead of" } else { "behind" };
    let what = format!("the clock is {} {direction} EC2's", display_duration(found.apart));
    let remedy = "sudo systemctl enable --now chrony (chronyd on some systems); EC2 serves the \
                  time at 169.254.169.123";
    Ok(if found.apart + MARGIN >= REFUSED {
        Outcome::failed(what, remedy)
    } else if found.apart > TOLERATED {
        Outcome::warning(what, remedy)
    } else {
        Outcome::passed("the clock agrees with EC2's within seconds")
    })
}

/// `public-address`
pub(super) fn public_address(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    let instance = known(&facts.instance)?;
    let assigned: Vec<&PublicAddress> =
        instance.public.iter().filter(|one| !one.is_elastic).collect();
    let Some(first) = assigned.first() else {
        return Ok(without_assigned(facts, &instance.public));
    };
    let addresses = joined(assigned.iter().map(|one| one.address));
    let remedy = format!(
        "aws ec2 allocate-address, then aws ec2 associate-address --network-interface-id {} \
         --allocation-id ID, with the id that the first prints",
        first.interface
    );
    // EC2 assigns no address at the start of an instance with several interfaces.
    Ok(if instance.interfaces > 1 && assigned.len() == instance.public.len() {
        let what = format!(
            "EC2 assigned {addresses}; after a stop and a start this node, which has several \
             interfaces, has no public address, so natha does not repair it"
        );
        Outcome::failed(what, remedy)
    } else if instance.interfaces == 1 && assigned.len() < instance.public.len() {
        // EC2 user guide, "Public IPv4 addresses".
        let what = format!(
            "EC2 assigned {addresses}; if this node is stopped while a secondary private address \
             has an Elastic IP, as now, it has no public address after the start"
        );
        Outcome::warning(what, remedy)
    } else {
        let what = format!("EC2 assigned {addresses}; after a stop and a start it is another one");
        Outcome::warning(what, remedy)
    })
}

fn without_assigned(facts: &Facts, elastic: &[PublicAddress]) -> Outcome {
    if !elastic.is_empty() {
        let addresses = joined(elastic.iter().map(|one| one.address));
        return Outcome::passed(format!("Elastic IP {addresses}: it stays after a stop"));
    }
    let is_proven = facts.report().is_ok_and(|report| {
        let fitness = &report.view.fitness;
        fitness.is_fit() && !fitness.unproven.contains(&Evidence::Uplink)
    });
    if is_proven {
        return Outcome::passed(
            "no public address; probes show that the internet is reached anyway",
        );
    }
    Outcome::warning(
        "this node has no public address",
        "associate an Elastic IP with it, unless its subnet reaches the internet by another NAT",
    )
}

/// `units-enabled`
pub(super) fn units(facts: &Facts) -> Judged {
    let Some(units) = known(&facts.units)? else {
        return Ok(Outcome::not_needed(
            "systemd does not run here: have the init system run `natha setup`, then `natha \
             monitor`, at every boot",
        ));
    };
    let off: Vec<(&String, &String)> =
        units.iter().filter(|(_, state)| *state != "enabled").collect();
    if off.is_empty() {
        return Ok(Outcome::passed(format!("started at every boot: {}", joined(units.keys()))));
    }
    let shown = off.iter().map(|(unit, state)| {
        let state = if state.is_empty() { "not installed" } else { state.as_str() };
        format!("{unit} is {state}")
    });
    let what = format!("after a reboot this host is no node: {}", joined(shown));
    let names: Vec<&str> = off.iter().map(|(unit, _)| unit.as_str()).collect();
    Ok(Outcome::failed(what, format!("sudo systemctl enable {}", names.join(" "))))
}

/// `root-disk`
pub(super) fn root_disk(facts: &Facts) -> Judged {
    let is_ebs = known(&facts.instance)?.root_is_ebs;
    let is_ebs = is_ebs.ok_or_else(|| Gap::new("EC2 did not say what the root device is"))?;
    if !is_ebs && facts.settings.timing.repair.enabled {
        return Ok(Outcome::failed(
            "the root device is an instance store, which EC2 cannot stop: repair fails",
            "use an image with an EBS root volume, or set repair.enabled = false",
        ));
    }
    let free = *known(&facts.free)?;
    let mib = free >> 20;
    let directory = facts.settings.state_dir.display();
    if free < LEAST_FREE {
        let what = format!("only {mib} MiB are free for {directory}");
        return Ok(Outcome::warning(what, "free space there, or set state_dir to another disk"));
    }
    let device = if is_ebs { "an EBS volume" } else { "an instance store" };
    Ok(Outcome::passed(format!("the root device is {device}; {mib} MiB are free for {directory}")))
}

#[cfg(test)]
#[path = "restart_tests.rs"]
mod tests;
