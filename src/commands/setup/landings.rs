//! The rows about egress IPs in the report of a setup: whether this node has a landing address for
//! each, in EC2 and on the host, and where the Elastic IP is. The monitor sees to them, not setup.

use std::net::Ipv4Addr;

use crate::commands::report::{Row, RowResult};
use crate::daemon::EgressOutlook;
use crate::kernel::addresses::Own;
use crate::types::{Location, RouteTarget};

/// The rows, and the warnings about what the monitor has not done yet.
pub(super) fn rows(egress: &[EgressOutlook], own: &[Own]) -> (Vec<Row>, Vec<String>) {
    let (rows, warnings): (Vec<Row>, Vec<Option<String>>) =
        egress.iter().map(|one| row(one, own)).unzip();
    (rows, warnings.into_iter().flatten().collect())
}

fn row(egress: &EgressOutlook, own: &[Own]) -> (Row, Option<String>) {
    let EgressOutlook { group, address, landing, location } = egress;
    let what = format!("egress IP {address} of group {group}");
    let link = |landing: &Ipv4Addr| own.iter().find(|own| own.address == *landing);
    let (state, outcome, warning) = match landing {
        // What is wrong, and the remedy, are among the findings about the cluster.
        None => ("no landing address in EC2".to_owned(), RowResult::ByMonitor, None),
        Some(landing) => match link(landing) {
            Some(own) => {
                let state = format!("landing address {landing} in EC2 and on {}", own.link);
                (state, RowResult::Right, None)
            }
            None => (
                format!("landing address {landing} in EC2, not on this host"),
                RowResult::ByMonitor,
                Some(format!(
                    "landing address {landing} of egress IP {address} is not on this host: the \
                     monitor adds it; start it with `systemctl start natha-monitor`"
                )),
            ),
        },
    };
    let mapped = match location {
        Some(Location::At(RouteTarget::Address(on))) if Some(*on) == *landing => "mapped here",
        Some(Location::At(_)) => "mapped elsewhere",
        Some(Location::Vacant) => "mapped to nothing that uses it",
        Some(Location::Absent) => "not in EC2",
        Some(Location::Pending) | None => "mapping unknown",
    };
    let state = Some(format!("{state}, {mapped}"));
    (Row { what, before: state.clone(), after: state, outcome }, warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANDING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 201);

    fn shown(landing: Option<Ipv4Addr>, location: Option<Location>) -> (String, bool, bool) {
        let egress = EgressOutlook {
            group: "a".parse().unwrap(),
            address: Ipv4Addr::new(203, 0, 113, 7),
            landing,
            location,
        };
        let own = [Own { address: LANDING, link: "eth0".to_owned(), prefix: 32 }];
        let (rows, warnings) = rows(&[egress], &own);
        let [row] = rows.try_into().unwrap();
        assert_eq!(row.what, "egress IP 203.0.113.7 of group a");
        (row.after.unwrap(), row.outcome == RowResult::Right, !warnings.is_empty())
    }

    #[test]
    fn a_row_tells_what_ec2_and_the_host_have_for_an_egress_ip() {
        let at = |last| Some(Location::At(RouteTarget::Address(Ipv4Addr::new(10, 0, 0, last))));
        for (landing, location, state, is_right, warns) in [
            (Some(LANDING), at(201), "10.0.0.201 in EC2 and on eth0, mapped here", true, false),
            (Some(LANDING), at(7), "on eth0, mapped elsewhere", true, false),
            (Some(LANDING), Some(Location::Vacant), "mapped to nothing", true, false),
            (None, Some(Location::Absent), "no landing address in EC2, not in EC2", false, false),
            (Some([10, 0, 0, 9].into()), None, "not on this host, mapping unknown", false, true),
        ] {
            let (text, right, warned) = shown(landing, location);
            assert!(text.contains(state), "{text}");
            assert_eq!((right, warned), (is_right, warns), "{text}");
        }
    }
}
