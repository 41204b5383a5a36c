//! When a node knows that it does not share a fault that a peer's probes found.

use super::relief::{rested, sick, well};
use super::test_bench::*;
use crate::failover::{Action, Input, Verdict};
use crate::types::{Evidence, Fault};

/// Node 1 reports a fault, and a probe of this node is answered that it sent `sent` ms after it
/// learned of that. The time in milliseconds from that news until it takes.
fn relieved_after(sent: u64, also: impl Fn(&mut TestBench)) -> u128 {
    let mut bench = rested(2);
    sick(&mut bench, 1, Fault::Transit);
    bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
    let (news, probes) = (bench.now, bench.count(|action| *action == Action::Probe));
    assert_eq!(probes, 1, "it asks at once");
    bench.run(sent);
    let answered = bench.now;
    for evidence in Evidence::ALL {
        bench.run(10);
        bench.give(Input::Answered { evidence, sent: answered });
    }
    also(&mut bench);
    bench.run_until(10_000, |bench| !bench.moved().is_empty());
    bench.now.since(news).as_millis()
}

#[test]
fn a_peer_whose_probes_fail_is_relieved_as_soon_as_this_node_has_proven_that_its_own_do_not() {
    // 20 ms until both kinds are answered; three intervals in which the peer would have found out
    // if the fault had ended for both; the heartbeat that still reports the fault.
    assert_eq!(relieved_after(0, |_| {}), 400);
    assert_eq!(relieved_after(100, |_| {}), 500);
}

#[test]
fn a_fault_that_ends_for_both_at_the_same_time_moves_nothing() {
    let mut bench = rested(2);
    sick(&mut bench, 1, Fault::Uplink);
    bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
    let sent = bench.now;
    bench.run(10);
    bench.give(Input::Answered { evidence: Evidence::Uplink, sent });
    // The peer's next round, its turn that reads the reply, its next heartbeat.
    bench.run(280);
    well(&mut bench, 1);
    bench.run(60_000);
    assert_eq!(bench.moved(), []);
}

#[test]
fn only_an_answer_of_the_same_kind_to_a_probe_sent_after_the_news_proves_anything() {
    for (evidence, before) in [(Evidence::Uplink, 0), (Evidence::Transit, 10)] {
        let mut bench = rested(2);
        sick(&mut bench, 1, Fault::Transit);
        bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
        let sent = bench.now - millis(before);
        bench.give(Input::Answered { evidence, sent });
        bench.run(590);
        assert_eq!(bench.moved(), [], "{evidence} answered, sent {before} ms too early");
        bench.run(20);
        assert_eq!(bench.moved(), [(1, 0)], "the usual wait is over");
    }
}

#[test]
fn what_was_proven_about_an_earlier_fault_or_before_a_pause_counts_no_more() {
    let mut bench = rested(2);
    sick(&mut bench, 1, Fault::Uplink);
    bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
    let sent = bench.now;
    bench.give(Input::Answered { evidence: Evidence::Uplink, sent });
    bench.run(100);
    well(&mut bench, 1);
    bench.run(10_000);
    sick(&mut bench, 1, Fault::Uplink);
    bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
    bench.run(590);
    assert_eq!(bench.moved(), [], "a new fault");
    let paused = relieved_after(0, |bench| {
        bench.pause(1_000);
        bench.run(10);
        let takes = |action: &Action| matches!(action, Action::WriteRoute { .. });
        assert_eq!(bench.count(takes), 0);
    });
    assert!(paused >= 1_590, "{paused} ms");
}

#[test]
fn the_wait_for_a_fault_that_no_probe_of_this_node_tells_follows_the_probes_interval() {
    let mut slow = timing();
    slow.probe_interval = secs(2);
    let mut bench = TestBench::with(2, slow);
    bench.run(7_000);
    sick(&mut bench, 1, Fault::Uplink);
    bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
    bench.run(2_090);
    assert_eq!(bench.moved(), []);
    bench.run(20);
    assert_eq!(bench.moved(), [(1, 0)]);
}
