//! Every setting there is: its name, range and meaning, and where its value lives.

use super::settings::Settings;
use super::values::{Range, Value};

/// One setting.
pub(super) struct Key {
    /// Its name: the path in the file; other names derive from it.
    pub(super) name: &'static str,
    /// What it may be.
    pub(super) range: Range,
    /// What it means; where it is not set, what holds instead.
    pub(super) about: &'static str,
    /// Whether instance tags may set it. What names a place on this host may not come from
    /// whoever is allowed to tag.
    pub(super) by_tag: bool,
    set: fn(&mut Settings, &str, Range) -> Result<(), String>,
    get: fn(&Settings) -> String,
}

impl Key {
    /// Reads a value into the settings; the error says what is wrong with it.
    pub(super) fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        (self.set)(settings, text, self.range)
    }

    /// The value as text; empty where it is not set.
    pub(super) fn get(&self, settings: &Settings) -> String {
        (self.get)(settings)
    }

    /// The environment variable: `NATHA_`, and the name in capitals with `_` for `.`.
    pub(super) fn env(&self) -> String {
        format!("NATHA_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// The instance tag.
    pub(super) fn tag(&self) -> Option<String> {
        self.by_tag.then(|| format!("natha:{}", self.name))
    }
}

/// The key with this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

macro_rules! key {
    ($name:literal, $($path:ident).+, $range:expr, local, $about:literal) => {
        key!(@ $name, $($path).+, $range, false, $about)
    };
    ($name:literal, $($path:ident).+, $range:expr, $about:literal) => {
        key!(@ $name, $($path).+, $range, true, $about)
    };
    (@ $name:literal, $($path:ident).+, $range:expr, $by_tag:literal, $about:literal) => {
        Key {
            name: $name,
            range: $range,
            about: $about,
            by_tag: $by_tag,
            set: |settings, text, range| {
                settings.$($path).+ = Value::read(text, range)?;
                Ok(())
            },
            get: |settings| Value::show(&settings.$($path).+),
        }
    };
}

const BOOL: Range = Range::Words("true or false");
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Every setting, in the order of the reference.
pub(super) static KEYS: &[Key] = &[
    key!(
        "cluster",
        cluster,
        Range::Words("text"),
        "The cluster's name: the value of the tag `natha:cluster` on its instances and route \
         tables. Not needed where `members` and groups are given."
    ),
    key!(
        "members",
        members,
        Range::Words("1 to 16 instance ids"),
        "The cluster's instances. Not set: those with the tag `natha:cluster`. This node needs \
         no entry."
    ),
    key!(
        "observe",
        observe,
        BOOL,
        "Whether natha only follows: what each group moves goes to the node that has the group's \
         address, which keepalived or anybody else puts there. As if every group had the check \
         `address = true` and `local = \"off\"`, and `repair.enabled` and `hand_back.enabled` were \
         false. `natha monitor --observe` is the same."
    ),
    key!(
        "socket",
        socket,
        Range::Words("absolute path"),
        local,
        "The Unix socket on which the monitor answers `natha status`."
    ),
    key!(
        "state_dir",
        state_dir,
        Range::Words("absolute path"),
        local,
        "Where `natha setup` keeps what `natha teardown` restores."
    ),
    key!(
        "api.region",
        api.region,
        Range::Words("a region such as eu-west-1"),
        "The region. Not set: `AWS_REGION`, else what the instance metadata tells."
    ),
    key!(
        "api.endpoint",
        api.endpoint,
        Range::Words("http:// or https:// URL"),
        local,
        "The EC2 endpoint, such as a VPC endpoint's. Not set: the region's own."
    ),
    key!(
        "api.route53_endpoint",
        api.route53_endpoint,
        Range::Words("http:// or https:// URL"),
        local,
        "The Route 53 endpoint, such as a VPC endpoint's. Not set: the one of all regions."
    ),
    key!(
        "api.timeout",
        api.timeout,
        Range::Millis(500, MINUTE),
        "Time limit of one API call, connection included."
    ),
    key!(
        "host.nat",
        host.nat,
        BOOL,
        "Whether this host is a NAT. Not set: it is, unless groups are configured and none of them \
         has tables."
    ),
    key!(
        "host.accept",
        host.accept,
        Range::Words("IPv4 addresses"),
        "Virtual IPs that this host answers on without holding them: those of a load balancer \
         that sends it packets as they are."
    ),
    key!(
        "host.accept_mode",
        host.accept_mode,
        Range::Words("lo or redirect"),
        "How it does that: the virtual IPs are addresses of `lo`, or they are redirected to the \
         address of the interface that the packets come in by."
    ),
    key!(
        "host.uplink",
        host.uplink,
        Range::Words("interface name"),
        "The interface towards the internet. Not set: the one with the default route."
    ),
    key!(
        "host.sources",
        host.sources,
        Range::Words("IPv4 networks"),
        "Whose traffic is translated. Not set: the VPC's own blocks."
    ),
    key!(
        "host.clamp_mss",
        host.clamp_mss,
        BOOL,
        "Whether TCP's segment size is limited to what the path can carry."
    ),
    key!(
        "host.flowtable",
        host.flowtable,
        BOOL,
        "Whether TCP and UDP flows take the kernel's short way, an nft flowtable, once they are \
         established. natha's counters do not see what takes it."
    ),
    key!(
        "host.source_dest_check",
        host.source_dest_check,
        BOOL,
        "Whether `natha setup` turns EC2's source/dest check off."
    ),
    key!(
        "host.conntrack_max",
        host.conntrack_max,
        Range::Number(4096, 16_777_216),
        "The most flows that are tracked. Not set: sized from memory."
    ),
    key!(
        "host.conntrack_alert",
        host.conntrack_alert,
        Range::Number(1, 100),
        "Percent of the flows that can be tracked, from which on `natha status` alerts."
    ),
    key!(
        "host.established_timeout",
        host.established_timeout,
        Range::Millis(MINUTE, 30 * DAY),
        "How long an idle TCP flow is kept. A managed NAT gateway keeps it for 350s; RFC 5382 \
         asks for at least 2h 4m."
    ),
    key!(
        "heartbeat.port",
        heartbeat.port,
        Range::Number(1, 65_535),
        "The UDP port of the heartbeats, the same on all nodes."
    ),
    key!(
        "heartbeat.interval",
        failover.interval,
        Range::Millis(20, 10 * SECOND),
        "Time between two heartbeats."
    ),
    key!(
        "heartbeat.lost_after",
        failover.lost_after,
        Range::Number(2, 100),
        "Heartbeats missed in a row after which a peer is lost."
    ),
    key!(
        "heartbeat.key_file",
        heartbeat.key_file,
        Range::Words("absolute path"),
        local,
        "The file with the cluster key, at least 16 bytes, the same on all nodes. Not set: the \
         service manager's credential `natha.key`, else heartbeats are not authenticated."
    ),
    key!(
        "heartbeat.bind",
        heartbeat.bind,
        Range::Words("IPv4 address"),
        "The address that heartbeats are sent from. Not set: the forwarding interface's first."
    ),
    key!(
        "failover.daemon_grace",
        failover.daemon_grace,
        Range::Millis(0, HOUR),
        "How long a peer whose monitor is silent, but whose host answers, keeps its groups."
    ),
    key!(
        "failover.first_contact",
        failover.first_contact,
        Range::Millis(SECOND, HOUR),
        "How long a peer that was never heard keeps its groups after this node's start."
    ),
    key!(
        "failover.read_valid",
        failover.read_valid,
        Range::Millis(SECOND, MINUTE),
        "How old a read may be when a change relies on it."
    ),
    key!(
        "failover.reread",
        failover.reread,
        Range::Millis(SECOND, 5 * MINUTE),
        "How often the routes are read while all is well."
    ),
    key!(
        "failover.adopt",
        failover.adopt,
        BOOL,
        "Whether a route that leads out of the cluster is replaced (true) or respected (false)."
    ),
    key!(
        "repair.enabled",
        failover.repair.enabled,
        BOOL,
        "Whether a failed peer is stopped and started. Not set: only where default routes are \
         moved, that is, unless groups are configured and none of them has tables."
    ),
    key!(
        "repair.after",
        failover.repair.after,
        Range::Millis(10 * SECOND, DAY),
        "How long a peer must have been suspected without a break before it is stopped."
    ),
    key!(
        "repair.settle",
        failover.repair.settle,
        Range::Millis(2 * SECOND, HOUR),
        "How long every table must have been seen on this side before the peer is stopped."
    ),
    key!(
        "repair.stagger",
        failover.repair.stagger,
        Range::Millis(5 * SECOND, HOUR),
        "Delay per rank, so that two nodes never stop each other."
    ),
    key!(
        "repair.max_per_hour",
        failover.repair.max_per_hour,
        Range::Number(1, 60),
        "Stops an hour, after which repair ends until a person looks."
    ),
    key!(
        "repair.patience",
        failover.repair.patience,
        Range::Millis(MINUTE, HOUR),
        "How long `stopped` and `running` are waited for before a stop is forced and a person \
         told."
    ),
    key!(
        "hand_back.enabled",
        failover.hand_back.enabled,
        BOOL,
        "Whether groups go back to their home by themselves."
    ),
    key!(
        "hand_back.hold",
        failover.hand_back.hold,
        Range::Millis(SECOND, DAY),
        "How long the home must have been fit first. Doubles with each flap."
    ),
    key!(
        "hand_back.hold_max",
        failover.hand_back.hold_max,
        Range::Millis(SECOND, 7 * DAY),
        "The longest that `hand_back.hold` grows to."
    ),
    key!(
        "uplink.targets",
        uplink.targets,
        Range::Words("icmp:ADDRESS or tcp:ADDRESS:PORT"),
        "Who is asked whether the uplink works; any answer proves it. A target that never \
         answered proves nothing by its silence. Not set on a host that is no NAT: nobody."
    ),
    key!(
        "uplink.interval",
        uplink.interval,
        Range::Millis(100, MINUTE),
        "Time between two rounds of probes."
    ),
    key!(
        "uplink.lost_after",
        uplink.lost_after,
        Range::Number(2, 100),
        "Rounds without any answer after which the uplink is lost."
    ),
    key!(
        "notices.heed",
        notices.heed,
        BOOL,
        "Whether a node gives its groups away when AWS announces its interruption: by a Spot \
         notice, a scheduled event, or its Auto Scaling group."
    ),
    key!(
        "notices.lead",
        notices.lead,
        Range::Millis(10 * SECOND, DAY),
        "How long before a scheduled event it does so. A Spot notice counts at once."
    ),
    key!(
        "record.file",
        record.file,
        Range::Words("absolute path"),
        local,
        "Where `natha monitor` records everything it decides from, for `natha replay`. A file of \
         this name is never overwritten: the new one is numbered. Not set: no recording."
    ),
    key!(
        "record.max_mib",
        record.max_mib,
        Range::Number(1, 65_536),
        local,
        "The size in MiB at which a recording ends."
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_in_its_range() {
        let defaults = Settings::default();
        for key in KEYS {
            let text = key.get(&defaults);
            let mut read = Settings::default();
            if !text.is_empty() {
                assert_eq!(key.set(&mut read, &text), Ok(()), "{}", key.name);
                assert_eq!(read, defaults, "{}", key.name);
            }
        }
    }

    #[test]
    fn names_and_variables_are_unique() {
        let names: std::collections::BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let variables: std::collections::BTreeSet<_> = KEYS.iter().map(Key::env).collect();
        assert_eq!(names.len(), KEYS.len());
        assert_eq!(variables.len(), KEYS.len());
    }
}
