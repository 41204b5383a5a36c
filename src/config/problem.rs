//! What is wrong with the settings, and where in which source.

use std::fmt;
use std::path::PathBuf;

use super::group::GroupSetting;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag, as written.
    Flag(String),
    /// An environment variable.
    Env(String),
    /// A line of the settings file.
    File(PathBuf, usize),
    /// A tag of this instance.
    Tag(String),
    /// Built in.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Tag(key) => write!(f, "instance tag {key}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One group, and where it is written.
#[derive(Debug)]
pub(super) struct LocatedGroup {
    pub(super) setting: GroupSetting,
    pub(super) origin: Origin,
}

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {what}; {remedy}")]
pub struct Problem {
    /// The setting with its value and origin, or the thing in EC2.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// Whether a flag of the command line is what is wrong.
    pub of_flag: bool,
}

impl Problem {
    pub(crate) fn new(
        subject: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (subject, what, remedy) = (subject.into(), what.into(), remedy.into());
        Self { subject, what, remedy, of_flag: false }
    }

    /// The same problem, with a value that comes from `origin`.
    pub(super) fn of(self, origin: &Origin) -> Self {
        Self { of_flag: matches!(origin, Origin::Flag(_)), ..self }
    }
}

/// Everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether the command line has a part in it, so that the exit code is that of wrong usage.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        self.0.iter().any(|problem| problem.of_flag)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(all) = self;
        if let [one] = all.as_slice() {
            return write!(f, "{one}");
        }
        write!(f, "the settings have {} problems:", all.len())?;
        all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// `; did you mean …` material: the known name that `text` is most like, if any is like it.
pub(crate) fn nearest<'a>(
    text: &str,
    known: impl IntoIterator<Item = &'a str>,
    at_least: f64,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(text, name), name))
        .filter(|(likeness, _)| *likeness >= at_least)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
