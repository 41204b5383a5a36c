use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::{
    Header, RecordedLine, RecordingReader, Replay, Timeline, Turn, clock, difference, end_line,
};
use crate::config::Timing;
use crate::failover::{Action, ActionId, Command, Event, EventKind, Input, Level, Outcome, Routes};
use crate::types::{
    Beat, Claim, CloudFault, CloudFaultKind, Evidence, Fault, Fitness, Group, Hears, InstanceId,
    Location, Member, PowerReport, Resource, Roster, RouteEntry, RouteTarget, RouteVia, RouteWrite,
    RouteWriteVerb, SessionId, StopOrigin, Time,
};

const START: Time = Time::from_millis(5_000);

fn id(n: u32) -> InstanceId {
    format!("i-{n:08x}").parse().unwrap()
}

fn roster() -> Roster {
    let member = |n: u32| Member {
        id: id(n),
        interface: format!("eni-{n:08x}").parse().unwrap(),
        address: [10, 0, 0, u8::try_from(n).unwrap()].into(),
        zone: Some("eu-west-1a".parse().unwrap()),
        name: Some(format!("nat-{n}")),
        public: None,
        loses_public: false,
        landings: BTreeMap::new(),
    };
    let group = |n: u32| Group {
        name: format!("g{n}").parse().unwrap(),
        home: Some(id(n)),
        resources: vec![Resource::DefaultRoute {
            table: format!("rtb-{n:08x}").parse().unwrap(),
            cidr: "0.0.0.0/0".parse().unwrap(),
        }],
        prefer: Vec::new(),
        traits: crate::types::Traits::default(),
        egress: crate::types::Egress::default(),
        networks: Vec::new(),
    };
    Roster { members: vec![member(1), member(2)], groups: vec![group(1), group(2)] }
}

fn header() -> Header {
    let session = SessionId(u64::MAX - 1);
    Header::new(&id(1), session, Timing::default(), u64::MAX, &roster(), START)
}

fn beat(age_ms: u16) -> Beat {
    Beat {
        settings_digest: u64::MAX,
        hears: vec![Hears {
            node: id(1),
            session: SessionId(7),
            age_ms,
            failed: false,
            stopped: false,
        }],
        holds: vec![Claim { group: "g2".parse().unwrap(), generation: 3, to: None }],
        ..Beat::default()
    }
}

#[test]
fn a_machine_begins_with_the_fitness_in_the_header() {
    let fitness = Fitness::unproven(Evidence::Transit);
    let with = Header { fitness: fitness.clone(), ..header() };
    assert_eq!(with.machine().fitness(), &fitness);
    let (_, read) = RecordingReader::begin(&with.to_line()).unwrap();
    assert_eq!(read, with);
    assert!(!header().to_line().contains("\"fitness\""), "as before the field existed");
}

#[test]
fn a_machine_begins_with_the_peers_that_the_header_says_were_heard() {
    let with = Header { heard: [id(2)].into(), heard_long_ago: [id(1)].into(), ..header() };
    assert_eq!(with.machine().heard(), &with.heard);
    let (_, read) = RecordingReader::begin(&with.to_line()).unwrap();
    assert_eq!(read, with);
    assert!(!header().to_line().contains("\"heard"), "as before the fields existed");
}

fn heard(age_ms: u16, at: Time) -> Input {
    Input::Beat { from: id(2), session: SessionId(9), beat: beat(age_ms), at }
}

fn routes(interface: &str) -> Outcome {
    let target = RouteTarget::Interface(interface.parse().unwrap());
    let entry = RouteEntry { target, blackhole: true };
    let routes = Routes(BTreeMap::from([("0.0.0.0/0".parse().unwrap(), entry)]));
    Outcome::Routes { result: Ok(BTreeMap::from([("rtb-00000001".parse().unwrap(), routes)])) }
}

/// A resource that is not a route.
fn resource() -> Resource {
    let (table, address) = ("rtb-00000001".parse().unwrap(), [192, 0, 2, 9].into());
    Resource::Vip { table, address }
}

