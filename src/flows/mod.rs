//! Replication of connections: what an owner sends of its connections, and what an heir keeps of
//! them and inserts when it takes over. Pure. `docs/connections.md` says how it is used.
//!
//! The owner's [`Sender`] and the heir's [`Receiver`] are the two ends of a stream of bytes (TCP).
//! Each owner has one sender for each heir, each heir one [`Replica`] for each owner.
//!
//! # The stream
//!
//! Both ends send frames. Integers are big-endian, and addresses and ports are in the order of the
//! packet.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the rest |
//! | 1 | kind |
//! | 1 | flags: 1 = tag |
//! | 8 | sequence: 0 for the hello, then 1 more in each frame of this direction |
//! | n | body |
//! | 32 | tag, only with flag 1 |
//!
//! The tag is HMAC-SHA256, with a key derived from the cluster key, over the sender's role (1), the
//! nonces of the owner and of the heir (16 each; zeros in the tag of a hello) and the frame without
//! its length. The nonces are random and new for each stream, so nothing but a hello can be played
//! back; a hello alone changes nothing. With a key, both ends must send tags. A second key may be
//! accepted while the key is replaced.
//!
//! | kind | from | body |
//! |---|---|---|
//! | 1 hello | both | see below |
//! | 2 refused | both | reason (1): 1 = version, 2 = cluster, 3 = settings, 4 = node, 5 = role |
//! | 3 resync begin | owner | number of connections (4) |
//! | 4 records | owner | time (8), count (2), records |
//! | 5 removals | owner | time (8), count (2), tuples |
//! | 6 resync end | owner | records (4) and removals (4) since the beginning |
//! | 7 position | owner | time (8) |
//! | 8 ack | heir | sequence (8) and time (8) of a frame, connections held (4) |
//!
//! A hello is `NTHF`, version 1 (1), role: 1 = owner, 2 = heir (1), cluster (8), digest of the
//! settings (8), boot id (16), nonce (16), and the instance id: its length (1) and its text. Only
//! the first five bytes are the same in every version.
//!
//! A time is in microseconds since the owner's host booted: that of the oldest change in the frame.
//! The heir sends it back, so the owner sees the lag by its own clock. A frame has 256 records or
//! removals at most.
//!
//! | bytes | a tuple |
//! |---|---|
//! | 1 | address family: 4. A later version may have 6, with addresses of 16 bytes |
//! | 1 | protocol: 1 = ICMP, 6 = TCP, 17 = UDP |
//! | 4 + 4 | source and destination |
//! | 2 + 2 | source and destination port; ICMP: identifier, and type and code |
//!
//! | bytes | a record |
//! |---|---|
//! | 14 | the tuple of the first packet, before translation |
//! | 10 | egress IP: number of hexadecimal digits of its allocation id, the digits, zeros |
//! | 2 | port (ICMP: identifier) after translation |
//! | 1 | flags: 1 = reply seen, 2 = assured, 4 = TCP |
//! | 4 | time in seconds until the owner's kernel forgets the connection |
//! | 4 | mark |
//! | 5 | only with flag 4: state, window scales of both directions, flags of both directions |
//!
//! A record of a UDP connection has 35 bytes, one of a TCP connection 40. An unknown value makes
//! the frame malformed, and the stream ends: the version in the hello says what may be sent.

mod channel;
mod fault;
mod flow;
mod message;
mod receiver;
mod refusal;
mod replica;
mod sender;
mod supersede;

use std::time::Duration;

pub use channel::{Channel, Frame, StreamKeys};
pub use fault::StreamFault;
pub use flow::{
    Change, Entry, Flow, Inserted, Protocol, Record, Stage, Tcp, TcpSide, TcpState, Tuple, Usage,
};
pub use message::{BootId, BootIdError, Hello, Message, Nonce, Role};
pub use receiver::Receiver;
pub use refusal::Refusal;
pub use replica::{InsertedCounts, Replica, ReplicaCounts};
pub use sender::{LagCounts, Progress, Rate, Sender, SenderCounts, SenderLimits};
pub use supersede::drop_superseded;

/// How often the owner looks through the kernel's table for timeouts that were extended, which the
/// kernel does not announce.
pub const REFRESH: Duration = Duration::from_secs(30);

/// How much longer than the owner's timer an heir's runs: two looks of the owner.
pub const HEIR_EXTRA: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests;
