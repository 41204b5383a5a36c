//! How much this node can take: connections, ports, EC2's allowances, the receive ring.

use super::facts::{ConntrackFacts, Facts, LinkFacts, Ring, known};
use super::finding::{Gap, Judged, Outcome, joined};
use crate::plan::conntrack_max;
use crate::status::PortSpace;

/// A port space that is this full needs attention, in percent.
const PORTS_PERCENT: u64 = 80;

/// The driver of EC2's network adapter.
const ENA: &str = "ena";

/// What to do where one node is too small.
const LARGER: &str = "use a larger instance type, or spread the private subnets over more nodes";

/// `conntrack-size`
pub(super) fn conntrack_size(facts: &Facts) -> Judged {
    let Some(table) = conntrack(facts)? else { return Ok(no_nat()) };
    let ConntrackFacts { max, settable, .. } = table;
    let wanted = match facts.settings.host.conntrack_max {
        Some(wanted) => u64::from(wanted),
        None => conntrack_max(*known(&facts.memory)?),
    };
    let what = format!("at most {max} connections are tracked; {wanted} fit this host");
    if max >= wanted {
        return Ok(Outcome::passed(format!("up to {max} connections can be tracked")));
    }
    Ok(match (settable, facts.pre) {
        (true, true) => Outcome::passed(format!("{what}, and `natha setup` sets that")),
        (true, false) => Outcome::warning(what, "sudo natha setup"),
        (false, _) => Outcome::warning(
            format!("{what}, but it cannot be set inside this network namespace"),
            format!(
                "on the host of this container: sysctl -w net.netfilter.nf_conntrack_max={wanted}"
            ),
        ),
    })
}

/// `conntrack-use`
pub(super) fn conntrack_use(facts: &Facts) -> Judged {
    let Some(ConntrackFacts { tracked, max, .. }) = conntrack(facts)? else { return Ok(no_nat()) };
    let percent = u64::from(facts.settings.host.conntrack_alert);
    let what = format!("{tracked} of at most {max} connections are tracked");
    if max > 0 && tracked.saturating_mul(100) >= max.saturating_mul(percent) {
        let remedy = "raise host.conntrack_max, shorten host.established_timeout, or spread the \
                      private subnets over more nodes";
        return Ok(Outcome::warning(what, remedy));
    }
    Ok(Outcome::passed(what))
}

/// The kernel's table of connections; none on a host that is no NAT.
fn conntrack(facts: &Facts) -> Result<Option<ConntrackFacts>, Gap> {
    if !facts.settings.is_nat() {
        return Ok(None);
    }
    let missing = || Gap::new("connections are not tracked: see `kernel-timeouts`");
    known(&facts.conntrack)?.ok_or_else(missing).map(Some)
}

fn no_nat() -> Outcome {
    Outcome::not_needed("this host is no NAT")
}

/// `port-space`
pub(super) fn port_space(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(no_nat());
    }
    let ports = facts.report()?.ports.as_ref();
    let ports = ports.ok_or_else(|| Gap::new("the monitor has not looked at the ports yet"))?;
    let Some(PortSpace { protocol, address, destination, used, of }) = &ports.fullest else {
        return Ok(Outcome::passed("no address has more than half of its ports in use"));
    };
    let what =
        format!("{used} of {of} ports of {address} are in use for {protocol} to {destination}");
    if u64::from(*used) * 100 < u64::from(*of) * PORTS_PERCENT {
        return Ok(Outcome::passed(what));
    }
    Ok(Outcome::warning(
        what,
        "give the group another egress IP, spread the private subnets over more nodes, or have \
         clients reuse connections",
    ))
}

/// `ena-allowances`
pub(super) fn allowances(facts: &Facts) -> Judged {
    let links = known(&facts.links)?;
    let counted = || links.iter().filter(|(_, link)| link.allowances.are_counted());
    if counted().next().is_none() {
        return Ok(Outcome::not_needed("no driver here counts EC2's allowances; ENA does"));
    }
    let exceeded = counted().flat_map(|(name, link)| {
        let above = link.allowances.exceeded.iter().filter(|(_, packets)| **packets > 0);
        above.map(move |(counter, packets)| format!("{name} {counter}: {packets}"))
    });
    let exceeded = joined(exceeded);
    if exceeded.is_empty() {
        return Ok(Outcome::passed(
            "EC2 has dropped or delayed no packet since the driver started",
        ));
    }
    Ok(Outcome::warning(
        format!("packets that EC2 dropped or delayed since the driver started: {exceeded}"),
        format!("{LARGER}; `monitor-alerts` says whether the number grows now"),
    ))
}

/// `ring-sizes`
pub(super) fn rings(facts: &Facts) -> Judged {
    let links = known(&facts.links)?;
    let ena: Vec<(&String, &LinkFacts)> =
        links.iter().filter(|(_, link)| link.driver.as_deref() == Some(ENA)).collect();
    if ena.is_empty() {
        return Ok(Outcome::not_needed("no interface has the driver ena"));
    }
    let mut small = Vec::new();
    for (name, link) in &ena {
        let Some(ring) = &link.ring else { continue };
        let Ring { size, most } = *known(ring)?;
        if size < most {
            small.push((*name, size, most, link.overruns));
        }
    }
    let overrun = small.iter().find(|(_, _, _, overruns)| *overruns > 0);
    let Some((name, size, most, overruns)) = overrun else {
        let shown = small.iter().map(|(name, size, most, _)| format!("{name} {size} of {most}"));
        let shown = joined(shown);
        return Ok(Outcome::passed(match &*shown {
            "" => "the receive rings are as large as they can be".to_owned(),
            shown => format!(
                "no packet was dropped for want of room; `ethtool -G` can enlarge the receive \
                 rings: {shown}. It stops the interface for a moment: do it before the node joins"
            ),
        }));
    };
    Ok(Outcome::warning(
        format!("{overruns} packets found no room in the receive ring of {name}: {size} of {most}"),
        format!(
            "natha drain; sudo ethtool -G {name} rx {most}; also at every boot, before natha starts"
        ),
    ))
}

#[cfg(test)]
#[path = "capacity_tests.rs"]
mod tests;
