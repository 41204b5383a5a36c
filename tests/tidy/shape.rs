//! Lengths, leftovers, files that nothing includes, and the form of shell scripts.

use std::collections::BTreeSet;

use crate::source::{Source, block_end, code_only, identifier, line_number, words};

/// Lines of a file, at most.
pub(crate) const FILE_LINES_MAX: usize = 500;
/// Lines of a function, signature and braces included, at most.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
/// Columns of a line, at most; a line with a URL may be longer.
pub(crate) const LINE_COLUMNS_MAX: usize = 100;

/// Files and lines that are too long, of Rust and shell.
pub(crate) fn long_files_and_lines(source: &Source) -> Vec<String> {
    if !source.has_extension("rs") && !source.is_shell() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        complaints.push(format!("{}: {lines} lines, over {FILE_LINES_MAX}", source.path));
    }
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX && !line.contains("://") {
            let number = index + 1;
            complaints.push(format!("{}:{number}: {columns} columns", source.path));
        }
    }
    complaints
}

/// Functions that are too long.
pub(crate) fn long_functions(source: &Source) -> Vec<String> {
    if !source.has_extension("rs") {
        return Vec::new();
    }
    let code = code_only(&source.text);
    let mut complaints = Vec::new();
    for at in words(&code, "fn") {
        let name = identifier(code[at + 2..].trim_start());
        let Some(open) = body_start(&code, at).filter(|_| !name.is_empty()) else { continue };
        let first = line_number(&code, at);
        let lines = line_number(&code, block_end(&code, open) - 1) + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            complaints.push(format!("{}:{first}: `{name}` has {lines} lines", source.path));
        }
    }
    complaints
}

/// Where the body of the function at `at` opens; none for a declaration.
fn body_start(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(offset),
            b';' | b'}' if depth <= 0 => return None,
            _ => {}
        }
    }
    None
}

/// Words that mark unfinished work, spelt in halves so that this file passes.
const LEFTOVERS: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];

/// Markers of unfinished work, in every text file but the licence and the lock file.
pub(crate) fn leftovers(source: &Source) -> Vec<String> {
    if matches!(source.path.as_str(), "LICENSE" | "Cargo.lock") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let debug_print = concat!("d", "bg!");
    for marker in LEFTOVERS {
        for at in words(&source.text, marker) {
            let line = line_number(&source.text, at);
            complaints.push(format!("{}:{line}: {marker}", source.path));
        }
    }
    if source.has_extension("rs") && code_only(&source.text).contains(debug_print) {
        complaints.push(format!("{}: {debug_print}", source.path));
    }
    complaints
}

/// Tests that are switched off.
pub(crate) fn ignored_tests(source: &Source) -> Vec<String> {
    if !source.has_extension("rs") {
        return Vec::new();
    }
    let code = code_only(&source.text);
    let places = code.match_indices("#[ignore");
    places.map(|(at, _)| format!("{}:{}", source.path, line_number(&code, at))).collect()
}

/// Rust files that no `mod` leads to.
pub(crate) fn orphans(sources: &[Source]) -> Vec<String> {
    let rust: Vec<&Source> = sources.iter().filter(|source| source.has_extension("rs")).collect();
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&Source> =
        rust.iter().copied().filter(|source| is_crate_root(&source.path)).collect();
    while let Some(source) = waiting.pop() {
        if !reached.insert(source.path.as_str()) {
            continue;
        }
        let children = module_files(source);
        waiting.extend(rust.iter().copied().filter(|file| children.contains(&file.path)));
    }
    let lost = rust.iter().filter(|source| !reached.contains(source.path.as_str()));
    lost.map(|source| source.path.clone()).collect()
}

/// Whether cargo itself compiles the file as the root of a crate.
fn is_crate_root(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let crates = ["packaging/generate/", "tests/fuzz/", "tests/lab/", "tests/prove/"];
    let in_crate = crates.iter().find_map(|at| directory.strip_prefix(at));
    let directory = in_crate.unwrap_or(directory);
    match directory {
        "src" => matches!(name, "main.rs" | "lib.rs"),
        "tests" | "benches" | "examples" | "src/bin" => true,
        _ => name == "build.rs" || (directory.starts_with("tests/") && name == "main.rs"),
    }
}

/// The files that a file's `mod name;` lines may mean.
fn module_files(source: &Source) -> BTreeSet<String> {
    let (directory, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let owns_directory = name == "mod.rs" || is_crate_root(&source.path);
    let base = if owns_directory {
        directory.to_owned()
    } else {
        source.path.trim_end_matches(".rs").to_owned()
    };
    let mut files = BTreeSet::new();
    let mut named_path = None;
    for line in source.text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"") {
            named_path = path.split('"').next().map(|path| format!("{directory}/{path}"));
            continue;
        }
        let Some(module) = declared_module(line) else { continue };
        match named_path.take() {
            Some(path) => files.extend([path]),
            None => {
                files.extend([format!("{base}/{module}.rs"), format!("{base}/{module}/mod.rs")]);
            }
        }
    }
    files
}

/// The name in a line `mod name;`, whatever its visibility.
fn declared_module(line: &str) -> Option<&str> {
    let line = line.strip_suffix(';')?;
    let (visibility, name) = line.rsplit_once("mod ")?;
    let visible = visibility.is_empty() || visibility.starts_with("pub");
    (visible && identifier(name) == name).then_some(name)
}

/// Shell scripts without strict mode or without a word on their use, and pipes into `grep -q`: it
/// ends at the first match, and in strict mode a writer that is cut off by that fails the pipe.
pub(crate) fn sloppy_scripts(source: &Source) -> Vec<String> {
    if !source.is_shell() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    if !source.text.lines().any(|line| line == "set -euo pipefail") {
        complaints.push(format!("{}: no `set -euo pipefail`", source.path));
    }
    if !source.text.lines().take(30).any(|line| line.starts_with("# Usage: ")) {
        complaints.push(format!("{}: no `# Usage: ` in its first comment", source.path));
    }
    for (line, text) in source.text.lines().enumerate() {
        if text.contains(" | grep -q") {
            complaints.push(format!("{}:{}: a pipe into `grep -q`", source.path, line + 1));
        }
    }
    complaints
}
