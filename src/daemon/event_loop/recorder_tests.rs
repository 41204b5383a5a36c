use std::io;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::Failover;
use crate::record::{Entry, Reader};
use crate::types::{Fitness, Member, Roster, SessionId};

fn header() -> Header {
    let me = Member {
        id: "i-00000001".parse().unwrap(),
        interface: "eni-00000001".parse().unwrap(),
        address: [10, 0, 0, 1].into(),
        zone: None,
        name: None,
        public: None,
    };
    let roster = Roster { members: vec![me.clone()], groups: Vec::new() };
    Header::new(&me.id, SessionId(1), Failover::default(), 1, &roster, Time::default())
}

fn fitness() -> Input {
    Input::Fitness { fitness: Fitness::fit() }
}

/// A file's turns, and why it ends.
fn read(text: &str) -> (Vec<Turn>, Option<String>) {
    let mut lines = text.lines();
    let (mut reader, _) = Reader::begin(lines.next().unwrap()).unwrap();
    let (mut turns, mut end) = (Vec::new(), None);
    for line in lines {
        match reader.next(line).unwrap() {
            Entry::Turn(turn) => turns.push(turn),
            Entry::End(reason) => end = Some(reason),
        }
    }
    (turns, end)
}

fn read_file(path: &Path) -> (Vec<Turn>, Option<String>) {
    read(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn what_passes_is_in_the_file_of_the_owner_alone_when_the_monitor_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (mut recorder, file) = Recorder::start(&path, 1 << 20, &header()).unwrap();
    assert_eq!(file, path);
    recorder.input(&fitness());
    recorder.action(&Action::MayExit);
    recorder.turn(Time::from_millis(1));
    recorder.turn(Time::from_millis(2));
    recorder.finish();
    let (turns, end) = read_file(&path);
    let actions = vec![Action::MayExit];
    let first = Turn { at: Time::from_millis(1), inputs: vec![fitness()], tick: true, actions };
    assert_eq!(turns[0], first);
    assert_eq!(turns[1].inputs, []);
    assert_eq!(end.as_deref(), Some("the monitor ended"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn no_file_is_overwritten_and_their_number_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    std::fs::write(&path, "precious").unwrap();
    for number in 1..=9 {
        let (recorder, file) = Recorder::start(&path, 1 << 20, &header()).unwrap();
        recorder.finish();
        assert_eq!(file, directory.path().join(format!("run.jsonl.{number}")));
    }
    let error = Recorder::start(&path, 1 << 20, &header()).unwrap_err();
    assert!(error.to_string().contains("10 recordings of this name"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_full_file_ends_within_its_limit_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let limit = 4096;
    let (mut recorder, _) = Recorder::start(&path, limit, &header()).unwrap();
    for ms in 0..1000 {
        recorder.input(&fitness());
        recorder.turn(Time::from_millis(ms));
    }
    recorder.finish();
    let (turns, end) = read_file(&path);
    assert!(!turns.is_empty() && turns.len() < 1000);
    assert!(end.unwrap().contains("size limit"));
    assert!(std::fs::metadata(&path).unwrap().len() <= limit);
}

/// A disk that takes some writes, then fails.
struct Disk {
    writes: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes = self.writes.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_fails_ends_the_recording_with_its_error() {
    let (queue, turns) = sync_channel(4);
    for _ in 0..4 {
        let at = Time::default();
        queue.send(Turn { at, inputs: Vec::new(), tick: true, actions: Vec::new() }).unwrap();
    }
    let (writer, first) = Writer::begin(&header());
    let mut tape = Tape { file: Disk { writes: 2 }, writer, left: 1 << 20 };
    let error = tape.run(&first, &turns, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_queue_that_is_full_ends_the_recording_and_the_loop_goes_on() {
    let (queue, turns) = sync_channel(2);
    let overrun = Arc::new(AtomicBool::new(false));
    let (_finished, finished) = sync_channel(1);
    let mut recorder = Recorder {
        inputs: Vec::new(),
        actions: Vec::new(),
        queue: Some(queue),
        overrun: overrun.clone(),
        finished,
    };
    // Nobody reads: the third turn finds no room, and all later ones cost nothing.
    for ms in 0..100 {
        recorder.input(&fitness());
        recorder.turn(Time::from_millis(ms));
    }
    assert!(recorder.queue.is_none() && recorder.inputs.is_empty());
    let mut written = Vec::new();
    let (writer, first) = Writer::begin(&header());
    let mut tape = Tape { file: &mut written, writer, left: 1 << 20 };
    assert_eq!(tape.run(&first, &turns, &overrun).unwrap(), Ending::Overrun);
    let (turns, end) = read(&String::from_utf8(written).unwrap());
    assert_eq!(turns.len(), 2);
    assert!(end.unwrap().contains("could not keep up"));
}
