//! The settings file: TOML, read into the same entries as every other place.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::Layer;
use super::problem::{Origin, Problem, nearest};
use super::settings::GroupSetting;
use super::values::{Range, Value};

/// The keys of a `[[group]]`.
const GROUP_KEYS: [&str; 4] = ["name", "tables", "home", "cidr"];

/// A file being read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

/// Reads a settings file.
pub(super) fn read(path: &Path, text: &str) -> Layer {
    let file = File { path, text };
    let mut layer = Layer::default();
    match DeTable::parse(text) {
        Ok(table) => file.table("", table.get_ref(), &mut layer),
        Err(error) => {
            let origin = file.origin(error.span().map_or(0, |span| span.start));
            layer.problems.push(Problem::new(
                origin.to_string(),
                error.message().to_owned(),
                "correct the TOML",
            ));
        }
    }
    layer
}

impl File<'_> {
    /// The line that a byte of the file is in.
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        Origin::File(self.path.to_owned(), before.matches('\n').count() + 1)
    }

    /// Takes in a table and those inside it.
    fn table(&self, prefix: &str, table: &DeTable<'_>, layer: &mut Layer) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let origin = self.origin(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => self.table(&format!("{name}."), inner, layer),
                DeValue::Array(groups) if name == "group" => {
                    for group in groups {
                        self.group(group, layer);
                    }
                }
                other => match text_of(other) {
                    Some(text) => layer.add(&name, text, origin),
                    None => layer.problems.push(Problem::new(
                        format!("{name} ({origin})"),
                        "is neither text, a number, true, false, nor a list of these",
                        "write durations as text, such as \"100ms\"",
                    )),
                },
            }
        }
    }

    /// Takes in one `[[group]]`.
    fn group(&self, value: &Spanned<DeValue<'_>>, layer: &mut Layer) {
        let origin = self.origin(value.span().start);
        let Some(table) = value.get_ref().as_table() else {
            let what = "is not a table";
            let subject = format!("group ({origin})");
            layer.problems.push(Problem::new(subject, what, "write [[group]] and its keys"));
            return;
        };
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !GROUP_KEYS.contains(&name) {
                let near = nearest(name, GROUP_KEYS, 0.0).unwrap_or(GROUP_KEYS[0]);
                layer.problems.push(Problem::new(
                    format!("group.{name} ({})", self.origin(key.span().start)),
                    "a group has no such key",
                    format!("did you mean `{near}`?"),
                ));
            }
        }
        let mut fields = Fields { table, origin: &origin, problems: &mut layer.problems };
        let name = fields.read("name", None);
        let tables = fields.read("tables", None);
        let home = match fields.text("home") {
            Some(_) => fields.read("home", None).map(Some),
            None => Some(None),
        };
        let cidr = fields.read("cidr", Some("0.0.0.0/0"));
        if let (Some(name), Some(tables), Some(home), Some(cidr)) = (name, tables, home, cidr) {
            layer.groups.push(GroupSetting::of_tables(name, home, tables, cidr));
        }
    }
}

/// The keys of one group. Every method notes what is wrong and then answers none.
struct Fields<'a, 'i> {
    table: &'a DeTable<'i>,
    origin: &'a Origin,
    problems: &'a mut Vec<Problem>,
}

impl Fields<'_, '_> {
    fn text(&self, name: &str) -> Option<String> {
        let mut items = self.table.iter();
        let (_, value) = items.find(|(key, _)| key.get_ref() == name)?;
        Some(text_of(value.get_ref()).unwrap_or_default())
    }

    fn read<T: Value>(&mut self, name: &str, default: Option<&str>) -> Option<T> {
        let Some(text) = self.text(name).or_else(|| default.map(str::to_owned)) else {
            self.note(name, "is missing", "add it");
            return None;
        };
        match T::read(&text, Range::Words("")) {
            Ok(value) => Some(value),
            Err(what) => {
                self.note(name, &what, "correct it");
                None
            }
        }
    }

    fn note(&mut self, name: &str, what: &str, remedy: &str) {
        let subject = format!("group.{name} ({})", self.origin);
        self.problems.push(Problem::new(subject, what, remedy));
    }
}

/// A value as the text that any other place would give it as.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Array(values) => {
            let texts: Option<Vec<String>> =
                values.iter().map(|value| text_of(value.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
