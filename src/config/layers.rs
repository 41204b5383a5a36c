//! What one source of settings says, as entries of key, text and origin; and the sources other than
//! the settings file.

use std::collections::BTreeMap;

use super::flags::Flags;
use super::key::SettingKey;
use super::keys::{all, find};
use super::problem::{LocatedGroup, Origin, Problem, nearest};
use crate::types::printable;

/// One value for one setting.
#[derive(Debug)]
pub(super) struct LayerEntry {
    pub(super) key: &'static SettingKey,
    pub(super) text: String,
    /// The text as its source has it, for messages.
    pub(super) written: String,
    pub(super) origin: Origin,
}

/// A text in quotation marks, as messages show a value that is no part of a file.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// What one or several sources say.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) entries: Vec<LayerEntry>,
    pub(super) groups: Vec<LocatedGroup>,
    pub(super) problems: Vec<Problem>,
    /// What is ignored.
    pub(super) warnings: Vec<Problem>,
}

impl Layer {
    /// Takes in a value for a setting by name; an unknown name is a problem.
    pub(super) fn add(&mut self, name: &str, text: String, origin: Origin) {
        let written = quoted(&text);
        self.add_written(name, text, written, origin);
    }

    /// Like [`Self::add`], for a value that its source has in another form.
    pub(super) fn add_written(
        &mut self,
        name: &str,
        text: String,
        written: String,
        origin: Origin,
    ) {
        match find(name) {
            Some(key) => self.entries.push(LayerEntry { key, text, written, origin }),
            None => self.problems.push(unknown(name, &origin)),
        }
    }

    /// Appends a layer of lower precedence.
    pub(super) fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.groups.extend(other.groups);
        self.problems.extend(other.problems);
        self.warnings.extend(other.warnings);
    }
}

/// Settings that had another name once.
const RENAMED: [(&str, &str); 2] =
    [("notices.heed", "interruptions.enabled"), ("notices.lead", "interruptions.lead_time")];

/// The problem of an unknown setting.
fn unknown(name: &str, origin: &Origin) -> Problem {
    let renamed = RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| *new);
    let known = all().map(|key| key.name);
    let remedy = match renamed.or_else(|| nearest(name, known, 0.75)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "see docs/config.md for the list of settings".to_owned(),
    };
    Problem::new(format!("{name} ({origin})"), "unknown setting", remedy).of(origin)
}

/// The flags. A setting's own flag takes precedence over `--set`.
pub(super) fn from_flags(flags: &Flags) -> Layer {
    let mut layer = Layer::default();
    for ((key, flag), value) in Flags::OWN.into_iter().zip(flags.own()) {
        if let Some(text) = value {
            layer.add(key, text.clone(), Origin::Flag(flag.to_owned()));
        }
    }
    // The last one takes precedence, as is usual for flags.
    for set in flags.set.iter().rev() {
        // Without the value, which may be secret.
        let origin = Origin::Flag("--set".to_owned());
        if let Some((key, text)) = set.split_once('=') {
            layer.add(key.trim(), text.trim().to_owned(), origin);
        } else {
            let subject = format!("{origin} {}", printable(set));
            let remedy = "write --set KEY=VALUE, such as --set heartbeat.interval=50ms";
            layer.problems.push(Problem::new(subject, "`=` is missing", remedy).of(&origin));
        }
    }
    layer
}

/// The environment. Unknown `NATHA_` variables are ignored unless they resemble a setting.
pub(super) fn from_env(env: &BTreeMap<String, String>) -> Layer {
    let mut layer = Layer::default();
    let keys: Vec<(&SettingKey, String)> = all().map(|key| (key, key.env())).collect();
    for (name, text) in env.iter().filter(|(name, _)| name.starts_with("NATHA_")) {
        let origin = Origin::Env(name.clone());
        let key = keys.iter().find(|(_, known)| known == name).map(|(key, _)| *key);
        if let Some(key) = key {
            layer.add(key.name, text.clone(), origin);
        } else if let Some(near) = nearest(name, keys.iter().map(|(_, known)| known.as_str()), 0.96)
        {
            layer.problems.push(Problem::new(
                origin.to_string(),
                "unknown setting",
                format!("did you mean {near}?"),
            ));
        }
    }
    layer
}

/// This instance's tags. An unknown one is ignored with a warning: tags are changed while nodes
/// run, and a typing error must not stop a node at its next start. A setting that was renamed is a
/// problem as everywhere, because its value would be lost.
pub(super) fn from_tags(tags: &BTreeMap<String, String>) -> Layer {
    /// Tags for discovery, which are not settings.
    const DISCOVERY: [&str; 1] = ["interface"];
    let mut layer = Layer::default();
    for (tag, text) in tags {
        let Some(name) = tag.strip_prefix("natha:") else { continue };
        let origin = Origin::Tag(tag.clone());
        if DISCOVERY.contains(&name) {
            continue;
        }
        match find(name) {
            Some(key) if key.host_only => layer.problems.push(Problem::new(
                origin.to_string(),
                "this setting names a path or endpoint on the host and cannot come from a tag",
                "set it in the file, the environment or a flag",
            )),
            None if RENAMED.iter().all(|(old, _)| *old != name) => {
                layer.warnings.push(unknown(name, &origin));
            }
            _ => layer.add(name, text.clone(), origin),
        }
    }
    layer
}
