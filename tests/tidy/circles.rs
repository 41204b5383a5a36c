//! Which files of `src/` import each other in a circle.
//!
//! An import counts from the file that has it to the file that defines the name: what a module
//! re-exports is followed to its definition. A module and its own submodules count as one unit: a
//! submodule may use what its parent defines, and the parent what its submodules do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::{Source, code_only, identifier, without_tests, words};

/// A path of names, from the crate's root.
type Names = Vec<String>;

/// What matters of one file: the names it brings into scope and the names it mentions.
#[derive(Default)]
struct Module {
    file: String,
    /// Names that `use` brings into scope, whether for this file or for those that import it.
    scope: BTreeMap<String, Names>,
    /// What it mentions, re-exports aside.
    mentions: BTreeSet<Names>,
}

/// Every circle of imports among the files of `src/`, as complaints.
pub(crate) fn circles(sources: &[Source]) -> Vec<String> {
    let modules = modules(sources);
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (here, module) in &modules {
        let found = module.mentions.iter().filter_map(|names| definer(names, &modules));
        let apart = found.filter(|(names, _)| !names.starts_with(here) && !here.starts_with(names));
        imports.entry(&module.file).or_default().extend(apart.map(|(_, file)| file));
    }
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|file| (*file, reachable(file, &imports))).collect();
    let mut seen = BTreeSet::new();
    let mut complaints = Vec::new();
    for (file, reached) in &reach {
        if !reached.contains(file) || !seen.insert(*file) {
            continue;
        }
        let circle = reached.iter().filter(|other| reach[**other].contains(file));
        let circle: Vec<&str> = circle.copied().collect();
        seen.extend(&circle);
        complaints.push(format!("{} import each other", circle.join(", ")));
    }
    complaints
}

fn reachable<'a>(
    from: &'a str,
    imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for next in imports.get(file).into_iter().flatten() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

/// The module and its file that define what the names lead to, re-exports followed.
fn definer<'a>(names: &[String], modules: &'a BTreeMap<Names, Module>) -> Option<(Names, &'a str)> {
    let mut names = names.to_vec();
    // A chain of re-exports is short; a circle of them would not compile.
    for _ in 0..16 {
        let depth = (0..=names.len()).rev().find(|end| modules.contains_key(&names[..*end]))?;
        let module = &modules[&names[..depth]];
        let Some(target) = names.get(depth).and_then(|name| module.scope.get(name)) else {
            return Some((names[..depth].to_vec(), &module.file));
        };
        names = [target.as_slice(), &names[depth + 1..]].concat();
    }
    None
}

fn modules(sources: &[Source]) -> BTreeMap<Names, Module> {
    let code: Vec<(Names, &str, String)> = sources
        .iter()
        .filter_map(|source| {
            let names = module_names(&source.path)?;
            Some((names, source.path.as_str(), without_tests(&code_only(&source.text))))
        })
        .collect();
    let known: BTreeSet<&Names> = code.iter().map(|(names, ..)| names).collect();
    let module = |(names, file, code): &(Names, &str, String)| {
        (names.clone(), read(names, file, code, &known))
    };
    code.iter().map(module).collect()
}

/// The module that a file of `src/` is; none for tests and for files that are no module of the
/// library.
fn module_names(path: &str) -> Option<Names> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut names: Names = inner.split('/').map(str::to_owned).collect();
    let is_test = |name: &String| name == "tests" || name.ends_with("_tests");
    if names.iter().any(is_test) || inner == "main" || Path::new(inner).starts_with("bin") {
        return None;
    }
    names.pop_if(|last| last == "mod" || (inner == "lib"));
    Some(names)
}

