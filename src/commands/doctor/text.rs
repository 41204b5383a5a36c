//! The diagnosis as text. Pure.

use std::fmt::Write;

use crate::commands::render::{GREEN, RED, paint};
use crate::doctor::{CHECKS, Diagnosis, Finding, Section, State};
use crate::types::printable;

const YELLOW: u8 = 33;

/// All findings by section, then how many there are of each kind.
pub(super) fn diagnosis(diagnosis: &Diagnosis, colours: bool) -> String {
    let when = if diagnosis.pre { ", before the installation" } else { "" };
    let mut out = format!("natha {}, doctor{when}\n", diagnosis.version);
    let width = CHECKS.iter().map(|check| check.name.len()).max().unwrap_or_default();
    for section in Section::ALL {
        let mut found = diagnosis.findings.iter().filter(|one| one.section == section).peekable();
        if found.peek().is_none() {
            continue;
        }
        let _ = writeln!(out, "\n{section}");
        found.for_each(|finding| push(&mut out, finding, width, colours));
    }
    let _ = writeln!(out, "\n{}", summary(diagnosis, colours));
    out
}

fn push(out: &mut String, finding: &Finding, width: usize, colours: bool) {
    let Finding { name, state, what, why, remedy, .. } = finding;
    let sign = match state {
        State::Passed => paint("✓", GREEN, colours),
        State::NotNeeded => "-".to_owned(),
        State::Unchecked => paint("?", YELLOW, colours),
        State::Warning => paint("!", YELLOW, colours),
        State::Failed => paint("✗", RED, colours),
    };
    let _ = writeln!(out, "  {sign} {name:width$}  {}", fit(what));
    if let Some(why) = why {
        let _ = writeln!(out, "      why: {why}");
    }
    if let Some(remedy) = remedy {
        let _ = writeln!(out, "      remedy: {}", fit(remedy));
    }
}

/// A text that others may have written, fit for a terminal. Some findings have commands on lines of
/// their own.
fn fit(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n      ")
}

fn summary(diagnosis: &Diagnosis, colours: bool) -> String {
    let counts = [
        (State::Passed, "passed"),
        (State::NotNeeded, "not needed"),
        (State::Unchecked, "could not be checked"),
        (State::Warning, "with a warning"),
        (State::Failed, "failed"),
    ];
    let shown: Vec<String> = counts
        .into_iter()
        .map(|(state, name)| (diagnosis.count(state), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    let shown = shown.join(", ");
    if diagnosis.is_well {
        return paint(&format!("All is well: {shown}."), GREEN, colours);
    }
    let shown = paint(&format!("Needs attention: {shown}."), RED, colours);
    format!("{shown} doctor.md explains each check.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problem;
    use crate::doctor::{Facts, KeyFile, Selection};

    #[test]
    fn each_kind_of_finding_is_shown_as_reviewed() {
        let facts = Facts {
            version: "1.2.3".to_owned(),
            problems: vec![Problem::new("repair.after", "is too short", "use at least 10s")],
            key: Ok(None),
            nft: Ok(Ok("nftables v1.1.3".to_owned())),
            ..Facts::default()
        };
        let names = ["settings", "metadata-token", "kernel-nft", "port-space", "kernel-tun"];
        let only = names.map(str::to_owned).to_vec();
        let shown = |facts: &Facts| {
            let selection = Selection { only: only.clone(), skip: Vec::new() };
            diagnosis(&Diagnosis::of(facts, &selection), false)
        };
        let mut well = facts.clone();
        well.problems.clear();
        well.tags = Ok(());
        well.settings.host.nat = Some(false);
        let (path, mode, length) = ("/etc/credstore/natha.key".into(), 0o600, Some(44));
        well.key = Ok(Some(KeyFile { path, mode, length, ..KeyFile::default() }));
        let all = [shown(&facts), shown(&well)].join("\n---\n\n");
        insta::with_settings!({
            snapshot_path => "../../../tests/golden",
            prepend_module_to_snapshot => false,
        }, { insta::assert_snapshot!("doctor", all) });
        assert_eq!(fit("a\u{1b}[2J\n  b"), "a\\u{1b}[2J\n        b");
        let colours = diagnosis(&Diagnosis::of(&facts, &Selection::default()), true);
        assert!(colours.contains("\u{1b}[31m✗\u{1b}[0m"), "{colours}");
    }
}
