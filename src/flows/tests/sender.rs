//! What the owner sends, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::support::*;
use crate::flows::{Change, Entry, Flow, Rate, Sender, SenderLimits, TcpState, Tuple};
use crate::types::Time;

fn seen(pair: &mut Pair, flow: Flow, now: Time) {
    pair.sender.change(&Change::Seen(entry(flow)), now);
}

fn gone(pair: &mut Pair, tuple: Tuple, now: Time) {
    pair.sender.change(&Change::Gone(tuple), now);
}

#[test]
fn new_changed_and_removed_connections_reach_the_heir() {
    let mut pair = Pair::live(limits(), &[]);
    let flow = tcp(1, TcpState::SynReceived);
    seen(&mut pair, flow, at(10));
    pair.exchange(at(10)).unwrap();
    assert_eq!(pair.held(), [Flow { timeout_s: 0, ..flow }]);
    let flow = tcp(1, TcpState::Established);
    seen(&mut pair, flow, at(20));
    pair.exchange(at(20)).unwrap();
    assert_eq!(pair.held(), [Flow { timeout_s: 0, ..flow }]);
    gone(&mut pair, flow.tuple, at(30));
    pair.exchange(at(30)).unwrap();
    assert_eq!(pair.held(), []);
}

#[test]
fn only_connections_of_the_egress_ips_are_sent() {
    let mut pair = Pair::live(limits(), &[]);
    let own = Flow { tuple: Tuple { source: LANDING, ..tuple(1) }, ..udp(1) };
    pair.sender.change(&Change::Seen(entry(own)), at(1));
    pair.sender.change(&Change::Seen(Entry { landing: ELSEWHERE, flow: udp(2) }), at(1));
    pair.exchange(at(1)).unwrap();
    assert_eq!((pair.held(), pair.sender.flows()), (vec![], 0));
}

#[test]
fn a_handshake_is_sent_when_it_is_answered_and_an_ended_connection_is_removed() {
    let mut pair = Pair::live(limits(), &[]);
    for opening in [TcpState::SynSent, TcpState::SimultaneousSyn] {
        seen(&mut pair, tcp(1, opening), at(1));
    }
    pair.exchange(at(1)).unwrap();
    assert_eq!(pair.held(), []);
    for ended in [TcpState::TimeWait, TcpState::Close, TcpState::None] {
        for open in [
            TcpState::SynReceived,
            TcpState::Established,
            TcpState::FinWait,
            TcpState::CloseWait,
            TcpState::LastAck,
        ] {
            seen(&mut pair, tcp(1, open), at(1));
            pair.exchange(at(1)).unwrap();
            assert_eq!(pair.held().len(), 1, "{open:?}");
        }
        seen(&mut pair, tcp(1, ended), at(1));
        pair.exchange(at(1)).unwrap();
        assert_eq!(pair.held(), [], "{ended:?}");
    }
}

/// The kernel's news have the TCP state only where it has changed.
#[test]
fn news_without_the_tcp_state_leave_it_as_it_was() {
    let untold = |port| Flow { tcp: None, mark: 5, ..tcp(port, TcpState::Established) };
    let mut pair = Pair::live(limits(), &[tcp(1, TcpState::CloseWait)]);
    seen(&mut pair, untold(1), at(1));
    seen(&mut pair, untold(2), at(1));
    pair.exchange(at(1)).unwrap();
    let wanted = Flow { mark: 5, timeout_s: 0, ..tcp(1, TcpState::CloseWait) };
    assert_eq!(pair.held(), [wanted]);
}

#[test]
fn changes_of_a_connection_that_waits_are_sent_as_one() {
    let mut pair = Pair::live(limits(), &[]);
    for state in [TcpState::SynReceived, TcpState::Established, TcpState::FinWait] {
        seen(&mut pair, tcp(1, state), at(1));
    }
    seen(&mut pair, udp(2), at(1));
    gone(&mut pair, udp(2).tuple, at(1));
    pair.exchange(at(1)).unwrap();
    let counts = pair.sender.counts();
    assert_eq!((counts.records, counts.removals, counts.coalesced), (1, 0, 2));
}

#[test]
fn a_tuple_in_use_again_is_removed_before_it_is_sent() {
    let mut pair = Pair::live(limits(), &[udp(1)]);
    let again = Flow { translated_port: 99, ..udp(1) };
    gone(&mut pair, again.tuple, at(1));
    seen(&mut pair, again, at(1));
    pair.exchange(at(1)).unwrap();
    assert_eq!(pair.held(), [Flow { timeout_s: 0, ..again }]);
}

