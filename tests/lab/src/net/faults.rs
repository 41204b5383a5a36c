//! Faults of the network, switchable while packets flow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// Everything that is wrong with the network right now. Hosts are named as in the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetFaults {
    /// Hosts that neither send nor receive nor forward: their kernel is frozen or has panicked.
    pub silent: BTreeSet<String>,
    /// Hosts whose link is cut.
    pub cut_link: BTreeSet<String>,
    /// Hosts that have no internet, in either direction; the VPC stays reachable.
    pub cut_uplink: BTreeSet<String>,
    /// Traffic that is dropped between two ends.
    pub blocks: BTreeSet<Block>,
    /// Percent of the packets to and from a host that are lost at random.
    pub loss: BTreeMap<String, u8>,
}

impl NetFaults {
    /// What is wrong in this or in another state; of two losses the greater one.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.silent.extend(other.silent.iter().cloned());
        both.cut_link.extend(other.cut_link.iter().cloned());
        both.cut_uplink.extend(other.cut_uplink.iter().cloned());
        both.blocks.extend(other.blocks.iter().cloned());
        for (host, percent) in &other.loss {
            let lost = both.loss.entry(host.clone()).or_default();
            *lost = (*lost).max(*percent);
        }
        both
    }
}

/// Traffic that is dropped on its way from one end to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Block {
    /// Who sends it: a host, `internet`, an address or a CIDR.
    pub from: String,
    /// Who would get it, likewise.
    pub to: String,
    /// What is dropped.
    pub what: Traffic,
}

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Traffic {
    /// Everything.
    All,
    /// ICMP.
    Icmp,
    /// UDP to this port.
    Udp(u16),
    /// TCP to this port.
    Tcp(u16),
}

impl std::str::FromStr for Traffic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |port: &str| port.parse().map_err(|_| format!("`{port}` is not a port"));
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            None if text == "icmp" => Ok(Self::Icmp),
            Some(("udp", number)) => port(number).map(Self::Udp),
            Some(("tcp", number)) => port(number).map(Self::Tcp),
            _ => Err(format!("`{text}` is not one of all, icmp, udp:PORT, tcp:PORT")),
        }
    }
}

/// What the rules need to know about a host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The router's ends of its links.
    pub links: Vec<String>,
    /// Its private addresses.
    pub addresses: Vec<Ipv4Addr>,
}

/// The nftables rules for `faults`, a whole table, loaded in one transaction.
///
/// # Errors
/// When a block names an end that is neither a host, `internet`, an address nor a CIDR.
pub fn render(faults: &NetFaults, hosts: &BTreeMap<String, Host>) -> Result<String, String> {
    let mut drops = Vec::new();
    let links = |name: &String| hosts.get(name).map(|host| host.links.clone()).unwrap_or_default();
    for link in faults.silent.union(&faults.cut_link).flat_map(links) {
        drops.push(format!("iifname \"{link}\" drop"));
        drops.push(format!("oifname \"{link}\" drop"));
    }
    for link in faults.cut_uplink.iter().flat_map(links) {
        drops.push(format!("iifname \"{link}\" oifname \"igw\" drop"));
        drops.push(format!("iifname \"igw\" oifname \"{link}\" drop"));
    }
    for (name, percent) in &faults.loss {
        // nft refuses a comparison that always holds.
        let chance = match percent {
            100.. => String::new(),
            percent => format!("numgen random mod 100 < {percent} "),
        };
        for link in links(name) {
            drops.push(format!("iifname \"{link}\" {chance}drop"));
            drops.push(format!("oifname \"{link}\" {chance}drop"));
        }
    }
    for block in &faults.blocks {
        let from = end(&block.from, "iifname", "saddr", hosts)?;
        let to = end(&block.to, "oifname", "daddr", hosts)?;
        let what = match block.what {
            Traffic::All => String::new(),
            Traffic::Icmp => "meta l4proto icmp ".into(),
            Traffic::Udp(port) => format!("udp dport {port} "),
            Traffic::Tcp(port) => format!("tcp dport {port} "),
        };
        drops.push(format!("{from}{to}{what}drop"));
    }
    let own: String = drops.iter().filter(|rule| !rule.contains("oifname")).map(line).collect();
    let all: String = drops.iter().map(line).collect();
    Ok(format!(
        "table ip faults\ndelete table ip faults\ntable ip faults {{\n\
         chain forward {{ type filter hook forward priority -200\n{all}}}\n\
         chain input {{ type filter hook input priority -200\n{own}}}\n}}\n"
    ))
}

