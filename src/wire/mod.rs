//! The heartbeat packet: encoding, decoding, authentication and replay detection. Pure.
//!
//! # The packet
//!
//! One UDP datagram of at most [`MAX_PACKET`] bytes, so that it is never fragmented. Integers are
//! big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `NTHA` |
//! | 1 | version, 1 |
//! | 1 | flags, see below |
//! | 8 | cluster: the first bytes of the SHA-256 of a label and the cluster's name |
//! | 8 | session: random, chosen when the sender's monitor started |
//! | 8 | sequence: increases with every packet of a session, to any receiver |
//! | 6 or 10 | sender: number of hexadecimal digits (8 or 17), then the digits, two per byte |
//! | 1 | fitness of the sender, one bit each: `Fault::ALL`, then unproven ones of `Evidence::ALL` |
//! | 8 | digest of the settings that all members share |
//! | 1 + n | `hears`: a count, then instance ids, each with session (8), age in ms (2), flags (1) |
//! | 1 + n | `unfit_for`, only with flag 8: a count, then names, sorted and without duplicates |
//! | 1 + n | `holds`: a count, then names, each with generation (4) and, with flag 8, a receiver |
//! | 32 | tag: HMAC-SHA256 over all bytes before it; absent without a key |
//!
//! The flags are 1 = tag, 2 = leaving, 4 = entries omitted, 8 = services, 16 = restarting,
//! 32 = latched, and 64 and 128 = reserved. A name is its length (1) and its text. The flags of a
//! `hears` line are 1 = considered failed and 2 = stopped by the sender, which will start it again.
//! A receiver is the instance that a planned move goes to, or one byte 0 for none.
//!
//! The first `hears` line may be about the sender itself, with an age of 65,535 and without flags:
//! its session is the sender's version of natha, [`ProgramVersion`]. Versions that do not know this
//! keep it as a line about no peer and without an age, which decides nothing; so old and new nodes
//! hear each other. No decision depends on the version: it is for people.
//!
//! [`ProgramVersion`]: crate::types::ProgramVersion
//!
//! A receiver ignores the bits that it does not know in the fitness and in the flags of a `hears`
//! line, so that a later version can add some. It also ignores the reserved flags: a later version
//! may use them for what changes nothing in the layout and earlier versions need not know. To a
//! node that knows none of the sender's faults, the sender is fit. A version that adds a fault
//! which earlier versions must act on therefore sets the bit of an earlier fault as well. Any other
//! unknown value makes the packet malformed.
//!
//! The first version knew five bits of the fitness, and this one knows all eight: what comes later
//! needs another place.
//!
//! A sender sets flag 8 only if it has a failed service check or announces a planned move. Without
//! the flag the body is that of the versions before it, so that old and new nodes hear each other
//! until one of them uses these features. Flag 16 is only in the last heartbeats of a monitor that
//! will be back, and flag 32 only in those of a latched node. Versions that do not know flag 8, 16
//! or 32 reject these heartbeats.
//!
//! The tag's key is derived from the cluster key (HMAC-SHA256 of a fixed label), so that the
//! cluster key can serve other purposes later without confusion between them.
//!
//! # Which packets are accepted
//!
//! With a key, a packet needs a valid tag; a second key may be accepted while the key is replaced.
//! Without a key, it must come from the address of the member that it names. In both cases
//! [`Sessions`] then rejects replays.

mod gate;
mod key;
mod packet;
mod reader;
mod reject;
mod session;

pub use gate::PacketGate;
pub use key::{HeartbeatKey, StreamKey, TAG_LEN};
pub use packet::{Encoded, MAX_PACKET, Packet, Sender, cluster_digest};
pub(crate) use reader::{Reader, Short};
pub use reject::Rejected;
pub use session::Sessions;
