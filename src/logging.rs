//! Log output: format, level and destination.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Human-readable; to the journal when run by systemd, else to stderr.
    #[default]
    Text,
    /// One JSON object per line, to stderr.
    Json,
}

/// Starts logging. `level` is a level (`info`) or a filter (`info,natha=debug`).
///
/// Under systemd (`JOURNAL_STREAM` is set, systemd.exec(5)), text lines go to the journal with
/// their fields; otherwise to stderr, coloured only on a terminal.
///
/// # Errors
/// If `level` is neither a level nor a filter.
pub(crate) fn start(format: LogFormat, level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)
        .with_context(|| format!("`{level}` is not a log level: use error, warn, info or debug"))?;
    let registry = tracing_subscriber::registry().with(filter);
    if format == LogFormat::Json {
        let lines = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
        registry.with(lines).init();
        return Ok(());
    }
    if std::env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal.with_field_prefix(Some("NATHA".to_owned()))).init();
        return Ok(());
    }
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    registry.with(lines).init();
    Ok(())
}
