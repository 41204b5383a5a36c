//! What the documents point at.

use crate::source::Source;

/// Links in a Markdown file to files or headings that do not exist. `exists` tells of a path
/// relative to the repository, `read` gives its text.
pub(crate) fn dead_links(
    source: &Source,
    sources: &[Source],
    exists: impl Fn(&str) -> bool,
) -> Vec<String> {
    if !source.has_extension("md") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for target in link_targets(&source.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() { source.path.clone() } else { resolve(&source.path, file) };
        if !exists(&path) {
            complaints.push(format!("{}: link to {target}: no such file", source.path));
        } else if !heading.is_empty() && !has_heading(sources, &path, heading) {
            complaints.push(format!("{}: link to {target}: no such heading", source.path));
        }
    }
    complaints
}

/// Scripts of the repository that a Markdown file names and that do not exist.
pub(crate) fn missing_scripts(source: &Source, exists: impl Fn(&str) -> bool) -> Vec<String> {
    if !source.has_extension("md") {
        return Vec::new();
    }
    let named = source.text.match_indices("scripts/").map(|(at, _)| {
        let end = source.text[at..]
            .find(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c))
            .map_or(source.text.len(), |end| at + end);
        source.text[at..end].trim_end_matches('.')
    });
    named
        .filter(|path| !exists(path))
        .map(|path| format!("{}: names {path}, which does not exist", source.path))
        .collect()
}

/// Numbers of seeded bugs that a Markdown file gives and that differ from this one.
pub(crate) fn wrong_bug_counts(source: &Source, bugs: usize) -> Vec<String> {
    if !source.has_extension("md") {
        return Vec::new();
    }
    let words: Vec<&str> = source.text.split_whitespace().collect();
    let counts = words.windows(3).filter_map(|three| match three {
        [count, "seeded", noun] if noun.starts_with("bugs") => count.parse::<usize>().ok(),
        _ => None,
    });
    counts
        .filter(|count| *count != bugs)
        .map(|count| format!("{}: says {count} seeded bugs, there are {bugs}", source.path))
        .collect()
}

/// Targets of inline links and of pictures, code blocks excepted.
fn link_targets(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut targets = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let tails = line.match_indices("](").map(|(at, _)| &line[at + 2..]);
            targets.extend(tails.filter_map(|tail| tail.split([')', ' ']).next()));
            for attribute in ["src=\"", "srcset=\""] {
                let tails = line.split(attribute).skip(1);
                targets.extend(tails.filter_map(|tail| tail.split('"').next()));
            }
        }
    }
    targets
}

/// A relative link's path from the repository's root.
fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a document has a heading with this anchor, made as GitHub makes it.
fn has_heading(sources: &[Source], path: &str, anchor: &str) -> bool {
    let Some(document) = sources.iter().find(|source| source.path == path) else { return true };
    let headings = document.text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim()).any(|heading| {
        let slug: String = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        slug == anchor
    })
}
