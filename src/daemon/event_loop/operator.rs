//! What the loop notes about an operator's commands.

use super::{EventLoop, Stage};
use crate::failover::Command;
use crate::types::Time;

impl EventLoop {
    pub(super) fn note_command(&mut self, command: &Command, now: Time) {
        match command {
            Command::Restart => self.state.stage = Stage::Ending,
            Command::Leave => self.note_drain("is being drained", now),
            Command::Stay => {
                if self.state.stage == Stage::Drained {
                    self.state.stage = Stage::Running;
                }
                self.set_alert("drain", None, now);
            }
            Command::Latch { .. } | Command::Unlatch => self.note_latch(command),
            Command::HandOver { .. } => {}
        }
    }

    /// Raises the alert about the drain. `how` completes "this node".
    pub(super) fn note_drain(&mut self, how: &str, now: Time) {
        let text = format!("this node {how}: it takes nothing until `natha undrain`");
        self.set_alert("drain", Some(text), now);
    }
}