/// Every kind of input.
fn inputs(at: Time) -> Vec<Input> {
    let fault = CloudFault {
        kind: CloudFaultKind::Throttled,
        call: "ReplaceRoute".to_owned(),
        message: "not so fast".to_owned(),
    };
    let power =
        PowerReport { state: None, stop_origin: StopOrigin::Guest, impaired: true, reason: None };
    let done = |n, outcome| Input::Done { id: ActionId(n), outcome };
    vec![
        heard(3, at - Duration::from_nanos(70_001)),
        heard(4, at),
        heard(u16::MAX, at + Duration::from_nanos(1)),
        Input::Echo { from: id(2), at: Time::default() },
        Input::Fitness { fitness: Fitness::unfit(Fault::Uplink) },
        Input::Answered { evidence: Evidence::Transit, sent: at },
        Input::ServiceChecks { failing: BTreeSet::from(["g1".parse().unwrap()]) },
        Input::Roster { roster: roster() },
        done(1, routes("eni-00000001")),
        done(2, routes("eni-00000001")),
        done(3, routes("eni-00000002")),
        done(4, Outcome::Power { result: Ok(power) }),
        done(5, Outcome::Written { result: Err(fault) }),
        done(6, Outcome::Written { result: Ok(()) }),
        done(7, Outcome::Holders { result: Ok(vec![(resource(), Location::Vacant)]) }),
        done(u64::MAX, Outcome::Expired),
        Input::Command { command: Command::Leave },
        Input::Command {
            command: Command::HandOver { group: "g1".parse().unwrap(), to: Some(id(2)) },
        },
    ]
}

/// Every kind of action.
fn actions(at: Time) -> Vec<Action> {
    let write = RouteWrite {
        verb: RouteWriteVerb::Create,
        table: "rtb-00000001".parse().unwrap(),
        cidr: "0.0.0.0/0".parse().unwrap(),
        via: RouteVia::Interface("eni-00000001".parse().unwrap()),
    };
    let not_after = at + Duration::from_nanos(300_000_001);
    let event = |took, at| Event {
        at,
        level: Level::Alert,
        kind: EventKind::Foreign,
        node: None,
        group: Some("g1".parse().unwrap()),
        text: "what \"happened\"".to_owned(),
        took,
    };
    let send = |to, age| Action::SendBeat { to, beat: beat(age) };
    vec![
        send(id(2), 1),
        send(id(3), 1),
        send(id(4), 2),
        Action::SendEcho { to: id(2) },
        Action::SendEcho { to: id(3) },
        send(id(2), 2),
        Action::SendEcho { to: id(2) },
        Action::Probe,
        Action::ReadRoutes { id: ActionId(1), tables: vec!["rtb-00000001".parse().unwrap()] },
        Action::ReadHolders { id: ActionId(8), resources: vec![resource()] },
        Action::ReadPower { id: ActionId(2), node: id(2) },
        Action::WriteRoute { id: ActionId(3), write, not_after },
        Action::Stop { id: ActionId(4), node: id(2), force: true, not_after: at },
        Action::Start { id: ActionId(5), node: id(2), not_after: START },
        Action::Remember { id: ActionId(6), stopped: BTreeSet::from([id(2)]) },
        Action::Report { event: event(None, at) },
        Action::Report { event: event(Some(Duration::from_nanos(1_234_567)), START) },
        Action::MayExit,
    ]
}

#[test]
fn every_turn_is_read_as_it_was_written() {
    let mut header = header();
    header.stopped = BTreeSet::from([id(2)]);
    header.why = Some("a reason".to_owned());
    header.timing.interval = Duration::from_nanos(100_000_001);
    let (mut reader, read) = RecordingReader::begin(&header.to_line()).unwrap();
    assert_eq!(read, header);
    for step in [0, 1, 1, 999_999_999_999] {
        let at = START + Duration::from_nanos(step);
        for tick in [true, false] {
            let turn = Turn { at, inputs: inputs(at), tick, actions: actions(at) };
            let line = turn.to_line();
            assert_eq!(reader.next(&line).unwrap(), RecordedLine::Turn(turn), "{line}");
        }
    }
    let line = end_line("done \"well\"");
    assert_eq!(reader.next(&line).unwrap(), RecordedLine::End("done \"well\"".to_owned()));
    assert!(reader.next(&line).is_err(), "a line after the end");
}

