//! The handshake, and what an attacker with recordings can do to it.

use std::time::Duration;

use super::*;

const NOW: Time = Time::from_millis(1_000_000);

fn id(digit: char) -> InstanceId {
    format!("i-0000000{digit}").parse().unwrap()
}

/// One monitor: its receiving side, and the content of its beats.
struct Node {
    me: InstanceId,
    session: SessionId,
    sequence: u64,
    sessions: Sessions,
    hears: Vec<Hears>,
}

impl Node {
    fn start(digit: char, session: u64) -> Self {
        let (me, session) = (id(digit), SessionId(session));
        let sessions = Sessions::new(me.clone(), session);
        Self { me, session, sequence: 0, sessions, hears: Vec::new() }
    }

    fn send(&mut self, to: &InstanceId) -> Packet {
        self.sequence += 1;
        let mut beat = Beat { hears: self.hears.clone(), ..Beat::default() };
        self.sessions.acknowledge(to, &mut beat, NOW);
        Packet {
            from: self.me.clone(),
            session: self.session,
            sequence: self.sequence,
            version: None,
            beat,
            claims_omitted: false,
        }
    }

    fn receive(&mut self, packet: &Packet) -> Result<(), Rejected> {
        let mut packet = packet.clone();
        self.sessions.accept(&mut packet, NOW)?;
        self.hears.retain(|one| one.node != packet.from);
        self.hears.push(Hears {
            node: packet.from,
            session: packet.session,
            age_ms: 0,
            failed: false,
            stopped: false,
        });
        Ok(())
    }
}

/// Two nodes after the handshake, and every packet that went from `b` to `a`.
fn met() -> (Node, Node, Vec<Packet>) {
    let (mut a, mut b) = (Node::start('a', 1), Node::start('b', 2));
    let mut recorded = Vec::new();
    for _ in 0..3 {
        let packet = a.send(&b.me);
        let _ = b.receive(&packet);
        let packet = b.send(&a.me);
        let _ = a.receive(&packet);
        recorded.push(packet);
    }
    (a, b, recorded)
}

#[test]
fn two_nodes_that_start_together_believe_each_other_after_two_beats() {
    let (mut a, mut b) = (Node::start('a', 1), Node::start('b', 2));
    assert_eq!(b.receive(&a.send(&id('b'))), Err(Rejected::Unconfirmed));
    assert_eq!(a.receive(&b.send(&id('a'))), Ok(()));
    assert_eq!(b.receive(&a.send(&id('b'))), Ok(()));
    assert_eq!(a.receive(&b.send(&id('a'))), Ok(()));
}

#[test]
fn a_restarted_peer_is_believed_again_after_it_has_acknowledged() {
    let (mut a, _, _) = met();
    let mut b = Node::start('b', 3);
    assert_eq!(a.receive(&b.send(&id('a'))), Err(Rejected::Unconfirmed));
    assert_eq!(b.receive(&a.send(&id('b'))), Ok(()));
    assert_eq!(a.receive(&b.send(&id('a'))), Ok(()));
}

#[test]
fn a_repeated_or_overtaken_packet_is_dropped() {
    let (mut a, mut b, recorded) = met();
    for old in &recorded {
        assert_eq!(a.receive(old), Err(Rejected::Replayed));
    }
    let (first, second) = (b.send(&id('a')), b.send(&id('a')));
    assert_eq!(a.receive(&second), Ok(()));
    assert_eq!(a.receive(&first), Err(Rejected::Replayed));
}

#[test]
fn a_recorded_session_is_not_believed_by_a_fresh_receiver() {
    let (_, _, recorded) = met();
    let mut fresh = Node::start('a', 7);
    for old in recorded.iter().chain(&recorded) {
        assert!(fresh.receive(old).is_err());
    }
}

#[test]
fn a_packet_of_a_replaced_session_does_not_count() {
    let (mut a, mut old, _) = met();
    let unseen = old.send(&id('a'));
    let mut new = Node::start('b', 3);
    let _ = a.receive(&new.send(&id('a')));
    let _ = new.receive(&a.send(&id('b')));
    assert_eq!(a.receive(&new.send(&id('a'))), Ok(()));
    assert_eq!(a.receive(&unseen), Err(Rejected::Replayed));
    assert_eq!(a.receive(&unseen), Err(Rejected::Replayed));
    assert_eq!(a.receive(&new.send(&id('a'))), Ok(()));
}