/// The kernel does not announce packets that extend a timeout; the owner looks.
#[test]
fn a_timeout_is_sent_only_if_the_heir_would_forget_the_connection() {
    let flows = [Flow { timeout_s: 120, ..udp(1) }, tcp(2, TcpState::Established)];
    let mut pair = Pair::live(limits(), &flows);
    let mut sent_at = Vec::new();
    for second in (30..=360).step_by(30) {
        let now = at(second * 1_000);
        let before = pair.sender.counts().records;
        pair.dump(&flows, now);
        pair.exchange(now).unwrap();
        assert_eq!(pair.held().len(), 2, "after {second} s");
        for _ in before..pair.sender.counts().records {
            sent_at.push(second);
        }
    }
    // UDP lives for 120 + 60 s at the heir, TCP for 350 + 60 s.
    assert_eq!(sent_at, [150, 300, 360]);
    let counts = pair.sender.counts();
    assert_eq!((counts.resyncs, pair.replica.counts().expired), (1, 0));
}

#[test]
fn a_look_finds_what_the_news_did_not_say() {
    let mut pair = Pair::live(limits(), &[udp(1), udp(2)]);
    pair.dump(&[udp(2), udp(3)], at(30_000));
    pair.exchange(at(30_000)).unwrap();
    let ports: Vec<u16> = pair.held().iter().map(|flow| flow.tuple.source_port).collect();
    assert_eq!(ports, [2, 3]);
    assert_eq!(pair.sender.counts().resyncs, 1);
}

#[test]
fn news_during_a_dump_count_more_than_the_dump() {
    let mut pair = Pair::new(limits());
    pair.connect(1, at(0));
    pair.exchange(at(0)).unwrap();
    pair.sender.begin_dump();
    gone(&mut pair, udp(1).tuple, at(1));
    seen(&mut pair, udp(2), at(1));
    pair.sender.dumped(&entry(udp(1)), at(1));
    pair.sender.dumped(&entry(udp(3)), at(1));
    pair.exchange(at(1)).unwrap();
    assert!(pair.replica.is_empty(), "nothing is sent before the dump is complete");
    pair.sender.end_dump(at(2));
    pair.exchange(at(2)).unwrap();
    let ports: Vec<u16> = pair.held().iter().map(|flow| flow.tuple.source_port).collect();
    assert_eq!(ports, [2, 3]);
}

#[test]
fn a_failed_dump_is_repeated() {
    let mut pair = Pair::new(limits());
    pair.connect(1, at(0));
    pair.exchange(at(0)).unwrap();
    pair.sender.begin_dump();
    pair.sender.fail_dump(at(0));
    assert!(!pair.sender.wants_dump(at(999)));
    assert_eq!(pair.sender.due(), Some(at(1_000)));
    pair.dump(&[udp(1)], at(1_000));
    pair.exchange(at(1_000)).unwrap();
    assert!(!pair.sender.wants_dump(at(20_000)));
    let look = at(31_000);
    assert!(pair.sender.wants_dump(look));
    pair.sender.begin_dump();
    pair.sender.fail_dump(look);
    assert!(!pair.sender.wants_dump(look) && pair.sender.wants_dump(at(32_000)));
    assert_eq!(pair.held().len(), 1, "a look that failed removes nothing");
}

/// An heir closes a stream that is silent for 15 s. A large table takes longer to read on a slow
/// host, and the dump may have to wait for another heir's.
#[test]
fn the_stream_lives_on_while_a_dump_is_awaited_and_read() {
    let mut pair = Pair::new(limits());
    pair.connect(1, at(0));
    pair.exchange(at(0)).unwrap();
    for second in 1..=40 {
        if second == 20 {
            pair.sender.begin_dump();
        }
        let now = at(second * 1_000);
        assert!(pair.sender.due().unwrap() <= now);
        pair.exchange(now).unwrap();
        assert_eq!(pair.sender.progress().unwrap().heard, now);
        assert!(!pair.sender.is_live() && pair.replica.is_in_resync());
    }
    pair.sender.dumped(&entry(udp(1)), at(40_000));
    pair.sender.end_dump(at(40_000));
    pair.exchange(at(40_000)).unwrap();
    assert_eq!((pair.held().len(), pair.replica.counts().resyncs), (1, 1));
    assert!(pair.sender.is_live() && !pair.replica.is_in_resync());
}

#[test]
fn an_overrun_is_healed_by_a_dump() {
    let mut pair = Pair::live(limits(), &[udp(1), udp(2)]);
    pair.sender.change(&Change::Overrun, at(100));
    seen(&mut pair, udp(9), at(100));
    assert!(!pair.sender.wants_dump(at(1_000)));
    pair.dump(&[udp(2), udp(3)], at(1_100));
    pair.exchange(at(1_100)).unwrap();
    let ports: Vec<u16> = pair.held().iter().map(|flow| flow.tuple.source_port).collect();
    assert_eq!(ports, [2, 3]);
    let counts = pair.sender.counts();
    assert_eq!((counts.overruns, counts.resyncs), (1, 2));
    assert_eq!(pair.replica.counts().not_repeated, 1);
}

