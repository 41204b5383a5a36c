//! Log output: format, level and destination.

mod queue;

use std::io::IsTerminal;
use std::sync::OnceLock;

use anyhow::Context;
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use queue::Queue;
pub(crate) use queue::dropped_lines;

/// Log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Human-readable; to the journal when run by systemd, else to stderr.
    #[default]
    Text,
    /// One JSON object per line, to stderr.
    Json,
}

/// Starts logging. `level` is a level (`info`) or a filter (`info,natha=debug`). A line is written
/// before the call that logs it returns.
///
/// # Errors
/// If `level` is neither a level nor a filter.
pub(crate) fn start(format: LogFormat, level: &str) -> anyhow::Result<()> {
    output(format, level)?.init();
    Ok(())
}

/// What a program that must not wait for its log has queued.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Starts logging for a program that must not wait for its log: the lines are queued. Call
/// [`flush`] at the end.
///
/// # Errors
/// If `level` is neither a level nor a filter, or the kernel refuses a thread.
pub(crate) fn start_queued(format: LogFormat, level: &str) -> anyhow::Result<()> {
    let queue = Queue::start(output(format, level)?);
    let queue = queue.context("cannot start the thread that writes the log")?;
    let queue = QUEUE.get_or_init(|| queue).clone();
    tracing_subscriber::registry().with(filter(level)?).with(queue).init();
    Ok(())
}

/// Waits a moment for lines that are queued, if there are any.
pub(crate) fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush();
    }
}

/// Reads `--log-level`. A filter without any level is refused: a misspelt level would pass for the
/// name of a module, and nothing else would be logged.
pub(crate) fn level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let mut parts = text.split([',', '=']).map(str::trim);
    let has_level = parts.any(|part| LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level)));
    if has_level && EnvFilter::try_new(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("use error, warn, info, debug or trace, or a filter such as info,natha=debug; it comes \
         from --log-level or NATHA_LOG"
        .to_owned())
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(level).with_context(|| format!("`{level}` is not a log level"))
}

/// Writes the lines. Under systemd (`JOURNAL_STREAM` is set, systemd.exec(5)), text lines go to the
/// journal with their fields; otherwise to stderr, coloured only on a terminal.
fn output(format: LogFormat, level: &str) -> anyhow::Result<Dispatch> {
    let registry = tracing_subscriber::registry().with(filter(level)?);
    if format == LogFormat::Json {
        let lines = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
        return Ok(registry.with(lines).into());
    }
    if std::env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        return Ok(registry.with(journal.with_field_prefix(Some("NATHA".to_owned()))).into());
    }
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    Ok(registry.with(lines).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_filter_with_one() {
        for text in ["info", "WARN", "info,natha=debug", "off", "natha=trace"] {
            assert_eq!(level(text).as_deref(), Ok(text));
        }
        for text in ["", "inof", "natha", "foo=bar=info", "foo=bar=baz"] {
            assert!(level(text).unwrap_err().contains("NATHA_LOG"), "{text}");
        }
    }
}
