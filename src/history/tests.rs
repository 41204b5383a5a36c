use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::failover::{Event, EventKind, Level};
use crate::record::{RecordedLine, RecordingReader, Replay};
use crate::types::{InstanceId, Time};

const ME: &str = "i-0000000b";
const PEER: &str = "i-0000000a";

/// A recording of a live cluster: a peer panics, is covered, stopped, started and served again.
const HARD_KILL: &str = include_str!("../../tests/cases/hard_kill.jsonl");

fn recorded(text: &str) -> Recorded {
    let mut lines = text.lines();
    let (mut reader, header) = RecordingReader::begin(lines.next().unwrap()).unwrap();
    let mut replay = Replay::new(&header);
    let mut recorded = Recorded::new(&header);
    for line in lines {
        let RecordedLine::Turn(turn) = reader.next(line).unwrap() else { break };
        let got = replay.turn(&turn);
        recorded.turn(&turn, &got);
    }
    recorded
}

fn node(id: &str) -> InstanceId {
    id.parse().unwrap()
}

fn line(ms: u64, fact: Fact) -> Line {
    Line { wall_ms: 1_800_000_000_000 + ms, at: Time::from_millis(ms), fact }
}

fn run(ms: u64, continued: bool) -> Line {
    let names = BTreeMap::from([(node(PEER), "nat-a".to_owned()), (node(ME), "nat-b".to_owned())]);
    let (natha, cluster, boot) = ("0.1.0".to_owned(), "blue".to_owned(), "one".to_owned());
    line(
        ms,
        Fact::Run(Run { format: FORMAT, natha, cluster, node: node(ME), boot, names, continued }),
    )
}

fn event(ms: u64, kind: EventKind, level: Level, text: &str) -> Line {
    let at = Time::from_millis(ms);
    let is_repair = matches!(kind, EventKind::RepairStop | EventKind::RepairStart);
    let group = (kind != EventKind::Verdict && !is_repair).then(|| "a".parse().unwrap());
    let text = text.to_owned();
    let took = None;
    line(ms, Fact::Event(Event { at, level, kind, node: Some(node(PEER)), group, text, took }))
}

fn begun(ms: u64) -> Line {
    let text = format!("taking it over (from {PEER} to {ME}): {PEER} is suspected");
    event(ms, EventKind::TakeoverBegun, Level::Warning, &text)
}

fn done(ms: u64) -> Line {
    event(ms, EventKind::TakeoverDone, Level::Info, "taken over")
}

fn call(ms: u64, took: u64, result: &str) -> Line {
    let (name, what) = ("ReplaceRoute".to_owned(), "point it".to_owned());
    let (group, took) = (Some("a".parse().unwrap()), Duration::from_millis(took));
    let result = result.to_owned();
    let node = Some(node(ME));
    line(ms, Fact::Call(Call { name, what, group, node, took, result, fault: None }))
}

fn proof(ms: u64) -> Line {
    let (address, group) = ("10.0.0.9".parse().unwrap(), Some("a".parse().unwrap()));
    line(ms, Fact::Proof(Proof { address, group }))
}

fn phases(change: &Change) -> Vec<(&'static str, u128)> {
    change.phases.iter().map(|one| (one.phase.name(), one.after.as_millis())).collect()
}

#[test]
fn a_recorded_failure_gives_its_three_changes_with_phases_evidence_and_calls() {
    let recorded = recorded(HARD_KILL);
    let found = changes(recorded.lines());
    let kinds: Vec<(ChangeKind, ChangeResult)> =
        found.iter().map(|change| (change.kind, change.result)).collect();
    let wanted = [ChangeKind::Takeover, ChangeKind::Repair, ChangeKind::HandOver];
    assert_eq!(kinds, wanted.map(|kind| (kind, ChangeResult::Done)));

    let takeover = &found[0];
    let names: Vec<&str> = phases(takeover).iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["noticed", "decided", "asked", "accepted", "confirmed"]);
    assert!(takeover.phases.is_sorted_by_key(|one| one.after), "{:?}", takeover.phases);
    assert_eq!(takeover.to.as_ref(), Some(&takeover.by));
    assert!(takeover.evidence[0].text.starts_with("suspected"), "{:?}", takeover.evidence);
    assert!(takeover.reason.contains("is suspected: heartbeat 450 ms ago"), "{}", takeover.reason);
    let call = &takeover.calls[0];
    assert_eq!((&*call.name, &*call.result), ("ReplaceRoute", "ok"));
    assert!(call.what.contains("to nat-b"), "{}", call.what);

    let repair = &found[1];
    let calls: Vec<&str> = repair.calls.iter().map(|call| &*call.name).collect();
    assert_eq!(calls, ["StopInstances", "StartInstances"]);
    for text in ["unreachable (was suspected)", "down (was unreachable)", "starting it"] {
        assert!(repair.evidence.iter().any(|one| one.text.starts_with(text)), "{text}");
    }
    assert_eq!(repair.from, takeover.from);

    let back = &found[2];
    assert_eq!(back.to, takeover.from, "the call says who receives the group");
    assert_eq!(phases(back)[0], ("decided", 0), "no fault was noticed");
}