/// Nothing is sent for a while; what waits is bounded, and the heir is right in the end.
#[test]
fn what_waits_is_bounded_and_a_resync_replaces_it() {
    let limits = SenderLimits { max_waiting: 10, ..limits() };
    let mut pair = Pair::live(limits, &[]);
    for port in 1..=11 {
        seen(&mut pair, udp(port), at(1));
        assert!(pair.sender.waiting() <= 10);
    }
    assert_eq!(pair.sender.counts().overflows, 1);
    let flows: Vec<Flow> = (1..=20).map(udp).collect();
    pair.dump(&flows, at(1_001));
    pair.exchange(at(1_001)).unwrap();
    assert_eq!(pair.held().len(), 20, "a resync may be larger");
    for port in 1..=11 {
        gone(&mut pair, udp(port).tuple, at(1_100));
    }
    assert_eq!(pair.sender.counts().overflows, 2, "removals count too");
}

#[test]
fn connections_beyond_the_limit_are_counted() {
    let limits = SenderLimits { max_flows: 2, ..limits() };
    let mut pair = Pair::live(limits, &[udp(1), udp(2), udp(3)]);
    seen(&mut pair, udp(4), at(1));
    pair.exchange(at(1)).unwrap();
    assert_eq!((pair.held().len(), pair.sender.counts().no_room), (2, 2));
    gone(&mut pair, udp(1).tuple, at(2));
    seen(&mut pair, udp(4), at(2));
    pair.exchange(at(2)).unwrap();
    assert_eq!(pair.held().len(), 2, "there is room again");
}

#[test]
fn short_connections_are_skipped_by_setting() {
    let limits = SenderLimits { min_age: seconds(5), ..limits() };
    let mut pair = Pair::live(limits, &[udp(7)]);
    assert_eq!(pair.held().len(), 1, "what a resync finds is sent at once");
    seen(&mut pair, udp(1), at(100));
    seen(&mut pair, udp(2), at(200));
    gone(&mut pair, udp(1).tuple, at(4_000));
    pair.exchange(at(5_150)).unwrap();
    assert_eq!(pair.held().len(), 1);
    assert_eq!(pair.sender.due(), Some(at(5_200)));
    pair.exchange(at(5_200)).unwrap();
    assert_eq!(pair.held().len(), 2);
    let counts = pair.sender.counts();
    assert_eq!((counts.too_short, counts.removals), (1, 0));
}

/// 100,000 octets a second: 2,500 records of UDP in a second at most, and few bytes of headers.
#[test]
fn the_rate_is_kept_and_used() {
    let rate = Rate { max: 100_000, share_percent: 0, min: 100_000 };
    let limits = SenderLimits { rate, ..limits() };
    let mut pair = Pair::live(limits, &[]);
    let flows: Vec<Flow> = (1..=9_000).map(udp).collect();
    pair.sender.change(&Change::Overrun, at(0));
    pair.dump(&flows, at(1_000));
    let before = pair.sender.counts();
    let mut now = at(1_000);
    while now < at(3_000) {
        pair.exchange(now).unwrap();
        now = pair.sender.due().unwrap().max(now + Duration::from_millis(1));
    }
    let counts = pair.sender.counts();
    let (octets, records) = (counts.octets - before.octets, counts.records - before.records);
    assert!((190_000..=225_000).contains(&octets), "{octets}");
    assert!(records * 35 > octets * 8 / 10, "{records} records in {octets} octets");
    assert_eq!(pair.sender.waiting(), 9_000 - usize::try_from(records).unwrap());
}

#[test]
fn the_rate_follows_the_traffic() {
    let rate = Rate { max: 1_000_000, share_percent: 10, min: 10_000 };
    let sent_in_a_second = |traffic: u64| {
        let mut pair = Pair::live(SenderLimits { rate, ..limits() }, &[]);
        pair.sender.traffic(traffic);
        pair.sender.change(&Change::Overrun, at(0));
        pair.dump(&(1..=9_000).map(udp).collect::<Vec<_>>(), at(1_000));
        for ms in 1_000..2_000 {
            pair.exchange(at(ms)).unwrap();
        }
        pair.sender.counts().octets
    };
    let (idle, busy) = (sent_in_a_second(0), sent_in_a_second(1_000_000));
    assert!(idle < 20_000 && busy > 90_000 && busy < 130_000, "{idle} {busy}");
}

