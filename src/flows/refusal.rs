//! Why nodes refuse each other.

use std::fmt;

/// Why a node accepts no stream from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The other end sends another version of this format.
    Version,
    /// It is of another cluster.
    Cluster,
    /// Its settings differ.
    Settings,
    /// It is not the node that this one expects.
    Node,
    /// Both are owners, or both are heirs.
    Role,
}

impl Refusal {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 5] =
        [Self::Version, Self::Cluster, Self::Settings, Self::Node, Self::Role];

    pub(super) fn number(self) -> u8 {
        let place = Self::ALL.iter().position(|one| *one == self).unwrap_or_default();
        u8::try_from(place + 1).unwrap_or_default()
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => {
                "the nodes replicate connections in different versions: install the same build of \
                 natha on both"
            }
            Self::Cluster => "the nodes are of different clusters: set the same `cluster` on both",
            Self::Settings => {
                "the settings of the nodes differ: give all nodes the same settings, and restart \
                 their monitors"
            }
            Self::Node => "another node answers at the peer's address: check the peer's address",
            Self::Role => "both nodes send, or both receive: restart the monitors of both",
        })
    }
}
