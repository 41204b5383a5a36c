//! Reading the XML of a request: elements and text, without attributes, without declarations of
//! entities or document types.

/// How deep elements may be inside each other.
const DEPTH: usize = 16;

/// An element; its name is without a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }
}

/// Reads a document; none where it is no well-formed one of this kind.
pub(super) fn read(document: &str) -> Option<Element> {
    let mut rest = document.trim_start_matches('\u{feff}').trim();
    let mut open: Vec<Element> = Vec::new();
    loop {
        let at = rest.find('<')?;
        let (text, tag) = rest.split_at(at);
        match open.last_mut() {
            Some(element) => element.text.push_str(&unescape(text)?),
            None if text.trim().is_empty() => {}
            None => return None,
        }
        if let Some(after) = tag.strip_prefix("<?") {
            rest = after.split_once("?>")?.1;
            continue;
        }
        if let Some(after) = tag.strip_prefix("<!--") {
            rest = after.split_once("-->")?.1;
            continue;
        }
        let (inside, after) = tag.strip_prefix('<').and_then(end_of_tag)?;
        rest = after;
        let done = if let Some(name) = inside.strip_prefix('/') {
            let element = open.pop()?;
            (element.name == bare(name.trim())?).then_some(element)?
        } else {
            let empty = inside.ends_with('/');
            let name = inside.trim_end_matches('/').split_whitespace().next()?;
            let element = Element { name: bare(name)?.to_owned(), ..Element::default() };
            if !empty {
                if open.len() >= DEPTH {
                    return None;
                }
                open.push(element);
                continue;
            }
            element
        };
        match open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => return rest.trim().is_empty().then_some(done),
        }
    }
}

/// Splits behind the `>` that ends a tag; one in a quoted attribute does not.
fn end_of_tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some((&text[..at], &text[at + 1..])),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// A name without its namespace's prefix.
fn bare(name: &str) -> Option<&str> {
    let name = name.rsplit(':').next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (name, after) = part.split_once(';')?;
        let number =
            |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        plain.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => match name.strip_prefix("#x") {
                Some(digits) => number(digits, 16)?,
                None => number(name.strip_prefix('#')?, 10)?,
            },
        });
        plain.push_str(after);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_with_their_text_and_without_namespaces() {
        let read = read(
            "<?xml version=\"1.0\"?>\n<!-- a > b --><r:A xmlns:r='x>y'><B c=\"d\"> \
             &lt;1&#38;&#x41; </B><C/><C>2</C></r:A>\n",
        )
        .unwrap();
        assert_eq!((read.name.as_str(), read.children.len()), ("A", 3));
        assert_eq!(read.text_of("B"), Some("<1&A"));
        assert_eq!(read.children[2].text, "2");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a>&x;</a>",
            "<a>&lt</a>",
            "<a",
            "<>",
            "</a>",
            "<!DOCTYPE a><a/>",
            "<a b=\">\"",
            "<a>&#x110000;</a>",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        assert_eq!(read(&deep), None, "too deep");
    }
}
