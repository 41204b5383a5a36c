//! What a run changed on this host.

use std::fmt;

use serde::{Serialize, Serializer};

/// One attempted change of the addresses that this host carries, as a text. In JSON it is the
/// text that [`fmt::Display`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostChange {
    /// The change was made.
    Made(String),
    /// It failed, with the reason.
    Failed(String),
}

impl HostChange {
    pub(super) const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl fmt::Display for HostChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(change) => f.write_str(change),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl Serialize for HostChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_whose_text_looks_like_a_failure_is_none() {
        let made = HostChange::Made("failed: is part of a name".to_owned());
        let failed = HostChange::Failed("no such interface".to_owned());
        assert!(!made.is_failure() && failed.is_failure());
        assert_eq!(serde_json::to_value(&failed).unwrap(), "failed: no such interface");
    }
}
