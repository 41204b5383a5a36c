use std::collections::BTreeSet;

use super::*;

const PACE: Duration = Duration::from_millis(90);

fn pacing() -> Pacing {
    Pacing { interval: Duration::from_millis(500), pace: PACE, lost_after: 5 }
}

/// Nothing is proven, and forwarding is tested.
fn judge() -> Judge {
    Judge::new(pacing(), Proven { uplink: false, transit: Some(false) })
}

/// Rounds at the quick pace, from `from` ms on: what is sent is answered 10 ms later, or never.
fn rounds(judge: &mut Judge, from: u64, count: u64, own: bool, transit: bool) -> Time {
    let mut now = Time::from_millis(from);
    for _ in 0..count {
        let round = judge.sent(now, true);
        let reply = now + Duration::from_millis(10);
        if own {
            judge.own_answered(round, reply);
        }
        if transit {
            judge.transit_answered(round, reply);
        }
        now = now + PACE;
    }
    now
}

fn found(judge: &Judge, now: Time) -> (Proof, Proof) {
    (judge.uplink(now), judge.transit(now).unwrap())
}

#[test]
fn nothing_is_proven_before_the_first_reply_however_long_that_takes() {
    let mut judge = judge();
    let now = rounds(&mut judge, 0, 1000, false, false);
    assert_eq!(found(&judge, now), (Proof::Unproven, Proof::Unproven));
    assert_eq!(judge.proven(), Proven { uplink: false, transit: Some(false) });
}

#[test]
fn a_reply_proves_its_way_and_no_other() {
    let mut judge = judge();
    let now = rounds(&mut judge, 0, 1, true, false);
    assert_eq!(found(&judge, now), (Proof::Works, Proof::Unproven));
    let now = rounds(&mut judge, 90, 1, false, true);
    assert_eq!(found(&judge, now), (Proof::Works, Proof::Works));
}

#[test]
fn a_dead_uplink_is_no_fault_of_forwarding() {
    let mut judge = judge();
    rounds(&mut judge, 0, 10, true, true);
    let before = rounds(&mut judge, 900, 4, false, false);
    assert_eq!(found(&judge, before), (Proof::Works, Proof::Works));
    let after = rounds(&mut judge, 1260, 2, false, false);
    assert_eq!(found(&judge, after), (Proof::Fails, Proof::Works));
    let back = rounds(&mut judge, 1440, 1, true, true);
    assert_eq!(found(&judge, back), (Proof::Works, Proof::Works));
}

#[test]
fn forwarding_fails_where_only_own_probes_are_answered() {
    let mut judge = judge();
    rounds(&mut judge, 0, 10, true, true);
    let before = rounds(&mut judge, 900, 4, true, false);
    assert_eq!(found(&judge, before), (Proof::Works, Proof::Works));
    let after = rounds(&mut judge, 1260, 2, true, false);
    assert_eq!(found(&judge, after), (Proof::Works, Proof::Fails));
    let back = rounds(&mut judge, 1440, 1, true, true);
    assert_eq!(found(&judge, back), (Proof::Works, Proof::Works));
}

#[test]
fn forwarding_that_never_worked_fails_all_the_same() {
    let mut judge = judge();
    let now = rounds(&mut judge, 0, 7, true, false);
    assert_eq!(found(&judge, now), (Proof::Works, Proof::Fails));
}

#[test]
fn forwarding_is_not_blamed_for_an_uplink_that_died_a_moment_later() {
    let mut judge = judge();
    rounds(&mut judge, 0, 10, true, true);
    // One lost packet of the forward path, right before nothing is answered any more.
    rounds(&mut judge, 900, 1, true, false);
    let now = rounds(&mut judge, 990, 6, false, false);
    assert_eq!(found(&judge, now), (Proof::Fails, Proof::Works));
}

#[test]
fn replies_that_always_take_long_are_waited_for() {
    let mut judge = judge();
    let mut now = Time::from_millis(0);
    for _ in 0..5 {
        let round = judge.sent(now, true);
        judge.own_answered(round, now + Duration::from_millis(400));
        judge.transit_answered(round, now + Duration::from_millis(400));
        now = now + Duration::from_millis(500);
    }
    judge.sent(now, true);
    assert_eq!(found(&judge, now + Duration::from_millis(880)), (Proof::Works, Proof::Works));
    assert_eq!(judge.uplink(now + Duration::from_millis(900)), Proof::Fails);
}

