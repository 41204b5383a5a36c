//! Discovery: makes the cluster's members and groups from the settings and from what EC2 and Route
//! 53 return. Pure; nodes that read the same data find the same cluster.

mod discover;
mod egress;
mod groups;
mod inventory;
mod pace;
mod resources;
#[cfg(test)]
mod tests;
mod transit;
mod uplinks;

pub use discover::{Discovered, DiscoveryError, discover};
pub use inventory::{
    CLUSTER_TAG, EGRESS_TAG, GROUP_TAG, HOME_TAG, INTERFACE_TAG, Inventory, InventoryQuery,
    Selector, forwarding_interface, inventory_query,
};
pub use pace::{first_look, look_every};
