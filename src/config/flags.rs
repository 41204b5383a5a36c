//! Settings given on the command line.

use std::path::PathBuf;

use clap::Args;

use super::settings::Pair;
use crate::types::{InstanceId, RouteTableId};

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// The settings file [default: /etc/natha/natha.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The cluster: the value of the tag `natha:cluster`
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,

    /// The AWS region, such as eu-west-1
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,

    /// The EC2 endpoint in place of the region's own
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,

    /// Any setting by its name, such as heartbeat.interval=50ms; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Flags {
    /// The settings that have a flag of their own, with that flag.
    pub(super) const OWN: [(&'static str, &'static str); 3] =
        [("cluster", "--cluster"), ("api.region", "--region"), ("api.endpoint", "--endpoint-url")];

    /// What the flags of [`Self::OWN`] were given.
    pub(super) fn own(&self) -> [&Option<String>; 3] {
        [&self.cluster, &self.region, &self.endpoint_url]
    }
}

/// A cluster of two, given by flags instead of tags: the inputs of AWS's `nat_monitor.sh`.
#[derive(Debug, Clone, Default, Args)]
pub struct PairFlags {
    /// The other node (NAT_ID in nat_monitor.sh)
    #[arg(long, value_name = "INSTANCE", requires_all = ["peer_table", "my_table"])]
    pub peer: Option<InstanceId>,

    /// The route table whose home is the other node (NAT_RT_ID)
    #[arg(long, value_name = "TABLE", requires = "peer")]
    pub peer_table: Option<RouteTableId>,

    /// The route table whose home is this node (My_RT_ID)
    #[arg(long, value_name = "TABLE", requires = "peer")]
    pub my_table: Option<RouteTableId>,
}

impl PairFlags {
    /// The pair, where all three are given.
    #[must_use]
    pub fn pair(&self) -> Option<Pair> {
        Some(Pair {
            peer: self.peer.clone()?,
            peer_table: self.peer_table.clone()?,
            my_table: self.my_table.clone()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        pair: PairFlags,
    }

    #[test]
    fn the_flags_of_settings_exist() {
        Program::command().debug_assert();
        for (_, flag) in Flags::OWN {
            assert!(
                Program::command()
                    .get_arguments()
                    .any(|arg| arg.get_long().is_some_and(|long| flag == format!("--{long}"))),
                "{flag}"
            );
        }
    }

    #[test]
    fn a_pair_is_given_whole_or_not_at_all() {
        let peer = ["natha", "--peer", "i-0123456789abcdef0"];
        let tables = ["--peer-table", "rtb-0123456789abcdef0", "--my-table", "rtb-0123abcd"];
        assert!(Program::try_parse_from(peer).is_err());
        assert!(Program::try_parse_from(["natha", "--my-table", "rtb-0123abcd"]).is_err());
        let whole = Program::try_parse_from(peer.into_iter().chain(tables)).unwrap();
        let pair = whole.pair.pair().unwrap();
        assert_eq!(pair.my_table.as_str(), "rtb-0123abcd");
        assert!(whole.flags.set.is_empty());
    }
}