#[test]
fn a_delayed_packet_does_not_block_the_current_session() {
    let (mut a, mut old) = (Node::start('a', 1), Node::start('b', 2));
    let _ = old.receive(&a.send(&id('b')));
    let held_back = old.send(&id('a'));
    let mut new = Node::start('b', 3);
    let _ = new.receive(&a.send(&id('b')));
    assert_eq!(a.receive(&new.send(&id('a'))), Ok(()));
    assert_eq!(a.receive(&held_back), Ok(()), "it has acknowledged this run as well");
    assert_eq!(a.receive(&new.send(&id('a'))), Err(Rejected::Replayed));
    assert_eq!(a.receive(&new.send(&id('a'))), Ok(()));
    assert_eq!(a.receive(&held_back), Err(Rejected::Replayed));
    assert_eq!(a.receive(&new.send(&id('a'))), Ok(()));
}

#[test]
fn replays_do_not_displace_the_session_in_force() {
    let (mut a, mut b, _) = met();
    for session in 100..120 {
        let mut ghost = Node::start('b', session);
        assert_eq!(a.receive(&ghost.send(&id('a'))), Err(Rejected::Unconfirmed));
        assert_eq!(a.receive(&b.send(&id('a'))), Ok(()));
    }
    let answer = a.send(&id('b'));
    assert!(answer.beat.hears.len() <= 1 + MAX_CANDIDATES);
    assert_eq!(b.receive(&answer), Ok(()));
}

#[test]
fn a_beat_keeps_only_the_line_about_this_run() {
    let (mut a, mut b, _) = met();
    let mut packet = b.send(&id('a'));
    let stale =
        Hears { node: id('a'), session: SessionId(99), age_ms: 3, failed: true, stopped: false };
    packet.beat.hears.insert(0, stale);
    assert_eq!(a.sessions.accept(&mut packet, NOW), Ok(()));
    let about_me: Vec<_> = packet.beat.hears.iter().filter(|one| one.node == id('a')).collect();
    assert_eq!(about_me.len(), 1);
    assert!(about_me.iter().all(|one| one.session == SessionId(1)));
}

#[test]
fn a_silent_candidate_is_no_longer_answered() {
    let (mut a, _, _) = met();
    let mut b = Node::start('b', 3);
    let _ = a.receive(&b.send(&id('a')));
    let mut beat = a.send(&id('b')).beat;
    assert!(beat.hears.iter().any(|one| one.session == SessionId(3)));
    beat.hears.clear();
    a.sessions.acknowledge(&id('b'), &mut beat, NOW + CANDIDATE_LIFE + Duration::from_millis(1));
    assert!(beat.hears.is_empty());
}

#[test]
fn a_candidate_s_old_packets_are_replays_too() {
    let (mut a, _, _) = met();
    let mut b = Node::start('b', 3);
    let (first, second) = (b.send(&id('a')), b.send(&id('a')));
    assert_eq!(a.receive(&second), Err(Rejected::Unconfirmed));
    assert_eq!(a.receive(&first), Err(Rejected::Replayed));
    assert_eq!(a.receive(&second), Err(Rejected::Replayed));
    assert_eq!(a.receive(&b.send(&id('a'))), Err(Rejected::Unconfirmed));
    // An acknowledgement in a packet from before does not count either.
    let mut late = second.clone();
    late.beat.hears = vec![Hears {
        node: id('a'),
        session: SessionId(1),
        age_ms: 0,
        failed: false,
        stopped: false,
    }];
    assert_eq!(a.receive(&late), Err(Rejected::Replayed));
    late.sequence = 4;
    assert_eq!(a.receive(&late), Ok(()));
}

#[test]
fn a_confirmed_session_is_not_a_candidate_any_more_and_the_others_still_are() {
    let (mut a, _, _) = met();
    let (mut b, mut ghost) = (Node::start('b', 3), Node::start('b', 50));
    let _ = a.receive(&ghost.send(&id('a')));
    let _ = a.receive(&b.send(&id('a')));
    let _ = b.receive(&a.send(&id('b')));
    assert_eq!(a.receive(&b.send(&id('a'))), Ok(()));
    a.hears.clear();
    let answered: Vec<u64> = a.send(&id('b')).beat.hears.iter().map(|one| one.session.0).collect();
    assert_eq!(answered, [50]);
}

