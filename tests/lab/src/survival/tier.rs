//! The ways to keep connections.

use std::path::PathBuf;

use crate::egress::{self, Egress};
use crate::scene;
use crate::spec::Spec;

/// A group stays where it was moved to: a trial moves it back when it has measured.
const STAY: &str = "
[hand_back]
enabled = false
";
/// The group of the first zone where tables alone are tagged: its name is that of its home's zone.
const BY_TAGS: &str = "us-east-1a";

/// A way to keep connections when a group moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// natha moves the routes. Each node has a public address of its own.
    Nothing,
    /// natha moves the routes and the egress IP.
    EgressIp,
    /// The same, and natha replicates the connections.
    Replication,
    /// As [`Tier::EgressIp`], and conntrackd replicates the connections.
    Conntrackd,
}

impl Tier {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::EgressIp, Self::Replication, Self::Conntrackd];

    /// The group of the first zone.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Nothing => BY_TAGS,
            Self::EgressIp | Self::Replication | Self::Conntrackd => "a",
        }
    }

    /// Two nodes, and two private hosts in the first zone.
    #[must_use]
    pub fn spec(self, natha: PathBuf) -> Spec {
        let with = |replicate| Egress { strict: false, replicate, more: STAY };
        let spec = match self {
            Self::Nothing => scene::service(2, natha, STAY),
            Self::EgressIp | Self::Conntrackd => with(false).spec(natha),
            Self::Replication => with(true).spec(natha),
        };
        egress::with_second_host(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::account::REGION;

    #[test]
    fn the_group_that_tags_define_is_named_after_the_first_zone() {
        assert_eq!(Tier::Nothing.group(), format!("{REGION}a"));
    }

    #[test]
    fn only_the_tier_without_one_has_no_elastic_ip() {
        for tier in Tier::ALL {
            let spec = tier.spec("natha".into());
            assert_eq!(spec.addresses.is_empty(), tier == Tier::Nothing, "{tier:?}");
            assert_eq!(spec.faults(), [""; 0], "{tier:?}");
        }
    }
}
