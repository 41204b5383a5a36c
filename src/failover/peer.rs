//! What is known about one peer, and what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Verdict;
use crate::config::Timing;
use crate::types::{
    Beat, Evidence, Fitness, GroupName, Hears, InstanceId, InstanceState, Member, PowerReport,
    SessionId, Time,
};

/// How long a peer that no roster lists any more stays a member after its last heartbeat: long
/// enough for three heirs to take its groups, one after the other.
const UNLISTED_PATIENCE: Duration = Duration::from_secs(10);

/// For how long after its last heartbeat a peer that said goodbye is left alone: longer than
/// systemd waits for the services of a host that shuts down (90 s).
pub(super) const GOODBYE_COUNTS: Duration = Duration::from_mins(2);

/// The last heartbeat of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Heard {
    pub(super) session: SessionId,
    pub(super) beat: Beat,
    pub(super) at: Time,
}

/// When earlier runs of this monitor heard a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum HeardBefore {
    Never,
    /// Before this host booted.
    InAnEarlierBoot,
    /// Since this host booted.
    InThisBoot,
}

/// Evidence about one peer, each item with its time, and the verdict last drawn from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub(super) member: Member,
    /// Whether the last roster has it.
    pub(super) listed: bool,
    /// When it was first known to be a member.
    pub(super) met: Time,
    /// When earlier runs of this monitor heard it.
    pub(super) heard_before: HeardBefore,
    /// Whether it was reported that it is not heard.
    pub(super) unheard_reported: bool,
    pub(super) heard: Option<Heard>,
    /// Until when its silence proves nothing, because this node was paused.
    pub(super) excused: Time,
    /// When its last echo reply came in.
    pub(super) echo_at: Option<Time>,
    /// When the last echo request was sent to it.
    pub(super) echo_asked: Option<Time>,
    /// EC2's last report of it, and when that was requested.
    pub(super) power: Option<(PowerReport, Time)>,
    /// How many resources were seen to move to it after it was lost, and when the last was read.
    pub(super) moves_while_lost: u32,
    pub(super) moved_at: Option<Time>,
    pub(super) verdict: Verdict,
    pub(super) verdict_since: Time,
    /// Since when it has been lost without a break.
    pub(super) lost_since: Option<Time>,
    /// Since when it has been suspected or unreachable without a break.
    pub(super) suspected_since: Option<Time>,
    /// Since when it has been alive without a break.
    pub(super) alive_since: Option<Time>,
    /// Since when its heartbeats have said that its probes fail, without a break.
    pub(super) probes_fail_since: Option<Time>,
    /// Per kind of evidence, when this node learned that a probe of its own was answered which it
    /// sent after the peer had said that its probes fail.
    pub(super) not_shared: BTreeMap<Evidence, Time>,
    /// Since when it has been alive and lacked no evidence, without a break.
    pub(super) proven_since: Option<Time>,
    /// Takeovers from it because its probes failed, each soon after the one before, and when the
    /// last one began.
    pub(super) reliefs: u32,
    pub(super) relieved_at: Option<Time>,
    /// Per group with a failed check so far: whether it can serve it now, according to its last
    /// heartbeat, and since when.
    pub(super) serving: BTreeMap<GroupName, (bool, Time)>,
    /// Since when it has not heard this node, without a break.
    pub(super) deaf_since: Option<Time>,
    /// The last heartbeat of another member that said it had stopped this peer and would start it.
    /// None once the peer has been heard, or EC2 has reported it as running, after that stop.
    pub(super) stopped_by_other: Option<Time>,
    /// When natha last asked EC2 to start it, or it was seen on its way up.
    pub(super) started_at: Option<Time>,
    /// Group moves away from it that came soon after a hand-back.
    pub(super) flaps: u32,
    /// When it was last handed a group back.
    pub(super) handed_back_at: Option<Time>,
}

impl Peer {
    /// A member that this run has not heard yet, nor has an earlier one.
    pub(super) fn new(member: Member, now: Time) -> Self {
        Self {
            member,
            listed: true,
            met: now,
            heard_before: HeardBefore::Never,
            unheard_reported: false,
            heard: None,
            excused: Time::default(),
            echo_at: None,
            echo_asked: None,
            power: None,
            moves_while_lost: 0,
            moved_at: None,
            verdict: Verdict::Unmet,
            verdict_since: now,
            lost_since: None,
            suspected_since: None,
            alive_since: None,
            probes_fail_since: None,
            not_shared: BTreeMap::new(),
            proven_since: None,
            reliefs: 0,
            relieved_at: None,
            serving: BTreeMap::new(),
            deaf_since: None,
            stopped_by_other: None,
            started_at: None,
            flaps: 0,
            handed_back_at: None,
        }
    }

