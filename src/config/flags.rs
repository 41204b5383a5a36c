//! Settings given on the command line.

use std::path::PathBuf;

use clap::Args;
use ipnet::Ipv4Net;

use super::group::{GroupSetting, Home};
use super::problem::{LocatedGroup, Origin, Problem};
use crate::types::{InstanceId, RouteTableId};

/// Flags of every command.
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
    /// The settings with a flag of their own, and that flag.
    pub(super) const OWN: [(&'static str, &'static str); 3] =
        [("cluster", "--cluster"), ("api.region", "--region"), ("api.endpoint", "--endpoint-url")];

    /// The values of the flags of [`Self::OWN`].
    pub(super) fn own(&self) -> [&Option<String>; 3] {
        [&self.cluster, &self.region, &self.endpoint_url]
    }
}

/// A cluster of two nodes, given by flags instead of tags: the inputs of AWS's `nat_monitor.sh`
/// of 2013.
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
    /// The cluster that the flags describe; none where they are not given.
    pub(super) fn pair(&self) -> Option<Pair<'_>> {
        Some(Pair {
            peer: self.peer.as_ref()?,
            peer_table: self.peer_table.as_ref()?,
            my_table: self.my_table.as_ref()?,
        })
    }
}

/// Two nodes with one route table each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) peer: &'a InstanceId,
    peer_table: &'a RouteTableId,
    my_table: &'a RouteTableId,
}

impl Pair<'_> {
    /// One group for each table, named after it. `me` is the home of this node's table, as far as
    /// the instance is known.
    ///
    /// # Errors
    /// Where both tables are the same.
    pub(super) fn groups(&self, me: Option<&InstanceId>) -> Result<[LocatedGroup; 2], Problem> {
        let Self { peer, peer_table, my_table } = *self;
        if peer_table == my_table {
            let what = format!("are both {my_table}");
            let remedy = "give each node its own table";
            return Err(Problem::new("flags --peer-table and --my-table", what, remedy));
        }
        let group = |flag: &str, table: &RouteTableId, home: Option<&InstanceId>| {
            let name = table.as_str().parse().expect("every route table id is a valid group name");
            let home = home.cloned().map(Home::Instance);
            let tables = vec![table.clone()];
            let setting = GroupSetting::of_tables(name, home, tables, Ipv4Net::default());
            LocatedGroup { setting, origin: Origin::Flag(flag.to_owned()) }
        };
        Ok([group("--my-table", my_table, me), group("--peer-table", peer_table, Some(peer))])
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
        let [mine, of_peer] = pair.groups(None).unwrap().map(|group| group.setting);
        assert_eq!((mine.name.as_str(), mine.home), ("rtb-0123abcd", None));
        assert_eq!(of_peer.home, Some(Home::Instance("i-0123456789abcdef0".parse().unwrap())));
        let same = ["natha", "--peer", "i-0123456789abcdef0", "--peer-table", "rtb-0123abcd"];
        let same = same.into_iter().chain(["--my-table", "rtb-0123abcd"]);
        let problem = Program::try_parse_from(same).unwrap().pair.pair().unwrap().groups(None);
        assert!(problem.unwrap_err().what.contains("are both rtb-0123abcd"));
        assert!(whole.flags.set.is_empty());
    }
}
