//! Settings of any text, from a file or from an instance's tags: each fault is told with its place,
//! and what is shown of sound settings is what they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use natha::config::{Origin, Problems, Resolved, Sources, resolve};

const PATH: &str = "natha.toml";

fn resolve_file(text: &str) -> Result<Resolved, Problems> {
    let file = Some((PathBuf::from(PATH), text.to_owned()));
    resolve(&Sources { file, ..Sources::default() })
}

/// A settings file.
pub(crate) fn file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match resolve_file(&text) {
        Ok(resolved) => shown_is_meant(&resolved),
        Err(problems) => explained(&problems, text.split('\n').count()),
    }
}

/// Every problem names what it is about, with its line, what is wrong and what to do.
fn explained(problems: &Problems, lines: usize) {
    let Problems(all) = problems;
    assert!(!all.is_empty());
    for problem in all {
        let told = [&problem.subject, &problem.what, &problem.remedy];
        assert!(told.iter().all(|part| !part.is_empty()), "{problem:?}");
        let after = problem.subject.split_once("natha.toml:").map(|(_, after)| after);
        let digits = after.map(|after| after.split(|c: char| !c.is_ascii_digit()));
        if let Some(line) = digits.and_then(|mut parts| parts.next()) {
            let line: usize = line.parse().expect("a line number");
            assert!((1..=lines).contains(&line), "{problem:?} in {lines} lines");
        }
    }
    assert!(problems.to_string().lines().count() >= all.len());
}

/// The values that are shown, given as a file, make the same settings.
fn shown_is_meant(resolved: &Resolved) {
    let mut text = String::new();
    for (name, given) in &resolved.given {
        if given.origin != Origin::Default {
            let value = serde_json::Value::from(given.value.clone());
            text = format!("{text}{name} = {value}\n");
        }
    }
    if !resolved.settings.groups.is_empty() {
        return;
    }
    let again = resolve_file(&text);
    let again = again.unwrap_or_else(|problems| panic!("{problems}\nof what is shown:\n{text}"));
    assert_eq!(again.settings, resolved.settings, "as shown:\n{text}");
}

/// Tags: somebody who may tag the instance may set them to anything.
pub(crate) fn tags(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let pairs = text.split('\n').filter_map(|line| line.split_once('='));
    let tags: BTreeMap<String, String> = pairs
        .flat_map(|(key, value)| {
            [(key.to_owned(), value.to_owned()), (format!("natha:{key}"), value.to_owned())]
        })
        .collect();
    match resolve(&Sources { tags: Some(&tags), ..Sources::default() }) {
        Ok(resolved) => {
            // Nothing that decides about somebody else's machine, file or key comes from a tag.
            assert_eq!(resolved.settings.heartbeat.key_file, None);
            shown_is_meant(&resolved);
        }
        Err(problems) => explained(&problems, 0),
    }
}
