//! The settings file: TOML, read into the same entries as every other source.

use std::path::Path;

use toml::de::{DeArray, DeTable, DeValue};

use self::lines::{FileText, text_of};

use super::layers::{Layer, quoted};
use super::problem::Problem;
use crate::types::printable;

mod groups;
mod lines;

/// The name under which the file has its groups.
const GROUP: &str = "group";

/// Reads a settings file.
pub(super) fn read(path: &Path, text: &str) -> Layer {
    let file = FileText { path, text };
    let mut layer = Layer::default();
    match DeTable::parse(text) {
        Ok(table) => read_table(&file, "", table.get_ref(), &mut layer),
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

/// Takes in a table and those inside it.
fn read_table(file: &FileText<'_>, prefix: &str, table: &DeTable<'_>, layer: &mut Layer) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let origin = file.origin(key.span().start);
        match value.get_ref() {
            DeValue::Array(groups) if name == GROUP => {
                for group in groups {
                    match groups::read(file, group) {
                        Ok(group) => layer.groups.push(group),
                        Err(problems) => layer.problems.extend(problems),
                    }
                }
            }
            DeValue::Table(_) if name == GROUP => layer.problems.push(Problem::new(
                format!("{name} ({origin})"),
                "must be a list of tables",
                "write [[group]]",
            )),
            DeValue::Table(inner) => read_table(file, &format!("{name}."), inner, layer),
            DeValue::Array(tables) if has_tables(tables) => layer.problems.push(Problem::new(
                format!("{} ({origin})", printable(&name)),
                "unknown list of tables",
                "write groups as [[group]] and what they move as [[group.resource]]",
            )),
            other => match text_of(other) {
                Some(text) => {
                    let written = file.written(value.span()).unwrap_or_else(|| quoted(&text));
                    layer.add_written(&name, text, written, origin);
                }
                None => layer.problems.push(Problem::new(
                    format!("{name} ({origin})"),
                    "is not a string, an integer, true, false, or a list of these",
                    "write durations as strings, such as \"100ms\"",
                )),
            },
        }
    }
}

fn has_tables(array: &DeArray<'_>) -> bool {
    array.iter().any(|value| value.get_ref().is_table())
}
