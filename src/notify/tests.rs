use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::failover::{Event, EventKind, Level};
use crate::history::{self, AlertChange, ChangeResult, Fact, Line, Run};
use crate::types::{InstanceId, Roster, Time};

const A: &str = "i-0000000a";
const B: &str = "i-0000000b";
const C: &str = "i-0000000c";

const SUSPECTED: &str = "suspected (was alive): heartbeat 450 ms ago";
const DOWN: &str = "down (was suspected): EC2 reports stopped";
const ALIVE: &str = "alive (was down): heartbeat 0 ms ago";

fn node(id: &str) -> InstanceId {
    id.parse().unwrap()
}

/// The wall clock at a time since boot, both in milliseconds.
fn wall(ms: u64) -> u64 {
    1_800_000_000_000 + ms
}

/// The book of node `me`, which it has had since `ms`.
struct Desk(Book);

impl Desk {
    fn of(me: &str) -> Self {
        Self::with(me, Memory::default(), 0)
    }

    fn with(me: &str, memory: Memory, ms: u64) -> Self {
        let names = BTreeMap::from([(node(A), "nat-a".to_owned()), (node(B), "nat-b".to_owned())]);
        let sender = Sender { me: node(me), cluster: "blue".to_owned(), names: names.clone() };
        let mut first = Book::new(sender, memory, Time::from_millis(ms), wall(ms));
        let (natha, cluster, boot) = ("0.1.0".to_owned(), "blue".to_owned(), "one".to_owned());
        let (format, continued) = (history::FORMAT, false);
        let run = Run { format, natha, cluster, node: node(me), boot, names, continued };
        first.take(&line(ms, Fact::Run(run)));
        Self(first)
    }

    fn alive(&mut self, ids: &[&str]) {
        self.0.set_alive(ids.iter().map(|id| node(id)).collect());
    }

    fn event(&mut self, ms: u64, kind: EventKind, level: Level, text: &str) {
        self.0.take(&event(ms, kind, level, text));
    }

    fn verdict(&mut self, ms: u64, level: Level, text: &str) {
        self.event(ms, EventKind::Verdict, level, text);
    }

    fn host(&mut self, ms: u64, name: &str, text: Option<&str>) {
        let (name, text) = (name.to_owned(), text.map(str::to_owned));
        self.0.take(&line(ms, Fact::Alert(AlertChange { name, text })));
    }

    /// The notices that are sent at a time, as kind and key.
    fn poll(&mut self, ms: u64) -> Vec<(NoticeKind, String)> {
        self.notices(ms).into_iter().map(|notice| (notice.kind, notice.key)).collect()
    }

    fn notices(&mut self, ms: u64) -> Vec<Notice> {
        self.0.poll(Time::from_millis(ms), wall(ms))
    }

    /// The book of the next run, after a restart.
    fn restarted(&self, ms: u64) -> Self {
        let memory = self.0.memory(Time::from_millis(ms), wall(ms));
        let text = serde_json::to_string(&memory).unwrap();
        Self::with(B, serde_json::from_str(&text).unwrap(), ms)
    }
}

fn line(ms: u64, fact: Fact) -> Line {
    Line { wall_ms: wall(ms), at: Time::from_millis(ms), fact }
}

/// An event about node A; about the group too where it is about one.
fn event(ms: u64, kind: EventKind, level: Level, text: &str) -> Line {
    let of_group = matches!(
        kind,
        EventKind::TakeoverBegun
            | EventKind::TakeoverDone
            | EventKind::Foreign
            | EventKind::Fallback
    );
    let (at, text, took) = (Time::from_millis(ms), text.to_owned(), None);
    let group = of_group.then(|| "web".parse().unwrap());
    line(ms, Fact::Event(Event { at, level, kind, node: Some(node(A)), group, text, took }))
}

fn begun(key: &str) -> Vec<(NoticeKind, String)> {
    vec![(NoticeKind::Alert, key.to_owned())]
}

fn ended(key: &str) -> Vec<(NoticeKind, String)> {
    vec![(NoticeKind::AlertEnd, key.to_owned())]
}

