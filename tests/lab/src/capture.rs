//! What arrives at the internet host: packets counted by their source address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::Lab;
use crate::net::internet::INTERNET_HOST;

const TABLE: &str = "natha_lab_capture";
const SOURCES: &str = "sources";

impl Lab {
    /// Counts every packet to the internet host from now on, by its source address. Nodes send it
    /// none of their own.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn capture(&self) -> Result<()> {
        let rules = format!(
            "table ip {TABLE} {{
                set {SOURCES} {{ type ipv4_addr; size 65535; flags dynamic; counter; }}
                chain arrivals {{
                    type filter hook prerouting priority raw;
                    ip daddr {INTERNET_HOST} update @{SOURCES} {{ ip saddr }}
                }}
            }}"
        );
        self.sh("internet", &format!("echo '{rules}' | nft -f -")).map(drop)
    }

    /// What [`Self::capture`] has counted: packets by source address.
    ///
    /// # Errors
    /// When nothing is captured.
    pub fn captured(&self) -> Result<BTreeMap<Ipv4Addr, u64>> {
        let listed = self.sh("internet", &format!("nft -j list set ip {TABLE} {SOURCES}"))?;
        let listed: Value = serde_json::from_str(&listed).context("not JSON")?;
        let sets = listed["nftables"].as_array().into_iter().flatten();
        let elements = sets.filter_map(|one| one["set"]["elem"].as_array()).flatten();
        elements.map(counted).collect()
    }
}

/// One element of the set.
fn counted(element: &Value) -> Result<(Ipv4Addr, u64)> {
    let element = &element["elem"];
    let address = element["val"].as_str().and_then(|text| text.parse().ok());
    let packets = element["counter"]["packets"].as_u64();
    address.zip(packets).with_context(|| format!("no counted address: {element}"))
}
