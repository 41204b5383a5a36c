//! What the replies to probes prove. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::{Evidence, Fitness, Time};

/// How long rounds follow at the quick pace while a way is in doubt. What lasts longer is probed at
/// the usual pace, and all targets are still asked.
const DOUBT_LIMIT: Duration = Duration::from_secs(30);
/// Rounds of which it is known when they were sent.
const ROUNDS_KNOWN: usize = 64;
/// A reply that takes longer than this says nothing about how long replies take.
const SLOWEST: Duration = Duration::from_secs(1);

/// What is known about one kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It has been seen to work, and nothing speaks against it.
    Works,
    /// It does not work.
    Fails,
    /// It has not been seen to work since the host booted.
    Unproven,
}

/// How often a host is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// Time between two rounds while replies come.
    pub interval: Duration,
    /// Time between two rounds while something is in doubt.
    pub pace: Duration,
    /// Rounds at `pace` without a reply after which a way is lost.
    pub lost_after: u32,
}

/// Which targets a round of probes asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Those that are asked by ICMP.
    Usual,
    /// All of them: something is in doubt, or no target replies by ICMP.
    All,
}

/// The replies to probes that go one way.
#[derive(Debug, Clone, Default)]
struct Replies {
    proven: bool,
    /// When the first probe was sent that has had no reply, nor has any after it.
    unanswered: Option<Time>,
    last: Option<Time>,
    /// When the newest of the answered rounds was sent.
    newest: Option<Time>,
    /// About the longest time that recent replies took.
    slowest: Duration,
    /// Since when it has been in doubt without a break, as of the last look.
    doubt_since: Option<Time>,
}

impl Replies {
    fn sent(&mut self, now: Time) {
        self.unanswered.get_or_insert(now);
    }

    fn answered(&mut self, sent: Option<Time>, now: Time) {
        if let Some(took) = self.unanswered.map(|sent| now.since(sent)).filter(|t| *t < SLOWEST) {
            self.slowest = took.max(self.slowest * 7 / 8);
        }
        self.proven = true;
        self.unanswered = None;
        self.last = Some(now);
        self.newest = self.newest.max(sent);
    }

    fn silent_for(&self, now: Time) -> Duration {
        self.unanswered.map_or(Duration::ZERO, |sent| now.since(sent))
    }

    /// How long it has been in doubt: a probe should have been answered by now. None if it is not.
    /// A way that nothing is sent on is not in doubt, proven or not.
    fn doubted_for(&mut self, pace: Duration, now: Time) -> Option<Duration> {
        if self.silent_for(now) < pace.max(self.slowest) {
            self.doubt_since = None;
            return None;
        }
        Some(now.since(*self.doubt_since.get_or_insert(now)))
    }
}

/// Judges the uplink by this host's own probes, and forwarding by those that go the way of a
/// private host's packets.
#[derive(Debug, Clone)]
pub struct Judge {
    pacing: Pacing,
    asked: Option<Time>,
    /// When the last rounds were sent, the newest last, and how many there were in all.
    rounds: VecDeque<Time>,
    count: u16,
    /// Whether a round is due, whatever the pace.
    hurried: bool,
    /// Since when the caller waits for the answer to a round, and of which kinds.
    news: Option<(Time, Vec<Evidence>)>,
    own: Replies,
    /// None where forwarding is not tested.
    transit: Option<Replies>,
    /// Whether a target has replied by ICMP since the uplink was last in doubt.
    icmp_replies: bool,
}

impl Judge {
    /// Nothing is proven yet but what `proven` lists: what an earlier run has proven since the host
    /// booted.
    #[must_use]
    pub fn new(pacing: Pacing, proven: Proven) -> Self {
        let replies = |proven| Replies { proven, ..Replies::default() };
        let transit = proven.transit.map(replies);
        let own = replies(proven.uplink);
        Self {
            pacing,
            asked: None,
            rounds: VecDeque::new(),
            count: 0,
            hurried: false,
            news: None,
            own,
            transit,
            icmp_replies: false,
        }
    }

    /// The round of probes to send now, if it is time for one.
    pub fn due(&mut self, now: Time) -> Option<Round> {
        let doubts = self.doubts(now);
        let is_quick = doubts.iter().any(|lasted| *lasted < DOUBT_LIMIT);
        if is_quick || std::mem::take(&mut self.hurried) {
            return Some(Round::All);
        }
        let is_due = self.asked.is_none_or(|at| now.since(at) >= self.pacing.interval);
        let asks_all = !doubts.is_empty() || !self.icmp_replies;
        is_due.then_some(if asks_all { Round::All } else { Round::Usual })
    }

    /// Makes a round due now, and [`Judge::take_news`] report the first answer of each kind to it
    /// or to a later one.
    pub fn hurry(&mut self, now: Time) {
        self.hurried = true;
        let tested = |kind: &Evidence| *kind == Evidence::Uplink || self.transit.is_some();
        self.news = Some((now, Evidence::ALL.into_iter().filter(tested).collect()));
    }

