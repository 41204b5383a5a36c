//! The heartbeat packet: encode, decode, authenticate, and tell new from replayed. Pure.
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
//! | 1 | flags: 1 = a tag follows the body, 2 = leaving, 4 = not every claim found room |
//! | 8 | cluster: the first bytes of SHA-256 over its name |
//! | 8 | session: drawn at random when the sender's monitor started |
//! | 8 | sequence: rises by at least one with every packet of a session to any receiver |
//! | 6 or 10 | sender: count of hexadecimal digits (8 or 17), then the digits, two a byte |
//! | 1 | faults of the sender, one bit each in the order of `Fault::ALL` |
//! | 8 | digest of the settings that all members share |
//! | 1 + n | `hears`: a count, then instance id, session (8), age (2), flags (1 = judged failed) |
//! | 1 + n | `holds`: a count, then length and text of the group name, generation (4) |
//! | 32 | tag: HMAC-SHA256 over all bytes before it; absent without a key |
//!
//! The tag's key is itself derived from the cluster key (HMAC-SHA256 of a fixed label), so that
//! the same cluster key may serve other purposes later without one being mistaken for another.
//!
//! # Who is believed
//!
//! With a key, a packet counts if its tag is right. Without one, only if it comes from the very
//! address of the member it names. In both cases [`Sessions`] then keeps replays out.

mod door;
mod packet;
mod reject;
mod session;

pub use door::Door;
pub use packet::{Encoded, Key, MAX_PACKET, Packet, Sender};
pub use reject::Rejected;
pub use session::Sessions;