#[test]
fn an_outage_does_not_make_later_ones_take_longer_to_notice() {
    let mut judge = judge();
    rounds(&mut judge, 0, 10, true, true);
    rounds(&mut judge, 900, 100, false, false);
    rounds(&mut judge, 9900, 1, true, true);
    let now = rounds(&mut judge, 9990, 5, false, false);
    assert_eq!(judge.uplink(now), Proof::Fails);
}

#[test]
fn what_is_in_doubt_is_probed_quickly_for_a_while() {
    let mut judge = judge();
    assert_eq!(judge.due(Time::default()), Some(Round::All), "nothing was sent yet");
    let now = rounds(&mut judge, 0, 1, true, true);
    judge.icmp_replied();
    assert_eq!(judge.due(now), None);
    judge.sent(now, true);
    let soon = now + Duration::from_millis(89);
    assert_eq!(judge.due(soon), None, "the reply may be under way");
    assert_eq!(judge.due(now + PACE), Some(Round::All));
    let later = now + PACE + DOUBT_LIMIT;
    judge.sent(later - PACE, true);
    assert_eq!(judge.due(later), None, "it lasts");
    judge.own_answered(3, later);
    judge.transit_answered(3, later);
    judge.icmp_replied();
    let usual = later - PACE + pacing().interval;
    assert_eq!(judge.due(usual), Some(Round::Usual));
    judge.sent(usual, true);
    assert_eq!(judge.due(usual + PACE), Some(Round::All), "a new doubt");
}

/// Rounds as they become due from `from` on, for this long, at the ticks of the monitor. Those that
/// ask all targets are answered by TCP, the others get no answer. Returns how many were
/// of each kind.
fn icmp_is_filtered(judge: &mut Judge, from: Time, lasts: Duration) -> (u32, u32) {
    let (mut all, mut usual) = (0, 0);
    let mut now = from;
    while now.since(from) < lasts {
        let kind = judge.due(now);
        all += u32::from(kind == Some(Round::All));
        usual += u32::from(kind == Some(Round::Usual));
        if kind.is_some() {
            let round = judge.sent(now, false);
            if kind == Some(Round::All) {
                judge.own_answered(round, now + Duration::from_millis(10));
            }
        }
        now = now + PACE;
        assert_ne!(judge.uplink(now), Proof::Fails, "after {:?}", now.since(from));
    }
    (all, usual)
}

#[test]
fn where_icmp_is_dropped_tcp_is_asked_however_long_the_forward_path_cannot_be_tested() {
    let mut judge = Judge::new(pacing(), Proven { uplink: true, transit: Some(false) });
    let quarter = Duration::from_mins(15);
    let mut now = Time::default();
    while now.since(Time::default()) < quarter {
        if judge.due(now).is_some() {
            let round = judge.sent(now, false);
            judge.own_answered(round, now + Duration::from_millis(10));
            judge.icmp_replied();
        }
        now = now + PACE;
    }
    let (all, usual) = icmp_is_filtered(&mut judge, now, quarter);
    assert_eq!(usual, 1, "the round in which ICMP ended");
    assert!(all > 1000, "{all} rounds");
}

#[test]
fn a_way_on_which_nothing_is_sent_is_not_in_doubt() {
    let mut judge = Judge::new(pacing(), Proven { uplink: true, transit: Some(false) });
    let round = judge.sent(Time::default(), false);
    judge.own_answered(round, Time::from_millis(10));
    judge.icmp_replied();
    assert_eq!(judge.due(Time::from_millis(90)), None);
    assert_eq!(judge.due(Time::from_millis(499)), None);
    assert_eq!(judge.due(Time::from_millis(500)), Some(Round::Usual));
}

#[test]
fn a_lasting_doubt_about_one_way_does_not_slow_a_new_one_about_the_other() {
    let mut judge = judge();
    // The forward path is dead, and the uplink works.
    let now = rounds(&mut judge, 0, 1000, true, false);
    judge.icmp_replied();
    assert_eq!(judge.due(now), Some(Round::All), "its doubt begins with the first look");
    let now = now + DOUBT_LIMIT;
    let round = judge.sent(now, true);
    judge.own_answered(round, now + Duration::from_millis(10));
    assert_eq!(judge.due(now + PACE), None);
    let next = now + pacing().interval;
    assert_eq!(judge.due(next), Some(Round::All), "all targets, at the usual pace");
    judge.sent(next, true);
    assert_eq!(judge.due(next + PACE), Some(Round::All), "the uplink is in doubt, too");
}

