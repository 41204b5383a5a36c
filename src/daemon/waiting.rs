//! What is logged while the cluster cannot be found: each reason once, and now and then that the
//! wait goes on.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::cloud::ImdsFault;
use crate::types::display_duration;

/// When the log first says that the wait goes on. The next line comes when twice the time is over.
const REMIND_AFTER: Duration = Duration::from_mins(1);
/// The longest time between two such lines.
const REMIND_EVERY: Duration = Duration::from_hours(1);
/// Reasons that are logged, at most. More of them would be one that always differs.
const REASONS_MAX: usize = 16;

/// Why the cluster could not be found, where a later attempt may succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// What is wrong.
    pub(super) what: String,
    /// What to do, where there is more to say than `what` does.
    remedy: Option<&'static str>,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.remedy.map_or(Ok(()), |remedy| write!(f, ": {remedy}"))
    }
}

impl From<String> for Obstacle {
    fn from(what: String) -> Self {
        Self { what, remedy: None }
    }
}

impl From<ImdsFault> for Obstacle {
    fn from(fault: ImdsFault) -> Self {
        Self { what: fault.what(), remedy: fault.remedy() }
    }
}

/// The log of one wait.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How the wait ends.
    end: String,
    /// Whether the log is where the operator learns what to do.
    has_remedy: bool,
    /// The reasons so far.
    told: BTreeSet<String>,
    /// When the log says next that the wait goes on.
    remind_at: Duration,
}

impl Waiting {
    /// A wait without a limit.
    pub(super) fn without_limit() -> Self {
        Self::new("natha tries again until it succeeds".to_owned(), true)
    }

    /// A wait for at most `limit`, after which the error says what to do. `flag` sets the limit.
    pub(super) fn at_most(limit: Duration, flag: Option<&str>) -> Self {
        let flag = flag.map(|flag| format!(" ({flag})")).unwrap_or_default();
        Self::new(format!("giving up after {}{flag}", display_duration(limit)), false)
    }

    fn new(end: String, has_remedy: bool) -> Self {
        Self { end, has_remedy, told: BTreeSet::new(), remind_at: REMIND_AFTER }
    }

    /// The line for an attempt that failed when this time had passed; none if there is nothing new.
    pub(super) fn line(&mut self, why: &Obstacle, waited: Duration) -> Option<String> {
        let is_new = self.told.len() < REASONS_MAX && self.told.insert(why.what.clone());
        if is_new {
            let remedy = why.remedy.filter(|_| self.has_remedy);
            let remedy = remedy.map(|text| format!(". {}", capitalized(text))).unwrap_or_default();
            return Some(format!("waiting: {}; {}{remedy}", why.what, self.end));
        }
        if waited < self.remind_at {
            return None;
        }
        self.remind_at = waited + waited.min(REMIND_EVERY);
        Some(format!("still waiting after {}: {}", display_duration(waited), why.what))
    }
}

/// A text as a sentence of its own.
fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn silent() -> Obstacle {
        let why = "dispatch failure: tcp connect error: network unreachable";
        ImdsFault::Unavailable(why.to_owned()).into()
    }

    #[test]
    fn each_reason_is_told_once_and_the_wait_now_and_then() {
        let mut waiting = Waiting::without_limit();
        let first = waiting.line(&silent(), SECOND).unwrap();
        assert!(first.starts_with("waiting: the instance metadata service"), "{first}");
        let (_, rest) = first.split_once(" does not answer ").unwrap();
        assert!(rest.starts_with("(network unreachable); natha tries again until"), "{first}");
        assert!(first.contains(". This host is not on EC2, or"), "{first}");
        let other = Obstacle::from("EC2 is silent".to_owned());
        let wanted = "waiting: EC2 is silent; natha tries again until it succeeds";
        assert_eq!(waiting.line(&other, SECOND * 2).as_deref(), Some(wanted));
        let told: Vec<(u32, String)> = (3..=7_200)
            .filter_map(|at| Some((at, waiting.line(&silent(), SECOND * at)?)))
            .collect();
        let times: Vec<u32> = told.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [60, 120, 240, 480, 960, 1_920, 3_840]);
        assert!(told[0].1.starts_with("still waiting after 1 min: the instance"), "{told:?}");
        assert!(told.iter().all(|(_, line)| !line.contains("hop limit")), "{told:?}");
    }

    #[test]
    fn a_reason_that_always_differs_does_not_fill_the_log() {
        let mut waiting = Waiting::without_limit();
        let line = |n: u32| waiting.line(&Obstacle::from(format!("request {n}")), SECOND);
        assert_eq!((0..1_000).filter_map(line).count(), REASONS_MAX);
    }

    #[test]
    fn a_limit_is_named_and_the_remedy_is_left_to_the_error() {
        let mut waiting = Waiting::at_most(SECOND * 90, Some("--limit"));
        let line = waiting.line(&silent(), SECOND).unwrap();
        assert!(line.ends_with("; giving up after 1 min 30 s (--limit)"), "{line}");
        assert!(silent().to_string().contains("hop limit"));
    }
}
