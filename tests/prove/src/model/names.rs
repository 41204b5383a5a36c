//! The names of everything in the model, by number.

use std::str::FromStr;
use std::sync::LazyLock;

use natha::types::{
    AllocationId, Assignment, GroupName, InstanceId, NetworkInterfaceId, Resource, RouteTableId,
    RouteTarget, RouteWrite,
};

use super::node::Change;

/// How many of each are made once. States are full of them, and making one takes longer than
/// copying it.
const MADE: usize = 16;

/// Names of one sort, by number.
struct Names<T> {
    made: LazyLock<Vec<T>>,
    make: fn(usize) -> T,
}

impl<T: Clone> Names<T> {
    fn get(&self, n: usize) -> T {
        self.made.get(n).cloned().unwrap_or_else(|| (self.make)(n))
    }
}

macro_rules! names {
    ($name:ident, $what:ident, $make:expr) => {
        pub(super) fn $name(n: usize) -> $what {
            static NAMES: Names<$what> =
                Names { made: LazyLock::new(|| (0..MADE).map(NAMES.make).collect()), make: $make };
            NAMES.get(n)
        }
    };
}

names!(id, InstanceId, |n| made("i", n));
names!(interface, NetworkInterfaceId, |n| made("eni", n));
names!(table, RouteTableId, |n| made("rtb", n));
names!(allocation, AllocationId, |n| made("eipalloc", n));
names!(group, GroupName, |n| format!("g{n}").parse().expect("a well-formed name"));

fn made<T: FromStr>(prefix: &str, n: usize) -> T {
    let id = format!("{prefix}-{:08x}", n + 1).parse().ok();
    id.expect("a well-formed id")
}

pub(super) fn node_of(id: &InstanceId) -> usize {
    number(id.as_str())
}

/// The number behind an id made above.
fn number(id: &str) -> usize {
    let digits = id.rsplit('-').next().unwrap_or_default();
    usize::from_str_radix(digits, 16).map_or(0, |number| number - 1)
}

/// What a machine's write does.
pub(super) fn written(write: &RouteWrite) -> Change {
    let (what, to) = (
        number(write.table.as_str()),
        write.via.interface().map_or(usize::MAX, |interface| number(interface.as_str())),
    );
    Change { what, to, verb: Some(write.verb) }
}

/// The same of an address.
pub(super) fn assigned(assignment: &Assignment) -> Change {
    let (Resource::Eip { allocation, .. } | Resource::EgressIp { allocation, .. }) =
        &assignment.resource
    else {
        unreachable!("all others are routes")
    };
    let (what, to) = (number(allocation.as_str()), number(assignment.interface.as_str()));
    Change { what, to, verb: None }
}

/// A target of the model as EC2 tells it.
pub(super) fn told_as(n: usize) -> RouteTarget {
    RouteTarget::Interface(interface(n))
}
