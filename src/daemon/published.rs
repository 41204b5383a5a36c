//! Values that one task publishes for others.

use tokio::sync::watch;

/// Publishes a value. Without anything new, nothing is sent.
pub(super) fn publish<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|published| {
        let changed = *published != value;
        *published = value;
        changed
    });
}
