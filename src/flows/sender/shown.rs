//! What a sender shows of itself.

use super::{LagCounts, Progress, Sender, SenderCounts, Sync};

impl Sender {
    /// How far the heir is; none before its first answer.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        self.stream.as_ref()?.progress
    }

    /// Whether the heir has been sent everything, what waits aside.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let sync = self.stream.as_ref().map(|stream| stream.sync);
        matches!(sync, Some(Sync::Live(_) | Sync::Looking))
    }

    /// Changes that wait to be sent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.table.waiting()
    }

    /// Connections of this node's egress IPs, as far as they are known.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.table.len()
    }

    /// How long changes took until the heir had acknowledged them, since the sender was made.
    #[must_use]
    pub fn lags(&self) -> &LagCounts {
        self.lags.counts()
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> SenderCounts {
        self.counts
    }
}
