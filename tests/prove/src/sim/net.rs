//! The network between the nodes: loss, bursts of it, jitter, duplicates.

use std::time::Duration;

use natha::failover::Input;
use natha::types::{Beat, Time};

use super::cluster::{Pair, Sim};
use super::node::Arrival;
use super::noise::Noise;
use super::queue::What;

/// A link that fails completely for a while, again and again (Gilbert 1960, with time in place
/// of packets: what is sent more often meets more of one burst, not more bursts).
#[derive(Debug, Clone)]
pub struct Burst {
    good: Duration,
    bad: Duration,
    is_bad: bool,
    until: Time,
}

impl Burst {
    /// Bursts of `bad` on average, `good` apart on average.
    #[must_use]
    pub const fn new(good: Duration, bad: Duration) -> Self {
        Self { good, bad, is_bad: false, until: Time::from_millis(0) }
    }

    /// Whether what is sent now is lost.
    pub(super) fn loses(&mut self, now: Time, noise: &mut Noise) -> bool {
        if self.until == Time::default() {
            self.until = now + noise.wait(self.good);
        }
        while self.until <= now {
            self.is_bad = !self.is_bad;
            let mean = if self.is_bad { self.bad } else { self.good };
            self.until = self.until + noise.wait(mean).max(Duration::from_micros(1));
        }
        self.is_bad
    }
}

impl Sim {
    /// How long a packet takes, if it arrives.
    fn travel(&mut self, pair: Pair) -> Option<Duration> {
        let Self { loss, bursts, noise, now, .. } = self;
        let lost = loss.get(&pair).is_some_and(|per_mille| noise.chance(*per_mille));
        let in_burst = bursts.get_mut(&pair).is_some_and(|burst| burst.loses(*now, noise));
        if lost || in_burst {
            return None;
        }
        Some(self.wire + self.noise.up_to(self.jitter))
    }

    pub(super) fn send_beat(&mut self, n: usize, to: usize, beat: Beat) {
        let now = self.now;
        let packet = self.nodes[n].packet(&self.ids[n], &self.ids[to], beat, now);
        if self.deaf.contains(&(n, to)) {
            return;
        }
        let copies = if self.noise.chance(self.duplicates) { 2 } else { 1 };
        for _ in 0..copies {
            if let Some(after) = self.travel((n, to)) {
                let arrival = Arrival::Packet(packet.clone(), now + after);
                self.schedule(after, What::Arrives(to, arrival));
            }
        }
    }

    pub(super) fn send_echo(&mut self, n: usize, to: usize) {
        if !self.no_echo.contains(&(n, to))
            && let Some(after) = self.travel((n, to))
        {
            self.schedule(after, What::EchoAsked(to, n));
        }
    }

    /// An echo request of `from` arrives at node `n`: its kernel answers, or will once it runs.
    pub(super) fn echo_asked(&mut self, n: usize, from: usize) {
        if !self.nodes[n].kernel {
            return;
        }
        if self.nodes[n].frozen {
            return self.nodes[n].asked.push_back(from);
        }
        self.answer_echo(n, from);
    }

    pub(super) fn answer_echo(&mut self, n: usize, from: usize) {
        if self.nodes[n].kernel
            && let Some(after) = self.travel((n, from))
        {
            let input = Input::Echo { from: self.ids[n].clone(), at: self.now + after };
            self.schedule(after, What::Arrives(from, Arrival::Input(input)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_take_their_share_of_the_time() {
        let mut noise = Noise::new(5);
        let mut burst = Burst::new(Duration::from_secs(9), Duration::from_secs(1));
        let lost = (0..1_000_000)
            .filter(|ms| burst.loses(Time::from_millis(1_000 + ms * 10), &mut noise))
            .count();
        assert!((90_000..110_000).contains(&lost), "{lost} of 1,000,000 moments");
    }
}