#[test]
fn lines_are_read_as_they_are_written() {
    let recorded = recorded(HARD_KILL);
    let written: Vec<String> = recorded.lines().iter().map(Line::to_text).collect();
    let read: Vec<Line> = written.iter().map(|text| Line::read(text).unwrap()).collect();
    let again: Vec<String> = read.iter().map(Line::to_text).collect();
    assert_eq!(again, written);
    let kinds = |lines: &[Line]| -> Vec<_> {
        changes(lines).iter().map(|one| (one.kind, one.result, one.from.clone())).collect()
    };
    assert_eq!(kinds(&read), kinds(recorded.lines()));
    assert_eq!(Line::read("{\"wall_ms\":1,\"at_ms\":1,\"later-kind\":{}}"), None);
    assert_eq!(Line::read("{\"wall_ms\":1,\"at_"), None);
}

#[test]
fn phases_are_first_asked_last_accepted_confirmed_and_effective() {
    let suspected = "suspected (was alive): heartbeat 450 ms ago";
    let lines = [
        run(0, false),
        event(1_000, EventKind::Verdict, Level::Warning, suspected),
        begun(1_100),
        call(1_300, 150, "throttled"),
        call(1_500, 100, "ok"),
        call(1_700, 100, "ok"),
        proof(1_800),
        done(2_000),
    ];
    let found = changes(&lines);
    let wanted = [
        ("noticed", 0),
        ("decided", 100),
        ("asked", 150),
        ("accepted", 700),
        ("confirmed", 1_000),
        ("effective", 800),
    ];
    assert_eq!(phases(&found[0]), wanted);
    assert_eq!(found[0].took, Duration::from_secs(1));
    assert_eq!(found[0].wall_ms, 1_800_000_001_000, "the first phase is its time");
    assert_eq!(
        found[0].headline(ToString::to_string),
        format!("{ME} takes group a over from {PEER}: done in 1 s")
    );
}

#[test]
fn a_proof_that_comes_after_the_end_counts_for_two_minutes() {
    for (ms, effective) in [(3_000, Some(Duration::from_secs(2))), (200_000, None)] {
        let found = changes(&[run(0, false), begun(1_000), done(2_000), proof(ms)]);
        assert_eq!(found[0].phase(Phase::Effective), effective, "{ms}");
    }
}

#[test]
fn what_is_open_is_under_way_interrupted_or_superseded() {
    let result = |lines: &[Line]| changes(lines)[0].result;
    let open = [run(0, false), begun(1_000)];
    assert_eq!(result(&open), ChangeResult::UnderWay);
    assert_eq!(result(&[&open[..], &[run(2_000, false)]].concat()), ChangeResult::Interrupted);
    let file_only = [&open[..], &[run(2_000, true), done(2_500)]].concat();
    assert_eq!(result(&file_only), ChangeResult::Done, "only the file is new");
    let twice = changes(&[&open[..], &[begun(3_000), done(3_100)]].concat());
    let results: Vec<ChangeResult> = twice.iter().map(|change| change.result).collect();
    assert_eq!(results, [ChangeResult::Superseded, ChangeResult::Done]);
}

#[test]
fn evidence_ends_when_the_node_is_alive_and_is_bounded() {
    let suspected = "suspected (was alive): heartbeat 450 ms ago";
    let alive = "alive (was suspected): heartbeat 0 ms ago";
    let mut lines = vec![
        run(0, false),
        event(1_000, EventKind::Verdict, Level::Warning, suspected),
        event(2_000, EventKind::Verdict, Level::Info, alive),
    ];
    for n in 0..40 {
        lines.push(event(3_000 + n, EventKind::Verdict, Level::Warning, &format!("report {n}")));
    }
    lines.push(begun(4_000));
    let found = changes(&lines);
    let texts: Vec<&str> = found[0].evidence.iter().map(|one| &*one.text).collect();
    assert_eq!(texts.len(), 16);
    assert_eq!((texts[0], texts[15]), ("report 0", "report 39"), "the first and the last ones");
    assert_eq!(found[0].phase(Phase::Decided), Some(Duration::from_secs(1)));
}

