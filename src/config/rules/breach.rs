//! A broken rule between settings.

use std::time::Duration;

/// A broken rule.
pub(in crate::config) struct Breach {
    /// The settings that break it.
    pub(in crate::config) keys: &'static [&'static str],
    pub(in crate::config) what: String,
    pub(in crate::config) remedy: String,
}

/// A duration as the settings file has it.
pub(super) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
