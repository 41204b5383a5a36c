//! Interruptions that AWS announces to an instance through its metadata.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use super::imds::{Imds, ImdsFault};
use crate::types::shown;

/// Where the end of a Spot instance is announced, two minutes ahead (EC2 guide, "Spot Instance
/// interruption notices").
const SPOT: &str = "spot/instance-action";
/// Where scheduled events are listed (EC2 guide, "View scheduled events").
const EVENTS: &str = "events/maintenance/scheduled";
/// The state to which an Auto Scaling group is moving the instance (Auto Scaling guide, "Retrieve
/// the target lifecycle state through instance metadata").
const LIFECYCLE: &str = "autoscaling/target-lifecycle-state";

/// Later than any event.
const NEVER: Duration = Duration::from_secs(i32::MAX as u64 * 100);

/// An interruption that AWS has announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What will happen, as text.
    pub(crate) what: String,
    /// The earliest time, by the wall clock; none if it is under way.
    pub(crate) at: Option<SystemTime>,
}

#[derive(Deserialize)]
struct SpotAction {
    action: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduledEvent {
    code: String,
    #[serde(default)]
    not_before: String,
    #[serde(default)]
    state: String,
}

impl Imds {
    /// All interruptions of this instance that AWS has announced and not cancelled. A notice that
    /// cannot be parsed hides no other.
    pub(crate) async fn notices(&self) -> Result<Vec<Notice>, ImdsFault> {
        let spot = self.get(SPOT).await?.map(|text| spot(&text));
        let ending = self.get(LIFECYCLE).await?.and_then(|text| lifecycle(&text));
        let mut notices: Vec<Notice> = spot.into_iter().chain(ending).collect();
        if let Some(text) = self.get(EVENTS).await? {
            notices.extend(scheduled(&text));
        }
        Ok(notices)
    }
}

/// The end of a Spot instance. That there is a notice says as much as what it says.
fn spot(text: &str) -> Notice {
    let what = match serde_json::from_str(text) {
        Ok(SpotAction { action }) => format!("EC2 will {action} this Spot instance"),
        Err(_) => format!("EC2 will interrupt this Spot instance ({})", shown(text)),
    };
    Notice { what, at: None }
}

fn lifecycle(text: &str) -> Option<Notice> {
    let ends = text.trim() == "Terminated";
    ends.then(|| Notice {
        what: "the Auto Scaling group is terminating this instance".to_owned(),
        at: None,
    })
}

/// The active scheduled events, each by itself. One that cannot be parsed is shown, and moves
/// nothing.
fn scheduled(text: &str) -> Vec<Notice> {
    match serde_json::from_str::<Vec<Value>>(text) {
        Ok(items) => items.into_iter().filter_map(event).collect(),
        Err(_) => vec![unreadable(text)],
    }
}

/// A scheduled event; none if it is over or cancelled.
fn event(item: Value) -> Option<Notice> {
    let text = item.to_string();
    let Ok(event) = serde_json::from_value::<ScheduledEvent>(item) else {
        return Some(unreadable(&text));
    };
    if !event.state.is_empty() && event.state != "active" {
        return None;
    }
    let notice = |at| Notice {
        what: format!("{} is scheduled for {}", event.code, event.not_before),
        at: Some(at),
    };
    Some(parse_time(&event.not_before).map_or_else(|| unreadable(&text), notice))
}

/// An event at an unknown time.
fn unreadable(text: &str) -> Notice {
    let what = format!("a scheduled event that natha cannot parse ({})", shown(text));
    Notice { what, at: SystemTime::UNIX_EPOCH.checked_add(NEVER) }
}

/// Parses a time as EC2 writes it: `21 Jan 2019 09:00:43 GMT`.
fn parse_time(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [day, month, year, clock, "GMT"] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        return None;
    };
    let (month, _) = (1..).zip(MONTHS).find(|(_, name)| *name == month)?;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{clock}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        let since = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        parse_time(text).map(since)
    }

    #[test]
    fn moments_are_read_as_ec2_writes_them() {
        for (text, wanted) in [
            ("1 Jan 1970 00:00:00 GMT", 0),
            ("21 Jan 2019 09:00:43 GMT", 1_548_061_243),
            ("29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("1 Mar 2000 00:00:00 GMT", 951_868_800),
            ("31 Dec 2100 12:00:00 GMT", 4_133_937_600),
        ] {
            assert_eq!(seconds(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2019-01-21T09:00:43Z",
            "21 Jan 2019 09:00:43",
            "32 Jan 2019 09:00:43 GMT",
            "21 Ja 2019 09:00:43 GMT",
            "21 Jan 2019 24:00:43 GMT",
            "21 Jan 2019 09:00 GMT",
            "21 Jan 1969 09:00:43 GMT",
            "1 Jan 18446744073709551615 00:00:00 GMT",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn events_that_are_over_or_called_off_are_no_notices() {
        let event = |state: &str| {
            format!(
                "{{\"NotBefore\":\"21 Jan 2019 09:00:43 GMT\",\"Code\":\"system-reboot\",\
                 \"Description\":\"d\",\"EventId\":\"e\",\"State\":\"{state}\"}}"
            )
        };
        let list = ["active", "completed", "canceled"].map(event).join(",");
        let notices = scheduled(&format!("[{list}]"));
        assert_eq!(notices.len(), 1);
        assert!(notices[0].what.contains("system-reboot"), "{notices:?}");
        assert!(scheduled("[]").is_empty());
        let [unreadable] = &scheduled("{}")[..] else { panic!("it is shown") };
        assert!(unreadable.at > Some(SystemTime::UNIX_EPOCH + Duration::from_hours(1_000_000)));
    }

    #[test]
    fn an_event_that_cannot_be_parsed_hides_no_other() {
        let good = r#"{"NotBefore": "21 Jan 2019 09:00:43 GMT", "Code": "system-reboot"}"#;
        for bad in [
            r#"{"NotBefore": "soon", "Code": "x"}"#,
            r#"{"NotBefore": 1, "Code": "x"}"#,
            r#"{"Code": "x"}"#,
            "[]",
            "null",
        ] {
            let notices = scheduled(&format!("[{bad}, {good}]"));
            assert_eq!(notices.len(), 2, "{bad}: {notices:?}");
            assert!(notices[0].what.contains("cannot parse"), "{notices:?}");
            assert!(notices[1].what.contains("system-reboot"), "{notices:?}");
        }
    }

    #[test]
    fn a_spot_notice_and_the_end_by_an_auto_scaling_group_are_under_way() {
        let text = r#"{"action":"terminate","time":"2026-01-02T03:04:05Z"}"#;
        let notice = spot(text);
        assert_eq!(notice.at, None);
        assert!(notice.what.contains("terminate"), "{notice:?}");
        assert_eq!(spot("soon").at, None, "there is a notice, whatever it says");
        assert_eq!(lifecycle("InService"), None);
        assert!(lifecycle("Terminated\n").is_some());
    }
}
