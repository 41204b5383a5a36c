//! A NAT gateway: a namespace with one interface, which translates what comes in by it to its
//! address, and sends it out by it.

use anyhow::{Context, Result};

use super::fabric;
use super::internet;
use super::netns::{self, Netns};

/// Makes a NAT gateway of a namespace into which its interface is plugged. The internet gateway
/// maps its address to the Elastic one. Nothing can be opened from outside: without a flow, a
/// packet is addressed to the gateway, which takes none.
///
/// # Errors
/// When the kernel or `nft` refuses.
pub fn open(netns: &Netns) -> Result<()> {
    let link = fabric::device(0);
    let rules = format!(
        "table ip nat_gateway {{\n\
         chain translate {{ type nat hook postrouting priority srcnat\n  \
         oifname \"{link}\" masquerade\n}}\n\
         chain input {{ type filter hook input priority 0; policy drop; }}\n}}\n"
    );
    netns
        .run(|| {
            internet::plain_router()?;
            netns::sysctl("net/ipv4/ip_forward", "1")?;
            netns::nft(&rules)
        })
        .context("cannot make a NAT gateway")
}