/// Restarts the peer: its new session is confirmed.
fn restart(a: &mut Node, session: u64) -> Node {
    let mut b = Node::start('b', session);
    let _ = a.receive(&b.send(&id('a')));
    let _ = b.receive(&a.send(&id('b')));
    assert_eq!(a.receive(&b.send(&id('a'))), Ok(()));
    b
}

#[test]
fn of_many_replaced_sessions_none_returns_and_their_memory_is_bounded() {
    let (mut a, mut oldest, _) = met();
    let unseen = oldest.send(&id('a'));
    for session in 100..103 {
        restart(&mut a, session);
    }
    assert_eq!(a.receive(&unseen), Err(Rejected::Replayed));
    for session in 0..u64::try_from(MAX_RETIRED).unwrap() + 10 {
        restart(&mut a, 1_000 + session);
    }
    assert_eq!(a.sessions.peers[&id('b')].retired.len(), MAX_RETIRED);
}

#[test]
fn a_replaced_session_returns_only_by_two_new_packets_in_a_row_that_acknowledge() {
    let (mut a, mut old, _) = met();
    let mut new = restart(&mut a, 3);
    let first = old.send(&id('a'));
    assert_eq!(a.receive(&first), Err(Rejected::Replayed));
    assert_eq!(a.receive(&first), Err(Rejected::Replayed), "once more is not newer");
    assert_eq!(a.receive(&new.send(&id('a'))), Ok(()));
    assert_eq!(a.receive(&old.send(&id('a'))), Err(Rejected::Replayed), "not in a row");
    assert_eq!(a.receive(&new.send(&id('a'))), Ok(()));
    for _ in 0..3 {
        let mut silent = old.send(&id('a'));
        silent.beat.hears.clear();
        assert_eq!(a.receive(&silent), Err(Rejected::Replayed), "it does not hear this run");
    }
    assert_eq!(a.receive(&old.send(&id('a'))), Err(Rejected::Replayed));
    assert_eq!(a.receive(&old.send(&id('a'))), Ok(()));
    assert_eq!(a.receive(&new.send(&id('a'))), Err(Rejected::Replayed), "now that is the old one");
}

#[test]
fn a_sequence_is_new_or_not_only_in_a_session_in_force() {
    let (mut a, mut b, recorded) = met();
    let last = recorded.last().unwrap();
    assert_eq!(a.sessions.is_new(last.session, last.sequence + 1), Some(true));
    assert_eq!(a.sessions.is_new(last.session, last.sequence), Some(false));
    assert_eq!(a.sessions.is_new(SessionId(99), 1), None);
    let _ = a.receive(&Node::start('b', 50).send(&id('a')));
    assert_eq!(a.sessions.is_new(SessionId(50), 2), None, "a candidate is not in force");
    assert_eq!(a.receive(&b.send(&id('a'))), Ok(()));
}

#[test]
fn former_members_are_forgotten_and_the_others_are_not() {
    let (mut a, mut b, _) = met();
    a.sessions.retain(|node| *node == id('b'));
    assert_eq!(a.receive(&b.send(&id('a'))), Ok(()));
    a.sessions.retain(|node| *node != id('b'));
    a.hears.clear();
    let mut stranger = b.send(&id('a'));
    stranger.beat.hears.clear();
    assert_eq!(a.receive(&stranger), Err(Rejected::Unconfirmed), "a newcomer like any other");
}

#[test]
fn the_age_of_a_candidate_s_line_is_the_time_since_it_was_heard() {
    let (mut a, _, _) = met();
    let _ = a.receive(&Node::start('b', 3).send(&id('a')));
    let mut beat = a.send(&id('b')).beat;
    beat.hears.clear();
    a.sessions.acknowledge(&id('b'), &mut beat, NOW + Duration::from_millis(300));
    assert_eq!(beat.hears.iter().map(|one| one.age_ms).collect::<Vec<_>>(), [300]);
    beat.hears.clear();
    a.sessions.acknowledge(&id('b'), &mut beat, NOW + CANDIDATE_LIFE);
    assert_eq!(beat.hears.len(), 1, "it is answered to the end of its life");
}

#[test]
fn ones_own_packet_is_not_a_peers() {
    let mut a = Node::start('a', 1);
    let packet = a.send(&id('b'));
    assert_eq!(a.receive(&packet), Err(Rejected::Myself));
}
