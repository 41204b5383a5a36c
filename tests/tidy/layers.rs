//! Who imports whom, and which layers stay pure.

use std::path::Path;

use crate::source::{Source, code_only, identifier, line_number, without_tests, words};

/// What each top-level module of `src/` may import of the crate, itself aside. The reasons are in
/// `docs/ARCHITECTURE.md`. `main` uses the library by its name.
const LAYERS: [(&str, &[&str]); 23] = [
    ("types", &[]),
    ("config", &["types"]),
    ("cluster", &["types", "config"]),
    ("wire", &["types"]),
    ("evidence", &["types"]),
    ("failover", &["types", "config"]),
    ("flows", &["types", "wire"]),
    ("plan", &["types", "config"]),
    ("policy", &["types", "config", "cluster"]),
    ("kernel", &["types", "config", "plan", "flows"]),
    ("cloud", &["types", "config", "cluster"]),
    ("record", &["types", "config", "failover"]),
    ("status", &["types", "failover"]),
    ("doctor", &["types", "config", "failover", "plan", "status"]),
    ("history", &["types", "failover", "record", "status"]),
    ("notify", &["types", "failover", "history", "status"]),
    ("metrics", &["types", "failover", "flows", "plan", "status"]),
    (
        "daemon",
        &[
            "types", "config", "cluster", "wire", "evidence", "failover", "flows", "plan",
            "kernel", "cloud", "record", "status", "history", "notify", "metrics",
        ],
    ),
    (
        "commands",
        &[
            "types", "config", "cluster", "wire", "failover", "plan", "policy", "kernel", "cloud",
            "record", "status", "doctor", "history", "notify", "daemon", "logging",
        ],
    ),
    ("logging", &["types", "config"]),
    ("cli", &["types", "config", "commands", "logging"]),
    ("main", &["cli", "commands", "logging"]),
    ("lib", &[]),
];

/// Layers that decide and do nothing: their tests aside, none of [`IMPURE`] may be named in them.
const PURE: [&str; 13] = [
    "types", "cluster", "doctor", "evidence", "failover", "flows", "history", "metrics", "notify",
    "plan", "policy", "record", "wire",
];

/// Ways to the clock, the network, the disk, other threads and AWS.
const IMPURE: [&str; 18] = [
    "Instant",
    "SystemTime",
    "aws_config",
    "aws_sdk_ec2",
    "aws_sdk_route53",
    "env",
    "fs",
    "hyper",
    "io",
    "nix",
    "process",
    "rtnetlink",
    "socket2",
    "tempfile",
    "thread",
    "thread_priority",
    "tokio",
    "tracing",
];

/// Imports that the table does not allow, as complaints.
pub(crate) fn forbidden_imports(source: &Source) -> Vec<String> {
    let Some(layer) = layer_of(&source.path) else { return Vec::new() };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!("{}: `{layer}` is not in the table of layers", source.path)];
    };
    let code = code_only(&source.text);
    let root = if layer == "main" { "natha" } else { "crate" };
    let mut complaints = Vec::new();
    let paths = imports(&code, root).into_iter().chain(imports_through_super(source, &code));
    for (line, import) in paths {
        let known = LAYERS.iter().any(|(name, _)| *name == import);
        if known && import != layer && !allowed.contains(&import.as_str()) {
            complaints.push(format!("{}:{line}: {layer} may not import {import}", source.path));
        }
    }
    complaints
}

/// Impure names in a pure layer, as complaints.
pub(crate) fn impurities(source: &Source) -> Vec<String> {
    let pure = layer_of(&source.path).is_some_and(|layer| PURE.contains(&layer.as_str()));
    if !pure || is_test_file(&source.path) {
        return Vec::new();
    }
    let code = without_tests(&code_only(&source.text));
    let mut complaints = Vec::new();
    for name in IMPURE {
        for at in words(&code, name) {
            let is_path = code[..at].ends_with("::") || code[at + name.len()..].starts_with("::");
            let is_imported = code[..at].trim_end().ends_with(['{', ',']) && in_use(&code, at);
            if is_path || is_imported {
                let line = line_number(&code, at);
                complaints.push(format!("{}:{line}: a pure layer names `{name}`", source.path));
            }
        }
    }
    complaints
}

fn is_test_file(path: &str) -> bool {
    Path::new(path).components().any(|part| {
        let part = part.as_os_str();
        part == "tests" || part == "tests.rs"
    })
}

/// The top-level module a file of `src/` belongs to.
fn layer_of(path: &str) -> Option<String> {
    let first = path.strip_prefix("src/")?.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first).to_owned())
}

/// The names right below `root::`, groups in braces included, with their lines.
fn imports(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, root) {
        let Some(rest) = code[at + root.len()..].strip_prefix("::") else { continue };
        let line = line_number(code, at);
        found.extend(heads(rest).into_iter().map(|head| (line, head.to_owned())));
    }
    found
}

/// The first names of a path, or of each path in a brace group.
fn heads(path: &str) -> Vec<&str> {
    let Some(group) = path.trim_start().strip_prefix('{') else {
        return vec![identifier(path)];
    };
    let (mut depth, mut start, mut heads) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(identifier(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// Names reached by `super::` from the crate's root, with their lines. Inside a module of a file
/// (its tests) one `super` more is needed to get there.
fn imports_through_super(source: &Source, code: &str) -> Vec<(usize, String)> {
    let inner = source.path.strip_prefix("src/").unwrap_or(&source.path);
    let parts = inner.trim_end_matches("/mod.rs").split('/').count();
    let outside_tests = without_tests(code);
    let mut found = Vec::new();
    for at in words(code, "super") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &code[at..];
        let mut supers = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            rest = next;
            supers += 1;
        }
        let in_tests = !outside_tests[at..].starts_with("super");
        if supers == parts + usize::from(in_tests) {
            let line = line_number(code, at);
            found.extend(heads(rest).into_iter().map(|head| (line, head.to_owned())));
        }
    }
    found
}

/// Whether `at` is inside a `use` declaration.
fn in_use(code: &str, at: usize) -> bool {
    let start = code[..at].rfind(';').map_or(0, |before| before + 1);
    words(&code[start..at], "use").next().is_some()
}
