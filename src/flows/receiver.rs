//! The heir's end of a stream. Pure.

use super::channel::Channel;
use super::fault::StreamFault;
use super::message::{Hello, Message};
use super::replica::Replica;
use crate::types::Time;

/// Takes in one owner's stream. The replica outlives it: a stream that ends leaves it as it is.
#[derive(Debug)]
pub struct Receiver {
    channel: Channel,
    greeted: bool,
    begun: bool,
    heard: Option<Time>,
    /// The acknowledgement to send.
    ack: Option<Message>,
}

impl Receiver {
    /// For a stream that was accepted.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { channel, greeted: false, begun: false, heard: None, ack: None }
    }

    /// The owner, once it has said who it is. It has proven it once [`Self::heard`] is not none.
    #[must_use]
    pub fn owner(&self) -> Option<&Hello> {
        self.channel.peer()
    }

    /// Takes in bytes of an owner that is not known yet: until [`Self::owner`] is known, which
    /// names the replica to give to [`Self::receive`].
    ///
    /// # Errors
    /// Close the stream, after sending what [`Self::refusal`] returns.
    pub fn greet(&mut self, bytes: &[u8]) -> Result<(), StreamFault> {
        self.channel.feed(bytes);
        if self.channel.peer().is_none() {
            self.channel.next_frame()?;
        }
        Ok(())
    }

    /// Takes in bytes, and what [`Self::greet`] has left.
    ///
    /// # Errors
    /// Close the stream, after sending what [`Self::refusal`] returns.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        replica: &mut Replica,
        now: Time,
    ) -> Result<(), StreamFault> {
        self.channel.feed(bytes);
        while let Some(frame) = self.channel.next_frame()? {
            // A hello may be an old one, played back. What follows it cannot be.
            if let Message::Hello(_) = frame.message {
                continue;
            }
            if let Some(owner) = self.channel.peer().filter(|_| !self.begun) {
                replica.begin(owner.boot);
                self.begun = true;
            }
            replica.apply(&frame.message, now)?;
            self.heard = Some(now);
            if let Message::Records { oldest, .. }
            | Message::Removals { oldest, .. }
            | Message::Position { oldest } = frame.message
            {
                let held = u32::try_from(replica.len()).unwrap_or(u32::MAX);
                self.ack = Some(Message::Ack { sequence: frame.sequence, oldest, held });
            }
        }
        Ok(())
    }

    /// What to send now: this end's hello, and an acknowledgement of what was taken in.
    #[must_use]
    pub fn output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.greeted {
            self.greeted = true;
            out.extend(self.channel.hello());
        }
        if let Some(ack) = self.ack.take() {
            self.channel.send(&mut out, &ack);
        }
        out
    }

    /// What to send before the stream is closed after an error.
    #[must_use]
    pub fn refusal(&mut self) -> Option<Vec<u8>> {
        self.channel.refusal()
    }

    /// When the owner was last heard; none before its first message after the hello.
    #[must_use]
    pub fn heard(&self) -> Option<Time> {
        self.heard
    }
}
