//! The settings and the cluster key.

use super::facts::{Facts, KeyFile, known};
use super::finding::{Judged, Outcome};
use crate::config::Problem;

/// The shortest key, in bytes, as the settings have it.
const LEAST_KEY: usize = 16;

/// `settings-valid`
pub(super) fn valid(facts: &Facts) -> Judged {
    if !facts.problems.is_empty() {
        let remedy = remedies(&facts.problems) + "; the monitor refuses these settings as a whole";
        return Ok(Outcome::failed(described(&facts.problems), remedy));
    }
    if !facts.ignored.is_empty() {
        return Ok(Outcome::warning(described(&facts.ignored), remedies(&facts.ignored)));
    }
    if facts.pre {
        return Ok(Outcome::passed("the settings of this host are valid"));
    }
    known(&facts.tags)?;
    Ok(Outcome::passed("the settings of this host and those in its tags are valid"))
}

/// `key-present`
pub(super) fn key(facts: &Facts) -> Judged {
    let Some(KeyFile { path, mode, length }) = known(&facts.key)? else {
        return Ok(Outcome::warning(
            "there is no cluster key: heartbeats are not authenticated",
            "make one with `openssl rand -base64 32`, put it in /etc/credstore/natha.key with \
             mode 600 on all nodes, or name its file in heartbeat.key_file, and restart the \
             monitors one after the other",
        ));
    };
    let path = path.display();
    let Some(length) = length else {
        let what = format!("the settings name a key file that does not exist: {path}");
        return Ok(Outcome::failed(what, "put the key of the other nodes there, with mode 600"));
    };
    if mode & 0o007 != 0 {
        let what = format!("every user of this host can access the key {path} (mode {mode:o})");
        return Ok(Outcome::failed(what, format!("chmod 600 {path}")));
    }
    if mode & 0o020 != 0 {
        let what = format!("a group can replace the key {path} (mode {mode:o})");
        return Ok(Outcome::warning(what, format!("chmod g-w {path}")));
    }
    if *length < LEAST_KEY {
        let what =
            format!("the key {path} has only {length} bytes; at least {LEAST_KEY} are needed");
        let remedy = "make one with `openssl rand -base64 32`, and use the same on all nodes";
        return Ok(Outcome::failed(what, remedy));
    }
    Ok(Outcome::passed(format!("{path} has a key of {length} bytes, mode {mode:o}")))
}

/// What is wrong, without the remedies.
pub(super) fn described(problems: &[Problem]) -> String {
    let all: Vec<String> =
        problems.iter().map(|one| format!("{} {}", one.subject, one.what)).collect();
    all.join("; ")
}

/// The remedies, each once.
pub(super) fn remedies(problems: &[Problem]) -> String {
    let mut all: Vec<&str> = Vec::new();
    for problem in problems {
        if !all.contains(&&*problem.remedy) {
            all.push(&problem.remedy);
        }
    }
    all.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::{Gap, State};

    fn problem(subject: &str) -> Problem {
        Problem::new(subject, "is not a number", "write a number")
    }

    #[test]
    fn wrong_settings_fail_and_what_is_ignored_is_a_warning() {
        let wrong = [problem("a"), problem("b")].to_vec();
        let facts = Facts { problems: wrong.clone(), ..Facts::default() };
        let outcome = valid(&facts).unwrap();
        assert_eq!(outcome.state, State::Failed);
        assert_eq!(outcome.what, "a is not a number; b is not a number");
        let remedy = outcome.remedy.unwrap();
        assert!(remedy.starts_with("write a number; the monitor"), "{remedy}");
        let facts = Facts { ignored: wrong, ..Facts::default() };
        assert_eq!(valid(&facts).unwrap().state, State::Warning);
    }

    #[test]
    fn settings_whose_tags_could_not_be_read_are_not_called_valid() {
        let facts = Facts { tags: Err(Gap::new("EC2 is silent")), ..Facts::default() };
        assert_eq!(valid(&facts), Err(Gap::new("EC2 is silent")));
        assert_eq!(valid(&Facts { pre: true, ..facts.clone() }).unwrap().state, State::Passed);
        assert_eq!(valid(&Facts { tags: Ok(()), ..facts }).unwrap().state, State::Passed);
    }

    #[test]
    fn a_key_that_others_can_read_replace_or_guess_is_found() {
        for (mode, length, state, remedy) in [
            (0o600, 44, State::Passed, None),
            (0o640, 16, State::Passed, None),
            (0o644, 44, State::Failed, Some("chmod 600 /k")),
            (0o602, 44, State::Failed, Some("chmod 600 /k")),
            (0o660, 44, State::Warning, Some("chmod g-w /k")),
            (0o600, 15, State::Failed, Some("make one with")),
        ] {
            let key = KeyFile { path: "/k".into(), mode, length: Some(length) };
            let outcome = key_of(Some(key));
            assert_eq!(outcome.state, state, "{mode:o} {length}");
            let found = outcome.remedy.unwrap_or_default();
            assert!(found.starts_with(remedy.unwrap_or_default()), "{found}");
        }
        assert_eq!(key_of(None).state, State::Warning);
        let missing = KeyFile { path: "/k".into(), mode: 0, length: None };
        assert_eq!(key_of(Some(missing)).state, State::Failed);
    }

    fn key_of(file: Option<KeyFile>) -> Outcome {
        key(&Facts { key: Ok(file), ..Facts::default() }).unwrap()
    }
}