#[test]
fn a_turn_is_written_without_what_is_empty() {
    let turn = Turn { at: START, inputs: Vec::new(), tick: true, actions: Vec::new() };
    assert_eq!(turn.to_line(), "{\"turn\":{\"at_ns\":5000000000}}\n");
    let inputs = vec![Input::Echo { from: id(2), at: START - Duration::from_nanos(1) }];
    let turn = Turn { inputs, tick: false, actions: vec![Action::MayExit], ..turn };
    let line = "{\"turn\":{\"at_ns\":5000000000,\"inputs\":[{\"input\":\"echo\",\
                \"from\":\"i-00000002\",\"at_ns\":4999999999}],\"tick\":false,\
                \"actions\":[{\"action\":\"may-exit\"}]}}\n";
    assert_eq!(turn.to_line(), line);
    assert_eq!(end_line("done"), "{\"end\":\"done\"}\n");
}

#[test]
fn a_foreign_line_and_another_format_are_refused_with_the_reason() {
    let first = header().to_line();
    let future = first.replace("\"natha_recording\":2", "\"natha_recording\":3,\"new\":0");
    let foreign = first.replace("\"me\":\"i-00000001\"", "\"me\":\"i-00000009\"");
    let endless = first.replace("\"interval\":\"90ms\"", "\"interval\":\"20years\"");
    let unknown = first.replace("\"adopt\":false", "\"adopt\":false,\"adapt\":1");
    for (line, reason) in [
        ("", "not a recording made by natha"),
        ("{\"a\":1}", "not a recording made by natha"),
        (&future, "the recording has format 3, written by natha 0.1.0. This natha (0.1.0) reads"),
        (&foreign, "does not contain this node, i-00000009"),
        (&endless, "interval is longer than a year"),
        (&unknown, "unknown field `adapt`"),
    ] {
        let error = RecordingReader::begin(line).unwrap_err();
        assert_eq!(error.line, 1);
        assert!(error.reason.contains(reason), "{error}");
    }
}

#[test]
fn a_setting_that_a_recording_lacks_has_its_default() {
    let first = header().to_line();
    let older = first.replace(",\"adopt\":false", "").replace(",\"hold\":\"30s\"", "");
    assert_ne!(older, first);
    assert_eq!(RecordingReader::begin(&older).unwrap().1, header());
}

#[test]
fn a_damaged_line_is_named_with_the_reason() {
    for (line, reason) in [
        ("{\"turn\":{\"at_ns\":1", "EOF"),
        ("{}", "expected"),
        ("{\"turn\":{},\"end\":\"x\"}", "missing field `at_ns`"),
        ("{\"news\":1}", "unknown variant `news`, expected `turn` or `end`"),
        ("{\"turn\":{\"at_ns\":1}}", "back in time"),
        ("{\"turn\":{\"at_ns\":-1}}", "invalid value: integer `-1`, expected u64"),
        ("{\"turn\":{\"at_ns\":9000000000,\"input\":[]}}", "unknown field `input`"),
        (
            "{\"turn\":{\"at_ns\":9000000000,\"inputs\":[{\"input\":\"news\"}]}}",
            "unknown variant `news`",
        ),
        (
            "{\"turn\":{\"at_ns\":9000000000,\"inputs\":[{\"input\":\"echo\",\
             \"from\":\"i-00000002\",\"at_ns\":1,\"ago\":1}]}}",
            "unknown field `ago`",
        ),
        (
            "{\"turn\":{\"at_ns\":9000000000,\"actions\":[{\"action\":\"send-echo\",\
             \"to\":\"i-00000002\",\"at\":1}]}}",
            "unknown field `at`",
        ),
    ] {
        let (mut reader, _) = RecordingReader::begin(&header().to_line()).unwrap();
        let error = reader.next(line).unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.reason.contains(reason), "{line}: {error}");
    }
}

