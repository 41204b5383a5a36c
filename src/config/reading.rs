//! How serde reads the values of groups: a string, a number or a boolean of the file is text for
//! [`Value::read`], as it is everywhere else that settings come from.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::values::{Range, Value};

/// What the file may have as a value.
const SCALAR: &str = "a string, an integer, true or false";

/// One value.
pub(super) fn value<'de, T: Value, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    value_in(from, Range::Words(""))
}

/// One value within a range.
pub(super) fn value_in<'de, T: Value, D: Deserializer<'de>>(
    from: D,
    range: Range,
) -> Result<T, D::Error> {
    let text = scalar(from)?;
    T::read(&text, range).map_err(D::Error::custom)
}

/// A list of different values. One value alone is a list too.
pub(super) fn list<'de, T: Value + PartialEq, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let mut values = Vec::new();
    for text in texts(from)? {
        let value = T::read(&text, Range::Words("")).map_err(D::Error::custom)?;
        if values.contains(&value) {
            return Err(D::Error::custom(format!("lists `{text}` twice")));
        }
        values.push(value);
    }
    Ok(values)
}

/// One value as text.
pub(super) fn scalar<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Scalar::deserialize(from).map(|Scalar(text)| text)
}

/// A list of texts. One text alone is a list too; a comma does not split it.
pub(super) fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(TextsVisitor)
}

struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCALAR)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        if text.contains(char::is_control) {
            // It would reach the terminal with the next error message.
            return Err(E::custom("contains a control character"));
        }
        Ok(Scalar(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Scalar, E> {
        Ok(Scalar(yes.to_string()))
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCALAR}, or a list of these")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        ScalarVisitor.visit_str(text).map(|Scalar(text)| vec![text])
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<String>, E> {
        Ok(vec![number.to_string()])
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Vec<String>, E> {
        Ok(vec![yes.to_string()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(Scalar(text)) = list.next_element()? {
            texts.push(text);
        }
        Ok(texts)
    }
}