#[test]
fn an_alert_is_sent_once_when_it_has_lasted_and_once_when_it_ends() {
    let mut desk = Desk::of(B);
    desk.host(1_000, "ports", Some("the ports are full"));
    assert_eq!(desk.0.next_deadline(), Some(Time::from_millis(6_000)));
    assert!(desk.poll(5_999).is_empty());
    assert_eq!(desk.poll(6_000), begun("host/ports"));
    desk.host(7_000, "ports", Some("the ports are fuller"));
    assert_eq!((desk.poll(60_000), desk.0.next_deadline()), (vec![], None));
    desk.host(61_000, "ports", None);
    let end = desk.notices(61_000).remove(0);
    assert_eq!((end.kind, end.key.as_str()), (NoticeKind::AlertEnd, "host/ports"));
    assert_eq!(end.since.as_deref(), Some(history::wall_text(wall(1_000)).as_str()));
    assert!(
        end.text.contains("the ports are fuller") && end.text.contains("1 min"),
        "{}",
        end.text
    );
    assert_eq!(end.subject, "natha blue: over: nat-b: the ports are fuller");
    assert!(desk.poll(10_000_000).is_empty());
}

#[test]
fn an_alert_that_is_soon_over_is_not_sent() {
    let mut desk = Desk::of(B);
    desk.host(1_000, "ports", Some("full"));
    desk.host(3_000, "ports", None);
    assert_eq!((desk.poll(60_000), desk.0.next_deadline()), (vec![], None));
}

#[test]
fn an_alert_that_comes_and_goes_is_sent_every_ten_minutes_at_most() {
    let mut desk = Desk::of(B);
    let mut sent = Vec::new();
    for second in 0..3_600 {
        let raised = second % 20 < 10;
        desk.host(second * 1_000, "ports", raised.then_some("full"));
        sent.extend(desk.poll(second * 1_000));
    }
    let begins = sent.iter().filter(|(kind, _)| *kind == NoticeKind::Alert).count();
    let ends = sent.len() - begins;
    assert!((5..=7).contains(&begins), "{begins} begins in an hour");
    assert!(ends <= begins);
}

#[test]
fn the_first_living_member_other_than_the_subject_reports_what_all_see() {
    for (me, alive, sends) in [
        (B, &[B, C][..], true),
        (C, &[B, C][..], false),
        (C, &[A, C][..], true),
        (C, &[C][..], true),
    ] {
        let mut desk = Desk::of(me);
        desk.alive(alive);
        desk.verdict(1_000, Level::Warning, SUSPECTED);
        desk.verdict(2_000, Level::Warning, DOWN);
        let wanted = if sends { begun(&format!("node/{A}")) } else { Vec::new() };
        assert_eq!(desk.poll(6_000), wanted, "{me} with {alive:?}");
        // The subject is back, and comes first of all.
        desk.alive(&[&[A][..], alive].concat());
        desk.verdict(9_000, Level::Info, ALIVE);
        let wanted = if sends { ended(&format!("node/{A}")) } else { Vec::new() };
        assert_eq!(desk.poll(9_000), wanted, "{me} with {alive:?}");
    }
}

#[test]
fn the_end_of_an_alert_is_sent_by_another_if_its_sender_has_failed() {
    let mut desk = Desk::of(C);
    desk.alive(&[B, C]);
    desk.verdict(1_000, Level::Warning, DOWN);
    assert!(desk.poll(6_000).is_empty(), "B sends it");
    desk.alive(&[C]);
    desk.verdict(9_000, Level::Info, ALIVE);
    assert_eq!(desk.poll(9_000), ended(&format!("node/{A}")));
}

#[test]
fn an_alert_about_a_node_that_has_left_the_cluster_ends() {
    let mut desk = Desk::of(B);
    desk.alive(&[B]);
    desk.verdict(1_000, Level::Warning, DOWN);
    desk.event(1_000, EventKind::Foreign, Level::Alert, "it points elsewhere");
    desk.event(1_000, EventKind::Fallback, Level::Alert, "its routes are at its fallback nat-1");
    let text = format!("taking it over (from {A} to {B}): {A} is down");
    desk.event(1_000, EventKind::TakeoverBegun, Level::Warning, &text);
    assert_eq!(desk.poll(6_000).len(), 3);
    desk.0.enrol(&Roster::default(), Time::from_millis(7_000), wall(7_000));
    let ends = [ended("fallback/web"), ended("foreign/web"), ended(&format!("node/{A}"))].concat();
    assert_eq!(desk.poll(7_000), ends);
    assert_eq!(desk.0.next_deadline(), None, "the change is forgotten too");
}

