//! The form of a setting: its name, range and meaning, and where its value is stored.

use std::fmt;

use super::settings::Settings;
use super::values::Range;

/// One setting.
pub(super) struct SettingKey {
    /// Its path in the file; the other names derive from it.
    pub(super) name: &'static str,
    pub(super) range: Range,
    /// What applies if it is not set, where [`Settings::default`] does not show it.
    pub(super) if_unset: Option<&'static str>,
    pub(super) about: &'static str,
    /// Whether instance tags cannot set it. It names a path or an endpoint: who may tag the
    /// instance must not choose what the host opens.
    pub(super) host_only: bool,
    /// Reads a value into its place.
    pub(super) set: fn(&mut Settings, &str, Range) -> Result<(), String>,
    /// Shows the value of its place.
    pub(super) get: fn(&Settings) -> String,
}

impl SettingKey {
    /// Reads a value into the settings; the error says what is wrong with it.
    pub(super) fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        (self.set)(settings, text, self.range)
    }

    /// The value as text; empty where it is not set.
    pub(super) fn get(&self, settings: &Settings) -> String {
        (self.get)(settings)
    }

    /// The environment variable: `NATHA_` and the name in capitals, with `_` for `.`.
    pub(super) fn env(&self) -> String {
        format!("NATHA_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// The instance tag; none where tags cannot set it.
    pub(super) fn tag(&self) -> Option<String> {
        (!self.host_only).then(|| format!("natha:{}", self.name))
    }
}

impl fmt::Debug for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A setting by its name, its place in [`Settings`], its range and its meaning.
macro_rules! key {
    (
        $name:literal, $($path:ident).+, $range:expr, $about:literal
        $(, $more:ident $(= $value:expr)?)*
    ) => {
        SettingKey {
            $($more: key!(@ $($value)?),)*
            ..SettingKey {
                name: $name,
                range: $range,
                if_unset: None,
                about: $about,
                host_only: false,
                set: |settings, text, range| {
                    settings.$($path).+ = Value::read(text, range)?;
                    Ok(())
                },
                get: |settings| Value::show(&settings.$($path).+),
            }
        }
    };
    (@) => { true };
    (@ $value:expr) => { Some($value) };
}
pub(super) use key;
