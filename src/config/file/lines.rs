//! The text of a settings file, and the lines that things in it are on.

use std::ops::Range;
use std::path::Path;

use toml::de::DeValue;

use crate::config::problem::Origin;

/// A file being read.
pub(super) struct FileText<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl FileText<'_> {
    /// A part of the file as it is written; none if it has a line break or another control
    /// character.
    pub(super) fn written(&self, span: Range<usize>) -> Option<String> {
        let text = self.text.get(span)?;
        (!text.contains(char::is_control)).then(|| text.to_owned())
    }

    /// The line that a byte of the file is in.
    pub(super) fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        Origin::File(self.path.to_owned(), before.matches('\n').count() + 1)
    }
}

/// A value as the text that any other source of settings would give it as.
pub(super) fn text_of(value: &DeValue<'_>) -> Option<String> {
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
