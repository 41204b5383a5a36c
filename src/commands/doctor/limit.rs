//! The time limit of each fact.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::timeout;

use crate::doctor::{Fact, Gap};
use crate::types::display_duration;

/// Time limit for one fact. A call of EC2 has the one of the settings; some facts need several.
const LIMIT: Duration = Duration::from_secs(20);

/// A fact that is read within the time limit. `what` does not answer if it is not.
pub(super) async fn within<T, E: Display>(
    what: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Fact<T> {
    within_limit(LIMIT, what, work).await
}

async fn within_limit<T, E: Display>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Fact<T> {
    match timeout(limit, work).await {
        Ok(Ok(found)) => Ok(found),
        // An error of anyhow tells its causes.
        Ok(Err(error)) => Err(Gap::new(format!("{error:#}"))),
        Err(_) => {
            let limit = display_duration(limit);
            Err(Gap::new(format!("{what} did not answer within {limit}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn what_hangs_or_fails_is_a_gap_that_says_so() {
        let hung = within_limit(Duration::ZERO, "EC2", pending::<Result<(), String>>()).await;
        assert_eq!(hung, Err(Gap::new("EC2 did not answer within 0 ms")));
        let failed = within("EC2", async { Err::<(), _>(anyhow::anyhow!("b").context("a")) }).await;
        assert_eq!(failed, Err(Gap::new("a: b")));
        assert_eq!(within("EC2", async { Ok::<_, String>(7) }).await, Ok(7));
    }
}
