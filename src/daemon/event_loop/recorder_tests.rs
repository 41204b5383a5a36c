use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;

use flate2::read::GzDecoder;

use super::*;
use crate::config::Timing;
use crate::record::{RecordedLine, RecordingReader};
use crate::types::{Fitness, Member, Roster, SessionId};

fn header() -> Header {
    let me = Member {
        id: "i-00000001".parse().unwrap(),
        interface: "eni-00000001".parse().unwrap(),
        address: [10, 0, 0, 1].into(),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: std::collections::BTreeMap::new(),
    };
    let roster = Roster { members: vec![me.clone()], groups: Vec::new() };
    Header::new(&me.id, SessionId(1), Timing::default(), 1, &roster, Time::default())
}

fn fitness() -> Input {
    Input::Fitness { fitness: Fitness::fit() }
}

fn turn(ms: u64) -> Turn {
    Turn { at: Time::from_millis(ms), inputs: vec![fitness()], tick: true, actions: Vec::new() }
}

/// The turns of a recording and the reason why it ended, as far as it can be decompressed.
fn read(bytes: &[u8]) -> (Vec<Turn>, Option<String>) {
    let mut text = String::new();
    // The error of a stream that was cut short; the text up to there has been read.
    let _ = GzDecoder::new(bytes).read_to_string(&mut text);
    let mut lines = text.lines();
    let (mut reader, _) = RecordingReader::begin(lines.next().unwrap()).unwrap();
    let (mut turns, mut end) = (Vec::new(), None);
    for line in lines {
        match reader.next(line).unwrap() {
            RecordedLine::Turn(turn) => turns.push(turn),
            RecordedLine::End(reason) => end = Some(reason),
        }
    }
    (turns, end)
}

fn read_file(path: &Path) -> (Vec<Turn>, Option<String>) {
    read(&std::fs::read(path).unwrap())
}

#[test]
fn inputs_and_actions_are_in_the_file_when_the_monitor_exits_and_only_its_owner_reads_it() {
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
    assert_eq!(end.as_deref(), Some("the monitor exited"));
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
    assert!(error.to_string().contains("already 10 recordings of this name"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

/// Writes these turns as the thread does; the file and why it ended.
fn written(turns: impl IntoIterator<Item = Turn>, limit: u64) -> (Vec<u8>, Ending) {
    let turns: Vec<Turn> = turns.into_iter().collect();
    let (queue, receiver) = sync_channel(turns.len());
    for turn in turns {
        queue.send(turn).unwrap();
    }
    drop(queue);
    let mut bytes = Vec::new();
    let mut file = CompressedFile::new(&mut bytes, limit);
    let ending = file.run(&header(), &receiver, &AtomicBool::new(false)).unwrap();
    drop(file);
    (bytes, ending)
}

/// A turn that hardly compresses.
fn noisy_turn(ms: u64) -> Turn {
    let word = |n: u64| format!("{:016x}", (ms * 8 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let fault = crate::types::CloudFault {
        kind: crate::types::CloudFaultKind::Other,
        call: "ReplaceRoute".to_owned(),
        message: (0..8).map(word).collect(),
    };
    let outcome = crate::failover::Outcome::Written { result: Err(fault) };
    let input = Input::Done { id: crate::failover::ActionId(ms), outcome };
    Turn { inputs: vec![input], ..turn(ms) }
}

#[test]
fn a_full_file_ends_close_to_its_limit_and_not_above_it_and_says_so() {
    let plain = [4_096, 4_097].map(|limit| (turn as fn(u64) -> Turn, limit));
    let noisy = [4_096, 4_097, 10_000, 65_536].map(|limit| (noisy_turn as fn(u64) -> Turn, limit));
    for (make, limit) in plain.into_iter().chain(noisy) {
        let (bytes, ending) = written((0..20_000).map(make), limit);
        assert_eq!(ending, Ending::Full);
        let (turns, end) = read(&bytes);
        assert!(turns.len() > 10 && turns.len() < 20_000, "{}", turns.len());
        assert!(turns.iter().enumerate().all(|(n, turn)| *turn == make(n as u64)));
        assert!(end.unwrap().contains("size limit"));
        let size = bytes.len() as u64;
        assert!(size <= limit && size + 1_500 > limit, "{size} of {limit}");
    }
}

#[test]
fn a_limit_that_has_no_room_for_the_header_leaves_the_reason() {
    let (bytes, ending) = written([turn(1)], 600);
    assert_eq!(ending, Ending::Full);
    assert!(bytes.len() <= 600);
    let mut text = String::new();
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.contains("size limit"), "{text}");
}

/// A file that notes its size at each flush.
#[derive(Default)]
struct Flushed {
    bytes: Vec<u8>,
    sizes: Vec<usize>,
}

impl Write for Flushed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sizes.push(self.bytes.len());
        Ok(())
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_lacks_at_most_the_last_second() {
    let all: Vec<Turn> = (1..=200).map(|n| noisy_turn(n * 50)).collect();
    let (queue, receiver) = sync_channel(all.len());
    for turn in &all {
        queue.send(turn.clone()).unwrap();
    }
    drop(queue);
    let mut file = CompressedFile::new(Flushed::default(), 1 << 20);
    file.run(&header(), &receiver, &AtomicBool::new(false)).unwrap();
    let Flushed { bytes, sizes } = &file.gzip.get_ref().file;
    // The header, one for each of ten seconds, and the end.
    assert_eq!(sizes.len(), 12);
    for (second, size) in sizes[..11].iter().enumerate() {
        assert_eq!(read(&bytes[..*size]).0, all[..second * 20]);
    }
    let last_second = sizes[9]..bytes.len();
    for size in last_second.step_by(7) {
        let mut text = String::new();
        let _ = GzDecoder::new(&bytes[..size]).read_to_string(&mut text);
        assert!(text.matches('\n').count() > 9 * 20, "cut off at {size} of {}", bytes.len());
    }
}

#[test]
fn the_last_turn_before_a_quiet_time_is_flushed() {
    struct Notify(SyncSender<()>);

    impl Write for Notify {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.send(()).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }
    }

    let (queue, turns) = sync_channel(1);
    let (notify, flushed) = sync_channel(8);
    let thread = std::thread::spawn(move || {
        let mut file = CompressedFile::new(Notify(notify), 1 << 20);
        file.run(&header(), &turns, &AtomicBool::new(false)).unwrap()
    });
    let patience = Duration::from_secs(20);
    flushed.recv_timeout(patience).expect("the header");
    queue.send(turn(1)).unwrap();
    flushed.recv_timeout(patience).expect("the turn, though no other follows");
    drop(queue);
    assert_eq!(thread.join().unwrap(), Ending::Monitor);
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
    for second in 1..=4 {
        queue.send(turn(second * 1_000)).unwrap();
    }
    let mut file = CompressedFile::new(Disk { writes: 4 }, 1 << 20);
    let error = file.run(&header(), &turns, &AtomicBool::new(false)).unwrap_err();
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
    // Nothing reads the queue: the third turn finds no room, and all later ones cost nothing.
    for ms in 0..100 {
        recorder.input(&fitness());
        recorder.turn(Time::from_millis(ms));
    }
    assert!(recorder.queue.is_none() && recorder.inputs.is_empty());
    let mut written = Vec::new();
    let mut file = CompressedFile::new(&mut written, 1 << 20);
    assert_eq!(file.run(&header(), &turns, &overrun).unwrap(), Ending::Overrun);
    drop(file);
    let (turns, end) = read(&written);
    assert_eq!(turns.len(), 2);
    assert!(end.unwrap().contains("could not keep up"));
}
