//! Of many members, few read EC2 often.

use super::test_bench::*;
use crate::failover::Action;
use crate::types::InstanceId;

/// A zone of a cluster of sixteen is lost, as node `me` of the others sees it.
fn zone_lost(me: usize) -> TestBench {
    let mut bench = TestBench::starting(me, 16, timing());
    bench.run(3_000);
    bench.told.clear();
    for lost in 11..16 {
        bench.lose(lost);
    }
    bench
}

/// How many reads of the state of instances there were: two calls each.
fn reads_of_power(bench: &TestBench) -> usize {
    bench.told.iter().filter(|(_, action)| matches!(action, Action::ReadPower { .. })).count()
}

fn reads_of_routes(bench: &TestBench) -> usize {
    bench.told.iter().filter(|(_, action)| matches!(action, Action::ReadRoutes { .. })).count()
}

fn asks_for(bench: &TestBench, node: &InstanceId) -> bool {
    let mut told = bench.told.iter();
    told.any(|(_, action)| matches!(action, Action::ReadPower { node: asked, .. } if asked == node))
}

#[test]
fn the_first_of_the_members_watches_the_lost_ones_and_the_others_look_on() {
    let mut keeper = zone_lost(0);
    keeper.run(50_000);
    let reads = reads_of_power(&keeper);
    assert!((20..=48).contains(&reads), "{reads}: each of six about every ten seconds");
    for me in [1, 10] {
        let mut bench = zone_lost(me);
        bench.run(50_000);
        let reads = reads_of_power(&bench);
        assert!(reads <= 10, "node {me}: {reads}");
    }
}

/// Reads of routes of a node in a minute of rest.
fn reads_at_rest(nodes: usize) -> usize {
    let mut bench = TestBench::starting(0, nodes, timing());
    bench.run(20_000);
    bench.told.clear();
    bench.run(60_000);
    reads_of_routes(&bench)
}

#[test]
fn a_cluster_that_would_read_too_often_at_rest_shares_the_pace() {
    assert!((6..=7).contains(&reads_at_rest(2)), "every ten seconds");
    assert!((6..=7).contains(&reads_at_rest(16)), "sixteen nodes and one kind are few enough");
    let mut timing = timing();
    timing.reread = secs(1);
    let mut bench = TestBench::starting(0, 16, timing);
    bench.run(20_000);
    bench.told.clear();
    bench.run(64_000);
    let reads = reads_of_routes(&bench);
    assert!((9..=11).contains(&reads), "{reads}: every 6.4 s, not every second");
}

#[test]
fn only_a_node_that_may_have_to_stop_a_peer_reads_its_own_state() {
    for (me, reads) in [(0, true), (5, false)] {
        let mut bench = zone_lost(me);
        bench.run(40_000);
        assert_eq!(asks_for(&bench, &id(me)), reads, "node {me}");
    }
}

#[test]
fn a_stopped_peer_is_read_at_the_pace_of_the_keeper() {
    let mut bench = TestBench::starting(4, 16, timing());
    let stopped: std::collections::BTreeSet<_> = (11..16).map(id).collect();
    bench.machine.recall(stopped);
    for lost in 11..16 {
        bench.lose(lost);
        bench.power.insert(id(lost), report(crate::types::InstanceState::Stopping));
    }
    bench.run(5_000);
    bench.told.clear();
    bench.run(50_000);
    let reads = reads_of_power(&bench);
    assert!((23..=27).contains(&reads), "{reads}: each of five every ten seconds");
}

#[test]
fn an_heir_asks_at_once_and_no_other_does() {
    let lost: Vec<_> = (11..16).map(id).collect();
    let mut asked = 0;
    for me in 1..11 {
        let mut bench = zone_lost(me);
        bench.run(2_000);
        let took: Vec<usize> = bench.moved().into_iter().map(|(table, _)| table).collect();
        for n in &took {
            assert!(asks_for(&bench, &id(*n)), "node {me} took group {n}");
        }
        let asks = lost.iter().filter(|node| asks_for(&bench, node)).count();
        assert_eq!(asks, took.len(), "node {me}");
        asked += asks;
    }
    assert!(asked <= 5 && asked > 0, "{asked}");
}

#[test]
fn a_node_whose_turn_to_stop_it_is_reads_in_time() {
    let mut bench = TestBench::starting(2, 4, timing());
    bench.run(3_000);
    for n in [0, 1] {
        bench.beat_mut(n).hears.push(crate::types::Hears {
            node: id(3),
            session: crate::types::SessionId(1),
            age_ms: u16::MAX,
            failed: true,
            stopped: false,
        });
    }
    bench.lose(3);
    // Its two predecessors live and do nothing.
    let turn = timing().repair.after + timing().repair.stagger * 2;
    let passed = bench.run_until(200_000, |bench| !bench.stops().is_empty());
    assert!(passed >= turn && passed < turn + secs(2), "{passed:?}");
}

#[test]
fn only_who_may_act_reads_resources_often_while_a_peer_is_not_well() {
    let routes = |me: usize| {
        let mut bench = zone_lost(me);
        bench.run(60_000);
        bench.told.clear();
        bench.run(40_000);
        reads_of_routes(&bench)
    };
    assert!(routes(0) >= 18, "the keeper: every two seconds");
    assert!(routes(5) <= 5, "every ten seconds");
}
