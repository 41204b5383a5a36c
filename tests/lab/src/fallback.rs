//! Clusters whose groups have a NAT gateway as their fallback.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::scene::{Scene, element};

/// The name of the Elastic IP that the gateway gets.
pub const GATEWAY: &str = "gateway";
/// Sets up a firewall of another program on a node, which forwards nothing then and which natha
/// does not repair.
pub const BREAK: &str = "nft add table inet other && nft add chain inet other forward \
                         '{ type filter hook forward priority 0; policy drop; }'";
/// Removes it.
pub const MEND: &str = "nft delete table inet other";

impl Scene {
    /// Makes a NAT gateway with the Elastic IP [`GATEWAY`], names it as the fallback of the private
    /// tables of the first two zones, and starts the monitors of the nodes again, which read that
    /// at their start. Returns the id of the gateway once all is well.
    ///
    /// # Errors
    /// When there is no such Elastic IP, or EC2 or a node does not come to it in time.
    pub fn add_fallback(&self, nodes: &[&str]) -> Result<String> {
        let account = self.account()?;
        let elastic = account.elastic.get(GATEWAY);
        let elastic = elastic.with_context(|| format!("no Elastic IP is named {GATEWAY}"))?;
        let subnet = self.zone(0)?.public_subnet;
        let params = [("SubnetId", &*subnet), ("AllocationId", &*elastic.allocation)];
        let gateway = element(&self.ec2("CreateNatGateway", &params)?, "natGatewayId");
        let shown = || self.ec2("DescribeNatGateways", &[("NatGatewayId.1", &gateway)]);
        self.wait_for(|| Ok(element(&shown()?, "state") == "available"))?;
        for zone in 0..2 {
            let table = self.zone(zone)?.private_table;
            let tag = [
                ("ResourceId.1", &*table),
                ("Tag.1.Key", "natha:fallback"),
                ("Tag.1.Value", &*gateway),
            ];
            self.ec2("CreateTags", &tag)?;
        }
        for node in nodes {
            self.terminate(node)?;
            self.wait_status(node, Value::is_null)?;
            self.spawn(node, &["natha", "monitor"])?;
            self.wait_status(node, |status| status.pointer("/view/groups").is_some())?;
        }
        self.wait_well()?;
        Ok(gateway)
    }
}