#[test]
fn silence_beyond_the_limit_that_ends_with_tcp_alone_ends() {
    let mut judge = Judge::new(pacing(), Proven { uplink: true, transit: None });
    rounds(&mut judge, 0, 10, true, false);
    judge.icmp_replied();
    let from = Time::from_millis(900);
    let mut now = from;
    while now.since(from) < DOUBT_LIMIT * 2 {
        if judge.due(now).is_some() {
            judge.sent(now, false);
        }
        now = now + PACE;
    }
    assert_eq!(judge.uplink(now), Proof::Fails);
    let round = judge.sent(now, false);
    judge.own_answered(round, now);
    let (all, usual) = icmp_is_filtered(&mut judge, now, DOUBT_LIMIT * 4);
    assert!(all > 100 && usual == 0, "{all} rounds to all targets, {usual} by ICMP alone");
}

#[test]
fn an_earlier_run_s_proof_makes_silence_count_at_once() {
    let mut judge = Judge::new(pacing(), Proven { uplink: true, transit: Some(true) });
    assert_eq!(found(&judge, Time::from_millis(0)), (Proof::Works, Proof::Works));
    let now = rounds(&mut judge, 0, 5, false, false);
    assert_eq!(judge.uplink(now), Proof::Fails);
}

#[test]
fn forwarding_that_is_not_tested_is_not_judged() {
    let mut judge = Judge::new(pacing(), Proven::default());
    rounds(&mut judge, 0, 1, true, true);
    assert_eq!(judge.transit(Time::from_millis(90)), None);
}

#[test]
fn forwarding_that_cannot_be_tested_any_more_is_unproven_and_does_not_fail() {
    let mut judge = judge();
    let now = rounds(&mut judge, 0, 10, true, true);
    judge.forget_transit();
    assert_eq!(found(&judge, now), (Proof::Works, Proof::Unproven));
    let mut later = now;
    for _ in 0..20 {
        let round = judge.sent(later, false);
        judge.own_answered(round, later + Duration::from_millis(10));
        later = later + PACE;
    }
    assert_eq!(found(&judge, later), (Proof::Works, Proof::Unproven));
}

#[test]
fn a_hurried_round_is_due_at_once_and_only_an_answer_to_it_or_a_later_one_is_news() {
    let mut judge = judge();
    let now = rounds(&mut judge, 0, 3, true, true);
    assert_eq!(judge.due(now), None);
    let early = judge.sent(now, true);
    let hurried = now + Duration::from_millis(20);
    judge.hurry(hurried);
    assert_eq!(judge.due(hurried), Some(Round::All));
    assert_eq!(judge.due(hurried), None, "one round");
    let round = judge.sent(hurried, true);
    let reply = hurried + Duration::from_millis(10);
    judge.own_answered(early, reply);
    judge.transit_answered(early, reply);
    assert_eq!(judge.take_news(), [], "they were sent before");
    judge.own_answered(round, reply);
    assert_eq!(judge.take_news(), [(Evidence::Uplink, hurried)]);
    let later = judge.sent(hurried + PACE, true);
    judge.own_answered(later, hurried + PACE * 2);
    judge.transit_answered(later, hurried + PACE * 2);
    assert_eq!(judge.take_news(), [(Evidence::Transit, hurried + PACE)], "one answer of each kind");
}

#[test]
fn a_reply_to_a_round_of_long_ago_is_no_news() {
    let mut judge = judge();
    judge.hurry(Time::default());
    let first = judge.sent(Time::from_millis(10), true);
    let now = rounds(&mut judge, 100, 64, false, false);
    judge.own_answered(first, now);
    assert_eq!(judge.take_news(), []);
}

#[test]
fn where_forwarding_is_not_tested_only_the_uplink_is_news() {
    let mut judge = Judge::new(pacing(), Proven { uplink: true, transit: None });
    judge.hurry(Time::from_millis(5));
    let round = judge.sent(Time::from_millis(5), false);
    judge.own_answered(round, Time::from_millis(15));
    assert_eq!(judge.take_news(), [(Evidence::Uplink, Time::from_millis(5))]);
    assert_eq!(judge.take_news(), []);
}

#[test]
fn a_host_that_has_sent_no_probe_lacks_what_is_tested_and_not_proven() {
    let fitness = |uplink, transit| Proven { uplink, transit }.fitness();
    assert_eq!(fitness(true, Some(true)), Fitness::fit());
    assert_eq!(fitness(true, None), Fitness::fit());
    assert_eq!(fitness(true, Some(false)), Fitness::unproven(Evidence::Transit));
    assert_eq!(fitness(false, None), Fitness::unproven(Evidence::Uplink));
    assert_eq!(fitness(false, Some(false)).unproven, BTreeSet::from(Evidence::ALL));
}
