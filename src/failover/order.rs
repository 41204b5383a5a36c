//! The order of heirs: the same on every node, computed from names alone.

use sha2::{Digest, Sha256};

use crate::types::{GroupName, InstanceId};

/// The order in which nodes may take `group`: those preferred as listed, its home first, then the
/// others by rendezvous hash (Thaler and Ravishankar 1998), so that the groups of one failed node
/// spread over the rest.
pub(super) fn heirs<'a>(
    group: &GroupName,
    prefer: &[InstanceId],
    candidates: impl IntoIterator<Item = &'a InstanceId>,
) -> Vec<&'a InstanceId> {
    let mut heirs: Vec<&InstanceId> = candidates.into_iter().collect();
    let place = |node: &InstanceId| prefer.iter().position(|one| one == node);
    heirs.sort_by_cached_key(|node| {
        (place(node).unwrap_or(usize::MAX), weight(group, node), (*node).clone())
    });
    heirs
}

/// Place of `node` among `candidates`, for jobs that any node can do and only one should.
pub(super) fn rank<'a>(
    node: &InstanceId,
    candidates: impl IntoIterator<Item = &'a InstanceId>,
) -> u32 {
    let before = candidates.into_iter().filter(|other| *other < node).count();
    u32::try_from(before).unwrap_or(u32::MAX)
}

fn weight(group: &GroupName, node: &InstanceId) -> u64 {
    let mut hash = Sha256::new();
    hash.update(group.as_str());
    hash.update([0]);
    hash.update(node.as_str());
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn node(n: u8) -> InstanceId {
        format!("i-{n:08x}").parse().unwrap()
    }

    #[test]
    fn the_home_is_the_first_heir() {
        let nodes: Vec<_> = (0..5).map(node).collect();
        for n in &nodes {
            let order = heirs(&"g".parse().unwrap(), std::slice::from_ref(n), &nodes);
            assert_eq!(order[0], n);
            assert_eq!(order.len(), 5);
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_order_of_the_candidates() {
        let nodes: Vec<_> = (0..5).map(node).collect();
        let group = "g".parse().unwrap();
        let forward = heirs(&group, &[], &nodes);
        let backward = heirs(&group, &[], nodes.iter().rev());
        assert_eq!(forward, backward);
    }

    /// Nodes of two versions must agree while a cluster is upgraded.
    #[test]
    fn the_order_is_the_same_in_every_version() {
        let nodes: Vec<_> = (0..5).map(node).collect();
        let order = |group: &str| -> Vec<usize> {
            let heirs = heirs(&group.parse().unwrap(), &[], &nodes);
            heirs.iter().map(|id| nodes.iter().position(|n| n == *id).unwrap()).collect()
        };
        assert_eq!(order("zone-a"), [1, 3, 0, 4, 2]);
        assert_eq!(order("zone-b"), [4, 1, 3, 0, 2]);
    }

    #[test]
    fn the_rank_of_a_node_is_the_count_of_those_before_it_by_id() {
        let nodes: Vec<_> = (0..5).map(node).collect();
        for (place, n) in nodes.iter().enumerate() {
            assert_eq!(rank(n, &nodes) as usize, place);
            assert_eq!(rank(n, nodes.iter().rev()) as usize, place);
        }
    }

    #[test]
    fn groups_of_one_node_spread_over_the_others() {
        let nodes: Vec<_> = (0..4).map(node).collect();
        let first: BTreeSet<_> = (0..20)
            .map(|g| heirs(&format!("g{g}").parse().unwrap(), &[], &nodes)[0].clone())
            .collect();
        assert_eq!(first.len(), 4, "20 groups find 4 different first heirs");
    }
}
