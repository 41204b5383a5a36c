//! How often a node looks for members and tables.

use std::time::Duration;

use crate::types::{InstanceId, Roster};

/// The least time between two discoveries of one node.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// The time in which the members of a large cluster make one discovery, all together.
const LOOK_TOGETHER: Duration = Duration::from_secs(8);

/// The time between two discoveries of a node in a cluster of this many members. Each takes four
/// calls of EC2 and more, and all members share the request rates of one account.
#[must_use]
pub fn look_every(members: usize) -> Duration {
    LOOK_EVERY.max(LOOK_TOGETHER.saturating_mul(count(members)))
}

/// The time from the discoveries at a node's start to the next one. It depends on the node's place
/// among the members, so that nodes which started together do not look at the same time.
#[must_use]
pub fn first_look(roster: &Roster, me: &InstanceId) -> Duration {
    let members = roster.members.len();
    let before = roster.members.iter().filter(|member| member.id < *me).count();
    look_every(members) * count(before + 1) / count(members).max(1)
}

fn count(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Member;
    use std::collections::BTreeMap;

    fn id(n: usize) -> InstanceId {
        format!("i-{n:08x}").parse().unwrap()
    }

    fn roster(members: usize) -> Roster {
        let member = |n| Member {
            id: id(n),
            interface: format!("eni-{n:08x}").parse().unwrap(),
            address: [10, 0, 0, 10].into(),
            zone: None,
            name: None,
            public: None,
            loses_public: false,
            landings: BTreeMap::new(),
        };
        Roster { members: (0..members).rev().map(member).collect(), groups: Vec::new() }
    }

    #[test]
    fn a_large_cluster_makes_no_more_than_one_discovery_in_eight_seconds() {
        for members in [1, 2, 7] {
            assert_eq!(look_every(members), Duration::from_mins(1), "{members}");
        }
        assert_eq!(look_every(8), Duration::from_secs(64));
        assert_eq!(look_every(16), Duration::from_secs(128));
    }

    #[test]
    fn nodes_that_started_together_look_one_after_the_other() {
        let roster = roster(16);
        let mut looks: Vec<Duration> = (0..16).map(|n| first_look(&roster, &id(n))).collect();
        assert_eq!(looks[0], Duration::from_secs(8));
        assert_eq!(looks[15], look_every(16));
        looks.dedup();
        assert_eq!(looks.len(), 16);
    }
}
