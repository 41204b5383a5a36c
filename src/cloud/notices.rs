//! Interruptions that AWS announces to an instance through its metadata.

use std::time::SystemTime;

use serde::Deserialize;

use super::imds::{Imds, ImdsFault};

/// Where the end of a Spot instance is announced, two minutes ahead (EC2 guide, "Spot Instance
/// interruption notices").
const SPOT: &str = "spot/instance-action";
/// Where scheduled events are listed (EC2 guide, "View scheduled events").
const EVENTS: &str = "events/maintenance/scheduled";
/// The state to which an Auto Scaling group is moving the instance (Auto Scaling guide, "Retrieve
/// the target lifecycle state through instance metadata").
const LIFECYCLE: &str = "autoscaling/target-lifecycle-state";

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
    /// All interruptions of this instance that AWS has announced and not cancelled.
    pub(crate) async fn notices(&self) -> Result<Vec<Notice>, ImdsFault> {
        let mut notices = Vec::new();
        if let Some(text) = self.get(SPOT).await? {
            notices.push(spot(&text)?);
        }
        if let Some(text) = self.get(LIFECYCLE).await? {
            notices.extend(lifecycle(&text));
        }
        if let Some(text) = self.get(EVENTS).await? {
            notices.extend(scheduled(&text)?);
        }
        Ok(notices)
    }
}

fn malformed(item: &str, text: &str, problem: &impl ToString) -> ImdsFault {
    ImdsFault::Malformed {
        path: format!("/latest/meta-data/{item}"),
        text: text.to_owned(),
        problem: problem.to_string(),
    }
}

fn spot(text: &str) -> Result<Notice, ImdsFault> {
    let parsed: Result<SpotAction, _> = serde_json::from_str(text);
    let SpotAction { action } = parsed.map_err(|problem| malformed(SPOT, text, &problem))?;
    Ok(Notice { what: format!("EC2 will {action} this Spot instance"), at: None })
}

fn lifecycle(text: &str) -> Option<Notice> {
    let ends = text.trim() == "Terminated";
    ends.then(|| Notice {
        what: "the Auto Scaling group is terminating this instance".to_owned(),
        at: None,
    })
}

fn scheduled(text: &str) -> Result<Vec<Notice>, ImdsFault> {
    let parsed: Result<Vec<ScheduledEvent>, _> = serde_json::from_str(text);
    let events = parsed.map_err(|problem| malformed(EVENTS, text, &problem))?;
    let active = |event: &ScheduledEvent| event.state.is_empty() || event.state == "active";
    let notice = |event: ScheduledEvent| {
        let at = parse_time(&event.not_before).ok_or_else(|| {
            malformed(EVENTS, text, &format!("`{}` is not a time", event.not_before))
        })?;
        let what = format!("{} is scheduled for {}", event.code, event.not_before);
        Ok(Notice { what, at: Some(at) })
    };
    events.into_iter().filter(active).map(notice).collect()
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
        let notices = scheduled(&format!("[{list}]")).unwrap();
        assert_eq!(notices.len(), 1);
        assert!(notices[0].what.contains("system-reboot"), "{notices:?}");
        assert!(scheduled("[]").unwrap().is_empty());
        assert!(scheduled("{}").is_err());
    }

    #[test]
    fn a_spot_notice_and_the_end_by_an_auto_scaling_group_are_under_way() {
        let text = r#"{"action":"terminate","time":"2026-01-02T03:04:05Z"}"#;
        let notice = spot(text).unwrap();
        assert_eq!(notice.at, None);
        assert!(notice.what.contains("terminate"), "{notice:?}");
        assert!(spot("soon").is_err());
        assert_eq!(lifecycle("InService"), None);
        assert!(lifecycle("Terminated\n").is_some());
    }
}