/// The recording of a node whose peer is heard for two seconds and then falls silent.
fn silent_peer() -> (Header, Vec<Turn>) {
    let header = header();
    let mut machine = header.machine();
    let mut turns = Vec::new();
    let mut at = START;
    while at < START + Duration::from_secs(5) {
        let mut inputs = Vec::new();
        if at.since(START) < Duration::from_secs(2) {
            inputs.push(heard(3, at));
        }
        for input in &inputs {
            machine.handle(input.clone(), at);
        }
        machine.tick(at);
        let actions: Vec<Action> = std::iter::from_fn(|| machine.poll_action()).collect();
        turns.push(Turn { at, inputs, tick: true, actions });
        at = machine.next_deadline();
    }
    (header, turns)
}

#[test]
fn a_recording_replays_to_the_same_actions_and_a_changed_one_does_not() {
    let (header, turns) = silent_peer();
    let mut replay = Replay::new(&header);
    for turn in &turns {
        assert_eq!(difference(&turn.actions, &replay.turn(turn)), None);
    }
    let mut replay = Replay::new(&header);
    let without = turns.iter().map(|turn| Turn { inputs: Vec::new(), ..turn.clone() });
    let found = without.into_iter().find_map(|turn| difference(&turn.actions, &replay.turn(&turn)));
    assert!(matches!(found.unwrap().expected, Some(Action::Report { .. })));
}

#[test]
fn a_missing_and_an_additional_action_are_differences() {
    let all = actions(START);
    let (head, last) = all.split_at(all.len() - 1);
    let missing = difference(&all, head).unwrap();
    assert_eq!((missing.index, missing.expected, missing.got), (17, last.first().cloned(), None));
    let additional = difference(head, &all).unwrap();
    assert_eq!((additional.expected, additional.got), (None, last.first().cloned()));
    assert_eq!(difference(&all, &all), None);
}

#[test]
fn the_timeline_shows_the_verdict_and_folds_the_heartbeats() {
    let (header, turns) = silent_peer();
    let mut timeline = Timeline::new(&header, false);
    let mut replay = Replay::new(&header);
    let mut entries = Vec::new();
    for turn in &turns {
        let got = replay.turn(turn);
        entries.extend(timeline.turn(turn, &got, &replay));
    }
    entries.extend(timeline.close());
    let lines: Vec<String> =
        entries.iter().map(|one| format!("{} {}", clock(one.at), one.text)).collect();
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(has("first heartbeat from nat-2: fit"), "{lines:#?}");
    assert!(has("heartbeats from nat-2"), "{lines:#?}");
    assert!(has("warning: nat-2: suspected (was alive)"), "{lines:#?}");
    assert!(lines.len() < 15, "{lines:#?}");
    assert!(timeline.opening(&header).contains("nat-1: i-00000001, eni-00000001"));
}

/// Reads, replays and explains a text up to the first damaged line; the number of lines read.
fn replay_text(text: &str) -> usize {
    let mut lines = text.lines();
    let Ok((mut reader, header)) = RecordingReader::begin(lines.next().unwrap_or_default()) else {
        return 0;
    };
    let (mut replay, mut timeline) = (Replay::new(&header), Timeline::new(&header, true));
    for line in lines {
        let Ok(RecordedLine::Turn(turn)) = reader.next(line) else { break };
        let got = replay.turn(&turn);
        timeline.turn(&turn, &got, &replay);
    }
    reader.line()
}

proptest! {
    #[test]
    fn a_damaged_recording_is_an_error_and_never_a_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..128), 1..4),
    ) {
        let (header, turns) = silent_peer();
        let mut text = header.to_line();
        for turn in &turns[..20] {
            text.push_str(&turn.to_line());
        }
        let at = START + Duration::from_secs(2);
        text.push_str(&Turn { at, inputs: inputs(at), tick: true, actions: vec![] }.to_line());
        let mut bytes = text.into_bytes();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            // A digit for a digit keeps the line readable, and makes its numbers absurd.
            bytes[at] = if bytes[at].is_ascii_digit() { b'0' + byte % 10 } else { byte };
        }
        let read = replay_text(&String::from_utf8_lossy(&bytes));
        prop_assert!(read <= 22);
    }
}
