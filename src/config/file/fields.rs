//! The keys of one table of the file that is no setting of its own: each is read by the name, the
//! range and the default that it has in a set of keys.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{File, text_of};
use crate::config::group_keys::{GroupKey, KeySet};
use crate::config::problem::{Origin, Problem, nearest};
use crate::config::values::{Range, Value};
use crate::types::printable;

/// Something is wrong, and it is noted already.
pub(super) struct Noted;

/// A table being read.
pub(super) struct Fields<'a, 'i> {
    /// The file.
    pub(super) file: &'a File<'a>,
    /// The table's name before its keys' names, such as `group.`.
    pub(super) prefix: &'static str,
    /// The keys that it may have.
    pub(super) known: &'static KeySet,
    /// The table.
    pub(super) table: &'a DeTable<'i>,
    /// Where it begins.
    pub(super) origin: Origin,
    /// What is wrong.
    pub(super) problems: &'a mut Vec<Problem>,
}

impl<'a, 'i> Fields<'a, 'i> {
    /// Notes every key that is not known; `others` are known beside those of the set.
    pub(super) fn note_unknown(&mut self, others: &[&str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.known.find(name).is_some() || others.contains(&name) {
                continue;
            }
            let names = self.known.keys.iter().map(|key| key.name);
            let near = nearest(name, names.chain(others.iter().copied()), 0.0).unwrap_or_default();
            let origin = self.file.origin(key.span().start);
            self.problems.push(Problem::new(
                format!("{}{} ({origin})", self.prefix, printable(name)),
                format!("{} has no such key", self.known.table),
                format!("did you mean `{near}`?"),
            ));
        }
    }

    /// The value of a key, and where it is.
    pub(super) fn value(&self, name: &str) -> Option<(&'a DeValue<'i>, Origin)> {
        let (key, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        Some((value.get_ref(), self.file.origin(key.span().start)))
    }

    /// Whether a key is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// A key that must be there.
    pub(super) fn required<T: Value>(&mut self, name: &str) -> Result<T, Noted> {
        match self.optional(name)? {
            Some(value) => Ok(value),
            None => Err(self.note(name, "is missing", "add it")),
        }
    }

    /// A key that may be left out, and then has its default.
    pub(super) fn or_default<T: Value>(&mut self, name: &str) -> Result<T, Noted> {
        if let Some(value) = self.optional(name)? {
            return Ok(value);
        }
        let key = self.key(name);
        Ok(T::read(key.default, key.range).expect("every default is in its range"))
    }

    /// A key that may be left out.
    pub(super) fn optional<T: Value>(&mut self, name: &str) -> Result<Option<T>, Noted> {
        let Some((value, _)) = self.value(name) else { return Ok(None) };
        let text = text_of(value).ok_or_else(|| self.note_shape(name))?;
        self.parsed(name, &text).map(Some)
    }

    /// A list; empty where it is left out.
    pub(super) fn list<T: Value + PartialEq>(&mut self, name: &str) -> Result<Vec<T>, Noted> {
        let mut values = Vec::new();
        for text in self.texts(name)? {
            let value = self.parsed(name, &text)?;
            if values.contains(&value) {
                return Err(self.note(name, &format!("lists `{text}` twice"), "leave one out"));
            }
            values.push(value);
        }
        Ok(values)
    }

    /// The texts of a list, whatever is in them; empty where it is left out. One text alone is a
    /// list as well, and its commas are no commas of a list.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, Noted> {
        let Some((value, _)) = self.value(name) else { return Ok(Vec::new()) };
        let texts = match value {
            DeValue::Array(values) => {
                let mut items = values.iter().map(Spanned::get_ref);
                if items.any(DeValue::is_array) { None } else { values_of(values) }
            }
            other => text_of(other).map(|text| vec![text]),
        };
        let texts = texts.ok_or_else(|| self.note_shape(name))?;
        if texts.iter().any(|text| text.contains(char::is_control)) {
            return Err(self.note_control(name));
        }
        Ok(texts)
    }

    fn parsed<T: Value>(&mut self, name: &str, text: &str) -> Result<T, Noted> {
        if text.contains(char::is_control) {
            return Err(self.note_control(name));
        }
        let range = self.key(name).range;
        T::read(text, range)
            .map_err(|what| self.note(name, &what, &format!("it may be: {}", range.text())))
    }

    fn key(&self, name: &str) -> &'static GroupKey {
        self.known.find(name).expect("only known keys are asked for")
    }

    fn note_shape(&mut self, name: &str) -> Noted {
        let range: Range = self.key(name).range;
        self.note(name, "has a value of the wrong type", &format!("it may be: {}", range.text()))
    }

    fn note_control(&mut self, name: &str) -> Noted {
        self.note(name, "contains a control character", "remove it")
    }

    /// Notes what is wrong with a key, which need not be there.
    pub(super) fn note(&mut self, name: &str, what: &str, remedy: &str) -> Noted {
        let origin = self.value(name).map_or_else(|| self.origin.clone(), |(_, origin)| origin);
        let subject = format!("{}{name} ({origin})", self.prefix);
        self.problems.push(Problem::new(subject, what, remedy));
        Noted
    }
}

/// The items of a list as texts; none where one of them is of a type that has none.
fn values_of(values: &DeArray<'_>) -> Option<Vec<String>> {
    values.iter().map(|value| text_of(value.get_ref())).collect()
}
