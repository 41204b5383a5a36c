//! Why a stream ends.

use super::refusal::Refusal;
use crate::wire::Short;

/// Why a stream cannot go on. Close it and connect again: the replica is kept meanwhile, and the
/// new stream begins with a resync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// Longer than any message.
    #[error("a frame is longer than natha's frames are")]
    Oversized,
    /// A field has an invalid value, or its bytes are missing.
    #[error("a frame has an invalid value")]
    Malformed,
    /// The other end is not natha.
    #[error("what answers does not speak natha's format")]
    NotNatha,
    /// This node has a key, the other end sends without one.
    #[error("the peer has no cluster key: give all nodes the same `heartbeat.key_file`")]
    Untagged,
    /// The other end has a key, this node has none.
    #[error("this node has no cluster key: give all nodes the same `heartbeat.key_file`")]
    Unverifiable,
    /// Forged, damaged, or made with another key.
    #[error("a frame has an invalid tag: give all nodes the same `heartbeat.key_file`")]
    BadTag,
    /// A frame is missing, or comes twice.
    #[error("a frame is missing or comes twice")]
    OutOfOrder,
    /// A message that this end does not expect now.
    #[error("the peer sends a message that is not expected now")]
    Unexpected,
    /// The owner counted other records than arrived.
    #[error("not all connections of a resync have arrived")]
    Miscounted,
    /// This node refuses the other.
    #[error("{0}")]
    Refused(Refusal),
    /// The other node refuses this one.
    #[error("the peer refuses the connections: {0}")]
    RefusedByPeer(Refusal),
}

impl From<Short> for StreamFault {
    fn from(_: Short) -> Self {
        Self::Malformed
    }
}
