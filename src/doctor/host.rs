//! What `natha setup` configures, and other programs' rules beside it.

use super::facts::{Facts, UplinkRoute, known};
use super::finding::{Gap, Judged, Outcome, joined};
use crate::config::ResourceSetting;
use crate::plan::HostPlan;
use crate::types::{NetworkInterfaceId, Resource};

/// The largest packet that the internet carries everywhere, in bytes.
const INTERNET_MTU: u32 = 1500;
/// The headers of IPv4 and TCP without options, in bytes.
const HEADERS: u32 = 40;

const SETUP: &str = "sudo natha setup; at every boot: `systemctl enable natha-setup`";

/// `setup-done`
pub(super) fn setup_done(facts: &Facts) -> Judged {
    if !facts.settings.takes_foreign_packets() {
        return Ok(Outcome::not_needed("this host needs nothing for its groups"));
    }
    if known(&facts.plan)?.is_none() {
        return Ok(Outcome::failed("`natha setup` has never run on this host", SETUP));
    }
    let drift = known(&facts.drift)?;
    if drift.is_empty() {
        return Ok(Outcome::passed("the host is as `natha setup` left it"));
    }
    let what = format!("the host is not as planned: {}", joined(drift));
    Ok(Outcome::failed(what, "sudo natha setup, and find out which program changes it"))
}

/// `source-dest-check`
pub(super) fn source_dest_check(facts: &Facts) -> Judged {
    if !facts.settings.takes_foreign_packets() {
        return Ok(Outcome::not_needed("this host receives packets to its own addresses only"));
    }
    let checks = known(&facts.source_dest)?;
    let on: Vec<&NetworkInterfaceId> =
        checks.iter().filter(|(_, on)| **on).map(|(interface, _)| interface).collect();
    let Some(first) = on.first() else {
        if checks.is_empty() {
            return Err(Gap::new("the forwarding interfaces are not known"));
        }
        return Ok(Outcome::passed(format!("off for {}", joined(checks.keys()))));
    };
    let command = format!(
        "aws ec2 modify-network-interface-attribute --no-source-dest-check --network-interface-id \
         {first}"
    );
    let remedy = if facts.settings.host.source_dest_check {
        format!("sudo natha setup, or {command}")
    } else {
        command
    };
    Ok(Outcome::failed(format!("EC2's source/dest check is on for {}", joined(on)), remedy))
}

/// `uplink-route`
pub(super) fn uplink_route(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    let UplinkRoute { table, default, is_loop } = known(&facts.uplink_route)?;
    let remedy = format!(
        "aws ec2 create-route --route-table-id {table} --destination-cidr-block 0.0.0.0/0 \
         --gateway-id ID, with the id of the VPC's internet gateway; replace-route where there is \
         a wrong one"
    );
    let Some(default) = default else {
        let what = format!("the table of this node's subnet, {table}, has no default route");
        return Ok(Outcome::failed(what, remedy));
    };
    let target = &default.target;
    if *is_loop {
        let what = format!("the default route of this node's subnet points to this node ({table})");
        return Ok(Outcome::failed(what, remedy));
    }
    if default.blackhole {
        let what = format!("the default route of {table} points to {target}, which is gone");
        return Ok(Outcome::failed(what, remedy));
    }
    Ok(Outcome::passed(format!("the default route of this node's subnet points to {target}")))
}

/// `other-firewalls`
pub(super) fn other_firewalls(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    let found = known(&facts.firewalls)?;
    if found.is_empty() {
        return Ok(Outcome::passed("no other program's rules drop what this host forwards"));
    }
    // The text of each has its own commands.
    Ok(Outcome::failed(found.join("; "), "sudo natha setup --dry-run prints the rules to add"))
}

/// `private-routes`
pub(super) fn private_routes(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    let found = known(&facts.misrouted)?;
    if found.is_empty() {
        return Ok(Outcome::passed("the private hosts are behind interfaces that forward"));
    }
    Ok(Outcome::failed(
        found.join("; "),
        "correct the routes of this host, then run `sudo natha setup` again",
    ))
}

