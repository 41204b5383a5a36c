//! When a task looks at this host again: at once when the kernel announces a change, and at
//! intervals in case a message was missed.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::kernel::news::{Changed, News};

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

/// The kernel's news and an interval.
#[derive(Debug)]
pub(super) struct Looks {
    news: Option<News>,
    rounds: Interval,
    least: Interval,
    complained: bool,
}

impl Looks {
    /// A look every `every` and at each news, but at most one for news in `least`. The first one is
    /// due at once.
    pub(super) fn new(every: Duration, least: Duration) -> Self {
        let [mut rounds, mut least] = [every, least].map(interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        least.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = Self { news: None, rounds, least, complained: false };
        looks.subscribe();
        looks
    }

    /// Waits until a look is due.
    pub(super) async fn next(&mut self) -> Cause {
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
        let at = Instant::now();
        self.least.tick().await;
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
