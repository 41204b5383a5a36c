//! The table of verdicts, row by row, and the moments at which one row gives way to the next.

use super::*;
use crate::types::{Claim, Fault, Hears, StopOrigin};

const ME: SessionId = SessionId(7);
/// When the peer was met, and when it was last heard.
const MET: Time = Time::from_millis(1_000_000);
const HEARD: Time = Time::from_millis(1_050_000);

fn id(n: u8) -> InstanceId {
    format!("i-{n:08x}").parse().unwrap()
}

/// A peer is late after 150 ms and lost after 300 ms, whatever the defaults are.
fn timing() -> Timing {
    Timing { interval: ms(100), lost_after: 3, ..Timing::default() }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn unmet() -> Peer {
    let member = Member {
        id: id(1),
        interface: "eni-00000001".parse().unwrap(),
        address: [10, 0, 0, 1].into(),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: std::collections::BTreeMap::new(),
    };
    Peer::new(member, MET)
}

fn beat() -> Beat {
    Beat {
        settings_digest: 1,
        hears: vec![Hears { node: id(0), session: ME, age_ms: 0, failed: false, stopped: false }],
        holds: Vec::<Claim>::new(),
        ..Beat::default()
    }
}

fn says(beat: Beat) -> Peer {
    let mut peer = unmet();
    peer.heard = Some(Heard { session: SessionId(9), beat, at: HEARD });
    peer.conclude(Verdict::Alive, HEARD);
    peer
}

/// Heard at `HEARD`, and alive then.
fn heard() -> Peer {
    says(beat())
}

/// The same, judged lost when its detection time had passed.
fn lost() -> Peer {
    let mut peer = heard();
    peer.conclude(Verdict::Suspected, HEARD + timing().detection());
    peer
}

fn power(state: Option<InstanceState>) -> PowerReport {
    PowerReport { state, stop_origin: StopOrigin::Unknown, impaired: false, reason: None }
}

fn judge(peer: &Peer, after: Duration) -> Verdict {
    peer.judge(HEARD + after, &timing(), false)
}

#[test]
fn a_heartbeat_counts_until_the_detection_time_has_passed() {
    let peer = heard();
    assert_eq!(judge(&peer, Duration::ZERO), Verdict::Alive);
    assert_eq!(judge(&peer, ms(299)), Verdict::Alive);
    assert_eq!(judge(&peer, ms(300)), Verdict::Suspected);
    assert_eq!(peer.late_at(&timing()), Some(HEARD + ms(150)), "one and a half intervals");
    assert_eq!(peer.lost_at(&timing()), Some(HEARD + ms(300)));
    assert_eq!((unmet().late_at(&timing()), unmet().lost_at(&timing())), (None, None));
}

#[test]
fn what_a_fresh_heartbeat_says_decides() {
    let mut leaving = beat();
    leaving.leaving = true;
    let mut sick = beat();
    sick.fitness = Fitness::unfit(Fault::Uplink);
    assert_eq!(judge(&says(leaving.clone()), ms(1)), Verdict::Leaving);
    assert_eq!(judge(&says(leaving), ms(60_000)), Verdict::Leaving, "and it stays so");
    assert_eq!(judge(&says(sick.clone()), ms(1)), Verdict::Sick);
    assert_eq!(judge(&says(sick), ms(300)), Verdict::Suspected);
}

#[test]
fn a_peer_that_restarts_is_given_the_grace_unless_its_host_can_answer_for_itself() {
    let goodbye = || says(Beat { restarting: true, ..beat() });
    let limit = timing().detection() + timing().daemon_grace;
    assert_eq!(judge(&goodbye(), ms(1)), Verdict::Alive);
    for after in [timing().detection(), limit.saturating_sub(ms(1))] {
        assert_eq!(judge(&goodbye(), after), Verdict::DaemonDown, "{after:?}");
    }
    assert_eq!(judge(&goodbye(), limit), Verdict::Suspected, "it had its time");
    let mut silent = goodbye();
    silent.echo_at = Some(HEARD);
    assert_eq!(judge(&silent, ms(600)), Verdict::Suspected, "its host answered before");
    let mut stopped = goodbye();
    stopped.power = Some((power(Some(InstanceState::Stopping)), HEARD));
    assert_eq!(judge(&stopped, ms(600)), Verdict::Down);
    assert!(!goodbye().can_take(&"g".parse().unwrap()), "it could not hold it just now");
    assert!(goodbye().evidence(HEARD).contains("its monitor restarts"));
}

#[test]
fn ec2_s_word_on_a_lost_peer_decides() {
    for (state, verdict) in [
        (None, Verdict::Gone),
        (Some(InstanceState::Terminated), Verdict::Gone),
        (Some(InstanceState::ShuttingDown), Verdict::Gone),
        (Some(InstanceState::Stopping), Verdict::Down),
        (Some(InstanceState::Stopped), Verdict::Down),
        (Some(InstanceState::Pending), Verdict::Down),
        (Some(InstanceState::Running), Verdict::Unreachable),
    ] {
        let mut peer = lost();
        peer.power = Some((power(state), HEARD));
        assert_eq!(judge(&peer, ms(400)), verdict, "{state:?}");
        peer.power = Some((power(state), HEARD - ms(1)));
        assert_eq!(judge(&peer, ms(400)), Verdict::Suspected, "{state:?}, asked before");
        peer.power = Some((power(state), HEARD));
        assert_eq!(judge(&peer, ms(299)), Verdict::Alive, "{state:?}, while it is heard");
    }
}

#[test]
fn a_peer_that_was_never_heard_gets_its_first_contact() {
    let mut peer = unmet();
    let (now, first) = (MET, timing().first_contact);
    let judge = |peer: &Peer, at| peer.judge(at, &timing(), false);
    assert_eq!(judge(&peer, now), Verdict::Unmet);
    assert_eq!(judge(&peer, now + first - ms(1)), Verdict::Unmet);
    assert_eq!(judge(&peer, now + first + ms(3_600_000)), Verdict::Unmet, "nothing shows it dead");
    peer.echo_at = Some(now + first);
    assert_eq!(judge(&peer, now + first), Verdict::Unmet, "its host answers");
    let mute = now + first + timing().daemon_grace;
    assert_eq!(judge(&peer, mute - ms(1)), Verdict::Unmet);
    assert_eq!(judge(&peer, mute), Verdict::Suspected, "it answered, and no longer does");
    assert_eq!(judge(&lost(), MET + ms(50_400)), Verdict::Suspected, "it was heard: no second one");
}

#[test]
fn an_echo_counts_from_the_late_heartbeat_on_and_for_half_a_second() {
    let mut peer = lost();
    peer.echo_at = Some(HEARD + ms(149));
    assert_eq!(judge(&peer, ms(300)), Verdict::Suspected, "before the heartbeat was late");
    peer.echo_at = Some(HEARD + ms(150));
    assert_eq!(judge(&peer, ms(300)), Verdict::DaemonDown);
    assert_eq!(judge(&peer, ms(150 + 499)), Verdict::DaemonDown);
    assert_eq!(judge(&peer, ms(150 + 500)), Verdict::Suspected);
}

#[test]
fn the_pace_of_echo_requests_follows_how_late_the_heartbeat_is() {
    let pace = |after| heard().echo_pace(HEARD + ms(after), &timing());
    assert_eq!((pace(0), pace(149)), (ms(1_000), ms(1_000)));
    assert_eq!((pace(150), pace(299)), (ms(50), ms(50)));
    assert_eq!((pace(300), pace(60_000)), (ms(100), ms(100)));
    assert_eq!(unmet().echo_pace(MET, &timing()), ms(100));
}

#[test]
fn with_slow_heartbeats_an_echo_counts_for_the_detection_time() {
    let timing = Timing { interval: ms(1_000), ..timing() };
    let mut peer = lost();
    peer.echo_at = Some(HEARD + ms(3_000));
    let judge = |after| peer.judge(HEARD + ms(after), &timing, false);
    assert_eq!(judge(5_999), Verdict::DaemonDown);
    assert_eq!(judge(6_000), Verdict::Suspected);
}

#[test]
fn a_witness_makes_a_lost_peer_cut_off_once_the_witness_too_had_time_to_miss_it() {
    let peer = heard();
    let judge = |after| peer.judge(HEARD + ms(after), &timing(), true);
    assert_eq!(judge(300), Verdict::Alive, "as before");
    assert_eq!(judge(599), Verdict::Alive);
    assert_eq!(judge(600), Verdict::Partitioned);
    let mut peer = unmet();
    let now = MET + timing().first_contact;
    assert_eq!(peer.judge(now, &timing(), true), Verdict::Unmet, "it keeps its groups as well");
    peer.power = Some((power(Some(InstanceState::Running)), MET));
    assert_eq!(peer.judge(now, &timing(), false), Verdict::Unmet);
}

#[test]
fn a_peer_that_an_earlier_run_heard_is_lost_after_its_first_contact() {
    let mut peer = unmet();
    peer.heard_before = HeardBefore::InThisBoot;
    let judge = |after| peer.judge(MET + after, &timing(), false);
    let first = timing().first_contact;
    assert_eq!(
        (judge(first.saturating_sub(ms(1))), judge(first)),
        (Verdict::Unmet, Verdict::Suspected)
    );
}

#[test]
fn a_peer_that_was_never_heard_and_is_dead_by_other_signs_is_judged_like_any_lost_one() {
    let now = MET + timing().first_contact;
    let impaired = PowerReport { impaired: true, ..power(Some(InstanceState::Running)) };
    for (power, before, after) in [
        (impaired, Verdict::Unmet, Verdict::Unreachable),
        (power(Some(InstanceState::Stopped)), Verdict::Down, Verdict::Down),
        (power(Some(InstanceState::Terminated)), Verdict::Gone, Verdict::Gone),
        (power(None), Verdict::Gone, Verdict::Gone),
    ] {
        let mut peer = unmet();
        peer.power = Some((power, MET));
        let judge = |at| peer.judge(at, &timing(), false);
        assert_eq!((judge(now - ms(1)), judge(now)), (before, after));
    }
}

#[test]
fn one_deed_after_the_last_straggler_or_two_deeds_show_life() {
    let lost_at = HEARD + timing().detection();
    let now = ms(20_000);
    let mut peer = lost();
    (peer.moves_while_lost, peer.moved_at) = (1, Some(lost_at + ms(9_999)));
    assert_eq!(judge(&peer, now), Verdict::Suspected, "it may have been under way");
    peer.moved_at = Some(lost_at + ms(10_000));
    assert_eq!(judge(&peer, now), Verdict::Partitioned);
    (peer.moves_while_lost, peer.moved_at) = (2, Some(lost_at + ms(1)));
    assert_eq!(judge(&peer, now), Verdict::Partitioned);
    let mut impaired = power(Some(InstanceState::Running));
    peer.power = Some((impaired.clone(), HEARD));
    assert_eq!(judge(&peer, now), Verdict::Partitioned);
    impaired.impaired = true;
    peer.power = Some((impaired, HEARD));
    assert_eq!(judge(&peer, now), Verdict::Unreachable, "EC2 finds it broken");
}

#[test]
fn a_return_wipes_what_was_held_against_it_or_for_it() {
    let mut peer = lost();
    (peer.moves_while_lost, peer.moved_at) = (2, Some(HEARD));
    peer.power = Some((power(Some(InstanceState::Running)), HEARD));
    peer.started_at = Some(HEARD);
    let back = HEARD + ms(5_000);
    assert!(peer.conclude(Verdict::Sick, back), "a new verdict");
    assert_eq!((peer.moves_while_lost, peer.moved_at, peer.started_at), (0, None, None));
    assert_eq!(peer.power, None);
    assert_eq!((peer.lost_since, peer.suspected_since), (None, None));
    assert_eq!(peer.alive_since, None, "sick is not alive");
    assert!(!peer.conclude(Verdict::Sick, back + ms(1)), "no news");
    assert_eq!(peer.verdict_since, back);
}

#[test]
fn how_long_a_state_has_lasted_is_kept_while_the_verdicts_in_it_change() {
    let mut peer = heard();
    let lost = HEARD + ms(300);
    assert_eq!((peer.alive_since, peer.lost_since), (Some(HEARD), None));
    assert!(peer.conclude(Verdict::Suspected, lost));
    assert!(peer.conclude(Verdict::Unreachable, lost + ms(100)));
    assert_eq!(peer.suspected_since, Some(lost));
    assert_eq!(peer.alive_since, None);
    assert!(peer.conclude(Verdict::Partitioned, lost + ms(200)));
    assert_eq!((peer.lost_since, peer.suspected_since), (Some(lost), None));
    assert_eq!(peer.verdict_since, lost + ms(200));
}

#[test]
fn a_pause_gives_a_peer_that_was_there_its_detection_time_anew() {
    let paused = HEARD + ms(10_000);
    let mut peer = heard();
    peer.power = Some((power(Some(InstanceState::Running)), HEARD));
    peer.excuse_silence(paused);
    assert_eq!(peer.power, None, "what was read before the pause is void");
    assert_eq!(peer.judge(paused + ms(299), &timing(), false), Verdict::Alive);
    assert_eq!(peer.judge(paused + ms(300), &timing(), false), Verdict::Suspected);
}

#[test]
fn a_pause_leaves_a_lost_peer_lost_and_starts_the_patience_with_it_anew() {
    let paused = HEARD + ms(10_000);
    let mut peer = lost();
    peer.excuse_silence(paused);
    assert_eq!(peer.judge(paused, &timing(), false), Verdict::Suspected);
    assert_eq!(peer.suspected_since, Some(paused), "nobody watched it in the pause");
    let mut peer = heard();
    peer.excuse_silence(paused);
    assert_eq!(peer.suspected_since, None);
}

#[test]
fn a_pause_starts_the_first_contact_anew() {
    let paused = MET + ms(20_000);
    let mut peer = unmet();
    peer.excuse_silence(paused);
    peer.echo_at = Some(MET);
    let first = timing().first_contact;
    assert_eq!(peer.judge(paused + first - ms(1), &timing(), false), Verdict::Unmet);
    assert_eq!(peer.judge(paused + first, &timing(), false), Verdict::Suspected);
}

#[test]
fn a_pause_does_not_make_a_dead_daemon_a_dead_host() {
    let paused = HEARD + ms(10_000);
    let mut peer = lost();
    peer.echo_at = Some(HEARD + ms(200));
    peer.conclude(Verdict::DaemonDown, HEARD + ms(300));
    peer.excuse_silence(paused);
    assert_eq!(peer.judge(paused + ms(499), &timing(), false), Verdict::DaemonDown);
    let mut peer = lost();
    peer.echo_at = Some(HEARD + ms(200));
    peer.excuse_silence(paused);
    assert_eq!(peer.judge(paused + ms(1), &timing(), false), Verdict::Suspected);
}

#[test]
fn it_hears_this_node_if_it_says_so_of_this_session_and_lately() {
    let hears = |hears: Hears| {
        let mut one = beat();
        one.hears = vec![hears];
        says(one).hears(&id(0), ME, &timing())
    };
    let line = Hears { node: id(0), session: ME, age_ms: 299, failed: false, stopped: false };
    assert!(hears(line.clone()));
    assert!(!hears(Hears { age_ms: 300, ..line.clone() }));
    assert!(!hears(Hears { age_ms: 301, ..line.clone() }));
    assert!(!hears(Hears { session: SessionId(8), ..line.clone() }));
    assert!(!hears(Hears { node: id(5), ..line }));
    assert!(!unmet().hears(&id(0), ME, &timing()));
}

#[test]
fn a_peer_is_deaf_while_it_does_not_hear_this_node_or_is_cut_off() {
    let note = |peer: &mut Peer, at| peer.note_hearing(&id(0), ME, &timing(), at);
    let mut peer = heard();
    note(&mut peer, HEARD);
    assert_eq!(peer.deaf_since, None);
    let mut silent = beat();
    silent.hears.clear();
    let mut peer = says(silent.clone());
    note(&mut peer, HEARD);
    note(&mut peer, HEARD + ms(100));
    assert_eq!(peer.deaf_since, Some(HEARD), "without a break");
    peer.conclude(Verdict::Sick, HEARD + ms(150));
    note(&mut peer, HEARD + ms(150));
    assert_eq!(peer.deaf_since, Some(HEARD), "a sick one can hear or not");
    peer.conclude(Verdict::Partitioned, HEARD + ms(200));
    note(&mut peer, HEARD + ms(200));
    assert_eq!(peer.deaf_since, Some(HEARD));
    peer.conclude(Verdict::Suspected, HEARD + ms(300));
    note(&mut peer, HEARD + ms(300));
    assert_eq!(peer.deaf_since, None, "of a lost one nothing is known");
    let mut peer = heard();
    peer.conclude(Verdict::Partitioned, HEARD + ms(600));
    note(&mut peer, HEARD + ms(600));
    assert_eq!(peer.deaf_since, Some(HEARD + ms(600)), "whatever it said before");
}

#[test]
fn only_some_verdicts_are_told_to_the_others_as_failed() {
    for (verdict, failed, holds) in [
        (Verdict::Alive, false, true),
        (Verdict::Sick, false, false),
        (Verdict::Leaving, false, false),
        (Verdict::Suspected, true, false),
        (Verdict::DaemonDown, false, false),
        (Verdict::Unreachable, true, false),
        (Verdict::Partitioned, false, false),
        (Verdict::Down, true, false),
        (Verdict::Gone, true, false),
        (Verdict::Unmet, false, false),
    ] {
        let mut peer = heard();
        peer.conclude(verdict, HEARD);
        assert_eq!((peer.is_failed(), peer.is_alive()), (failed, holds), "{verdict:?}");
    }
}

#[test]
fn its_judgement_of_a_third_node_is_its_word_about_that_node() {
    let mut one = beat();
    one.hears = vec![
        Hears { node: id(0), session: ME, age_ms: 0, failed: true, stopped: false },
        Hears { node: id(2), session: SessionId(3), age_ms: 0, failed: false, stopped: false },
    ];
    let peer = says(one);
    assert!(peer.judges_failed(&id(0)));
    assert!(!peer.judges_failed(&id(2)));
    assert!(!peer.judges_failed(&id(3)));
    assert!(!unmet().judges_failed(&id(0)));
}

#[test]
fn settings_differ_only_where_a_heartbeat_shows_it() {
    assert!(!heard().settings_differ(1));
    assert!(heard().settings_differ(2));
    assert!(!unmet().settings_differ(2));
    assert_eq!(heard().fitness(), Some(&Fitness::fit()));
    assert_eq!(unmet().fitness(), None);
}

#[test]
fn from_ten_seconds_on_people_are_told_whole_seconds() {
    assert_eq!(words(ms(9_999)), "9999 ms");
    assert_eq!(words(ms(10_000)), "10 s");
    assert_eq!(words(ms(10_999)), "10 s");
}

#[test]
fn the_evidence_names_every_source_and_its_age() {
    let now = MET;
    let told = unmet().evidence(now);
    assert!(told.contains("no heartbeat since"), "{told}");
    assert!(told.contains("echo never answered"), "{told}");
    assert!(told.contains("EC2 not queried yet"), "{told}");
    assert!(!told.contains("moved"), "{told}");
    let mut peer = lost();
    peer.echo_at = Some(HEARD);
    peer.power = Some((power(Some(InstanceState::Running)), HEARD));
    peer.moves_while_lost = 1;
    let told = peer.evidence(HEARD + ms(9_999));
    assert!(told.contains("heartbeat 9999 ms ago (fit)"), "{told}");
    assert!(told.contains("echo 9999 ms ago"), "{told}");
    assert!(told.contains("EC2 reports running"), "{told}");
    assert!(told.contains("moved 1 resource"), "{told}");
    peer.power = Some((power(None), HEARD));
    let told = peer.evidence(HEARD + ms(10_900));
    assert!(told.contains("heartbeat 10 s ago"), "{told}");
    assert!(told.contains("EC2 does not know the instance"), "{told}");
}
