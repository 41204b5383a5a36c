//! Reasons to drop a received packet.

use std::fmt;

use super::reader::Short;

/// Why a received packet was dropped. Each reason has its own counter, because they have different
/// causes: an attack, a missing key, an unfinished upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejected {
    /// Longer than [`crate::wire::MAX_PACKET`].
    Oversized,
    /// Incomplete.
    Truncated,
    /// Does not start with natha's magic number.
    NotNatha,
    /// The packet's version is newer than this program supports.
    FutureVersion,
    /// From a cluster with another name.
    ForeignCluster,
    /// Has no tag, but this node has a key.
    Untagged,
    /// Has a tag, but this node has no key to check it.
    Unverifiable,
    /// The tag is invalid: forged, damaged or made with another key.
    BadTag,
    /// The tag was not checked: too many packets of unknown sessions arrived at once.
    Unchecked,
    /// A field has an invalid value.
    Malformed,
    /// Followed by extra bytes.
    TrailingBytes,
    /// The sender is not a member.
    UnknownSender,
    /// Without a key: the source address is not the sender's.
    WrongAddress,
    /// Names this node as its sender.
    Myself,
    /// The sequence or session is old.
    Replayed,
    /// Starts a session that has not yet acknowledged this node's own session. Normal for the first
    /// packets after a start.
    Unconfirmed,
}

impl Rejected {
    /// All reasons, in the order of declaration.
    pub const ALL: [Self; 16] = [
        Self::Oversized,
        Self::Truncated,
        Self::NotNatha,
        Self::FutureVersion,
        Self::ForeignCluster,
        Self::Untagged,
        Self::Unverifiable,
        Self::BadTag,
        Self::Unchecked,
        Self::Malformed,
        Self::TrailingBytes,
        Self::UnknownSender,
        Self::WrongAddress,
        Self::Myself,
        Self::Replayed,
        Self::Unconfirmed,
    ];

    /// The stable name, used for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Truncated => "truncated",
            Self::NotNatha => "not-natha",
            Self::FutureVersion => "future-version",
            Self::ForeignCluster => "foreign-cluster",
            Self::Untagged => "untagged",
            Self::Unverifiable => "unverifiable",
            Self::BadTag => "bad-tag",
            Self::Unchecked => "unchecked",
            Self::Malformed => "malformed",
            Self::TrailingBytes => "trailing-bytes",
            Self::UnknownSender => "unknown-sender",
            Self::WrongAddress => "wrong-address",
            Self::Myself => "myself",
            Self::Replayed => "replayed",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

impl From<Short> for Rejected {
    fn from(_: Short) -> Self {
        Self::Truncated
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards and alerts use these names as labels of counters.
    #[test]
    fn the_names_stay() {
        let names = Rejected::ALL.map(Rejected::name);
        assert_eq!(
            names.join(" "),
            "oversized truncated not-natha future-version foreign-cluster untagged unverifiable \
             bad-tag unchecked malformed trailing-bytes unknown-sender wrong-address myself \
             replayed unconfirmed"
        );
        assert!(Rejected::ALL.iter().all(|reason| reason.to_string() == reason.name()));
    }
}
