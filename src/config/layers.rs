//! The places that settings come from, each read into entries of key, text and origin.

use std::collections::BTreeMap;
use std::path::Path;

use super::file;
use super::flags::Flags;
use super::group::GroupSetting;
use super::keys::{KEYS, Key, find};
use super::problem::{Origin, Problem, nearest};

/// One value for one setting.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// One group, and where it is written.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) setting: GroupSetting,
    pub(super) origin: Origin,
}

/// What one or several places say.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) entries: Vec<Entry>,
    pub(super) groups: Vec<Placed>,
    pub(super) problems: Vec<Problem>,
}

impl Layer {
    /// Takes in a value for a setting by name; an unknown name is a problem.
    pub(super) fn add(&mut self, name: &str, text: String, origin: Origin) {
        match find(name) {
            Some(key) => self.entries.push(Entry { key, text, origin }),
            None => self.problems.push(unknown(name, &origin)),
        }
    }

    /// Appends another layer, of lower precedence.
    pub(super) fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.groups.extend(other.groups);
        self.problems.extend(other.problems);
    }
}

/// The problem of a setting that does not exist.
fn unknown(name: &str, origin: &Origin) -> Problem {
    let known = KEYS.iter().map(|key| key.name);
    let remedy = match nearest(name, known, 0.75) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "see docs/config.md for all settings".to_owned(),
    };
    Problem::new(format!("{name} ({origin})"), "there is no such setting", remedy)
}

/// The flags. A setting's own flag goes before `--set`.
pub(super) fn from_flags(flags: &Flags) -> Layer {
    let mut layer = Layer::default();
    for ((key, flag), value) in Flags::OWN.into_iter().zip(flags.own()) {
        if let Some(text) = value {
            layer.add(key, text.clone(), Origin::Flag(flag.to_owned()));
        }
    }
    // Of several, the last one counts, as is usual for flags.
    for set in flags.set.iter().rev() {
        let origin = Origin::Flag(format!("--set {set}"));
        match set.split_once('=') {
            Some((key, text)) => layer.add(key.trim(), text.trim().to_owned(), origin),
            None => layer.problems.push(Problem::new(
                origin.to_string(),
                "there is no `=`",
                "write --set KEY=VALUE, such as --set heartbeat.interval=50ms",
            )),
        }
    }
    layer
}

/// The environment. Variables that natha does not know are other programs' business, unless they
/// are nearly the name of a setting.
pub(super) fn from_env(env: &BTreeMap<String, String>) -> Layer {
    let mut layer = Layer::default();
    let names: Vec<String> = KEYS.iter().map(Key::env).collect();
    for (name, text) in env.iter().filter(|(name, _)| name.starts_with("NATHA_")) {
        let origin = Origin::Env(name.clone());
        if let Some(index) = names.iter().position(|known| known == name) {
            layer.entries.push(Entry { key: &KEYS[index], text: text.clone(), origin });
        } else if let Some(near) = nearest(name, names.iter().map(String::as_str), 0.96) {
            layer.problems.push(Problem::new(
                origin.to_string(),
                "there is no such setting",
                format!("did you mean {near}?"),
            ));
        }
    }
    layer
}

/// The settings file.
pub(super) fn from_file(path: &Path, text: &str) -> Layer {
    file::read(path, text)
}

/// This instance's tags.
pub(super) fn from_tags(tags: &BTreeMap<String, String>) -> Layer {
    /// Tags of instances that discovery reads and that are no settings.
    const DISCOVERY: [&str; 1] = ["interface"];
    let mut layer = Layer::default();
    for (tag, text) in tags {
        let Some(name) = tag.strip_prefix("natha:") else { continue };
        let origin = Origin::Tag(tag.clone());
        if DISCOVERY.contains(&name) {
            continue;
        }
        match find(name) {
            Some(key) if !key.by_tag => layer.problems.push(Problem::new(
                origin.to_string(),
                "a place on this host is not set by a tag",
                "set it in the file, the environment or a flag",
            )),
            _ => layer.add(name, text.clone(), origin),
        }
    }
    layer
}
