//! Why a packet does not count.

use std::fmt;

/// Why a received packet was dropped. Each kind is counted by itself: they mean different things
/// to the person who looks (an attack, a forgotten key, a half-finished upgrade).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejected {
    /// Longer than any natha packet.
    Oversized,
    /// It ends before it is complete.
    Truncated,
    /// It does not begin with natha's magic.
    NotNatha,
    /// Its version is newer than this program.
    FutureVersion,
    /// It belongs to a cluster of another name.
    ForeignCluster,
    /// It carries no tag, but this node has a key.
    Untagged,
    /// It carries a tag, but this node has no key to check it with.
    Unverifiable,
    /// Its tag is wrong: forged, damaged, or made with another key.
    BadTag,
    /// Its tag was not looked at: too many packets of unknown sessions came at once.
    Unchecked,
    /// A field has a value that this version never writes.
    Malformed,
    /// There are bytes after its end.
    TrailingBytes,
    /// Its sender is no member.
    UnknownSender,
    /// Without a key: it does not come from its sender's address.
    WrongAddress,
    /// It names this very node as its sender.
    Myself,
    /// Its sequence or session is old.
    Replayed,
    /// It begins a session that has not yet acknowledged this node's own. Normal for the first
    /// packets after a start.
    Unconfirmed,
}

impl Rejected {
    /// Every reason, in the order of declaration.
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

    /// A stable name for counters.
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

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They are labels of counters: dashboards and alerts go by them.
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
