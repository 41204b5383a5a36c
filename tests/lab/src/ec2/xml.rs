//! Writing the body of an answer.

use std::fmt::{Display, Write};

use super::error::ApiError;

/// Namespace of every answer of the 2016-11-15 API.
pub(super) const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// The elements of an answer, without its envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XmlBody {
    text: String,
}

impl XmlBody {
    /// An answer without elements.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `<return>true</return>`: the whole answer of many calls.
    #[must_use]
    pub fn yes() -> Self {
        let mut body = Self::new();
        body.put("return", true);
        body
    }

    /// One element with a text.
    pub fn put(&mut self, name: &str, value: impl Display) {
        let value = escape(&value.to_string());
        write!(self.text, "<{name}>{value}</{name}>").expect("writing to a String never fails");
    }

    /// A text, inside an element that has nothing else.
    pub fn text(&mut self, value: impl Display) {
        self.text.push_str(&escape(&value.to_string()));
    }

    /// One element, where there is a value.
    pub fn maybe(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// One element with elements inside.
    pub fn nest(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        write!(self.text, "<{name}>").expect("writing to a String never fails");
        fill(self);
        write!(self.text, "</{name}>").expect("writing to a String never fails");
    }

    /// A list: `<name><item>…</item>…</name>`.
    pub fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Self, T),
    ) {
        self.nest(name, |list| {
            for item in items {
                list.nest("item", |element| fill(element, item));
            }
        });
    }

    /// The elements as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole document of a successful call.
    #[must_use]
    pub fn document(&self, action: &str, request_id: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"{NAMESPACE}\">\
             <requestId>{request_id}</requestId>{}</{action}Response>",
            self.text
        )
    }
}

/// The whole document of a refused call.
pub(super) fn error_document(error: &ApiError, request_id: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{}</Code>\
         <Message>{}</Message></Error></Errors><RequestID>{request_id}</RequestID></Response>",
        escape(&error.code),
        escape(&error.message),
    )
}

/// Makes a text safe inside an element.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_element() {
        let mut body = XmlBody::new();
        body.put("value", "</value><x>&\"");
        assert_eq!(body.as_str(), "<value>&lt;/value&gt;&lt;x&gt;&amp;&quot;</value>");
    }

    #[test]
    fn a_list_wraps_every_item() {
        let mut body = XmlBody::new();
        body.list("set", [1, 2], |x, n| x.put("id", n));
        assert_eq!(body.as_str(), "<set><item><id>1</id></item><item><id>2</id></item></set>");
    }
}