    /// From when on its silence counts; none if it was never heard.
    pub(super) fn silent_since(&self) -> Option<Time> {
        self.heard.as_ref().map(|heard| heard.at.max(self.excused))
    }

    /// Whether its last heartbeat is young enough.
    pub(super) fn is_fresh(&self, now: Time, timing: &Timing) -> bool {
        self.silent_since().is_some_and(|since| now.since(since) < timing.detection())
    }

    /// Whether it stays a member though the last roster lacks it: it was heard a moment ago. What
    /// it holds can then be taken from it as from any lost member.
    pub(super) fn stays_unlisted(&self, now: Time) -> bool {
        self.silent_since().is_some_and(|since| now.since(since) < UNLISTED_PATIENCE)
    }

    /// When a heartbeat counts as late: echo requests go out at heartbeat pace from then on.
    pub(super) fn late_at(&self, timing: &Timing) -> Option<Time> {
        self.silent_since().map(|since| since + late_after(timing))
    }

    /// When it is lost unless it is heard before.
    pub(super) fn lost_at(&self, timing: &Timing) -> Option<Time> {
        self.silent_since().map(|since| since + timing.detection())
    }

    /// How often it is asked for an echo: twice as often as it should be heard while its heartbeat
    /// is late, as each answer may be the one that shows that it lives; at heartbeat pace while
    /// it is lost.
    pub(super) fn echo_pace(&self, now: Time, timing: &Timing) -> Duration {
        match (self.late_at(timing), self.lost_at(timing)) {
            (Some(late), _) if now < late => Duration::from_secs(1),
            (_, Some(lost)) if now < lost => timing.interval / 2,
            _ => timing.interval,
        }
    }

    /// Whether its host answers: an echo reply since its heartbeat became late. A peer that has
    /// never answered echo gives no evidence either way.
    pub(super) fn echo_answers(&self, now: Time, timing: &Timing) -> bool {
        let Some(echo_at) = self.echo_at else { return false };
        let counts = self.late_at(timing).is_none_or(|late| echo_at >= late);
        counts && now.since(echo_at) < timing.detection().max(Duration::from_millis(500))
    }

    /// Whether the peer was lost less than one detection time ago, so that other members may still
    /// report hearing it.
    fn is_barely_lost(&self, now: Time, timing: &Timing) -> bool {
        let lost_at = self.lost_at(timing);
        lost_at.is_some_and(|lost| now.since(lost) < timing.detection())
    }

    /// Takes in that this node was paused until `now`. What the peer sent meanwhile may be lost
    /// with this node's socket buffer, so a peer that was alive before gets its detection time
    /// again, and one that was never heard its first contact. A peer that was lost stays lost, but
    /// the pause does not count as observation.
    pub(super) fn excuse_silence(&mut self, now: Time) {
        self.power = None;
        if self.verdict == Verdict::DaemonDown {
            self.echo_at = self.echo_at.max(Some(now));
        }
        self.suspected_since = self.suspected_since.map(|_| now);
        for since in [&mut self.alive_since, &mut self.proven_since, &mut self.probes_fail_since] {
            *since = since.map(|_| now);
        }
        self.not_shared.clear();
        for (serves, since) in self.serving.values_mut() {
            if *serves {
                *since = now;
            }
        }
        let unmet = self.verdict == Verdict::Unmet;
        if unmet {
            self.met = now;
        }
        if unmet || self.lost_since.is_none() {
            self.excused = now;
        }
    }

