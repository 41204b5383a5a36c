//! How the groups of a failed node spread over the others.

use super::kinds::seen_at;
use super::test_bench::*;
use crate::types::{Group, GroupName, Resource, Roster};

#[test]
fn twenty_groups_of_a_failed_node_spread_over_the_three_that_are_left() {
    let name = |g: usize| -> GroupName { format!("service-{g}").parse().unwrap() };
    let mut taken = Vec::new();
    for me in [0, 1, 2] {
        let group = |g: usize| Group::new(name(g), Some(id(3)), vec![route(10 + g), eip_of(g)]);
        let roster =
            Roster { members: (0..4).map(member).collect(), groups: (0..20).map(group).collect() };
        let mut bench = TestBench::of(me, &roster, timing());
        for g in 0..20 {
            bench.routes.insert(table(10 + g), to(3));
            bench.holders.insert(eip_of(g), seen_at(3));
        }
        bench.run(3_000);
        bench.lose(3);
        bench.run(2_500);
        let mine = (0..20).filter(|g| bench.routes[&table(10 + g)] == to(me));
        let mine: Vec<usize> = mine.collect();
        assert!((3..=12).contains(&mine.len()), "node {me} takes {mine:?}");
        let whole = |g: &usize| bench.holders[&eip_of(*g)] == seen_at(me);
        assert!(mine.iter().all(whole), "each as a whole");
        taken.extend(mine);
    }
    taken.sort_unstable();
    assert_eq!(taken, (0..20).collect::<Vec<usize>>(), "each group by one node alone");
}

fn eip_of(g: usize) -> Resource {
    let allocation = format!("eipalloc-{g:08x}").parse().unwrap();
    let address = [192, 0, 2, u8::try_from(g).unwrap()].into();
    Resource::Eip { allocation, address, on: None }
}
