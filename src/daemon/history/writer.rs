//! The thread that writes.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};

use super::file::HistoryFile;
use super::observers::{CAPACITY, Observation, Observers, Queue, lines_of};
use crate::daemon::clock;
use crate::history::{Fact, Line, Run, Scribe};

/// The most lines that are written at once.
const BATCH: usize = 256;

/// Starts the thread. It ends when the observers do.
///
/// # Errors
/// If the kernel refuses a thread.
pub(in crate::daemon) fn start(
    file: HistoryFileAt<'_>,
    run: Run,
    scribe: Scribe,
    observers: &mut Observers,
) -> io::Result<()> {
    let (queue, observations) = sync_channel(CAPACITY);
    let (notify_finished, finished) = sync_channel(1);
    let file = HistoryFile::new(file.state_dir, u64::from(file.max_mib) << 20);
    let mut writer = Writer { file, run, scribe, failed: false };
    let body = move || {
        writer.run(&observations);
        // The event loop may have exited without waiting.
        let _ = notify_finished.send(());
    };
    std::thread::Builder::new().name("natha-history".to_owned()).spawn(body)?;
    observers.add(Queue::Thread(queue), finished);
    Ok(())
}

/// Where the history is kept.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon) struct HistoryFileAt<'a> {
    /// The directory.
    pub(in crate::daemon) state_dir: &'a std::path::Path,
    /// The size of its files together, in MiB.
    pub(in crate::daemon) max_mib: u32,
}

struct Writer {
    file: HistoryFile,
    run: Run,
    scribe: Scribe,
    /// Whether the last write failed. The log says so once.
    failed: bool,
}

impl Writer {
    fn run(&mut self, observations: &Receiver<Observation>) {
        let begin = self.text_of_run(false);
        self.write(&begin, true);
        while let Ok(first) = observations.recv() {
            let waiting = observations.try_iter().take(BATCH - 1);
            let mut text = String::new();
            for observation in std::iter::once(first).chain(waiting) {
                for line in lines_of(&mut self.scribe, observation) {
                    text.push_str(&line.to_text());
                }
            }
            if !text.is_empty() {
                self.write(&text, false);
            }
        }
    }

    /// Writes lines. If they begin a file, the line about the run comes first.
    fn write(&mut self, text: &str, is_run: bool) {
        let first = if is_run { String::new() } else { self.text_of_run(true) };
        let written = self.file.append(&first, text);
        match written {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !self.failed {
                    tracing::warn!("cannot write the history: {error}; `natha history` lacks it");
                }
                self.failed = true;
            }
        }
    }

    fn text_of_run(&self, continued: bool) -> String {
        let at = clock::now();
        let run = Run { continued, ..self.run.clone() };
        Line { wall_ms: clock::wall_ms_at(at), at, fact: Fact::Run(run) }.to_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::history::files;
    use crate::history::FORMAT;
    use crate::types::{InstanceId, Roster};

    #[test]
    fn what_is_observed_is_in_the_file_when_the_observers_have_finished() {
        let directory = tempfile::tempdir().unwrap();
        let node: InstanceId = "i-0000000b".parse().unwrap();
        let (natha, cluster, boot) = ("0.1.0".to_owned(), "blue".to_owned(), "one".to_owned());
        let (names, continued) = (std::collections::BTreeMap::new(), false);
        let scribe = Scribe::new(node.clone(), Roster::default());
        let run = Run { format: FORMAT, natha, cluster, node, boot, names, continued };
        let mut observers = Observers::default();
        let place = HistoryFileAt { state_dir: directory.path(), max_mib: 1 };
        start(place, run.clone(), scribe, &mut observers).unwrap();
        let alert = crate::history::AlertChange { name: "ports".to_owned(), text: None };
        observers.tell(&Observation::Alert(alert.clone(), clock::now()));
        observers.finish();
        let [_, newer] = files(directory.path());
        let text = std::fs::read_to_string(newer).unwrap();
        let facts: Vec<Fact> = text.lines().filter_map(Line::read).map(|line| line.fact).collect();
        assert_eq!(facts, [Fact::Run(run), Fact::Alert(alert)]);
    }
}
