//! When a task looks at this host again: at once when the kernel announces a change, and at
//! intervals in case a message was missed.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::kernel::news::{Changed, News};
use crate::plan::Item;

/// The least time between two looks that the kernel's news cause. A look runs `nft` once, some
/// milliseconds, so a program that changes its own tables all the time costs little.
pub(super) const LEAST: Duration = Duration::from_millis(200);

/// Why a look is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The kernel's news.
    News {
        /// What has changed.
        changed: Changed,
        /// When the first message arrived.
        at: Instant,
    },
    /// The interval is over.
    Round,
}

impl Cause {
    /// How long ago the kernel announced the change, if it did.
    pub(super) fn age(self) -> Option<Duration> {
        match self {
            Self::News { at, .. } => Some(at.elapsed()),
            Self::Round => None,
        }
    }
}

/// How a difference came to light. `age`: how long ago the kernel announced a change, if it did.
pub(super) fn found_how(age: Option<Duration>) -> String {
    age.map_or_else(
        || "found by a regular check".to_owned(),
        |age| format!("{} ms after the kernel announced a change", age.as_millis()),
    )
}

/// What to report of an interface of natha's whose sysctls were put right; none if none was.
pub(super) fn repaired(link: &str, changed: &[Item]) -> Option<String> {
    let changed: Vec<String> = changed.iter().map(ToString::to_string).collect();
    let text =
        || format!("repaired interface `{link}`, {}: {}", found_how(None), changed.join("; "));
    (!changed.is_empty()).then(text)
}

/// The kernel's news and an interval.
#[derive(Debug)]
pub(super) struct Looks {
    news: Option<News>,
    rounds: Interval,
    least: Interval,
    /// News for which no look has been due yet, and when they arrived.
    pending: Option<(Changed, Instant)>,
    complained: bool,
}

impl Looks {
    /// A look every `every` and at each news, but at most one for news in `least`. The first one is
    /// due at once.
    pub(super) fn new(every: Duration, least: Duration) -> Self {
        let [mut rounds, mut least] = [every, least].map(interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        least.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = Self { news: None, rounds, least, pending: None, complained: false };
        looks.subscribe();
        looks
    }

    /// Waits until a look is due. No news are lost if the wait is given up.
    pub(super) async fn next(&mut self) -> Cause {
        if let Some(pending) = self.pending {
            return self.follow(pending).await;
        }
        let news = async {
            match &self.news {
                Some(news) => news.next().await,
                None => std::future::pending().await,
            }
        };
        let found = tokio::select! {
            found = news => found,
            _ = self.rounds.tick() => {
                if self.news.is_none() {
                    self.subscribe();
                }
                return Cause::Round;
            }
        };
        let changed = match found {
            Ok(changed) => changed,
            Err(error) => {
                tracing::debug!(%error, "the kernel's news ended");
                self.subscribe();
                return Cause::Round;
            }
        };
        let pending = (changed, Instant::now());
        self.pending = Some(pending);
        self.follow(pending).await
    }

    /// Waits until a look may follow these news.
    async fn follow(&mut self, (changed, at): (Changed, Instant)) -> Cause {
        self.least.tick().await;
        self.pending = None;
        // This look covers what arrived meanwhile.
        let more = self.news.as_ref().and_then(|news| news.waiting().ok()).unwrap_or_default();
        Cause::News { changed: changed.or(more), at }
    }

    fn subscribe(&mut self) {
        self.news = match News::open() {
            Ok(news) => Some(news),
            Err(error) => {
                if !self.complained {
                    tracing::warn!(
                        "no news of the ruleset from the kernel ({error}): natha finds drift only \
                         by polling; give it CAP_NET_ADMIN"
                    );
                }
                self.complained = true;
                None
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn news_outlive_a_wait_that_is_given_up() {
        let hour = Duration::from_hours(1);
        let mut looks = Looks::new(hour, hour);
        looks.rounds.tick().await;
        looks.least.tick().await;
        let changed = Changed { ruleset: true, network: false };
        looks.pending = Some((changed, Instant::now()));
        assert!(looks.next().now_or_never().is_none(), "a look has just been due");
        looks.least.reset_immediately();
        let Cause::News { changed: found, .. } = looks.next().await else { panic!("the news") };
        assert!(found.ruleset);
        assert_eq!(looks.pending, None);
    }
}
