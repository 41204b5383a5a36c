//! The settings file: TOML, read into the same entries as every other place.

use std::path::Path;

use toml::de::{DeArray, DeTable, DeValue};

use super::layers::Layer;
use super::problem::{Origin, Problem};
use crate::types::printable;

mod fields;
mod groups;

/// The name under which the file has its groups.
const GROUP: &str = "group";

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
                DeValue::Array(groups) if name == GROUP => {
                    for group in groups {
                        groups::read(self, group, layer);
                    }
                }
                DeValue::Table(_) if name == GROUP => layer.problems.push(Problem::new(
                    format!("{name} ({origin})"),
                    "is one table, but there may be several groups",
                    "write [[group]]",
                )),
                DeValue::Table(inner) => self.table(&format!("{name}."), inner, layer),
                DeValue::Array(tables) if has_tables(tables) => layer.problems.push(Problem::new(
                    format!("{} ({origin})", printable(&name)),
                    "there is no such list of tables",
                    "groups are written [[group]], what they move [[group.resource]]",
                )),
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
}

fn has_tables(array: &DeArray<'_>) -> bool {
    array.iter().any(|value| value.get_ref().is_table())
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
