//! All findings, and what they come to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalogue::{CHECKS, Check};
use super::facts::Facts;
use super::finding::{Finding, Outcome, Section, State};

/// The page that explains every check, below natha's documentation.
const PAGE: &str = "doctor.md";

/// Which checks to make, by their names and those of sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Only these; all if empty.
    pub only: Vec<String>,
    /// None of these.
    pub skip: Vec<String>,
}

impl Selection {
    fn has(&self, check: &Check) -> bool {
        let names =
            |all: &[String]| all.iter().any(|one| one == check.name || one == check.section.name());
        (self.only.is_empty() || names(&self.only)) && !names(&self.skip)
    }
}

/// Whether a check or a section has this name.
#[must_use]
pub fn is_selectable(name: &str) -> bool {
    CHECKS.iter().any(|check| check.name == name)
        || Section::ALL.iter().any(|section| section.name() == name)
}

/// What all checks found: the JSON of `natha doctor --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The version of the program that checked.
    pub version: String,
    /// Whether natha was not installed yet.
    pub pre: bool,
    /// Whether every check that applies has passed.
    pub is_well: bool,
    /// How many checks ended how.
    pub counts: BTreeMap<State, usize>,
    /// In the order of the report.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Makes the checks.
    #[must_use]
    pub fn of(facts: &Facts, selection: &Selection) -> Self {
        let wanted = CHECKS.iter().filter(|check| check.pre || !facts.pre);
        let findings: Vec<Finding> =
            wanted.filter(|check| selection.has(check)).map(|check| find(check, facts)).collect();
        let mut counts = BTreeMap::new();
        for finding in &findings {
            *counts.entry(finding.state).or_insert(0) += 1;
        }
        let is_fine = |finding: &Finding| matches!(finding.state, State::Passed | State::NotNeeded);
        Self {
            version: facts.version.clone(),
            pre: facts.pre,
            is_well: findings.iter().all(is_fine),
            counts,
            findings,
        }
    }

    /// How many checks ended so.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.counts.get(&state).copied().unwrap_or_default()
    }
}

fn find(check: &Check, facts: &Facts) -> Finding {
    let outcome = (check.judge)(facts).unwrap_or_else(|gap| Outcome {
        state: State::Unchecked,
        what: format!("could not be checked: {gap}"),
        remedy: None,
    });
    let Outcome { state, what, remedy } = outcome;
    let is_fine = matches!(state, State::Passed | State::NotNeeded);
    Finding {
        name: check.name,
        section: check.section,
        state,
        what,
        why: (!is_fine).then_some(check.why),
        remedy,
        link: format!("{PAGE}#{}", check.name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all(facts: &Facts) -> Diagnosis {
        Diagnosis::of(facts, &Selection::default())
    }

    #[test]
    fn names_are_kebab_case_and_unique_and_sections_stay_together() {
        let mut names = BTreeSet::new();
        for check in CHECKS {
            let plain = |word: &str| {
                !word.is_empty()
                    && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            };
            assert!(check.name.split('-').all(plain) && check.name.contains('-'), "{check:?}");
            assert!(names.insert(check.name), "{check:?} twice");
            assert!(Section::ALL.iter().all(|section| section.name() != check.name));
        }
        let mut sections: Vec<Section> = CHECKS.iter().map(|check| check.section).collect();
        sections.dedup();
        assert_eq!(sections, Section::ALL);
    }

    #[test]
    fn without_any_fact_every_check_still_has_a_finding_that_says_why() {
        let diagnosis = all(&Facts::default());
        assert_eq!(diagnosis.findings.len(), CHECKS.len());
        assert!(!diagnosis.is_well);
        assert_eq!(diagnosis.count(State::Passed), 0);
        // The default settings have no service check and no copies, and that is known.
        let is_known =
            |finding: &&Finding| ["kernel-copies", "service-checks"].contains(&finding.name);
        let (without, others): (Vec<&Finding>, Vec<&Finding>) =
            diagnosis.findings.iter().partition(is_known);
        assert_eq!(without.len(), 2);
        assert!(without.iter().all(|finding| finding.state == State::NotNeeded), "{without:?}");
        for finding in others {
            assert_eq!(finding.state, State::Unchecked, "{finding:?}");
            assert!(finding.what.starts_with("could not be checked: "), "{finding:?}");
            assert!(finding.why.is_some());
        }
    }

    #[test]
    fn before_the_installation_only_what_makes_sense_is_checked() {
        let diagnosis = all(&Facts { pre: true, ..Facts::default() });
        let names: BTreeSet<&str> = diagnosis.findings.iter().map(|finding| finding.name).collect();
        assert!(names.contains("metadata-answers") && names.contains("kernel-tun"));
        assert!(!names.contains("monitor-runs") && !names.contains("tables-found"));
    }

    #[test]
    fn checks_and_sections_are_selected_by_name() {
        let names = |only: &[&str], skip: &[&str]| -> Vec<&str> {
            let list = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
            let selection = Selection { only: list(only), skip: list(skip) };
            let found = Diagnosis::of(&Facts::default(), &selection).findings;
            found.iter().map(|finding| finding.name).collect()
        };
        assert_eq!(names(&["clock-skew"], &[]), ["clock-skew"]);
        assert_eq!(names(&["settings"], &["key-present"]), ["settings-valid"]);
        assert_eq!(names(&[], &[]).len(), CHECKS.len());
        assert!(is_selectable("clock-skew") && is_selectable("metadata"));
        assert!(!is_selectable("clock"));
    }

    #[test]
    fn a_finding_that_is_fine_says_no_why_and_links_to_its_explanation() {
        let facts = Facts { pre: true, ..Facts::default() };
        let selection = Selection { only: vec!["settings-valid".to_owned()], skip: Vec::new() };
        let diagnosis = Diagnosis::of(&facts, &selection);
        assert!(diagnosis.is_well);
        let json = serde_json::to_value(&diagnosis).unwrap();
        assert_eq!(json["counts"]["passed"], 1);
        let finding = &json["findings"][0];
        assert_eq!(finding["state"], "passed");
        assert_eq!(finding["section"], "settings");
        assert_eq!(finding["why"], serde_json::Value::Null);
        assert_eq!(finding["link"], "doctor.md#settings-valid");
    }
}