#[test]
fn the_lag_is_measured_and_silence_is_filled() {
    let mut pair = Pair::live(limits(), &[]);
    seen(&mut pair, udp(1), at(100));
    pair.exchange(at(130)).unwrap();
    let progress = pair.sender.progress().unwrap();
    assert_eq!((progress.lag, progress.held), (Duration::from_millis(30), 1));
    assert_eq!(pair.sender.due(), Some(at(1_130)));
    pair.exchange(at(1_130)).unwrap();
    let progress = pair.sender.progress().unwrap();
    assert_eq!((progress.lag, progress.heard), (Duration::ZERO, at(1_130)));
    assert_eq!(*pair.sender.lags(), BTreeMap::from([(30, 1)]), "a position is no change");
}

/// All changes in a frame count with the oldest of them, removals too.
#[test]
fn the_lag_of_each_change_is_counted() {
    let mut pair = Pair::live(limits(), &[]);
    seen(&mut pair, udp(1), at(100));
    seen(&mut pair, udp(2), at(120));
    pair.exchange(at(130)).unwrap();
    gone(&mut pair, udp(1).tuple, at(200));
    pair.exchange(at(204)).unwrap();
    assert_eq!(*pair.sender.lags(), BTreeMap::from([(4, 1), (30, 2)]));
    seen(&mut pair, udp(3), at(300));
    assert!(!pair.sender.output(at(300), 4_096).is_empty(), "a frame that never arrives");
    pair.cut();
    pair.connect(1, at(400));
    pair.exchange(at(400)).unwrap();
    pair.dump(&[udp(2), udp(3)], at(400));
    pair.exchange(at(401)).unwrap();
    assert_eq!(*pair.sender.lags(), BTreeMap::from([(1, 2), (4, 1), (30, 2)]));
}

#[test]
fn nothing_is_sent_without_a_stream_or_before_the_heir_has_answered() {
    let mut sender = Sender::new(limits(), at(0));
    sender.serve(served(), at(0));
    assert!(sender.output(at(0), 4_096).is_empty() && sender.due().is_none());
    assert!(!sender.wants_dump(at(0)));
    let mut pair = Pair::new(limits());
    pair.connect(1, at(0));
    assert!(!pair.sender.output(at(0), 4_096).is_empty(), "the hello");
    assert!(pair.sender.output(at(5_000), 4_096).is_empty());
    assert!(!pair.sender.wants_dump(at(5_000)));
}

#[test]
fn other_egress_ips_are_a_resync() {
    let mut pair = Pair::live(limits(), &[udp(1)]);
    pair.sender.serve(served(), at(1));
    assert!(pair.sender.is_live(), "no change");
    let mut more = served();
    more.insert(ELSEWHERE, egress(2));
    pair.sender.serve(more, at(2));
    pair.sender.begin_dump();
    pair.sender.dumped(&entry(udp(1)), at(2));
    pair.sender.dumped(&Entry { landing: ELSEWHERE, flow: udp(2) }, at(2));
    pair.sender.end_dump(at(2));
    pair.exchange(at(2)).unwrap();
    let found: Vec<_> = pair.replica.records().map(|record| record.egress).collect();
    assert_eq!(found, [egress(1), egress(2)]);
}

#[test]
fn news_during_a_dump_count_more_than_what_the_dump_shows() {
    let mut pair = Pair::new(limits());
    pair.connect(1, at(0));
    pair.exchange(at(0)).unwrap();
    pair.sender.begin_dump();
    seen(&mut pair, tcp(1, TcpState::FinWait), at(1));
    pair.sender.dumped(&entry(tcp(1, TcpState::Established)), at(2));
    pair.sender.end_dump(at(3));
    pair.exchange(at(3)).unwrap();
    assert_eq!(pair.held(), [Flow { timeout_s: 0, ..tcp(1, TcpState::FinWait) }]);
}

/// The kernel's news of a connection have its TCP state only where that has changed.
#[test]
fn news_without_a_tcp_state_get_it_from_the_dump_that_is_running() {
    let mut pair = Pair::new(limits());
    pair.connect(1, at(0));
    pair.exchange(at(0)).unwrap();
    pair.sender.begin_dump();
    let known = tcp(1, TcpState::Established);
    seen(&mut pair, Flow { tcp: None, mark: 7, ..known }, at(1));
    seen(&mut pair, Flow { tcp: None, ..tcp(2, TcpState::Established) }, at(1));
    gone(&mut pair, tcp(2, TcpState::Established).tuple, at(1));
    pair.sender.dumped(&entry(known), at(2));
    pair.sender.dumped(&entry(tcp(2, TcpState::Established)), at(2));
    pair.sender.end_dump(at(3));
    pair.exchange(at(3)).unwrap();
    assert_eq!(pair.held(), [Flow { timeout_s: 0, mark: 7, ..known }]);
}
