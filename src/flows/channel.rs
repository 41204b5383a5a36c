//! One end of a stream: framing, greeting, tags and sequence numbers.

use super::fault::StreamFault;
use super::message::{Hello, MAX_ITEMS, Message, Nonce, RECORD_LEN, Role};
use super::refusal::Refusal;
use crate::types::InstanceId;
use crate::wire::{Reader, StreamKey, TAG_LEN};

/// Before the body: kind, flags and sequence number.
const HEADER_LEN: usize = 1 + 1 + 8;
/// Before that: the length of the rest.
const LENGTH_LEN: usize = 4;
/// Before the records of a frame: a time and their number.
const COUNT_LEN: usize = 8 + 2;
/// The longest frame, without its length.
const MAX_FRAME: usize = HEADER_LEN + COUNT_LEN + MAX_ITEMS * RECORD_LEN + TAG_LEN;
/// What is sent besides the records of a frame, in bytes.
pub(super) const OVERHEAD: usize = LENGTH_LEN + HEADER_LEN + COUNT_LEN + TAG_LEN;

const FLAG_TAGGED: u8 = 1;

/// The keys of a stream.
#[derive(Debug, Clone, Default)]
pub struct StreamKeys {
    /// For tags, sent and received. Without it, frames have no tag.
    pub own: Option<StreamKey>,
    /// Also accepted in received tags while the key is replaced.
    pub second: Option<StreamKey>,
}

/// A frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its place in the stream, from 1; the hello has 0.
    pub sequence: u64,
    /// What it says.
    pub message: Message,
}

/// One end of a stream.
#[derive(Debug)]
pub struct Channel {
    own: Hello,
    expected: Option<InstanceId>,
    keys: StreamKeys,
    /// The other end's, once its hello is authentic.
    nonce: Option<Nonce>,
    /// The other end, once it is accepted.
    peer: Option<Hello>,
    sent: u64,
    received: u64,
    waiting: Vec<u8>,
    refused: Option<Refusal>,
}

impl Channel {
    /// A new stream. `expected` is the node at the other end, if this one has called it.
    #[must_use]
    pub fn new(own: Hello, expected: Option<InstanceId>, keys: StreamKeys) -> Self {
        Self {
            own,
            expected,
            keys,
            nonce: None,
            peer: None,
            sent: 0,
            received: 0,
            waiting: Vec::new(),
            refused: None,
        }
    }