#[test]
fn a_group_at_its_fallback_is_an_alert_until_it_is_back() {
    let mut desk = Desk::of(B);
    desk.alive(&[B]);
    desk.event(1_000, EventKind::Fallback, Level::Alert, "its routes are at its fallback nat-1");
    let notice = desk.notices(6_000).remove(0);
    assert_eq!(notice.key, "fallback/web");
    assert!(notice.subject.contains("group web: its routes"), "{}", notice.subject);
    desk.event(60_000, EventKind::Fallback, Level::Info, "none of its routes is there any more");
    assert_eq!(desk.poll(60_000), ended("fallback/web"));
    desk.event(61_000, EventKind::Fallback, Level::Alert, "EC2 refuses its fallback nat-1: gone");
    let refused = desk.notices(61_000).remove(0);
    assert_eq!(refused.key, "event/fallback/web");
    assert!(refused.subject.contains("group web: EC2 refuses"), "{}", refused.subject);
}

#[test]
fn each_node_reports_a_peer_that_it_sees_as_partitioned() {
    let mut desk = Desk::of(C);
    desk.alive(&[B, C]);
    desk.verdict(1_000, Level::Alert, "partitioned (was suspected): B hears it");
    assert_eq!(desk.poll(6_000), begun(&format!("node/{A}")));
}

#[test]
fn a_restart_repeats_nothing_and_ends_what_is_over() {
    let mut desk = Desk::of(B);
    desk.host(1_000, "ports", Some("full"));
    desk.host(1_000, "reach", Some("out of reach"));
    assert_eq!(desk.poll(6_000).len(), 2);
    assert!(desk.0.take_changed() && !desk.0.take_changed());

    let mut next = desk.restarted(20_000);
    next.host(21_000, "ports", Some("full"));
    assert!(next.poll(100_000).is_empty());
    assert_eq!(next.0.next_deadline(), Some(Time::from_millis(140_000)));
    let end = next.notices(140_000).remove(0);
    assert_eq!((end.kind, end.key.as_str()), (NoticeKind::AlertEnd, "host/reach"));
    assert!(end.text.contains("restarted"), "{}", end.text);
    next.host(150_000, "ports", None);
    assert_eq!(next.poll(150_000), ended("host/ports"));

    let mut third = next.restarted(160_000);
    third.host(161_000, "ports", Some("full again"));
    assert!(third.poll(170_000).is_empty(), "its end was sent a moment ago");
    assert_eq!(third.poll(750_000), begun("host/ports"));
}

#[test]
fn a_node_that_is_down_over_a_restart_is_not_reported_as_well() {
    let mut desk = Desk::of(B);
    desk.alive(&[B]);
    desk.verdict(1_000, Level::Warning, DOWN);
    assert_eq!(desk.poll(6_000), begun(&format!("node/{A}")));
    let mut next = desk.restarted(20_000);
    next.alive(&[B]);
    assert!(next.poll(140_000).is_empty(), "it was never heard by this monitor");
    assert_eq!(next.0.next_deadline(), None);
    next.verdict(150_000, Level::Info, "alive (was unmet): heartbeat 0 ms ago");
    assert_eq!(next.poll(150_000), ended(&format!("node/{A}")));
}

