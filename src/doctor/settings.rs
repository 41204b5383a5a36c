//! The settings and the cluster key.

use super::facts::{Facts, KeyDirectory, KeyFile, known};
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
    let Some(file) = known(&facts.key)? else {
        return Ok(Outcome::warning(
            "there is no cluster key: heartbeats are not authenticated",
            "make one with `openssl rand -base64 32`, put it in /etc/credstore/natha.key with \
             mode 600 on all nodes, or name its file in heartbeat.key_file, and restart the \
             monitors one after the other",
        ));
    };
    let KeyFile { path, mode, owner, length, .. } = file;
    let path = path.display();
    let Some(length) = length else {
        let what = format!("the settings name a key file that does not exist: {path}");
        return Ok(Outcome::failed(what, "put the key of the other nodes there, with mode 600"));
    };
    if mode & 0o007 != 0 {
        let what = format!("every user of this host can access the key {path} (mode {mode:o})");
        return Ok(Outcome::failed(what, format!("chmod 600 {path}")));
    }
    if !may_own(file, *owner) {
        let what = format!("user {owner} owns the key {path}, and can read and replace it");
        return Ok(Outcome::failed(what, format!("chown root {path}")));
    }
    if let Some(outcome) = file.directories.iter().find_map(|one| exposed(file, one)) {
        return Ok(outcome);
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

/// Whether a user may own the key or a directory on the way to it: root, and the service's user.
fn may_own(file: &KeyFile, user: u32) -> bool {
    user == 0 || file.service == Some(user)
}

/// What is wrong with a directory by which other users can replace the key.
fn exposed(file: &KeyFile, KeyDirectory { path, mode, owner }: &KeyDirectory) -> Option<Outcome> {
    let (key, path) = (file.path.display(), path.display());
    if !may_own(file, *owner) {
        let what = format!("user {owner} owns {path}, and can replace the key {key} in it");
        return Some(Outcome::failed(what, format!("chown root {path}, or move the key")));
    }
    // With the sticky bit, only the owner of a file can replace it.
    let is_writable = mode & 0o022 != 0 && mode & 0o1000 == 0;
    is_writable.then(|| {
        let what = format!(
            "other users can write to {path} (mode {mode:o}), and so replace the key {key}"
        );
        Outcome::failed(what, format!("chmod go-w {path}, or move the key"))
    })
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
            let key = KeyFile { mode, length: Some(length), ..safe() };
            let outcome = key_of(Some(key));
            assert_eq!(outcome.state, state, "{mode:o} {length}");
            let found = outcome.remedy.unwrap_or_default();
            assert!(found.starts_with(remedy.unwrap_or_default()), "{found}");
        }
        assert_eq!(key_of(None).state, State::Warning);
        let missing = KeyFile { mode: 0, length: None, ..safe() };
        assert_eq!(key_of(Some(missing)).state, State::Failed);
    }

    fn safe() -> KeyFile {
        let path = "/k".into();
        KeyFile { path, mode: 0o600, length: Some(44), service: Some(990), ..KeyFile::default() }
    }

    #[test]
    fn a_key_of_another_user_or_below_its_directory_is_found() {
        for (owner, state) in [(0, State::Passed), (990, State::Passed), (1000, State::Failed)] {
            assert_eq!(key_of(Some(KeyFile { owner, ..safe() })).state, state, "{owner}");
        }
        for (mode, owner, remedy) in [
            (0o755, 0, None),
            (0o700, 990, None),
            (0o1777, 0, None),
            (0o777, 0, Some("chmod go-w /d, or move the key")),
            (0o775, 0, Some("chmod go-w /d, or move the key")),
            (0o755, 1000, Some("chown root /d, or move the key")),
        ] {
            let directories = vec![KeyDirectory { path: "/d".into(), mode, owner }];
            let outcome = key_of(Some(KeyFile { directories, ..safe() }));
            let wanted = if remedy.is_some() { State::Failed } else { State::Passed };
            assert_eq!((outcome.state, outcome.remedy.as_deref()), (wanted, remedy), "{mode:o}");
        }
    }

    fn key_of(file: Option<KeyFile>) -> Outcome {
        key(&Facts { key: Ok(file), ..Facts::default() }).unwrap()
    }
}
