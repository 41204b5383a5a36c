//! Watches the port space of the translation. Connections to one destination and port that are
//! translated to one address need a port each, of 64,512. A connection that gets none is dropped.
//! So would it be on a node that took over: this raises an alert and triggers no failover.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::conntrack::{number, statistics};
use super::growth::Growth;
use crate::daemon::alerts::Alert;
use crate::daemon::clock;
use crate::daemon::inbox::{Note, Notes};
use crate::flows::{Entry, Protocol};
use crate::kernel::conntrack::{ConntrackError, Requests};
use crate::status::{PortSpace, PortUse};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// The ports of one address for one destination and port: those from 1024 up, to which the kernel
/// keeps sources with such a port.
const SPACE: u32 = 64_512;
/// Below this many connections in all, the table is not read: no destination can have more.
const READ_FROM: u64 = SPACE as u64 / 2;
/// The alert is raised at this share of the port space, in percent, and cleared below the second.
const RAISE: u64 = 80;
const CLEAR: u64 = 72;
/// The kernel's counter of connections that could not be entered into the table: their translated
/// port was taken.
const FAILED: &str = "insert_failed";

/// Runs for as long as the runtime lives.
pub(crate) async fn watch(notes: Notes, mut alert: Alert) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = Growth::default();
    loop {
        rounds.tick().await;
        let fullest = match spawn_blocking(fullest).await {
            Ok(Ok(fullest)) => fullest,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot read how full the port space is");
                None
            }
            Err(_) => continue,
        };
        let Some(failed) = statistics().and_then(|all| all.get(FAILED).copied()) else { continue };
        failures.note(failed, clock::now());
        alert.set(complaint(fullest.as_ref(), failures.grown(), alert.is_raised())).await;
        if !notes.send(Note::Ports(PortUse { failures: failed, fullest })).await {
            return;
        }
    }
}

/// The port space with the most connections; none while all of them together are few.
fn fullest() -> Result<Option<PortSpace>, ConntrackError> {
    if number("nf_conntrack_count").is_none_or(|tracked| tracked < READ_FROM) {
        return Ok(None);
    }
    let mut spaces = Spaces::default();
    Requests::open()?.dump(|entry| spaces.count(&entry))?;
    Ok(spaces.fullest())
}

/// The connections of each port space.
#[derive(Debug, Default)]
struct Spaces(HashMap<(Protocol, Ipv4Addr, SocketAddrV4), u32>);

impl Spaces {
    fn count(&mut self, Entry { landing, flow }: &Entry) {
        let tuple = &flow.tuple;
        if tuple.protocol != Protocol::Icmp {
            let to = SocketAddrV4::new(tuple.destination, tuple.destination_port);
            *self.0.entry((tuple.protocol, *landing, to)).or_default() += 1;
        }
    }

    fn fullest(self) -> Option<PortSpace> {
        let ((protocol, address, destination), used) =
            self.0.into_iter().max_by_key(|(space, used)| (*used, *space))?;
        let protocol = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
        Some(PortSpace { protocol: protocol.to_owned(), address, destination, used, of: SPACE })
    }
}

/// The alert's text. `grown`: the failures since there were none for a while. `raised`: whether
/// the alert is raised already.
fn complaint(fullest: Option<&PortSpace>, grown: Option<u64>, raised: bool) -> Option<String> {
    const REMEDY: &str = "give the group another egress IP, spread the private subnets over more \
                          nodes, or have clients reuse connections";
    let threshold = if raised { CLEAR } else { RAISE };
    let is_full = |one: &&PortSpace| u64::from(one.used) * 100 >= u64::from(one.of) * threshold;
    let full = fullest.filter(is_full).map(|one| {
        let PortSpace { protocol, address, destination, used, of } = one;
        format!("{used} of {of} ports of {address} are in use for {protocol} to {destination}")
    });
    let failed = grown.map(|grown| {
        format!("{grown} new connections were dropped, because no port was left for them")
    });
    let found: Vec<String> = failed.into_iter().chain(full).collect();
    (!found.is_empty()).then(|| format!("{}: {REMEDY}", found.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::{Flow, Tuple};

    fn space(used: u32) -> PortSpace {
        let destination = "203.0.113.10:443".parse().unwrap();
        let address = Ipv4Addr::new(10, 0, 0, 10);
        PortSpace { protocol: "tcp".to_owned(), address, destination, used, of: SPACE }
    }

    #[test]
    fn the_alert_begins_at_four_fifths_and_ends_well_below_it() {
        for (used, raised, wanted) in [
            (51_609, false, false),
            (51_610, false, true),
            (46_449, true, true),
            (46_448, true, false),
        ] {
            assert_eq!(complaint(Some(&space(used)), None, raised).is_some(), wanted, "{used}");
        }
        assert_eq!(complaint(None, None, true), None);
    }

    #[test]
    fn the_text_names_the_destination_what_was_dropped_and_the_remedy() {
        let text = complaint(Some(&space(60_000)), Some(7), false).unwrap();
        for part in ["7 new connections", "60000 of 64512", "203.0.113.10:443", "egress IP"] {
            assert!(text.contains(part), "{text}");
        }
        let text = complaint(Some(&space(1)), Some(7), false).unwrap();
        assert!(text.contains("7 new connections") && !text.contains("in use"), "{text}");
    }

    #[test]
    fn connections_share_ports_if_protocol_address_and_destination_are_the_same() {
        let entry = |protocol, landing: u8, destination: u8, source_port| Entry {
            landing: Ipv4Addr::new(10, 0, 0, landing),
            flow: Flow {
                tuple: Tuple {
                    protocol,
                    source: Ipv4Addr::new(10, 0, 100, 10),
                    destination: Ipv4Addr::new(203, 0, 113, destination),
                    source_port,
                    destination_port: 443,
                },
                translated_port: source_port,
                seen_reply: true,
                assured: true,
                tcp: None,
                timeout_s: 30,
                mark: 0,
            },
        };
        let mut spaces = Spaces::default();
        for port in 0..3 {
            spaces.count(&entry(Protocol::Udp, 10, 10, port));
            spaces.count(&entry(Protocol::Icmp, 10, 10, port));
        }
        spaces.count(&entry(Protocol::Udp, 11, 10, 7));
        spaces.count(&entry(Protocol::Udp, 10, 11, 7));
        let found = spaces.fullest().unwrap();
        assert_eq!((found.used, found.protocol.as_str()), (3, "udp"));
        assert_eq!(found.destination, "203.0.113.10:443".parse().unwrap());
        assert_eq!(Spaces::default().fullest(), None);
    }
}
