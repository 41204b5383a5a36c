//! What the loop tells other threads after each turn. Without anything new, it sends nothing.

use super::EventLoop;
use crate::daemon::published::publish;
use crate::types::Time;

impl EventLoop {
    /// Publishes which groups this host must carry. This precedes the calls of the same turn: the
    /// host should answer by the time a call brings the first packet.
    pub(super) fn publish_must_carry(&self) {
        if let Some(sender) = &self.must_carry {
            publish(sender, self.machine.must_carry());
        }
    }

    /// Publishes which egress IPs this node has, and whose private hosts it serves.
    pub(super) fn publish_egress(&self, now: Time) {
        let Some(senders) = &self.egress else { return };
        if let Some(found) = self.machine.egress(now) {
            publish(&senders.ips, Some(found));
        }
        publish(&senders.served, self.machine.served(now));
    }

    /// Publishes who the members are.
    pub(super) fn publish_members(&self) {
        let Some(sender) = &self.members else { return };
        sender.send_if_modified(|published| {
            let changed = published.iter().ne(self.machine.members());
            if changed {
                *published = self.machine.members().cloned().collect();
            }
            changed
        });
    }

    /// Publishes whom this monitor has heard, for the next run.
    pub(super) fn publish_heard(&self) {
        let heard = self.machine.heard();
        self.heard.send_if_modified(|published| {
            let changed = published != heard;
            if changed {
                published.clone_from(heard);
            }
            changed
        });
    }
}