/// `mtu-mss`
pub(super) fn mtu_mss(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    let links = known(&facts.links)?;
    let Some(plan) = known(&facts.plan)? else {
        return Err(Gap::new("`natha setup` has never run on this host"));
    };
    let HostPlan { table, .. } = plan;
    let shown = joined(links.iter().map(|(name, link)| format!("{name} {}", link.mtu)));
    let largest = links.values().map(|link| link.mtu).max().unwrap_or_default();
    let segment = u32::from(table.mss) + HEADERS;
    if !table.clamp_mss && largest > INTERNET_MTU {
        return Ok(Outcome::warning(
            format!(
                "segments are not clamped (host.clamp_mss), and interfaces carry more: {shown}"
            ),
            "set host.clamp_mss = true and run `sudo natha setup`",
        ));
    }
    if table.clamp_mss && segment > INTERNET_MTU {
        let what = format!(
            "host.mss = {} makes packets of {segment} bytes, but the internet carries \
             {INTERNET_MTU}",
            table.mss
        );
        return Ok(Outcome::warning(
            what,
            "set host.mss to 1460 or less and run `sudo natha setup`",
        ));
    }
    let uplink = links.get(&table.uplink).map(|link| link.mtu);
    if uplink.is_some_and(|mtu| links.values().any(|link| link.mtu < mtu)) {
        let what = format!("an interface of private hosts carries less than the uplink: {shown}");
        let remedy = "give all interfaces the same MTU: packets that do not fit are dropped where \
                      a firewall stops the message about it (ICMP type 3, code 4)";
        return Ok(Outcome::warning(what, remedy));
    }
    let clamped = if table.clamp_mss {
        format!("; segments are clamped to {}", table.mss)
    } else {
        String::new()
    };
    Ok(Outcome::passed(format!("MTU: {shown}{clamped}")))
}

/// `address-refresh`
pub(super) fn address_refresh(facts: &Facts) -> Judged {
    if !*known(&facts.refresh)? {
        return Ok(Outcome::passed("no other program reconfigures interfaces every minute"));
    }
    if !changes_addresses(facts) {
        return Ok(Outcome::passed(
            "amazon-ec2-net-utils looks for secondary private addresses every minute: this matters \
             only with egress IPs, if groups move private IPs, and to measure an Elastic IP",
        ));
    }
    Ok(Outcome::warning(
        "natha has EC2 change this node's secondary private addresses; within a minute of each \
         change, amazon-ec2-net-utils takes away the primary address for 1 to 2 s",
        "printf '[Unit]\\nConditionPathExists=!/usr/bin/natha\\n' | sudo install -D -m 644 \
         /dev/stdin /etc/systemd/system/refresh-policy-routes@.service.d/natha.conf && sudo \
         systemctl daemon-reload",
    ))
}

/// Whether natha has EC2 give this node further private addresses, or take them away, while it
/// runs: landing addresses that the settings do not list, or private IPs that groups move.
fn changes_addresses(facts: &Facts) -> bool {
    let groups = &facts.settings.groups;
    if groups.is_empty() {
        // The groups are found by tags, which only name routes and egress IPs.
        return facts.roster().is_ok_and(|roster| {
            let mut found = roster.groups.iter().flat_map(|group| &group.resources);
            found.any(|one| matches!(one, Resource::EgressIp { .. }))
        });
    }
    let mut moved = groups.iter().flat_map(|group| &group.resources);
    moved.any(|one| match one {
        ResourceSetting::PrivateIp { .. } => true,
        ResourceSetting::EgressIp { landing, .. } => landing.is_empty(),
        ResourceSetting::Vip { .. } | ResourceSetting::Eip { .. } | ResourceSetting::Dns { .. } => {
            false
        }
    })
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
