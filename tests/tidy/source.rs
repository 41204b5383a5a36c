//! Reading source text: files, and Rust with its comments and literals blanked.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the repository.
pub(crate) struct Source {
    /// Its path, relative to the repository.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl Source {
    /// A file that need not exist, for a rule's own test.
    pub(crate) fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether its name ends in `.EXTENSION`.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Whether its first line names a shell.
    pub(crate) fn is_shell(&self) -> bool {
        let first = self.text.lines().next().unwrap_or_default();
        first.starts_with("#!") && (first.ends_with("bash") || first.ends_with("sh"))
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository, build output and hidden directories excepted, sorted.
pub(crate) fn repository() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.iter().any(|source| source.path == "src/lib.rs"), "the walk missed src/lib.rs");
    found
}

fn collect(directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository is readable") {
        let path = entry.expect("a directory of the repository is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let is_built = name == "target" || name.starts_with("target-");
            if !is_built && !matches!(name.as_str(), ".git" | ".jj" | ".idea" | ".vscode") {
                collect(&path, found);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).expect("the walk began at the root");
            found.push(Source { path: path.to_string_lossy().into_owned(), text });
        }
    }
}

/// Rust source with the inside of comments, strings and character literals made blanks, line for
/// line and byte for byte, so that what is left is code.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).expect("blanking whole literals leaves UTF-8")
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment_end(bytes, at);
    }
    if rest.starts_with(b"\"") {
        return string_end(bytes, at + 1);
    }
    if !after_word && (rest.starts_with(b"r") || rest.starts_with(b"br")) {
        return raw_string_end(bytes, at);
    }
    if rest.starts_with(b"'") {
        return char_end(bytes, at);
    }
    at
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (1, at + 2);
    while at < bytes.len() && depth > 0 {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
    }
    at.min(bytes.len())
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + if bytes[start] == b'b' { 2 } else { 1 };
    let hashes = bytes[at..].iter().take_while(|&&b| b == b'#').count();
    at += hashes;
    if bytes.get(at) != Some(&b'"') {
        return start;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let rest = &bytes[at + 1..];
    let length = rest.windows(close.len()).position(|window| window == close.as_slice());
    length.map_or(bytes.len(), |length| at + 1 + length + close.len())
}

/// A character literal's end; a lifetime is no literal.
fn char_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().position(|&b| b == b'\'');
        return close.map_or(bytes.len(), |close| at + 3 + close + 1);
    }
    let width = bytes.get(at + 1).map_or(0, |&first| match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    });
    if width > 0 && bytes.get(at + 1 + width) == Some(&b'\'') { at + width + 2 } else { at }
}

/// The code without its `#[cfg(test)] mod name { … }` blocks, which are blanked too.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find("#[cfg(test)]") {
        let start = from + found;
        let Some(open) = out[start..].find(['{', ';']).map(|open| start + open) else { break };
        let end = if out.as_bytes()[open] == b'{' { block_end(&out, open) } else { open + 1 };
        let blank: String =
            out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
        from = start + blank.len();
    }
    out
}

/// Just past the brace that closes the one at `open`, in code without literals.
pub(crate) fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return offset + 1;
        }
    }
    code.len()
}

/// Where each whole word equal to `word` begins.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = text.as_bytes();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        !before.is_some_and(is_part) && !bytes.get(at + word.len()).is_some_and(is_part)
    })
}

/// The number of the line that `at` is on, from 1.
pub(crate) fn line_number(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|&b| b == b'\n').count() + 1
}

/// The identifier that `text` begins with, maybe empty.
pub(crate) fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_is_kept() {
        let code = code_only(concat!(
            r#"fn a<'x>(b: &'x str) { /* { /* */ } */ f("}\"", '{', '\'', "#,
            "r#\"\"}\"#, 'é') } // }",
        ));
        assert_eq!(code.matches('{').count(), 1);
        assert_eq!(code.matches('}').count(), 1);
        assert!(code.contains("fn a<'x>(b: &'x str)"), "{code}");
        assert_eq!(code_only("let r = b\"x\"; bar\n").trim_end(), "let r = b   ; bar");
    }

    #[test]
    fn test_modules_are_blanked_and_the_rest_is_kept() {
        let rest =
            without_tests("a\n#[cfg(test)]\nmod t { fn b() {} }\nc\n#[cfg(test)]\nmod d;\ne");
        assert_eq!(rest.split_whitespace().collect::<Vec<_>>(), ["a", "c", "e"]);
        assert_eq!(rest.lines().count(), 7);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(words("ab abc a_b ab", "ab").collect::<Vec<_>>(), [0, 11]);
    }
}
