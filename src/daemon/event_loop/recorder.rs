//! Writes the recording of a run (`natha monitor --record FILE`).
//!
//! The event loop only copies inputs and actions into a bounded queue. A separate thread formats,
//! compresses and writes them. A failure there ends the recording, not the monitor.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::failover::{Action, Input};
use crate::record::{Header, Turn, end_line};
use crate::types::Time;

/// Turns that may wait for the disk: about half a minute of a cluster of two.
const CAPACITY: usize = 1024;
/// How much of a recording a crash may cost. Each flush costs about 100 bytes of the file.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Bytes reserved for the last line and the end of the gzip stream.
const RESERVED: u64 = 512;
/// How long the monitor, when it exits, waits for the last lines.
const FINISH_LIMIT: Duration = Duration::from_secs(1);
/// Numbers to try after the file name if the file exists.
const NUMBERS: std::ops::RangeInclusive<u32> = 1..=9;

/// The event loop's side.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// The inputs and actions of the turn so far.
    inputs: Vec<Input>,
    actions: Vec<Action>,
    /// None once the recording has ended.
    queue: Option<SyncSender<Turn>>,
    /// Whether the recording ended because the queue was full.
    overrun: Arc<AtomicBool>,
    finished: Receiver<()>,
}

impl Recorder {
    /// Creates the file and the thread that writes it, and returns the path of the file: if `path`
    /// exists, a number is appended. `limit` is the maximum size of the file in bytes.
    ///
    /// # Errors
    /// If the file or the thread cannot be created.
    pub(crate) fn start(path: &Path, limit: u64, header: &Header) -> io::Result<(Self, PathBuf)> {
        let (file, path) = create(path)?;
        let (queue, turns) = sync_channel(CAPACITY);
        let (notify_finished, finished) = sync_channel(1);
        let overrun = Arc::new(AtomicBool::new(false));
        let (header, mut file) = (header.clone(), CompressedFile::new(file, limit));
        let (too_slow, shown) = (overrun.clone(), path.clone());
        let body = move || {
            let ended = file.run(&header, &turns, &too_slow);
            // From here on the event loop fails to send, and so stops recording.
            drop(turns);
            let why = match ended {
                Ok(Ending::Monitor) => None,
                Ok(ending) => Some(ending.reason().to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = why {
                tracing::warn!(file = %shown.display(), "the recording has ended: {why}");
            }
            // The event loop may have exited without waiting.
            let _ = notify_finished.send(());
        };
        std::thread::Builder::new().name("natha-record".to_owned()).spawn(body)?;
        let (inputs, actions) = (Vec::new(), Vec::new());
        Ok((Self { inputs, actions, queue: Some(queue), overrun, finished }, path))
    }

    /// Records an input that the machine is about to get.
    pub(crate) fn input(&mut self, input: &Input) {
        if self.queue.is_some() {
            self.inputs.push(input.clone());
        }
    }

    /// Records an action that the machine has returned.
    pub(crate) fn action(&mut self, action: &Action) {
        if self.queue.is_some() {
            self.actions.push(action.clone());
        }
    }

    /// Queues the turn for writing. If the queue is full, the recording ends: one with a gap could
    /// not be replayed.
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

    /// Ends the recording and waits up to [`FINISH_LIMIT`] for the last lines.
    pub(crate) fn finish(self) {
        drop(self.queue);
        // A disk that hangs must not keep the monitor from exiting.
        let _ = self.finished.recv_timeout(FINISH_LIMIT);
    }
}

/// Creates a new file that only its owner can read.
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
    let what = format!("there are already {} recordings of this name", 1 + NUMBERS.count());
    Err(io::Error::new(ErrorKind::AlreadyExists, what))
}

/// Why a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Monitor,
    Overrun,
    Full,
}

impl Ending {
    fn reason(self) -> &'static str {
        match self {
            Self::Monitor => "the monitor exited",
            Self::Overrun => "the disk could not keep up with the monitor",
            Self::Full => "the file has reached its size limit (record.max_mib)",
        }
    }
}

/// The thread's side: a gzip stream of lines, limited in size.
struct CompressedFile<W: Write> {
    gzip: GzEncoder<Counted<W>>,
    /// The maximum size of the file in bytes.
    limit: u64,
    /// Uncompressed bytes since the last flush. The compressor may still hold them.
    pending: u64,
    /// The time of the turn that was last flushed.
    flushed: Time,
}

impl<W: Write> CompressedFile<W> {
    fn new(file: W, limit: u64) -> Self {
        let file = Counted { file, written: 0 };
        let gzip = GzEncoder::new(file, Compression::default());
        Self { gzip, limit, pending: 0, flushed: Time::default() }
    }

    /// Writes until the event loop hangs up or the size limit is reached.
    fn run(
        &mut self,
        header: &Header,
        turns: &Receiver<Turn>,
        overrun: &AtomicBool,
    ) -> io::Result<Ending> {
        let mut ending = Ending::Full;
        if self.write(&header.to_line())? {
            self.flush()?;
            self.flushed = header.start;
            ending = loop {
                let Some(turn) = self.next(turns)? else {
                    let full = overrun.load(Ordering::Acquire);
                    break if full { Ending::Overrun } else { Ending::Monitor };
                };
                if !self.write(&turn.to_line())? {
                    break Ending::Full;
                }
                if turn.at.since(self.flushed) >= FLUSH_EVERY {
                    self.flush()?;
                    self.flushed = turn.at;
                }
            };
        }
        self.gzip.write_all(end_line(ending.reason()).as_bytes())?;
        self.gzip.try_finish()?;
        self.gzip.get_mut().flush()?;
        Ok(ending)
    }

    /// The next turn; none once the event loop has hung up. Flushes while it waits.
    fn next(&mut self, turns: &Receiver<Turn>) -> io::Result<Option<Turn>> {
        if self.pending > 0 {
            match turns.recv_timeout(FLUSH_EVERY) {
                Ok(turn) => return Ok(Some(turn)),
                Err(RecvTimeoutError::Timeout) => self.flush()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
        Ok(turns.recv().ok())
    }

    /// Writes a line. Returns `false`, with nothing written, if there is no room for it.
    fn write(&mut self, line: &str) -> io::Result<bool> {
        let length = line.len() as u64;
        if !self.has_room(length) {
            // Whatever the compressor still holds counts in full: find out its real size.
            self.flush()?;
            if !self.has_room(length) {
                return Ok(false);
            }
        }
        self.gzip.write_all(line.as_bytes())?;
        self.pending += length;
        Ok(true)
    }

    /// Whether so many more bytes fit, even if they do not compress.
    fn has_room(&self, length: u64) -> bool {
        let written = self.gzip.get_ref().written;
        written + worst_case(self.pending) + worst_case(length) + RESERVED <= self.limit
    }

    /// Writes everything so far to the file. It can then be decompressed up to here.
    fn flush(&mut self) -> io::Result<()> {
        self.pending = 0;
        self.gzip.flush()
    }
}

/// The most bytes that compression makes of so many.
fn worst_case(length: u64) -> u64 {
    length + length / 8 + 64
}

/// Counts the bytes that are written to a file.
struct Counted<W> {
    file: W,
    written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