    /// The answers that [`Judge::hurry`] asked for and that have come since the last call: their
    /// kind, and when the answered round was sent.
    pub fn take_news(&mut self) -> Vec<(Evidence, Time)> {
        let Some((since, kinds)) = &mut self.news else { return Vec::new() };
        let newest = |kind: Evidence| match kind {
            Evidence::Uplink => self.own.newest,
            Evidence::Transit => self.transit.as_ref().and_then(|transit| transit.newest),
        };
        let answered =
            |kind: &Evidence| Some((*kind, newest(*kind).filter(|sent| *sent >= *since)?));
        let news: Vec<_> = kinds.iter().filter_map(answered).collect();
        kinds.retain(|kind| news.iter().all(|(told, _)| told != kind));
        news
    }

    /// Records that a round of probes is being sent; `both`: also through the forward path. Returns
    /// the number of the round.
    pub fn sent(&mut self, now: Time, both: bool) -> u16 {
        self.asked = Some(now);
        self.count = self.count.wrapping_add(1);
        self.rounds.push_back(now);
        if self.rounds.len() > ROUNDS_KNOWN {
            self.rounds.pop_front();
        }
        self.own.sent(now);
        if let Some(transit) = self.transit.as_mut().filter(|_| both) {
            transit.sent(now);
        }
        self.count
    }

    /// Records that a target has replied to one of this host's own probes by ICMP.
    pub fn icmp_replied(&mut self) {
        self.icmp_replies = true;
    }

    /// Records a reply to one of this host's own probes of the round with this number.
    pub fn own_answered(&mut self, round: u16, now: Time) {
        self.own.answered(self.sent_at(round), now);
    }

    /// Records a reply to a probe of the round with this number through the forward path.
    pub fn transit_answered(&mut self, round: u16, now: Time) {
        let sent = self.sent_at(round);
        if let Some(transit) = &mut self.transit {
            transit.answered(sent, now);
        }
    }

    /// Forgets the probes that are under way: their way is being made anew.
    pub fn restart_transit(&mut self) {
        if let Some(transit) = &mut self.transit {
            transit.unanswered = None;
        }
    }

    /// Forgets that forwarding was proven: it cannot be tested any more.
    pub fn forget_transit(&mut self) {
        self.transit = self.transit.take().map(|_| Replies::default());
    }

    /// Whether a probe through the forward path should have been answered by now.
    #[must_use]
    pub fn transit_is_silent(&self, now: Time) -> bool {
        self.transit.as_ref().is_some_and(|transit| transit.silent_for(now) >= self.pacing.pace)
    }

    /// Whether the uplink works. Silence before the first reply proves nothing: the targets may
    /// not reply to anyone.
    #[must_use]
    pub fn uplink(&self, now: Time) -> Proof {
        match (self.own.proven, self.is_lost(&self.own, now)) {
            (false, _) => Proof::Unproven,
            (true, true) => Proof::Fails,
            (true, false) => Proof::Works,
        }
    }

    /// Whether packets of private hosts get out and back; none where that is not tested.
    ///
    /// It fails where this host's own probes are answered and those through the forward path are
    /// not: on the wire both look the same. While the uplink is silent too, nothing new is known
    /// about forwarding.
    #[must_use]
    pub fn transit(&self, now: Time) -> Option<Proof> {
        let transit = self.transit.as_ref()?;
        // Replies that came well after the probes that got none.
        let own_is_well = transit.unanswered.zip(self.own.last).is_some_and(|(unanswered, own)| {
            own.since(unanswered) >= self.patience() / 2 && !self.is_lost(&self.own, now)
        });
        Some(match (transit.proven, self.is_lost(transit, now) && own_is_well) {
            (_, true) => Proof::Fails,
            (true, false) => Proof::Works,
            (false, false) => Proof::Unproven,
        })
    }

    /// What the next run of the monitor may rely on, as long as the host has not booted anew.
    #[must_use]
    pub fn proven(&self) -> Proven {
        let transit = self.transit.as_ref().map(|transit| transit.proven);
        Proven { uplink: self.own.proven, transit }
    }

    /// When a round was sent; none if that is too long ago.
    fn sent_at(&self, round: u16) -> Option<Time> {
        let later = usize::from(self.count.wrapping_sub(round));
        self.rounds.iter().rev().nth(later).copied()
    }

    /// How long each way in doubt has been so.
    fn doubts(&mut self, now: Time) -> Vec<Duration> {
        let pace = self.pacing.pace;
        let own = self.own.doubted_for(pace, now);
        self.icmp_replies &= own.is_none();
        let transit = self.transit.as_mut().and_then(|transit| transit.doubted_for(pace, now));
        own.into_iter().chain(transit).collect()
    }

    fn is_lost(&self, replies: &Replies, now: Time) -> bool {
        replies.silent_for(now) >= self.patience()
    }

    /// How long a way may be silent: some rounds, and well over the time that replies take.
    fn patience(&self) -> Duration {
        let Pacing { pace, lost_after, .. } = self.pacing;
        (pace * lost_after).max(self.own.slowest * 2 + pace)
    }
}

/// Which ways have been proven since the host booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proven {
    /// The uplink.
    pub uplink: bool,
    /// The forward path; none where it is not tested.
    pub transit: Option<bool>,
}

impl Proven {
    /// What a host knows of itself that has these proofs and has sent no probe yet.
    #[must_use]
    pub fn fitness(self) -> Fitness {
        let lacks = |kind: &Evidence| match kind {
            Evidence::Uplink => !self.uplink,
            Evidence::Transit => self.transit == Some(false),
        };
        let unproven = Evidence::ALL.into_iter().filter(lacks).collect();
        Fitness { unproven, ..Fitness::fit() }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
