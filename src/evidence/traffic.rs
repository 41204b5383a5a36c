//! Whether private hosts get replies, by the counters of what is forwarded. Pure.

use std::time::Duration;

use crate::types::Time;

/// Packets without a reply that show something: one lost connection attempt of a few hosts is less.
const ENOUGH: u64 = 20;
/// How long replies must be missing. A host tries to connect about five times within this.
const LONG: Duration = Duration::from_secs(20);
/// Without a packet for this long, nothing is known about replies any more.
const QUIET: Duration = Duration::from_mins(1);

/// What has been forwarded since the counters began, in packets.
///
/// Two sources are subtracted from each other that cannot be read at one instant. Read the
/// counters of what is forwarded first: then a difference is never too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Packets to the uplink.
    pub sent: u64,
    /// Packets from the uplink.
    pub received: u64,
    /// Those of [`Self::sent`] that are probes.
    pub probes: u64,
    /// Those of [`Self::received`] that are replies to probes.
    pub probe_replies: u64,
}

/// Private hosts send, and nothing comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Packets since the last reply.
    pub packets: u64,
    /// Time since the last reply, in steps of the readings.
    pub lasts: Duration,
}

/// Packets of private hosts, one way.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// The largest difference of the two counters since the first began.
    most: i128,
    last: (u64, u64),
}

impl Way {
    /// How many packets were added since the last reading; none if a counter began anew.
    fn grown(&mut self, all: u64, probes: u64) -> Option<u64> {
        let differ = i128::from(all) - i128::from(probes);
        let began_anew = all < self.last.0 || probes < self.last.1;
        self.last = (all, probes);
        if began_anew {
            self.most = differ;
            return None;
        }
        let grown = u64::try_from(differ - self.most).unwrap_or(0);
        self.most = self.most.max(differ);
        Some(grown)
    }
}

/// Judges whether private hosts get replies.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    sent: Way,
    received: Way,
    started: bool,
    /// When the last reply was counted; none before the first.
    replied: Option<Time>,
    /// When the last packet to the uplink was counted.
    busy: Option<Time>,
    /// Packets to the uplink since the last reply.
    unanswered: u64,
}

impl Traffic {
    /// Takes in a reading. Returns the silence if private hosts, which had replies before, get none
    /// to what they send.
    pub fn read(&mut self, counted: Counted, now: Time) -> Option<Silence> {
        let sent = self.sent.grown(counted.sent, counted.probes);
        let received = self.received.grown(counted.received, counted.probe_replies);
        let (true, Some(sent), Some(received)) = (self.started, sent, received) else {
            // What was counted before the first reading may be days old.
            self.started = true;
            return None;
        };
        if received > 0 {
            self.replied = Some(now);
            self.unanswered = 0;
        } else if sent > 0 {
            self.busy = Some(now);
            self.unanswered += sent;
        }
        if self.busy.is_none_or(|at| now.since(at) >= QUIET) {
            self.unanswered = 0;
        }
        let lasts = now.since(self.replied?);
        let packets = self.unanswered;
        (packets >= ENOUGH && lasts >= LONG).then_some(Silence { packets, lasts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::default() + Duration::from_secs(seconds)
    }

    fn counted(sent: u64, received: u64) -> Counted {
        Counted { sent, received, ..Counted::default() }
    }

    /// Counters of hosts that had replies until second 10.
    fn used() -> Traffic {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.read(counted(1000, 900), at(0)), None);
        assert_eq!(traffic.read(counted(1010, 905), at(10)), None);
        traffic
    }

    #[test]
    fn packets_without_a_reply_are_a_silence_once_they_are_many_and_it_lasts() {
        let mut traffic = used();
        assert_eq!(traffic.read(counted(1040, 905), at(20)), None, "not for long");
        let silence = Silence { packets: 35, lasts: Duration::from_secs(20) };
        assert_eq!(traffic.read(counted(1045, 905), at(30)), Some(silence));
        assert_eq!(traffic.read(counted(1046, 906), at(40)), None, "one reply ends it");
    }

    #[test]
    fn a_few_packets_are_no_silence() {
        let mut traffic = used();
        assert_eq!(traffic.read(counted(1029, 905), at(40)), None);
        assert!(traffic.read(counted(1030, 905), at(50)).is_some());
    }

    #[test]
    fn hosts_that_never_had_a_reply_show_nothing() {
        let mut traffic = Traffic::default();
        for second in 0..10 {
            assert_eq!(traffic.read(counted(second * 100, 0), at(second * 10)), None);
        }
    }

    #[test]
    fn a_silence_ends_when_the_hosts_send_no_more() {
        let mut traffic = used();
        assert!(traffic.read(counted(1100, 905), at(40)).is_some());
        assert!(traffic.read(counted(1100, 905), at(90)).is_some(), "they may send again");
        assert_eq!(traffic.read(counted(1100, 905), at(100)), None);
    }

    #[test]
    fn probes_and_their_replies_are_not_the_hosts() {
        let mut traffic = used();
        let probed = |more| Counted { probes: more, probe_replies: more, ..counted(0, 0) };
        let both = |hosts: Counted, probes: Counted| Counted {
            sent: hosts.sent + probes.probes,
            received: hosts.received + probes.probe_replies,
            ..probes
        };
        assert_eq!(traffic.read(both(counted(1010, 905), probed(500)), at(40)), None);
        let silence = traffic.read(both(counted(1040, 905), probed(800)), at(50)).unwrap();
        assert_eq!(silence.packets, 30);
    }

    #[test]
    fn a_reply_to_a_probe_that_was_counted_on_one_side_only_is_no_reply_to_a_host() {
        let mut traffic = used();
        let reading = |received, probe_replies| Counted {
            probe_replies,
            probes: 0,
            ..counted(1040 + probe_replies, received)
        };
        // The interface has already counted a packet that the table's reading is too old for.
        assert_eq!(traffic.read(reading(1004, 100), at(20)), None);
        assert!(traffic.read(reading(1104, 199), at(40)).is_some());
    }

    #[test]
    fn counters_that_begin_anew_show_nothing_by_themselves() {
        let mut traffic = used();
        assert_eq!(traffic.read(counted(30, 0), at(30)), None, "the table was loaded anew");
        assert!(traffic.read(counted(60, 0), at(40)).is_some());
    }
}
