//! Where log lines go.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people; to the journal where the service manager reads standard error.
    #[default]
    Text,
    /// One JSON object a line, to standard error.
    Json,
}

/// Starts logging. `level` is a level (`info`) or a filter (`info,natha=debug`).
///
/// Under systemd (`JOURNAL_STREAM` is set, systemd.exec(5)) text lines go to the journal with
/// their fields; elsewhere to standard error, in colours only on a terminal.
///
/// # Errors
/// Where `level` makes no sense.
pub fn start(format: Format, level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)
        .with_context(|| format!("`{level}` is no log level: use error, warn, info, debug"))?;
    let registry = tracing_subscriber::registry().with(filter);
    if format == Format::Json {
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
