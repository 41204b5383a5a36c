//! Whether a peer has ever spoken: what its silence says, and whether it counts as a node at all.

use std::collections::BTreeSet;

use super::Verdict;
use super::peer::{HeardBefore, Peer};
use crate::config::Timing;
use crate::types::{InstanceId, InstanceState, StopOrigin, Time};

impl Peer {
    /// Whether a peer that this run has not heard is judged like any lost one. Its silence alone
    /// may come from a security group that lets nothing through, unless an earlier run heard it.
    /// Then, or if EC2's status check or an echo that it no longer answers shows it dead, it counts
    /// as lost.
    pub(super) fn unmet_counts_as_lost(&self, now: Time, timing: &Timing) -> bool {
        let impaired = self.power.as_ref().is_some_and(|(power, _)| power.impaired);
        let mute = self.echo_at.is_some_and(|at| now.since(at) >= timing.daemon_grace);
        let heard = self.heard_before == HeardBefore::InThisBoot;
        !self.is_first_contact(now, timing) && (heard || impaired || mute)
    }

    /// Whether this run has not heard it, and it may still be on its way.
    pub(super) fn is_first_contact(&self, now: Time, timing: &Timing) -> bool {
        self.heard.is_none() && now.since(self.met) < timing.first_contact
    }

    /// Whether it has ever said that it runs natha, as far as this node knows.
    pub(super) fn has_spoken(&self) -> bool {
        self.heard.is_some() || self.heard_before != HeardBefore::Never
    }

    /// Whether it never said that it runs natha, and had the time to.
    pub(super) fn is_mute(&self, now: Time, timing: &Timing) -> bool {
        !self.has_spoken() && !self.is_first_contact(now, timing)
    }

    /// Whether a group that it is the home of has no home now: it never spoke, is gone, or a person
    /// keeps it stopped.
    pub(super) fn is_no_home(
        &self,
        stopped: &BTreeSet<InstanceId>,
        timing: &Timing,
        now: Time,
    ) -> bool {
        self.is_mute(now, timing) || self.verdict == Verdict::Gone || self.rests_stopped(stopped)
    }

    /// Whether it should have been heard by now and never was; says so once.
    pub(super) fn is_newly_unheard(&mut self, now: Time, timing: &Timing) -> bool {
        let is_unheard = self.verdict == Verdict::Unmet && !self.is_first_contact(now, timing);
        is_unheard && !std::mem::replace(&mut self.unheard_reported, true)
    }

    /// Whether it counts in the majority that a repair needs: it may judge other nodes. One that
    /// never spoke, that a person stopped, or that is gone, does not. `stopped` has what this node
    /// stopped, and starts again. EC2 gives the same reason for another member's repair, so a
    /// stopped peer counts until any repair of it would be over.
    pub(super) fn is_voter(
        &self,
        stopped: &BTreeSet<InstanceId>,
        timing: &Timing,
        now: Time,
    ) -> bool {
        let is_long_ago = now.since(self.verdict_since) >= timing.repair.patience * 2;
        match self.verdict {
            _ if self.is_mute(now, timing) => false,
            Verdict::Gone => false,
            Verdict::Down => !(is_long_ago && self.rests_stopped(stopped)),
            _ => true,
        }
    }

    /// Whether a person stopped it, as far as EC2 says, so that it stays stopped.
    pub(super) fn rests_stopped(&self, stopped: &BTreeSet<InstanceId>) -> bool {
        let by_user = self.power_since_heard().is_some_and(|power| {
            power.state == Some(InstanceState::Stopped) && power.stop_origin == StopOrigin::User
        });
        by_user && !stopped.contains(&self.member.id) && self.stopped_by_other.is_none()
    }
}
