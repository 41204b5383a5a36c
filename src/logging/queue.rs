//! Log lines that wait for a thread of their own.
//!
//! A pipe that is not read and a journal whose socket is full make a write wait without end. The
//! monitor's tasks must not wait with it. So they queue their lines, and one thread writes them. If
//! the queue is full, the line is counted and dropped, and the count is logged once the log flows
//! again.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Value, Visit};
use tracing::{Dispatch, Event, Metadata, Subscriber, dispatcher};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that may wait.
const CAPACITY: usize = 1024;
/// How long an exit waits for the lines that were queued before it.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Lines dropped since the program started.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many log lines have been dropped since the program started.
pub(crate) fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// How many queued lines are not written yet, and news of when there are none.
#[derive(Debug, Default)]
struct Waiting {
    lines: Mutex<usize>,
    none: Condvar,
}

impl Waiting {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) {
        *self.count() += 1;
    }

    fn remove(&self) {
        let mut lines = self.count();
        *lines -= 1;
        if *lines == 0 {
            self.none.notify_all();
        }
    }
}

/// An event of any thread.
struct Line {
    metadata: &'static Metadata<'static>,
    /// The value of each field, in the order of the fields.
    values: Vec<Option<Box<dyn Value + Send>>>,
}

/// Queues every event.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    lines: SyncSender<Line>,
    waiting: Arc<Waiting>,
}

impl Queue {
    /// Starts the thread that gives queued events to `output`.
    ///
    /// # Errors
    /// If the kernel refuses a thread.
    pub(super) fn start(output: Dispatch) -> std::io::Result<Self> {
        Self::with_capacity(CAPACITY, output)
    }

    fn with_capacity(capacity: usize, output: Dispatch) -> std::io::Result<Self> {
        let (lines, queued) = sync_channel(capacity);
        let builder = std::thread::Builder::new().name("natha-log".to_owned());
        let waiting = Arc::new(Waiting::default());
        let counted = waiting.clone();
        builder.spawn(move || write(&queued, &output, &counted))?;
        Ok(Self { lines, waiting })
    }

    /// Waits until what is queued is written, for at most a second: a log that does not flow must
    /// not delay an exit.
    pub(super) fn flush(&self) {
        let lines = self.waiting.count();
        let some = |lines: &mut usize| *lines > 0;
        drop(self.waiting.none.wait_timeout_while(lines, FLUSH_LIMIT, some));
    }
}

fn write(queued: &Receiver<Line>, output: &Dispatch, waiting: &Waiting) {
    let mut told = dropped_lines();
    while let Ok(line) = queued.recv() {
        line.give(output);
        let dropped = dropped_lines();
        if dropped > told {
            let lines = dropped - told;
            dispatcher::with_default(output, || {
                tracing::warn!(lines, "the log was full: {lines} lines are missing from it");
            });
            told = dropped;
        }
        waiting.remove();
    }
}

impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.waiting.add();
        if self.lines.try_send(Line::of(event)).is_err() {
            self.waiting.remove();
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Line {
    fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut values = Values(metadata.fields().iter().map(|_| None).collect());
        event.record(&mut values);
        Self { metadata, values: values.0 }
    }

    fn give(&self, output: &Dispatch) {
        let values: Vec<Option<&dyn Value>> =
            self.values.iter().map(|value| value.as_deref().map(|value| value as _)).collect();
        output.event(&Event::new(self.metadata, &self.metadata.fields().value_set_all(&values)));
    }
}

/// Copies of an event's values.
struct Values(Vec<Option<Box<dyn Value + Send>>>);

impl Values {
    fn put(&mut self, field: &Field, value: impl Value + Send + 'static) {
        if let Some(slot) = self.0.get_mut(field.index()) {
            *slot = Some(Box::new(value));
        }
    }
}

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, tracing::field::display(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::mpsc::{Sender, channel};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// An output whose first write waits until it is released.
    #[derive(Clone)]
    struct Output {
        begun: Sender<()>,
        released: Arc<Mutex<Receiver<()>>>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.begun.send(());
            // An error means that the test has released it for good.
            let _ = self.released.lock().unwrap().recv();
            self.text.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn format(output: &Output) -> Dispatch {
        let output = output.clone();
        let lines = tracing_subscriber::fmt::layer().json().without_time();
        let lines = lines.with_writer(move || output.clone());
        Dispatch::new(tracing_subscriber::registry().with(lines))
    }

    #[test]
    fn a_log_that_waits_delays_no_task_and_says_afterwards_how_much_is_missing() {
        let (begun, has_begun) = channel();
        let (release, released) = channel();
        let released = Arc::new(Mutex::new(released));
        let output = Output { begun, released, text: Arc::default() };
        let queue = Queue::with_capacity(4, format(&output)).unwrap();
        let tasks = tracing_subscriber::registry().with(queue.clone());
        let before = dropped_lines();
        dispatcher::with_default(&Dispatch::new(tasks), || {
            let error = "it \"broke\"";
            tracing::warn!(count = 7, on = true, %error, text = "a b", "first {}", 1);
            has_begun.recv().unwrap();
            for n in 0..9 {
                tracing::info!("line {n}");
            }
        });
        assert_eq!(dropped_lines() - before, 5, "one is being written, and four wait");
        drop(release);
        queue.flush();
        let text = output.text.lock().unwrap().clone();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let fields = serde_json::json!({
            "count": 7, "on": true, "error": "it \"broke\"", "text": "a b", "message": "first 1",
        });
        assert_eq!((&lines[0]["fields"], &lines[0]["level"]), (&fields, &"WARN".into()));
        let missing = &lines[1]["fields"];
        assert_eq!(missing["message"], "the log was full: 5 lines are missing from it");
        assert_eq!(lines.len(), 6, "{text}");
    }
}
