//! Starts that EC2 accepts and undoes: the pauses between them, and the alert.

use std::time::Duration;

/// How long an accepted start may leave the state at `stopped` before it is asked for again.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// The longest pause between two starts.
const PAUSE_MAX: Duration = Duration::from_mins(16);
/// From how many accepted starts without a heartbeat on an operator is needed.
pub(super) const ALERTED: u32 = 3;
/// More starts than that change nothing.
pub(super) const COUNTED: u32 = 8;

/// The pause after start number `starts`, which EC2 accepted.
pub(super) fn pause(starts: u32) -> Duration {
    PATIENCE.saturating_mul(1 << starts.saturating_sub(1).min(COUNTED)).min(PAUSE_MAX)
}

/// The alert's text. `reason` is EC2's for the last stop.
pub(super) fn alert(reason: Option<&str>) -> String {
    let reason = match reason {
        Some(reason) => format!("EC2's reason for its last stop is \"{reason}\""),
        None => "EC2 gives no reason for its last stop".to_owned(),
    };
    format!(
        "EC2 accepted {ALERTED} starts, and it was not heard after any of them; {reason}; the \
         pauses between starts grow to {} min",
        PAUSE_MAX.as_secs() / 60
    )
}
