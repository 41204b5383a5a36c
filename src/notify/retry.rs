//! When a delivery that failed is repeated.

use std::time::Duration;

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_mins(1);
/// After how long a notice is given up. The fault that it reports may be that of the way out.
const PATIENCE: Duration = Duration::from_hours(1);

/// How long to wait before the next attempt, after `attempts` of them since the first one began
/// `since` ago; none to give up.
#[must_use]
pub fn pause(attempts: u32, since: Duration) -> Option<Duration> {
    let doublings = attempts.saturating_sub(1).min(16);
    let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    (since.saturating_add(pause) <= PATIENCE).then_some(pause)
}

/// Whether an HTTP status that is no success will not change if the request is repeated
/// (RFC 9110, section 15; RFC 6585 for 429; RFC 8470 for 425).
#[must_use]
pub const fn is_final_status(status: u16) -> bool {
    !matches!(status, 408 | 425 | 429 | 500..)
}
