//! The thread that decides what is sent.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::delivery::{Tally, deliver};
use super::ways::Way;
use crate::daemon::alerts::Alert;
use crate::daemon::clock;
use crate::daemon::history::{CAPACITY, Observation, Observers, Queue, lines_of};
use crate::daemon::inbox::Notes;
use crate::history::{Fact, Line, Run, Scribe};
use crate::kernel::{durable, privilege};
use crate::notify::{Book, Memory, Notice, Sender};

/// Notices that may wait for one way.
const WAITING: usize = 64;
/// The longest wait for the next observation.
const IDLE: Duration = Duration::from_hours(1);
/// The file in the state directory that says what was sent.
const FILE: &str = "notices.json";

/// What the thread starts with.
#[derive(Debug)]
pub(in crate::daemon) struct NoticeParts {
    pub(in crate::daemon) ways: Vec<Way>,
    pub(in crate::daemon) state_dir: PathBuf,
    pub(in crate::daemon) run: Run,
    pub(in crate::daemon) scribe: Scribe,
}

/// Starts the thread. It ends when the observers do and everything is delivered or given up.
///
/// # Errors
/// If the kernel refuses a thread.
pub(in crate::daemon) fn start(
    parts: NoticeParts,
    notes: &Notes,
    observers: &mut Observers,
) -> io::Result<Arc<Tally>> {
    let (queue, observations) = mpsc::channel(CAPACITY);
    let (notify_finished, finished) = sync_channel(1);
    let tally = Arc::new(Tally::default());
    let (notes, counts) = (notes.clone(), Arc::clone(&tally));
    let body = move || {
        // Hooks are started by this thread. It needs no privilege itself.
        if let Err(error) = privilege::renounce() {
            tracing::error!("no notices: cannot give up the privileges of their thread: {error}");
            return;
        }
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("no notices: cannot start the runtime of their thread: {error}");
                return;
            }
        };
        runtime.block_on(run(parts, observations, counts, &notes));
        // The event loop may have exited without waiting.
        let _ = notify_finished.send(());
        // A name that is being looked up must not keep the thread.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("natha-notices".to_owned()).spawn(body)?;
    observers.add(Queue::Task(queue), finished);
    Ok(tally)
}

async fn run(
    parts: NoticeParts,
    mut observations: mpsc::Receiver<Observation>,
    tally: Arc<Tally>,
    notes: &Notes,
) {
    let mut deliveries = JoinSet::new();
    let mut queues = Vec::new();
    for way in parts.ways {
        let (queue, waiting) = mpsc::channel(WAITING);
        let alert = Alert::new(way.alert(), notes);
        deliveries.spawn(deliver(way, waiting, Arc::clone(&tally), alert));
        queues.push(queue);
    }
    let file = parts.state_dir.join(FILE);
    let mut desk = Desk::new(parts.run, parts.scribe, queues, tally, file);
    loop {
        let wait = desk.book.next_deadline().map_or(IDLE, |at| at.since(clock::now()));
        let next = tokio::select! {
            next = timeout(wait, observations.recv()) => Some(next),
            () = desk.written(), if desk.unsaved => None,
        };
        match next {
            Some(Ok(Some(observation))) => desk.take(observation),
            Some(Ok(None)) => break,
            Some(Err(_)) | None => {}
        }
        desk.send();
    }
    desk.close().await;
    while deliveries.join_next().await.is_some() {}
}

/// The book, and where its notices go.
struct Desk {
    book: Book,
    scribe: Scribe,
    queues: Vec<mpsc::Sender<Arc<Notice>>>,
    tally: Arc<Tally>,
    file: PathBuf,
    /// The last write of the file.
    writing: Option<JoinHandle<()>>,
    /// Whether the file lacks something.
    unsaved: bool,
}

impl Desk {
    fn new(
        run: Run,
        scribe: Scribe,
        queues: Vec<mpsc::Sender<Arc<Notice>>>,
        tally: Arc<Tally>,
        file: PathBuf,
    ) -> Self {
        let now = clock::now();
        let wall_ms = clock::wall_ms_at(now);
        let (me, cluster, names) = (run.node.clone(), run.cluster.clone(), run.names.clone());
        let mut book = Book::new(Sender { me, cluster, names }, load(&file), now, wall_ms);
        book.take(&Line { wall_ms, at: now, fact: Fact::Run(run) });
        Self { book, scribe, queues, tally, file, writing: None, unsaved: false }
    }

    fn take(&mut self, observation: Observation) {
        match &observation {
            Observation::Alive(alive) => self.book.set_alive(alive.clone()),
            Observation::Roster(roster) => {
                let now = clock::now();
                self.book.enrol(roster, now, clock::wall_ms_at(now));
            }
            _ => {}
        }
        for line in lines_of(&mut self.scribe, observation) {
            self.book.take(&line);
        }
    }