    /// Whether its last heartbeat announced that it is leaving.
    pub(super) fn said_goodbye(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.beat.leaving)
    }

    /// Whether the goodbye of its last heartbeat still explains its silence.
    fn is_leaving(&self, now: Time) -> bool {
        self.said_goodbye()
            && self.silent_since().is_some_and(|since| now.since(since) < GOODBYE_COUNTS)
    }

    /// Whether it took a resource when no request from before its goodbye can have been under way:
    /// it is back, and its heartbeats are not understood.
    fn is_alive_by_moves_since_goodbye(&self, timing: &Timing) -> bool {
        let impaired = self.power_since_heard().is_some_and(|power| power.impaired);
        let times = self.moved_at.zip(self.heard.as_ref());
        !impaired && times.is_some_and(|(moved, heard)| moved >= heard.at + max_request_age(timing))
    }

    /// Whether it said that its monitor would be back, and is still given the time for that. Where
    /// it has answered echo, its host can show that it lives without a monitor.
    fn is_restarting(&self, now: Time, timing: &Timing) -> bool {
        let Some(heard) = &self.heard else { return false };
        let back_by = heard.at + timing.detection() + timing.daemon_grace;
        heard.beat.restarting && self.echo_at.is_none() && now < back_by
    }

    /// EC2's report of it, if it was requested after the peer was last heard.
    pub(super) fn power_since_heard(&self) -> Option<&PowerReport> {
        let heard_at = self.heard.as_ref().map_or(Time::default(), |heard| heard.at);
        self.power.as_ref().filter(|(_, asked)| *asked >= heard_at).map(|(report, _)| report)
    }

    /// Whether its writes show that it is alive: it moved a resource when no request from before it
    /// was lost can still have been under way, or moved two.
    fn is_alive_by_moves(&self, timing: &Timing) -> bool {
        let impaired = self.power_since_heard().is_some_and(|power| power.impaired);
        !impaired
            && (self.is_move_late(timing)
                || (self.moves_while_lost >= 2 && self.lost_since.is_some()))
    }

    /// Whether it moved a resource when no request from before it was lost can have been under way.
    pub(super) fn is_move_late(&self, timing: &Timing) -> bool {
        let times = self.moved_at.zip(self.lost_since);
        times.is_some_and(|(moved, lost)| moved >= lost + max_request_age(timing))
    }

    /// The verdict: the table in `docs/failover.md`, row by row. `witnessed` says that another
    /// live member hears it.
    pub(super) fn judge(&self, now: Time, timing: &Timing, witnessed: bool) -> Verdict {
        if self.is_fresh(now, timing) {
            return match &self.heard {
                Some(heard) if heard.beat.leaving => Verdict::Leaving,
                Some(heard) if !heard.beat.fitness.is_fit() => Verdict::Sick,
                _ => Verdict::Alive,
            };
        }
        let power = self.power_since_heard();
        match power.map(|power| power.state) {
            Some(None | Some(InstanceState::Terminated | InstanceState::ShuttingDown)) => {
                return Verdict::Gone;
            }
            Some(Some(
                InstanceState::Stopping | InstanceState::Stopped | InstanceState::Pending,
            )) => return Verdict::Down,
            Some(Some(InstanceState::Running)) | None => {}
        }
        if self.is_leaving(now) {
            let acts = self.is_alive_by_moves_since_goodbye(timing);
            return if acts { Verdict::Partitioned } else { Verdict::Leaving };
        }
        if self.heard.is_none() && !self.unmet_counts_as_lost(now, timing) {
            return Verdict::Unmet;
        }
        if witnessed && self.is_barely_lost(now, timing) {
            return self.verdict;
        }
        if witnessed || self.is_alive_by_moves(timing) {
            return Verdict::Partitioned;
        }
        if self.echo_answers(now, timing) || self.is_restarting(now, timing) {
            return Verdict::DaemonDown;
        }
        if power.is_some() { Verdict::Unreachable } else { Verdict::Suspected }
    }

    /// Records a verdict and how long the states it belongs to have lasted. Says whether it is
    /// a new one.
    pub(super) fn conclude(&mut self, verdict: Verdict, now: Time) -> bool {
        let fresh = matches!(verdict, Verdict::Alive | Verdict::Sick);
        let suspected = matches!(verdict, Verdict::Suspected | Verdict::Unreachable);
        self.lost_since = lasting(self.lost_since, !fresh, now);
        self.suspected_since = lasting(self.suspected_since, suspected, now);
        self.alive_since = lasting(self.alive_since, verdict == Verdict::Alive, now);
        let changed = self.verdict != verdict;
        if fresh {
            self.moves_while_lost = 0;
            self.moved_at = None;
            self.started_at = None;
        }
        if fresh && changed {
            self.power = None;
        }
        if changed {
            self.verdict = verdict;
            self.verdict_since = now;
        }
        self.note_evidence(now);
        changed
    }

    /// Records whether it hears this session of `me`, according to its heartbeats; a partitioned
    /// peer does not, nor does one that was never heard, as far as is known.
    pub(super) fn note_hearing(
        &mut self,
        me: &InstanceId,
        session: SessionId,
        timing: &Timing,
        now: Time,
    ) {
        let deaf = match self.verdict {
            Verdict::Alive | Verdict::Sick => !self.hears(me, session, timing),
            Verdict::Partitioned | Verdict::Unmet => true,
            _ => false,
        };
        self.deaf_since = lasting(self.deaf_since, deaf, now);
    }

    /// Whether this node considers it failed, as its heartbeats report to the others.
    pub(super) fn is_failed(&self) -> bool {
        matches!(
            self.verdict,
            Verdict::Suspected | Verdict::Unreachable | Verdict::Down | Verdict::Gone
        )
    }

    /// Records which of the groups with a check it can serve, according to its last heartbeat.
    pub(super) fn note_serving(&mut self, is_checked: impl Fn(&GroupName) -> bool, now: Time) {
        let Some(heard) = &self.heard else { return };
        for (group, (serves, since)) in &mut self.serving {
            let served = !heard.beat.unfit_for.contains(group);
            if *serves != served {
                (*serves, *since) = (served, now);
            }
        }
        self.serving.retain(|group, _| is_checked(group));
        for group in heard.beat.unfit_for.iter().filter(|group| is_checked(group)) {
            self.serving.entry(group.clone()).or_insert((false, now));
        }
    }

    /// Whether it can serve the group according to its last heartbeat, apart from its fitness.
    pub(super) fn serves(&self, group: &GroupName) -> bool {
        self.serving.get(group).is_none_or(|(serves, _)| *serves)
    }

    /// Since when it has said that it cannot serve the group; none while it can.
    pub(super) fn unfit_for_since(&self, group: &GroupName) -> Option<Time> {
        self.serving.get(group).filter(|(serves, _)| !serves).map(|(_, since)| *since)
    }

    /// Since when it has been alive and able to serve the group, without a break.
    pub(super) fn well_since(&self, group: &GroupName) -> Option<Time> {
        let alive = self.alive_since?;
        match self.serving.get(group) {
            None => Some(alive),
            Some((true, since)) => Some(alive.max(*since)),
            Some((false, _)) => None,
        }
    }

    /// Whether it is judged alive.
    pub(super) fn is_alive(&self) -> bool {
        self.verdict == Verdict::Alive
    }

    /// Whether it can be given the group.
    pub(super) fn can_take(&self, group: &GroupName) -> bool {
        let restarting = self.heard.as_ref().is_some_and(|heard| heard.beat.restarting);
        self.is_alive() && self.serves(group) && !restarting
    }

    /// Whether it heard this session of `me` recently, according to its heartbeat.
    pub(super) fn hears(&self, me: &InstanceId, session: SessionId, timing: &Timing) -> bool {
        self.heard.as_ref().is_some_and(|heard| {
            heard.beat.hears.iter().any(|hears| {
                hears.node == *me
                    && hears.session == session
                    && hears.age().is_some_and(|age| age < timing.detection())
            })
        })
    }

    /// The latest moment at which it had surely received what `me` sent until then, according to
    /// its heartbeat and apart from the packets' travel time; none where it does not hear this
    /// session of `me`.
    pub(super) fn heard_me_at(&self, me: &InstanceId, session: SessionId) -> Option<Time> {
        let heard = self.heard.as_ref()?;
        let is_me = |hears: &&Hears| hears.node == *me && hears.session == session;
        let about_me = heard.beat.hears.iter().find(is_me)?;
        Some(heard.at - about_me.age()?)
    }

    /// Whether the settings digest in its last heartbeat differs from `digest`.
    pub(super) fn settings_differ(&self, digest: u64) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.beat.settings_digest != digest)
    }

    /// Whether it considers `other` failed, according to its heartbeat.
    pub(super) fn judges_failed(&self, other: &InstanceId) -> bool {
        self.heard.as_ref().is_some_and(|heard| {
            heard.beat.hears.iter().any(|hears| hears.node == *other && hears.failed)
        })
    }

    pub(super) fn fitness(&self) -> Option<&Fitness> {
        self.heard.as_ref().map(|heard| &heard.beat.fitness)
    }

    /// The evidence behind the verdict, for operators.
    pub(super) fn evidence(&self, now: Time) -> String {
        let heartbeat = match &self.heard {
            Some(heard) => {
                format!("heartbeat {} ago ({})", words(now.since(heard.at)), heard.beat.fitness)
            }
            None => "no heartbeat since this monitor started".to_owned(),
        };
        let restart = match &self.heard {
            Some(heard) if heard.beat.restarting => ", its monitor restarts",
            _ => "",
        };
        let echo = match self.echo_at {
            Some(at) => format!("echo {} ago", words(now.since(at))),
            None => "echo never answered".to_owned(),
        };
        let power = match self.power_since_heard() {
            Some(PowerReport { state: Some(state), .. }) => format!("EC2 reports {state}"),
            Some(PowerReport { state: None, .. }) => "EC2 does not know the instance".to_owned(),
            None => "EC2 not queried yet".to_owned(),
        };
        let moves = if self.moves_while_lost > 0 {
            format!(", it moved {} resource(s) since it was lost", self.moves_while_lost)
        } else {
            String::new()
        };
        format!("{heartbeat}{restart}, {echo}, {power}{moves}")
    }
}

/// How late a heartbeat is when echo requests begin: half an interval, so that their answers are
/// there before the peer is lost.
fn late_after(timing: &Timing) -> Duration {
    timing.interval * 3 / 2
}

/// How long after a node's death one of its requests may still take effect.
pub(super) fn max_request_age(timing: &Timing) -> Duration {
    timing.read_valid * 2
}

pub(super) fn lasting(since: Option<Time>, holds: bool, now: Time) -> Option<Time> {
    if holds { since.or(Some(now)) } else { None }
}

/// A duration for people: milliseconds below ten seconds, whole seconds above.
pub(super) fn words(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs())
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
