//! What a check finds.

use std::fmt;

use serde::Serialize;

/// What the checks of one section are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// The settings and the cluster key.
    Settings,
    /// The instance metadata service.
    Metadata,
    /// The permissions of the node's role.
    Permissions,
    /// What the kernel can do.
    Kernel,
    /// What `natha setup` configures, here and in EC2.
    Host,
    /// How much this node can take.
    Capacity,
    /// The running monitor.
    Monitor,
    /// The other nodes.
    Members,
    /// The route tables.
    Tables,
    /// What is left after a reboot, or a stop and a start.
    Restart,
}

impl Section {
    /// Every section, in the order of the report.
    pub const ALL: [Self; 10] = [
        Self::Settings,
        Self::Metadata,
        Self::Permissions,
        Self::Kernel,
        Self::Host,
        Self::Capacity,
        Self::Monitor,
        Self::Members,
        Self::Tables,
        Self::Restart,
    ];

    /// Its name, as in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Metadata => "metadata",
            Self::Permissions => "permissions",
            Self::Kernel => "kernel",
            Self::Host => "host",
            Self::Capacity => "capacity",
            Self::Monitor => "monitor",
            Self::Members => "members",
            Self::Tables => "tables",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All is well.
    Passed,
    /// It does not apply to this host or these settings.
    NotNeeded,
    /// A fact that it needs could not be read.
    Unchecked,
    /// natha works, but this needs attention.
    Warning,
    /// natha does not work as it should, or will not when it has to.
    Failed,
}

/// The result of a check, without what the catalogue says of the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub state: State,
    /// What was found, in a sentence without a full stop.
    pub what: String,
    /// The command or the change that fixes it.
    pub remedy: Option<String>,
}

impl Outcome {
    /// All is well.
    pub(super) fn passed(what: impl Into<String>) -> Self {
        Self { state: State::Passed, what: what.into(), remedy: None }
    }

    /// The check does not apply.
    pub(super) fn not_needed(what: impl Into<String>) -> Self {
        Self { state: State::NotNeeded, what: what.into(), remedy: None }
    }

    /// Something needs attention.
    pub(super) fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warning, what: what.into(), remedy: Some(remedy.into()) }
    }

    /// Something is wrong.
    pub(super) fn failed(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Failed, what: what.into(), remedy: Some(remedy.into()) }
    }
}

/// Why a fact is not known: a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Gap(pub String);

impl Gap {
    /// The reason.
    #[must_use]
    pub fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// What a check comes to; a gap if a fact that it needs is not known.
pub(super) type Judged = Result<Outcome, Gap>;

/// The result of a check as it is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, in kebab case.
    pub name: &'static str,
    /// What it is about.
    pub section: Section,
    /// How it ended.
    pub state: State,
    /// What was found.
    pub what: String,
    /// Why it matters; `None` for a check that passed or is not needed.
    pub why: Option<&'static str>,
    /// The command or the change that fixes it.
    pub remedy: Option<String>,
    /// Where the check is explained, below natha's documentation.
    pub link: String,
}

/// Several things as one text.
pub(super) fn joined<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

/// `1 member`, `2 members`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