    /// Hands over what is to be sent now, and has it written down.
    fn send(&mut self) {
        let now = clock::now();
        for notice in self.book.poll(now, clock::wall_ms_at(now)) {
            let notice = Arc::new(notice);
            tracing::debug!(key = notice.key, "notice: {}", notice.subject);
            for queue in &self.queues {
                if queue.try_send(Arc::clone(&notice)).is_err() {
                    self.tally.count_dropped();
                }
            }
        }
        self.unsaved |= self.book.take_changed();
        let is_writing = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if self.unsaved && !is_writing {
            self.write();
        }
    }

    /// Begins to write the file.
    fn write(&mut self) {
        let now = clock::now();
        let memory = self.book.memory(now, clock::wall_ms_at(now));
        let file = self.file.clone();
        self.unsaved = false;
        // In a thread of its own: a volume that hangs must not hold up a notice.
        self.writing = Some(tokio::task::spawn_blocking(move || save(&file, &memory)));
    }

    /// Waits for the end of a write that has begun.
    async fn written(&mut self) {
        if let Some(writing) = &mut self.writing
            && let Err(error) = writing.await
        {
            tracing::warn!("{} was not written: {error}", self.file.display());
        }
        self.writing = None;
    }

    /// Writes down what the file lacks. Nothing is sent any more.
    async fn close(mut self) {
        self.queues.clear();
        self.written().await;
        if self.unsaved {
            self.write();
            self.written().await;
        }
    }
}

/// What an earlier run has sent. A file that cannot be read counts as empty: something may then be
/// sent twice.
fn load(file: &std::path::Path) -> Memory {
    let text = match durable::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Memory::default(),
        Err(error) => {
            tracing::warn!("cannot read {}: {error}", file.display());
            return Memory::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!("{} is damaged and does not count: {error}", file.display());
        Memory::default()
    })
}

fn save(file: &std::path::Path, memory: &Memory) {
    let write = || {
        if let Some(directory) = file.parent() {
            durable::make_directory(directory)?;
        }
        durable::replace(file, &serde_json::to_vec(memory)?)
    };
    if let Err(error) = write() {
        tracing::warn!("cannot write {}: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixListener;

    use super::*;
    use crate::daemon::inbox;
    use crate::failover::{Event, EventKind, Level};
    use crate::history::FORMAT;
    use crate::status::NoticeCounters;
    use crate::types::{InstanceId, Roster};

    const ME: &str = "i-0000000b";

    fn parts(directory: &std::path::Path) -> NoticeParts {
        let node: InstanceId = ME.parse().unwrap();
        let (natha, cluster, boot) = ("0.1.0".to_owned(), "blue".to_owned(), "one".to_owned());
        let (names, continued) = (std::collections::BTreeMap::new(), false);
        let path = directory.join("hook.sock");
        let (user, limit) = ("nobody".to_owned(), Duration::from_secs(10));
        let scribe = Scribe::new(node.clone(), Roster::default());
        NoticeParts {
            ways: vec![Way::Hook { path, user, limit }],
            state_dir: directory.to_owned(),
            run: Run { format: FORMAT, natha, cluster, node, boot, names, continued },
            scribe,
        }
    }

    fn event(kind: EventKind, text: &str) -> Observation {
        let (at, level, text) = (clock::now(), Level::Warning, text.to_owned());
        let (node, group) = ("i-0000000a".parse().ok(), "web".parse().ok());
        Observation::Event(Event { at, level, kind, node, group, text, took: None })
    }

    #[tokio::test]
    async fn a_change_is_delivered_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("hook.sock")).unwrap();
        let (notes, _inbox) = inbox::channel().unwrap();
        let mut observers = Observers::default();
        let tally = start(parts(directory.path()), &notes, &mut observers).unwrap();
        observers.tell(&event(EventKind::TakeoverBegun, "taking it over (from a to b): it died"));
        observers.tell(&event(EventKind::TakeoverDone, "taken over"));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        drop(stream);
        let notice: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&notice["kind"], &notice["key"]), (&"change".into(), &"web".into()));
        assert_eq!(notice["change"]["reason"], "it died");
        tokio::task::spawn_blocking(move || observers.finish()).await.unwrap();
        let wanted = NoticeCounters { sent: 1, ..NoticeCounters::default() };
        assert_eq!(tally.counters(), wanted);
    }

    #[test]
    fn a_damaged_memory_counts_as_empty() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("made").join(FILE);
        assert_eq!(load(&file), Memory::default());
        let sent_ms = [("host/ports".to_owned(), 1)].into();
        let memory = Memory { sent_ms, ..Memory::default() };
        save(&file, &memory);
        assert_eq!(load(&file), memory);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(load(&file), Memory::default());
    }
}