#[test]
fn a_filter_selects_by_end_group_and_node() {
    let found = changes(&[run(0, false), begun(1_000), done(61_000)]);
    let takes = |filter: Filter| filter.takes(&found[0]);
    let since = |ms: u64| Filter { since_ms: Some(1_800_000_000_000 + ms), ..Filter::default() };
    assert!(takes(Filter::default()) && takes(since(60_000)) && !takes(since(61_001)));
    let group = |name: &str| Filter { group: name.parse().ok(), ..Filter::default() };
    assert!(takes(group("a")) && !takes(group("b")));
    let of = |id| Filter { node: Some(node(id)), ..Filter::default() };
    assert!(takes(of(PEER)) && takes(of(ME)) && !takes(of("i-0000000c")));
}

#[test]
fn the_lines_around_a_change_are_those_of_its_boot_with_the_run_before_them() {
    let earlier = line(1_500, run(0, false).fact);
    let mut other_boot = begun(199_000);
    other_boot.wall_ms -= 86_400_000;
    let lines = [
        Line { wall_ms: earlier.wall_ms - 86_400_000, ..earlier },
        other_boot,
        run(100_000, false),
        begun(200_000),
        done(200_500),
        event(300_000, EventKind::HostDrift, Level::Warning, "late"),
    ];
    let found = changes(&lines);
    let near: Vec<u128> =
        around(&lines, &found[1]).iter().map(|line| line.at.since_boot().as_millis()).collect();
    assert_eq!(near, [100_000, 200_000, 200_500]);
}

#[test]
fn the_lines_since_a_time_are_those_of_the_last_boot() {
    let mut next_boot = run(50, false);
    if let Fact::Run(run) = &mut next_boot.fact {
        run.boot = "two".to_owned();
    }
    next_boot.wall_ms += 10_000;
    let after = Line { wall_ms: next_boot.wall_ms + 50, ..begun(100) };
    let lines = [run(0, false), begun(2_000), next_boot, after];
    let shown = |ms: u64| -> Vec<u128> {
        let shown = since(&lines, 1_800_000_000_000 + ms);
        shown.iter().map(|line| line.at.since_boot().as_millis()).collect()
    };
    assert_eq!(shown(0), [50, 100]);
    assert_eq!(shown(10_060), [50, 100], "with the line that says who wrote them");
    assert_eq!(shown(20_000), [50]);
    assert_eq!(since(&[], 0), Vec::<&Line>::new());
}

#[test]
fn the_page_of_a_recording_is_well_formed_and_asks_for_nothing() {
    let story = recorded(HARD_KILL).story("A failure", None, None).unwrap();
    let page = page(&story);
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&page, options).unwrap();
    let addresses: Vec<&str> = page.match_indices("://").map(|(at, _)| &page[..at]).collect();
    assert!(addresses.iter().all(|before| before.ends_with("xmlns=\"http")), "a link or a request");
    let of_class = |class: &str| {
        let has = |one: &roxmltree::Node<'_, '_>| {
            one.attribute("class").is_some_and(|all| all.split(' ').any(|one| one == class))
        };
        document.descendants().filter(has).count()
    };
    assert_eq!(of_class("change"), 3);
    assert!(of_class("span") > 10 && of_class("mark") > 0);
    for text in ["Nodes", "Routes and addresses", "Evidence", "API calls", "heartbeats from nat-a"]
    {
        let found = document.descendants().any(|one| one.text() == Some(text));
        assert!(found, "{text} is missing");
    }
    let forbidden = ["script", "link", "img", "iframe", "object"];
    assert!(document.descendants().all(|one| !forbidden.contains(&one.tag_name().name())));
}

#[test]
fn hostile_text_stays_text() {
    let evil = "</div><script>alert(1)</script>\" onload=\"x\u{202e}\u{0}&amp;";
    let lines = [run(0, false), event(1_000, EventKind::HostDrift, Level::Alert, evil)];
    let lines: Vec<&Line> = lines.iter().collect();
    let page = page(&Story::of(evil, &lines, Vec::new()).unwrap());
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&page, options).unwrap();
    let names =
        |name: (&str, &str)| document.descendants().filter(|one| one.has_tag_name(name)).count();
    let attributes = document.descendants().flat_map(|one| one.attributes());
    assert_eq!(names(("http://www.w3.org/1999/xhtml", "script")), 0);
    assert_eq!(attributes.filter(|one| one.name() == "onload").count(), 0);
    assert!(page.contains("&#60;script&#62;") && !page.contains('\u{202e}'));
}

