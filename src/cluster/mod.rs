//! From the settings and what EC2 and Route 53 hold to the cluster's members and groups. Pure, and
//! the same on every node that reads the same.

mod discover;
mod groups;
mod inventory;
mod resources;
#[cfg(test)]
mod tests;

pub use discover::{Discovered, DiscoveryError, discover};
pub use inventory::{
    CLUSTER_TAG, HOME_TAG, INTERFACE_TAG, Inventory, InventoryQuery, Selector,
    forwarding_interface, inventory_query,
};
