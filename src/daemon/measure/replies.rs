//! Which of the requests to the scratch address had a reply. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Time;

/// Requests that are kept: more than are sent in the longest wait.
const KEPT: usize = 32_768;
/// How long requests must go without a reply before replies count as ended.
pub(super) const QUIET: Duration = Duration::from_millis(500);

/// The requests, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// The sequence number of the first one that is kept.
    first: u64,
    /// When each was sent, and whether it had a reply.
    sent: VecDeque<(Time, bool)>,
}

impl Replies {
    /// Notes a request. Returns its sequence number, as the packet has it.
    pub(super) fn send(&mut self, now: Time) -> u16 {
        let number = self.first + self.sent.len() as u64;
        self.sent.push_back((now, false));
        if self.sent.len() > KEPT {
            self.sent.pop_front();
            self.first += 1;
        }
        wrapped(number)
    }

    /// Notes the reply to the latest request with this sequence number.
    pub(super) fn receive(&mut self, sequence: u16) {
        let mut number = self.first + self.sent.len() as u64;
        for (_, replied) in self.sent.iter_mut().rev() {
            number -= 1;
            if wrapped(number) == sequence {
                *replied = true;
                return;
            }
        }
    }

    /// When the first request was sent at or after `from` that had a reply.
    pub(super) fn begin(&self, from: Time) -> Option<Time> {
        let mut after = self.sent.iter().filter(|(at, _)| *at >= from);
        after.find(|(_, replied)| *replied).map(|(at, _)| *at)
    }

    /// When the first request was sent after the last one with a reply, once [`QUIET`] has passed
    /// without one. `from` is when the change was asked for: none before that.
    pub(super) fn end(&self, from: Time, now: Time) -> Option<Time> {
        let mut since = None;
        for (at, replied) in self.sent.iter().rev() {
            if *replied || *at < from {
                break;
            }
            since = Some(*at);
        }
        since.filter(|since| now.since(*since) >= QUIET)
    }
}

/// A number as the packet has it.
fn wrapped(number: u64) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(1_000_000 + ms)
    }

    /// Requests every 10 ms for a second, of which those in the range have a reply.
    fn replies(answered: std::ops::Range<u64>) -> Replies {
        let mut replies = Replies::default();
        for n in 0..100 {
            let sequence = replies.send(at(n * 10));
            if answered.contains(&(n * 10)) {
                replies.receive(sequence);
            }
        }
        replies
    }

    #[test]
    fn replies_begin_with_the_first_request_that_has_one() {
        assert_eq!(replies(300..1_000).begin(at(100)), Some(at(300)));
        assert_eq!(replies(300..1_000).begin(at(305)), Some(at(310)));
        assert_eq!(replies(0..100).begin(at(100)), None);
    }

    #[test]
    fn replies_end_once_it_has_been_quiet_for_a_while() {
        assert_eq!(replies(0..300).end(at(100), at(990)), Some(at(300)));
        assert_eq!(replies(0..300).end(at(100), at(799)), None, "not for long enough");
        assert_eq!(replies(0..990).end(at(100), at(990)), None);
        assert_eq!(replies(0..100).end(at(200), at(990)), Some(at(200)), "none before the request");
    }

    #[test]
    fn sequence_numbers_begin_anew() {
        let mut replies = Replies::default();
        for n in 0..70_000 {
            replies.send(at(n));
        }
        replies.receive(wrapped(69_999));
        assert_eq!(replies.begin(at(0)), Some(at(69_999)));
        assert!(replies.sent.len() <= KEPT);
    }
}