#[test]
fn a_story_shows_states_and_holders_as_spans() {
    let suspected = "suspected (was alive): heartbeat 450 ms ago";
    let lines = [
        run(0, false),
        event(1_000, EventKind::Verdict, Level::Warning, suspected),
        begun(1_100),
        call(1_500, 300, "ok"),
        done(2_000),
        event(5_000, EventKind::HostDrift, Level::Warning, "the end"),
    ];
    let refs: Vec<&Line> = lines.iter().collect();
    let story = Story::of("it", &refs, changes(&lines)).unwrap();
    let lane = |kind, name: &str| {
        let is_it = |lane: &&Lane| lane.kind == kind && lane.name == name;
        let lane = story.lanes.iter().find(is_it).unwrap();
        let ms = |at: Time| at.since_boot().as_millis();
        lane.spans.iter().map(|one| (ms(one.from), ms(one.to), one.tone)).collect::<Vec<_>>()
    };
    let states = [(0, 1_000, Tone::Good), (1_000, 5_000, Tone::Doubt)];
    assert_eq!(lane(LaneKind::Node, "nat-a"), states);
    let holders = [(0, 1_100, Tone::Plain), (1_100, 2_000, Tone::Busy), (2_000, 5_000, Tone::Good)];
    assert_eq!(lane(LaneKind::Group, "a"), holders);
    assert_eq!(lane(LaneKind::Call, "ReplaceRoute"), [(1_200, 1_500, Tone::Good)]);
}

#[test]
fn every_time_of_the_wall_clock_has_a_text() {
    assert_eq!(wall_text(1_800_000_000_123), "2027-01-15T08:00:00.123Z");
    assert!(wall_text(u64::MAX).starts_with("9999-12-31"));
}

proptest::proptest! {
    #[test]
    fn lines_of_any_order_and_time_make_changes_and_a_page(
        facts in proptest::collection::vec(
            (proptest::num::u64::ANY, proptest::num::u64::ANY, 0..9_u8), 1..60,
        ),
    ) {
        let repair = |ms, kind| event(ms, kind, Level::Alert, "stopping it");
        let lines: Vec<Line> = facts.into_iter().map(|(wall_ms, ms, kind)| {
            let small = ms % 1_000_000;
            let made = match kind {
                0 => run(small, ms % 2 == 0),
                1 => event(small, EventKind::Verdict, Level::Warning, "sick (was alive)"),
                2 => event(small, EventKind::Verdict, Level::Info, "alive (was sick)"),
                3 => begun(small),
                4 => done(small),
                5 => call(small, ms % 10_000_000, "ok"),
                6 => proof(small),
                7 => repair(small, EventKind::RepairStop),
                _ => repair(small, EventKind::RepairStart),
            };
            // Some lines have times that no clock shows.
            if ms % 7 == 0 { Line { wall_ms, at: Time::from_millis(ms), ..made } } else { made }
        }).collect();
        let found = changes(&lines);
        for change in &found {
            proptest::prop_assert!(change.phases.iter().all(|one| one.after <= change.took));
            proptest::prop_assert!(change.phases.is_sorted_by_key(|one| one.phase));
            let near = around(&lines, change);
            if let Some(story) = Story::of("near", &near, vec![change.clone()]) {
                proptest::prop_assert!(!page(&story).is_empty());
            }
        }
        let refs: Vec<&Line> = lines.iter().collect();
        let text = page(&Story::of("all", &refs, found).unwrap());
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        proptest::prop_assert!(roxmltree::Document::parse_with_options(&text, options).is_ok());
    }
}

#[test]
fn a_move_to_the_fallback_names_the_gateway_and_the_way_back_the_node() {
    let ended = |ms: u64, text: &str| {
        let mut line = event(ms, EventKind::Fallback, Level::Info, text);
        if let Fact::Event(event) = &mut line.fact {
            event.took = Some(Duration::from_secs(1));
        }
        line
    };
    let warns = |ms: u64, text: &str| event(ms, EventKind::Fallback, Level::Warning, text);
    let there = format!("moving it to its fallback (from {PEER} to nat-0123abcd): no node serves");
    let back = format!("taking it back from its fallback (from nowhere to {ME}): it is fit");
    let found = changes(&[
        run(0, false),
        warns(1_000, &there),
        ended(2_000, "moved to its fallback"),
        event(2_000, EventKind::Fallback, Level::Alert, "its routes are at its fallback"),
        warns(60_000, &back),
        ended(61_000, "taken back"),
    ]);
    let [away, home] = &found[..] else { panic!("{found:?}") };
    assert_eq!((away.kind, away.result), (ChangeKind::Fallback, ChangeResult::Done));
    assert_eq!((away.gateway.as_deref(), &away.to), (Some("nat-0123abcd"), &None));
    assert_eq!(
        away.headline(ToString::to_string),
        format!("{ME} gives group a to nat-0123abcd, its fallback: done in 1 s")
    );
    assert_eq!((home.kind, home.result), (ChangeKind::Return, ChangeResult::Done));
    assert_eq!((&home.gateway, &home.to), (&None, &Some(node(ME))));
}