    /// This end's hello, the first bytes to send.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out, 0, &Message::Hello(self.own.clone()));
        out
    }

    /// What the other end has said of itself; none before its hello was accepted.
    #[must_use]
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    /// Appends a message to what is to be sent, and returns its sequence number.
    pub fn send(&mut self, out: &mut Vec<u8>, message: &Message) -> u64 {
        self.sent += 1;
        self.put(out, self.sent, message);
        self.sent
    }

    /// What to send before closing, if this end has refused the other.
    #[must_use]
    pub fn refusal(&mut self) -> Option<Vec<u8>> {
        let reason = self.refused.take()?;
        let mut out = Vec::new();
        self.send(&mut out, &Message::Refused(reason));
        Some(out)
    }

    /// Takes in bytes. Afterwards call [`Self::next_frame`] until it returns none: what is not
    /// decoded is kept.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next message, if it is complete. The other end's hello is returned too.
    ///
    /// # Errors
    /// The stream cannot go on. Send what [`Self::refusal`] returns, and close it.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, StreamFault> {
        let Some((length, rest)) = self.waiting.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(StreamFault::Oversized);
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let frame = frame.to_vec();
        self.waiting.drain(..LENGTH_LEN + length);
        self.decode(&frame).map(Some)
    }

    fn decode(&mut self, frame: &[u8]) -> Result<Frame, StreamFault> {
        let mut header = Reader(frame);
        let (kind, flags, sequence) = (header.byte()?, header.byte()?, header.u64()?);
        let body = match (&self.keys.own, flags) {
            (None, 0) => header.0,
            (None, FLAG_TAGGED) => return Err(StreamFault::Unverifiable),
            (Some(_), 0) => return Err(StreamFault::Untagged),
            (Some(_), FLAG_TAGGED) => {
                let (bytes, tag) =
                    frame.split_last_chunk::<TAG_LEN>().ok_or(StreamFault::Malformed)?;
                self.verify(bytes, tag)?;
                bytes.get(HEADER_LEN..).ok_or(StreamFault::Malformed)?
            }
            _ => return Err(StreamFault::Malformed),
        };
        let message = Message::decode(kind, body).inspect_err(|fault| self.remember(*fault))?;
        match (&self.peer, &message) {
            (None, Message::Hello(hello)) if sequence == 0 => {
                self.nonce = Some(hello.nonce);
                self.check(hello).map_err(StreamFault::Refused).inspect_err(|fault| {
                    self.remember(*fault);
                })?;
                self.peer = Some(hello.clone());
                return Ok(Frame { sequence, message });
            }
            (None, _) | (_, Message::Hello(_)) => return Err(StreamFault::Unexpected),
            _ => {}
        }
        if sequence != self.received + 1 {
            return Err(StreamFault::OutOfOrder);
        }
        self.received = sequence;
        match message {
            Message::Refused(reason) => Err(StreamFault::RefusedByPeer(reason)),
            message => Ok(Frame { sequence, message }),
        }
    }

    fn remember(&mut self, fault: StreamFault) {
        if let StreamFault::Refused(reason) = fault {
            self.refused = Some(reason);
        }
    }

    fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        let expected = self.expected.as_ref();
        if hello.cluster != self.own.cluster {
            Err(Refusal::Cluster)
        } else if hello.settings != self.own.settings {
            Err(Refusal::Settings)
        } else if expected.is_some_and(|node| *node != hello.node) || hello.node == self.own.node {
            Err(Refusal::Node)
        } else if hello.role != self.own.role.other() {
            Err(Refusal::Role)
        } else {
            Ok(())
        }
    }

    fn put(&self, out: &mut Vec<u8>, sequence: u64, message: &Message) {
        let length_at = out.len();
        out.extend([0; LENGTH_LEN]);
        let start = out.len();
        let flags = if self.keys.own.is_some() { FLAG_TAGGED } else { 0 };
        out.extend([message.kind(), flags]);
        out.extend(sequence.to_be_bytes());
        message.put(out);
        if let Some(key) = &self.keys.own {
            let frame = out.get(start..).unwrap_or_default();
            let nonce = self.nonce.filter(|_| sequence > 0);
            let tag = key.tag(&[&self.context(self.own.role, nonce), frame]);
            out.extend(tag);
        }
        let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(place) = out.get_mut(length_at..start) {
            place.copy_from_slice(&length);
        }
    }

    fn verify(&self, bytes: &[u8], tag: &[u8]) -> Result<(), StreamFault> {
        let context = self.context(self.own.role.other(), self.nonce);
        let mut keys = self.keys.own.iter().chain(&self.keys.second);
        let is_valid = keys.any(|key| key.verify(&[&context, bytes], tag));
        if is_valid { Ok(()) } else { Err(StreamFault::BadTag) }
    }

    /// What a tag covers besides the frame: who sends, and the nonces of both ends, the owner's
    /// first. In the tag of a hello they are zeros: no end knows the other's then.
    fn context(&self, sender: Role, peer: Option<Nonce>) -> [u8; 1 + 2 * Nonce::LEN] {
        let mut context = [0; 1 + 2 * Nonce::LEN];
        let [role, nonces @ ..] = &mut context;
        *role = sender.number();
        if let Some(peer) = peer {
            let (owner, heir) = nonces.split_at_mut(Nonce::LEN);
            let (own_place, peer_place) = match self.own.role {
                Role::Owner => (owner, heir),
                Role::Heir => (heir, owner),
            };
            own_place.copy_from_slice(&self.own.nonce.0);
            peer_place.copy_from_slice(&peer.0);
        }
        context
    }
}
