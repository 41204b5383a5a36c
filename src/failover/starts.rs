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

/// EC2's code for a start that it gave up for a fault of the caller's account, and the usual one.
const GIVEN_UP: &str = "Client.InternalError";
const USUAL_FAULT: &str = ", usually because the role lacks kms:CreateGrant on a volume's KMS key";

/// The pause after start number `starts`, which EC2 accepted.
pub(super) fn pause(starts: u32) -> Duration {
    PATIENCE.saturating_mul(1 << starts.saturating_sub(1).min(COUNTED)).min(PAUSE_MAX)
}

/// The alert's text. `reason` is EC2's for the last stop.
pub(super) fn alert(reason: Option<&str>) -> String {
    let reason = match reason {
        Some(reason) => {
            let fault = if reason.starts_with(GIVEN_UP) { USUAL_FAULT } else { "" };
            format!("EC2's reason for its last stop is \"{reason}\"{fault}")
        }
        None => "EC2 gives no reason for its last stop".to_owned(),
    };
    format!(
        "EC2 accepted {ALERTED} starts, and it was not heard after any of them; {reason}; the \
         pauses between starts grow to {} min",
        PAUSE_MAX.as_secs() / 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_ec2_gives_up_is_told_with_the_usual_fault() {
        for (reason, is_told) in [
            (Some("Client.InternalError: Client error on launch"), true),
            (Some("Server.InternalError: Internal error on launch"), false),
            (None, false),
        ] {
            let text = alert(reason);
            assert_eq!(text.contains("lacks kms:CreateGrant on a volume's"), is_told, "{text}");
            assert!(reason.is_none_or(|reason| text.contains(reason)), "{text}");
            assert!(text.ends_with("; the pauses between starts grow to 16 min"), "{text}");
        }
    }
}
