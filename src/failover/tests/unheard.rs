//! Peers that were never heard, and those that were only before.

use super::repairs::{MINUTES, held};
use super::test_bench::*;
use crate::failover::{EventKind, Input, Level, Verdict};
use crate::types::{InstanceState, PowerReport, Roster, StopOrigin};

/// Shows a peer dead.
type Sign = fn(&mut TestBench);

#[test]
fn a_peer_that_was_never_heard_keeps_its_routes_until_something_shows_it_dead() {
    let impair = |bench: &mut TestBench| bench.power.extend([(id(1), impaired())]);
    let stop = |bench: &mut TestBench| {
        bench.power.extend([(id(1), report(InstanceState::Stopped))]);
    };
    let darken = |bench: &mut TestBench| bench.routes.extend([(table(1), dark(1))]);
    let mute = |bench: &mut TestBench| bench.echo.retain(|n| *n != 1);
    let signs: [(Sign, bool, u64); 4] = [
        (impair, false, 3_000),
        (stop, false, 3_000),
        (darken, false, 5_500),
        (mute, true, 16_000),
    ];
    for (sign, echo, within) in signs {
        let mut bench = TestBench::starting(0, 2, timing());
        bench.beats.remove(&1);
        if !echo {
            bench.echo.remove(&1);
        }
        bench.run(600_000);
        assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Unmet, vec![]));
        let told = bench.events(EventKind::Verdict);
        assert_eq!((told.len(), told[0].level), (1, Level::Alert), "{told:?}");
        assert!(told[0].text.contains("UDP") && told[0].text.contains("ICMP"), "{told:?}");
        sign(&mut bench);
        bench.run(within);
        assert_eq!(bench.moved(), [(1, 0)], "{:?}", bench.texts());
        assert_eq!(bench.stops(), []);
    }
}

#[test]
fn a_peer_that_an_earlier_run_heard_is_judged_like_any_lost_one_after_its_first_contact() {
    for enrolled_later in [false, true] {
        let mut bench = TestBench::starting(0, 2, timing());
        bench.lose(1);
        if enrolled_later {
            bench.give(Input::Roster { roster: Roster { groups: roster(2).groups, ..roster(1) } });
        }
        bench.machine.recognize([id(1)].into(), [].into());
        if enrolled_later {
            bench.give(Input::Roster { roster: roster(2) });
        }
        bench.run(29_900);
        assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Unmet, vec![]));
        bench.run(300);
        assert_eq!(bench.moved(), [(1, 0)], "{:?}", bench.texts());
        bench.run(200_000);
        assert_eq!(bench.stops(), [], "this run has not heard it");
        assert_eq!(bench.machine.heard(), &[id(1)].into());
    }
}

#[test]
fn whom_it_heard_is_what_the_next_run_must_know() {
    let mut bench = TestBench::starting(0, 3, timing());
    bench.lose(2);
    assert_eq!(bench.machine.heard().len(), 0);
    bench.run(1_000);
    assert_eq!(bench.machine.heard(), &[id(1)].into());
    bench.give(Input::Roster { roster: Roster { groups: roster(3).groups, ..roster(1) } });
    bench.lose(1);
    bench.run(20_000);
    assert_eq!(bench.machine.peers().count(), 0);
    assert_eq!(bench.machine.heard(), &[id(1)].into(), "it may come back");
}

/// Found by the model check: a node that was started while it was cut off gave no sign of life, and
/// the other one, which had heard it before, stopped it again.
#[test]
fn a_group_of_this_node_s_own_is_reclaimed_from_a_peer_that_was_never_heard() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.lose(1);
    bench.routes.insert(table(0), to(1));
    bench.run(29_900);
    assert_eq!(bench.moved(), []);
    bench.run(300);
    assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Unmet, vec![(0, 0)]));
    bench.run(600_000);
    assert_eq!(bench.moved().len(), 1, "what is the peer's own stays there");
}

#[test]
fn a_home_that_never_spoke_is_waited_for_no_longer_than_its_first_contact() {
    for (after, waits) in [(0, true), (60_000, false)] {
        let mut bench = TestBench::starting(0, 2, timing());
        bench.lose(1);
        bench.run(after);
        bench.routes.insert(table(1), None);
        let took = bench.run_until(40_000, |bench| !bench.moved().is_empty());
        assert_eq!(took > secs(12), waits, "{took:?}");
    }
}

#[test]
fn a_group_whose_home_is_away_for_long_is_in_order_elsewhere() {
    let in_order = |power: PowerReport, spoke: bool| {
        let mut bench = TestBench::starting(0, 2, timing());
        if spoke {
            bench.run(3_000);
        }
        bench.lose(1);
        bench.routes.insert(table(1), to(0));
        bench.power.insert(id(1), power);
        bench.run(60_000);
        let view = bench.view();
        let group = &view.groups[&group(1).name];
        assert_eq!(group.home, Some(id(1)), "it is the home again once it is back");
        !group.goes_home
    };
    let gone = PowerReport { state: None, ..report(InstanceState::Terminated) };
    assert!(in_order(stopped_by(StopOrigin::User), true));
    assert!(in_order(gone, true));
    assert!(in_order(report(InstanceState::Running), false), "it never spoke");
    assert!(!in_order(stopped_by(StopOrigin::Service), true), "natha starts it");
    assert!(!in_order(report(InstanceState::Running), true), "it is lost, and is repaired");
}

/// Field fault B5: the cluster's tag may be on a host that runs no natha.
#[test]
fn a_member_that_never_spoke_is_neither_stopped_nor_started() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.lose(1);
    bench.power.insert(id(1), impaired());
    bench.run(MINUTES);
    assert_eq!(bench.moved(), [(1, 0)], "its route led to a host that is broken");
    for origin in [StopOrigin::Guest, StopOrigin::Service] {
        bench.power.insert(id(1), stopped_by(origin));
        bench.run(MINUTES);
    }
    assert_eq!((bench.stops().len(), bench.starts()), (0, 0));
    let why = "it has never said that it runs natha; if it does not, remove its tag";
    assert_eq!(held(&bench), [format!("it is not stopped: {why}")]);
}

#[test]
fn a_member_that_never_spoke_has_no_vote() {
    for spoke in [false, true] {
        let mut bench = TestBench::starting(0, 3, timing());
        let long_ago = if spoke { [id(2)].into() } else { [].into() };
        bench.machine.recognize([].into(), long_ago);
        bench.beats.remove(&2);
        bench.routes.insert(table(2), to(0));
        bench.run(60_000);
        bench.lose(1);
        bench.run(MINUTES);
        assert_eq!(bench.stops().is_empty(), spoke, "{:?}", bench.texts());
    }
}