#[test]
fn a_change_is_reported_once_when_it_ends_and_as_an_alert_if_it_does_not() {
    let text = format!("taking it over (from {A} to {B}): {A} is suspected");
    let mut desk = Desk::of(B);
    desk.event(1_000, EventKind::TakeoverBegun, Level::Warning, &text);
    assert_eq!(desk.0.next_deadline(), Some(Time::from_millis(61_000)));
    assert!(desk.poll(60_000).is_empty());
    assert_eq!(desk.poll(61_000), begun("change/web"));
    desk.event(70_000, EventKind::TakeoverDone, Level::Info, "taken over");
    let sent = desk.notices(70_000);
    let kinds: Vec<NoticeKind> = sent.iter().map(|notice| notice.kind).collect();
    assert_eq!(kinds, [NoticeKind::AlertEnd, NoticeKind::Change]);
    let change = &sent[1];
    assert_eq!(
        change.subject,
        "natha blue: nat-b takes group web over from nat-a: done in 1 min 9 s"
    );
    assert!(change.text.contains("Reason: nat-a is suspected"), "{}", change.text);
    assert_eq!(change.change.as_ref().map(|one| one.result), Some(ChangeResult::Done));
    assert!(desk.poll(10_000_000).is_empty());
}

#[test]
fn a_quick_change_causes_one_message() {
    let text = format!("taking it over (from {A} to {B}): {A} is suspected");
    let mut desk = Desk::of(B);
    desk.event(1_000, EventKind::TakeoverBegun, Level::Warning, &text);
    desk.event(1_200, EventKind::TakeoverDone, Level::Info, "taken over");
    assert_eq!(desk.poll(1_200), [(NoticeKind::Change, "web".to_owned())]);
    assert_eq!(desk.0.next_deadline(), None);
}

#[test]
fn undelivered_notices_are_no_notice() {
    let mut desk = Desk::of(B);
    desk.host(1_000, "notify-webhook", Some("the webhook fails"));
    assert!(desk.poll(100_000).is_empty());
}

#[test]
fn what_has_no_end_is_sent_once_in_ten_minutes() {
    let mut desk = Desk::of(B);
    for second in 0..120 {
        desk.event(second * 1_000, EventKind::Connections, Level::Alert, "not inserted");
    }
    assert_eq!(desk.poll(120_000), begun(&format!("event/connections/{A}")));
}

#[test]
fn the_message_is_as_documented() {
    let mut desk = Desk::of(B);
    desk.event(1_000, EventKind::Foreign, Level::Alert, "rtb-1 points to igw-1");
    let notice = desk.notices(6_000).remove(0);
    let json: serde_json::Value = serde_json::from_str(&notice.to_json()).unwrap();
    let documented = include_str!("../../docs/notices.md");
    let fields = json.as_object().unwrap().keys();
    for field in fields.filter(|field| *field != "node") {
        assert!(documented.contains(&format!("`{field}`")), "{field} is not documented");
    }
    assert_eq!(json["natha_notice"], 1);
    assert_eq!(json["kind"], "alert");
    assert_eq!(json["level"], "alert");
    assert_eq!(json["key"], "foreign/web");
    assert_eq!(json["node_name"], "nat-b");
    assert_eq!(json["subject"], "natha blue: group web: rtb-1 points to igw-1");
    assert_eq!(json["time"], history::wall_text(wall(6_000)));
    assert!(!notice.to_json().contains('\n'));
}

#[test]
fn ids_differ_and_a_subject_is_one_short_line() {
    let mut desk = Desk::of(B);
    let long = format!("one\n{}", "é".repeat(300));
    desk.host(0, "a", Some(&long));
    desk.host(0, "b", Some(&long));
    let sent = desk.notices(10_000);
    assert_ne!(sent[0].id, sent[1].id);
    let subject = &sent[0].subject;
    assert!(subject.chars().count() == SUBJECT_MAX && !subject.contains('\n'), "{subject}");
}

#[test]
fn pauses_double_up_to_a_minute_and_end_after_an_hour() {
    let seconds =
        |attempts, since| pause(attempts, Duration::from_secs(since)).map(|one| one.as_secs());
    let first: Vec<Option<u64>> = (1..=8).map(|attempts| seconds(attempts, 0)).collect();
    assert_eq!(first, [1, 2, 4, 8, 16, 32, 60, 60].map(Some));
    assert_eq!((seconds(90, 3_540), seconds(90, 3_541)), (Some(60), None));
    assert_eq!(seconds(u32::MAX, 0), Some(60));
}

#[test]
fn only_what_may_pass_is_tried_again() {
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        assert!(!is_final_status(status), "{status}");
    }
    for status in [300, 301, 400, 401, 403, 404, 410, 413] {
        assert!(is_final_status(status), "{status}");
    }
}
