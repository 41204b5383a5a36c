//! Readings as the driver ENA gives them.

use super::*;
use crate::daemon::health::growth::CALM;

/// The beginning of the statistics of an ENA interface, in the driver's order.
const ENA: [(&str, u64); 14] = [
    ("tx_timeout", 0),
    ("suspend", 0),
    ("resume", 0),
    ("wd_expired", 0),
    ("interface_up", 1),
    ("interface_down", 0),
    ("admin_q_pause", 0),
    ("bw_in_allowance_exceeded", 17),
    ("bw_out_allowance_exceeded", 0),
    ("pps_allowance_exceeded", 1_203),
    ("conntrack_allowance_exceeded", 0),
    ("linklocal_allowance_exceeded", 4),
    ("conntrack_allowance_available", 136_812),
    ("queue_0_tx_cnt", 5_817),
];

fn ena() -> Allowances {
    parse(ENA.map(|(name, value)| (name.to_owned(), value)))
}

/// The reading of an interface whose counter of inbound bandwidth is at `value`.
fn reading(value: u64) -> BTreeMap<String, Allowances> {
    let mut found = ena();
    found.exceeded.insert("bw_in_allowance_exceeded".to_owned(), value);
    BTreeMap::from([("ens5".to_owned(), found)])
}

const START: Time = Time::from_millis(1_000_000);

#[test]
fn the_allowances_are_found_among_the_statistics_of_the_driver() {
    let found = ena();
    assert_eq!(found.conntrack_available, Some(136_812));
    assert_eq!(found.exceeded.len(), EXCEEDED.len());
    assert_eq!(found.exceeded["pps_allowance_exceeded"], 1_203);
    assert!(found.are_counted());
    assert_eq!(found.statistics, ENA.len());
}

#[test]
fn a_driver_without_them_offers_none() {
    let veth = [("peer_ifindex".to_owned(), 7), ("rx_queue_0_xdp_packets".to_owned(), 0)];
    assert!(!parse(veth).are_counted());
}

#[test]
fn what_was_counted_before_the_start_is_no_alert() {
    let mut judge = Judge::default();
    for after in [0, 10, 20] {
        assert_eq!(judge.complaint(&reading(17), START + Duration::from_secs(after)), None);
    }
}

#[test]
fn growth_is_an_alert_until_it_has_stopped_for_five_minutes() {
    let mut judge = Judge::default();
    assert_eq!(judge.complaint(&reading(17), START), None);
    let text = judge.complaint(&reading(20), START + EVERY).unwrap();
    assert!(text.starts_with("ens5: EC2 has dropped or delayed 3 packets"), "{text}");
    assert!(text.contains("inbound bandwidth (bw_in_allowance_exceeded): use a larger"), "{text}");
    let text = judge.complaint(&reading(27), START + EVERY * 2).unwrap();
    assert!(text.contains(" 10 packets"), "all since it began: {text}");
    assert!(!text.contains(';'), "the other counters stand still: {text}");
    let calm = START + EVERY * 2 + CALM;
    assert!(judge.complaint(&reading(27), calm - EVERY).is_some());
    assert_eq!(judge.complaint(&reading(27), calm), None);
    let text = judge.complaint(&reading(28), calm + EVERY).unwrap();
    assert!(text.contains(" 1 packets"), "{text}");
}

#[test]
fn a_reset_of_the_driver_and_an_interface_that_goes_end_the_alert() {
    let mut judge = Judge::default();
    judge.complaint(&reading(17), START);
    assert!(judge.complaint(&reading(20), START + EVERY).is_some());
    assert_eq!(judge.complaint(&reading(2), START + EVERY * 2), None);
    assert!(judge.complaint(&reading(3), START + EVERY * 3).is_some());
    assert_eq!(judge.complaint(&BTreeMap::new(), START + EVERY * 4), None);
    assert_eq!(judge.complaint(&reading(9), START + EVERY * 5), None, "a first reading again");
}
