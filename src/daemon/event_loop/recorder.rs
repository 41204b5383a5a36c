//! Writes the recording of a run (`natha monitor --record FILE`).
//!
//! The loop only copies what passes and puts it into a bounded queue; a thread of its own makes
//! lines of it and writes them. Whatever goes wrong there ends the recording, not the monitor.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use crate::failover::{Action, Input};
use crate::record::{Header, Turn, Writer};
use crate::types::Time;

/// Turns that may wait for the disk: about half a minute of a cluster of two.
const CAPACITY: usize = 1024;
/// Kept free for the last line.
const LAST_LINE: u64 = 256;
/// How long the end of the monitor waits for the last lines.
const FINISH_LIMIT: Duration = Duration::from_secs(1);
/// Numbers that are tried where a file of the given name is there already.
const NUMBERS: std::ops::RangeInclusive<u32> = 1..=9;

/// The loop's side.
#[derive(Debug)]
pub(crate) struct Recorder {
    inputs: Vec<Input>,
    actions: Vec<Action>,
    /// None once the recording has ended.
    queue: Option<SyncSender<Turn>>,
    overrun: Arc<AtomicBool>,
    finished: Receiver<()>,
}

impl Recorder {
    /// Creates the file and the thread that writes it: nothing else may exist by this name, so one
    /// that does gets a number after it. `limit` is in bytes.
    ///
    /// # Errors
    /// Where no file can be created.
    pub(crate) fn start(path: &Path, limit: u64, header: &Header) -> io::Result<(Self, PathBuf)> {
        let (file, path) = create(path)?;
        let (queue, turns) = sync_channel(CAPACITY);
        let (tell_finished, finished) = sync_channel(1);
        let overrun = Arc::new(AtomicBool::new(false));
        let (writer, first) = Writer::begin(header);
        let mut tape = Tape { file: BufWriter::new(file), writer, left: limit };
        let (too_slow, shown) = (overrun.clone(), path.clone());
        let body = move || {
            let ended = tape.run(&first, &turns, &too_slow);
            // From here on the loop finds nobody to take its turns.
            drop(turns);
            let why = match ended {
                Ok(Ending::Monitor) => None,
                Ok(ending) => Some(ending.words().to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = why {
                tracing::warn!(file = %shown.display(), "the recording ends: {why}");
            }
            // The loop may have ended without waiting.
            let _ = tell_finished.send(());
        };
        std::thread::Builder::new().name("natha-record".to_owned()).spawn(body)?;
        let (inputs, actions) = (Vec::new(), Vec::new());
        Ok((Self { inputs, actions, queue: Some(queue), overrun, finished }, path))
    }

    /// Notes what the machine is about to be told.
    pub(crate) fn input(&mut self, input: &Input) {
        if self.queue.is_some() {
            self.inputs.push(input.clone());
        }
    }

    /// Notes what the machine wants done.
    pub(crate) fn action(&mut self, action: &Action) {
        if self.queue.is_some() {
            self.actions.push(action.clone());
        }
    }

    /// Hands the turn over. Where the thread does not keep up, the recording ends: one with a gap
    /// could not be replayed.
    pub(crate) fn turn(&mut self, now: Time) {
        let Some(queue) = &self.queue else { return };
        let inputs = std::mem::take(&mut self.inputs);
        let actions = std::mem::take(&mut self.actions);
        if let Err(error) = queue.try_send(Turn { at: now, inputs, tick: true, actions }) {
            let full = matches!(error, std::sync::mpsc::TrySendError::Full(_));
            self.overrun.store(full, Ordering::Release);
            self.queue = None;
        }
    }

    /// Ends the recording and waits a little for the last lines.
    pub(crate) fn finish(self) {
        drop(self.queue);
        // A disk that hangs must not keep the monitor from its end.
        let _ = self.finished.recv_timeout(FINISH_LIMIT);
    }
}

/// Creates a file that was not there, for its owner only.
fn create(path: &Path) -> io::Result<(File, PathBuf)> {
    let numbered = NUMBERS.map(|number| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    for path in std::iter::once(path.to_owned()).chain(numbered) {
        match options.open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let what = format!("there are {} recordings of this name already", 1 + NUMBERS.count());
    Err(io::Error::new(ErrorKind::AlreadyExists, what))
}

/// Why a recording was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Monitor,
    Overrun,
    Full,
}

impl Ending {
    fn words(self) -> &'static str {
        match self {
            Self::Monitor => "the monitor ended",
            Self::Overrun => "the disk could not keep up with the monitor",
            Self::Full => "the file has reached its size limit (record.max_mib)",
        }
    }
}

/// The thread's side.
struct Tape<W: Write> {
    file: W,
    writer: Writer,
    /// Bytes that may still be written.
    left: u64,
}

impl<W: Write> Tape<W> {
    /// Writes until the loop has no more turns or no more may be written.
    fn run(
        &mut self,
        first: &str,
        turns: &Receiver<Turn>,
        overrun: &AtomicBool,
    ) -> io::Result<Ending> {
        let mut ending = Ending::Full;
        if self.write(first)? {
            ending = loop {
                let Ok(turn) = self.next(turns)? else {
                    let full = overrun.load(Ordering::Acquire);
                    break if full { Ending::Overrun } else { Ending::Monitor };
                };
                let line = self.writer.turn(&turn);
                if !self.write(&line)? {
                    break Ending::Full;
                }
            };
        }
        let last = self.writer.end(ending.words());
        self.file.write_all(last.as_bytes())?;
        self.file.flush()?;
        Ok(ending)
    }

    /// The next turn. Before it waits for one, everything so far is in the file.
    fn next(&mut self, turns: &Receiver<Turn>) -> io::Result<Result<Turn, RecvError>> {
        match turns.try_recv() {
            Ok(turn) => Ok(Ok(turn)),
            Err(TryRecvError::Disconnected) => Ok(Err(RecvError)),
            Err(TryRecvError::Empty) => {
                self.file.flush()?;
                Ok(turns.recv())
            }
        }
    }

    /// Writes a line; false where there is no room for it.
    fn write(&mut self, line: &str) -> io::Result<bool> {
        let length = line.len() as u64;
        if length + LAST_LINE > self.left {
            return Ok(false);
        }
        self.left -= length;
        self.file.write_all(line.as_bytes())?;
        Ok(true)
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