fn line(rule: &String) -> String {
    format!("  {rule}\n")
}

fn end(
    name: &str,
    link: &str,
    address: &str,
    hosts: &BTreeMap<String, Host>,
) -> Result<String, String> {
    if let Some(host) = hosts.get(name) {
        let list: Vec<_> = host.addresses.iter().map(Ipv4Addr::to_string).collect();
        return Ok(format!("ip {address} {{ {} }} ", list.join(", ")));
    }
    if name == "internet" {
        return Ok(format!("{link} \"igw\" "));
    }
    let net: Ipv4Net = name
        .parse()
        .or_else(|_| name.parse::<Ipv4Addr>().map(Ipv4Net::from))
        .map_err(|_| format!("`{name}` is no host of this lab, not `internet` and no address"))?;
    Ok(format!("ip {address} {net} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> BTreeMap<String, Host> {
        let host = |link: &str, address: &str| Host {
            links: vec![link.into()],
            addresses: vec![address.parse().unwrap()],
        };
        BTreeMap::from([
            ("a".to_owned(), host("vif1", "10.0.0.10")),
            ("b".to_owned(), host("vif2", "10.0.1.10")),
        ])
    }

    #[test]
    fn two_states_together_have_all_faults_of_both() {
        let cut =
            |host: &str| NetFaults { cut_link: [host.to_owned()].into(), ..NetFaults::default() };
        let lossy = |percent| NetFaults { loss: [("a".to_owned(), percent)].into(), ..cut("b") };
        let both = cut("a").and(&lossy(20)).and(&lossy(10));
        assert_eq!(both.cut_link, ["a", "b"].map(str::to_owned).into());
        assert_eq!(both.loss["a"], 20);
        assert_eq!(both.and(&cut("a")), both, "nothing that is there already changes it");
    }

    #[test]
    fn a_cut_uplink_leaves_the_vpc_alone() {
        let faults = NetFaults { cut_uplink: ["a".to_owned()].into(), ..NetFaults::default() };
        let rules = render(&faults, &hosts()).unwrap();
        assert!(rules.contains("iifname \"vif1\" oifname \"igw\" drop"));
        assert!(rules.contains("iifname \"igw\" oifname \"vif1\" drop"));
        assert!(!rules.contains("iifname \"vif1\" drop"));
    }

    #[test]
    fn a_block_is_one_way_and_of_its_kind() {
        let what = "udp:7300".parse().unwrap();
        let block = Block { from: "a".into(), to: "b".into(), what };
        let faults = NetFaults { blocks: [block].into(), ..NetFaults::default() };
        let rules = render(&faults, &hosts()).unwrap();
        let rule = "ip saddr { 10.0.0.10 } ip daddr { 10.0.1.10 } udp dport 7300 drop";
        assert!(rules.contains(rule), "{rules}");
        assert!(!rules.contains("ip saddr { 10.0.1.10 }"));
    }

    #[test]
    fn a_loss_of_everything_is_not_left_to_chance() {
        let with = |percent| NetFaults {
            loss: [("a".to_owned(), percent)].into(),
            ..NetFaults::default()
        };
        assert!(render(&with(99), &hosts()).unwrap().contains("mod 100 < 99 drop"));
        let all = render(&with(100), &hosts()).unwrap();
        assert!(all.contains("iifname \"vif1\" drop") && !all.contains("numgen"), "{all}");
    }

    #[test]
    fn an_unknown_end_is_refused() {
        let block = Block { from: "nobody".into(), to: "b".into(), what: Traffic::All };
        let faults = NetFaults { blocks: [block].into(), ..NetFaults::default() };
        assert!(render(&faults, &hosts()).unwrap_err().contains("nobody"));
        assert!("udp:70000".parse::<Traffic>().is_err());
    }
}
