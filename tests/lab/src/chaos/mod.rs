//! The failures that a cluster on AWS must survive: which of them the lab stages, and how the last
//! run ended.
//!
//! The tests are in `tests/lab_chaos.rs`. Their names start with the scenario's number: `s01_…`
//! stages number 1. `scripts/chaos` runs them and writes the [`results`]. `docs/evidence/chaos.md`
//! shows them as a [`table`].

pub mod results;
mod scenarios;
pub mod table;

pub use scenarios::SCENARIOS;

/// A failure, and what natha must do.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its number, from 1.
    pub number: u8,
    /// What happens.
    pub name: &'static str,
    /// What natha must do.
    pub expected: &'static str,
    /// The evidence.
    pub shown: Shown,
}

/// The evidence that a cluster survives a failure.
#[derive(Debug, Clone, Copy)]
pub enum Shown {
    /// These tests, in `tests/lab_chaos.rs` or, as `FILE::TEST`, in another file.
    By(&'static [&'static str]),
    /// None in the lab, for this reason.
    Nothing(&'static str),
}

/// A scenario that the lab stages.
const fn staged(
    number: u8,
    name: &'static str,
    expected: &'static str,
    tests: &'static [&'static str],
) -> Scenario {
    Scenario { number, name, expected, shown: Shown::By(tests) }
}

/// A scenario that the lab cannot stage, and why.
const fn left(
    number: u8,
    name: &'static str,
    expected: &'static str,
    reason: &'static str,
) -> Scenario {
    Scenario { number, name, expected, shown: Shown::Nothing(reason) }
}

impl Scenario {
    /// Its tests.
    #[must_use]
    pub fn tests(&self) -> &'static [&'static str] {
        match self.shown {
            Shown::By(tests) => tests,
            Shown::Nothing(_) => &[],
        }
    }

    /// The prefix of the names of its own tests.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("s{:02}_", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_have_no_gap_and_every_scenario_is_shown_or_has_a_reason() {
        for (at, scenario) in SCENARIOS.iter().enumerate() {
            assert_eq!(usize::from(scenario.number), at + 1);
            match scenario.shown {
                Shown::By(tests) => assert!(!tests.is_empty(), "{scenario:?}"),
                Shown::Nothing(reason) => assert!(!reason.is_empty(), "{scenario:?}"),
            }
        }
    }

    #[test]
    fn a_test_of_the_table_is_named_after_its_scenario_or_says_its_file() {
        for scenario in &SCENARIOS {
            for test in scenario.tests() {
                let own = test.starts_with(&scenario.prefix());
                assert!(own || test.contains("::"), "{test} is no test of {}", scenario.number);
            }
        }
    }
}
