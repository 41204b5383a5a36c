//! Watches for interruptions that AWS announces. A node that is about to be interrupted is unfit:
//! it hands its groups over while it still forwards, so that no packet is lost.

use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use super::FitnessBoard;
use crate::cloud::{Imds, Notice};
use crate::config::Interruptions;
use crate::daemon::alerts::Alert;
use crate::daemon::clock;
use crate::types::Fault;

/// Time between two polls, as the EC2 guide recommends for Spot instances.
const EVERY: Duration = Duration::from_secs(5);

/// Runs for as long as the runtime lives. A failed poll changes nothing.
pub(crate) async fn watch(settings: Interruptions, mut alert: Alert, board: FitnessBoard) {
    if !settings.enabled {
        return;
    }
    let imds = Imds::new();
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let notices = match imds.notices().await {
            Ok(notices) => notices,
            Err(error) => {
                tracing::debug!(%error, "cannot read interruption notices");
                continue;
            }
        };
        let due = is_due(&notices, settings.lead_time, clock::wall());
        alert.set(words(&notices)).await;
        board.set(Fault::Departing, due).await;
    }
}

/// Whether one of them is near enough for this node to hand over its groups.
fn is_due(notices: &[Notice], lead: Duration, now: SystemTime) -> bool {
    notices.iter().any(|notice| notice.at.is_none_or(|at| at <= now + lead))
}

fn words(notices: &[Notice]) -> Option<String> {
    let all: Vec<&str> = notices.iter().map(|notice| notice.what.as_str()).collect();
    (!all.is_empty()).then(|| format!("AWS announces: {}", all.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_counts_from_its_lead_on_and_one_without_a_time_at_once() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        let lead = Duration::from_mins(2);
        let notice = |at| [Notice { what: "it".to_owned(), at }];
        assert!(!is_due(&[], lead, now));
        assert!(is_due(&notice(None), lead, now));
        for (minutes, wanted) in [(1, true), (2, true), (3, false)] {
            let at = now + Duration::from_mins(minutes);
            assert_eq!(is_due(&notice(Some(at)), lead, now), wanted, "{minutes} minutes ahead");
        }
        assert!(is_due(&notice(Some(SystemTime::UNIX_EPOCH)), lead, now), "its time has passed");
    }

    #[test]
    fn every_notice_is_told() {
        let notice = |what: &str| Notice { what: what.to_owned(), at: None };
        let text = words(&[notice("one thing"), notice("another")]).unwrap();
        assert_eq!(text, "AWS announces: one thing; another");
        assert_eq!(words(&[]), None);
    }
}
