//! The reference of all settings, as Markdown.

use super::flags::Flags;
use super::group_keys::{CHECK, GROUP, GroupKey, IfAbsent, KINDS, KeySet};
use super::key::SettingKey;
use super::keys::{all, find};
use super::settings::Settings;

/// The reference of all settings, as a Markdown table.
#[must_use]
pub fn reference() -> String {
    let defaults = Settings::default();
    let mut text = String::from(
        "| key | default | range | environment | tag | meaning |\n|---|---|---|---|---|---|\n",
    );
    for key in all() {
        text.push_str(&reference_row(key, &defaults));
    }
    text
}

/// What applies if a setting has no value, in words; none where nothing does.
#[must_use]
pub fn if_unset(name: &str) -> Option<&'static str> {
    find(name)?.if_unset
}

fn reference_row(key: &SettingKey, defaults: &Settings) -> String {
    let default = match (key.if_unset, key.get(defaults)) {
        (Some(words), _) => words.to_owned(),
        (None, text) if text.is_empty() => "–".to_owned(),
        (None, text) => format!("`{text}`"),
    };
    let own = Flags::OWN.iter().find(|(name, _)| *name == key.name);
    let flag = own.map(|(_, flag)| format!(", flag `{flag}`")).unwrap_or_default();
    let tag = key.tag().map_or_else(|| "–".to_owned(), |tag| format!("`{tag}`"));
    let (name, range, about) = (key.name, key.range.text(), key.about);
    format!("| `{name}` | {default} | {range} | `{}`{flag} | {tag} | {about} |\n", key.env())
}

/// The reference of the keys of a group and of the tables in it, as Markdown tables.
#[must_use]
pub fn group_reference() -> String {
    let mut text = group_table("`[[group]]`", &GROUP);
    for (kind, keys) in KINDS {
        text.push('\n');
        text.push_str(&group_table(&format!("`{}` of `kind = \"{kind}\"`", keys.table), keys));
    }
    text.push('\n');
    text.push_str(&group_table(&format!("`{}`", CHECK.table), &CHECK));
    text
}

fn group_table(name: &str, keys: &KeySet) -> String {
    let head = "| key | default | range | meaning |\n|---|---|---|---|\n";
    let rows: String = keys.keys.iter().map(group_row).collect();
    format!("{name}: {}.\n\n{head}{rows}", keys.about)
}

fn group_row(key: &GroupKey) -> String {
    let default = match key.if_absent {
        IfAbsent::Required => "required".to_owned(),
        IfAbsent::Value(text) => format!("`{text}`"),
        IfAbsent::Derived(words) => words.to_owned(),
        IfAbsent::Unset => "–".to_owned(),
    };
    let (name, range, about) = (key.name, key.range.text(), key.about);
    format!("| `{name}` | {default} | {range} | {about} |\n")
}