fn read(names: &Names, file: &str, code: &str, known: &BTreeSet<&Names>) -> Module {
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    let child = |name: &str| {
        let path: Names = names.iter().cloned().chain([name.to_owned()]).collect();
        known.contains(&path).then_some(path)
    };
    let mut body = code.to_owned();
    for at in words(code, "use") {
        let end = code[at..].find(';').map_or(code.len(), |end| at + end);
        let is_item = code[..at].trim_end().ends_with(['}', ';', '{', ']', ')'])
            || code[..at].trim_end().ends_with("pub")
            || code[..at].trim().is_empty();
        if !is_item {
            continue;
        }
        let is_shown = code[..at].trim_end().ends_with("pub") || {
            let before = code[..at].trim_end();
            before.ends_with(')')
                && before.rfind('(').is_some_and(|open| before[..open].ends_with("pub"))
        };
        for (path, alias) in expand(&code[at + "use".len()..end]) {
            let Some(target) = absolute(&path, names, &child) else { continue };
            if !is_shown {
                module.mentions.insert(target.clone());
            }
            module.scope.insert(alias, target);
        }
        let blank: String =
            body[at..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        body.replace_range(at..end, &blank);
    }
    let scope = module.scope.clone();
    for at in path_starts(&body) {
        for (path, _) in expand(&body[at..]) {
            let target = match scope.get(&path[0]) {
                Some(target) => Some([target.as_slice(), &path[1..]].concat()),
                None => absolute(&path, names, &child),
            };
            module.mentions.extend(target);
        }
    }
    module
}

/// Where each path of two names or more begins.
fn path_starts(code: &str) -> Vec<usize> {
    let starts = code.match_indices("::").filter_map(|(at, _)| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let start = code[..at].rfind(|c| !word(c)).map_or(0, |before| before + 1);
        (start < at && !code[..start].ends_with("::")).then_some(start)
    });
    starts.collect()
}

/// A path from the crate's root; none where it leads out of the crate. Inside a module of a file,
/// one `super` more than in the file is needed; there are none outside of tests.
fn absolute(
    path: &[String],
    here: &Names,
    child: &impl Fn(&str) -> Option<Names>,
) -> Option<Names> {
    let supers = path.iter().take_while(|name| *name == "super").count();
    let (base, rest) = match path.first()?.as_str() {
        "crate" => (Names::new(), &path[1..]),
        "self" => (here.clone(), &path[1..]),
        "super" => (here[..here.len().checked_sub(supers)?].to_vec(), &path[supers..]),
        name => (child(name)?, &path[1..]),
    };
    Some([base.as_slice(), rest].concat())
}

/// The paths that a text begins with, brace groups multiplied out, each with the name that it
/// has in the scope of a `use`.
fn expand(text: &str) -> Vec<(Names, String)> {
    let mut found = Vec::new();
    expand_into(text, &Names::new(), &mut found);
    found
}

/// Returns how many bytes the path has.
fn expand_into(text: &str, before: &Names, found: &mut Vec<(Names, String)>) -> usize {
    let mut path = before.clone();
    let mut at = text.len() - text.trim_start().len();
    loop {
        let rest = &text[at..];
        if rest.starts_with('{') {
            at += 1;
            loop {
                at += expand_into(&text[at..], &path, found);
                at += text[at..].len() - text[at..].trim_start().len();
                match text[at..].chars().next() {
                    Some(',') => at += 1,
                    Some('}') => return at + 1,
                    _ => return text.len(),
                }
            }
        }
        let name = identifier(rest);
        if name.is_empty() {
            return at + usize::from(rest.starts_with('*'));
        }
        at += name.len();
        if name == "self" && !path.is_empty() {
            break;
        }
        path.push(name.to_owned());
        match text[at..].strip_prefix("::") {
            Some(_) => at += 2,
            None => break,
        }
    }
    let mut alias = path.last().cloned().unwrap_or_default();
    if let Some(rest) = text[at..].trim_start().strip_prefix("as ") {
        identifier(rest.trim_start()).clone_into(&mut alias);
        at = text.len() - rest.len() + alias.len();
    }
    if !path.is_empty() {
        found.push((path, alias));
    }
    at
}
