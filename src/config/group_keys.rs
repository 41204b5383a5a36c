//! The keys of a `[[group]]` and of the tables inside it: their names, ranges and meanings.

use super::values::Range;

/// One key.
pub(super) struct GroupKey {
    /// Its name in its table.
    pub(super) name: &'static str,
    /// What holds where it is not set; empty where nothing does, or where `about` tells.
    pub(super) default: &'static str,
    /// What it may be.
    pub(super) range: Range,
    /// What it means.
    pub(super) about: &'static str,
}

/// The keys of one kind of table.
pub(super) struct KeySet {
    /// The table's name in the file, for people.
    pub(super) table: &'static str,
    /// What the table is.
    pub(super) about: &'static str,
    /// Its keys, in the order of the reference.
    pub(super) keys: &'static [GroupKey],
}

impl KeySet {
    /// The key with this name.
    pub(super) fn find(&self, name: &str) -> Option<&'static GroupKey> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(
    name: &'static str,
    default: &'static str,
    range: Range,
    about: &'static str,
) -> GroupKey {
    GroupKey { name, default, range, about }
}

const BOOL: Range = Range::Words("true or false");
const ADDRESS: Range = Range::Words("IPv4 address");
const TABLES: Range = Range::Words("route table ids");
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `[[group]]`.
pub(super) static GROUP: KeySet = KeySet {
    table: "[[group]]",
    about: "what moves together, and to whom",
    keys: &[
        key("name", "", Range::Words("1 to 64 of a-z A-Z 0-9 . _ -"), "Its name. Required."),
        key(
            "home",
            "",
            HOME,
            "The node that holds it when all is well. Not set: the rank order \
             decides.",
        ),
        key(
            "prefer",
            "",
            Range::Words("list of instance ids, nodes' names or zones"),
            "Who holds it rather than whom; the first one is its home. In place of `home`.",
        ),
        key(
            "tables",
            "",
            TABLES,
            "The tables whose default route it has. Not needed where it has resources.",
        ),
        key(
            "cidr",
            "0.0.0.0/0",
            Range::Words("IPv4 network"),
            "The destination that is routed in \
             `tables`.",
        ),
        key(
            "hand_back",
            "",
            BOOL,
            "Whether it goes back to who is preferred by itself. Not set: \
             as `hand_back.enabled`.",
        ),
        key(
            "hold",
            "",
            Range::Millis(SECOND, DAY),
            "How long that node must have been well \
             before. Not set: as `hand_back.hold`.",
        ),
        key(
            "local",
            "",
            Range::Words("lo, redirect, dnat:PORT or off"),
            "How its holder takes in packets to its virtual IPs: as addresses of `lo`; redirected \
             to the interface that they come in by, port by port; or all to one port there. Its \
             private IPs become addresses of the forwarding interface, unless it is `off`: then \
             somebody else sees to both. Not set: `lo` where it moves a virtual or a private IP \
             and has no check of `address`, else `off`.",
        ),
    ],
};

const HOME: Range = Range::Words("instance id, node's name or zone");

/// `[[group.resource]]` of `kind = "vip"`.
pub(super) static VIP: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "a virtual IP outside the VPC: a route to `address`/32 in route tables",
    keys: &[
        key("kind", "", Range::Words("vip"), "Required."),
        key("address", "", ADDRESS, "The virtual IP. Required. No address of the VPC."),
        key(
            "tables",
            "",
            TABLES,
            "The tables that route it. Not set: every table of the VPC that \
             has a route to it.",
        ),
    ],
};

/// `[[group.resource]]` of `kind = "private-ip"`.
pub(super) static PRIVATE_IP: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "a secondary private IP of the subnet that all members are in",
    keys: &[
        key("kind", "", Range::Words("private-ip"), "Required."),
        key("address", "", ADDRESS, "The address. Required."),
    ],
};

/// `[[group.resource]]` of `kind = "eip"`.
pub(super) static EIP: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "an Elastic IP",
    keys: &[
        key("kind", "", Range::Words("eip"), "Required."),
        key("allocation", "", Range::Words("allocation id"), "The Elastic IP. Required."),
        key(
            "on",
            "",
            ADDRESS,
            "The private IP that it belongs to, usually a `private-ip` of the \
             same group. Not set: the primary one of the holder's forwarding interface.",
        ),
    ],
};

/// `[[group.resource]]` of `kind = "dns"`.
pub(super) static DNS: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "an A record in Route 53 with the holder's address",
    keys: &[
        key("kind", "", Range::Words("dns"), "Required."),
        key("zone", "", Range::Words("hosted zone id"), "The hosted zone. Required."),
        key("name", "", Range::Words("DNS name"), "The record's name. Required."),
        key("ttl", "60", Range::Number(1, 86_400), "Seconds for which resolvers may keep it."),
        key(
            "public",
            "false",
            BOOL,
            "Whether it gives the holder's public address and not its \
             private one.",
        ),
    ],
};

/// The kinds of resources, by the value of `kind`.
pub(super) static KINDS: [(&str, &KeySet); 4] =
    [("vip", &VIP), ("private-ip", &PRIVATE_IP), ("eip", &EIP), ("dns", &DNS)];

/// `[group.check]`.
pub(super) static CHECK: KeySet = KeySet {
    table: "[group.check]",
    about: "how a node finds out whether it can serve the group: exactly one of the first four",
    keys: &[
        key(
            "tcp",
            "",
            Range::Words("PORT or ADDRESS:PORT"),
            "A TCP connection is accepted there; \
             the address is 127.0.0.1 unless given.",
        ),
        key(
            "http",
            "",
            Range::Words("http://ADDRESS:PORT/PATH"),
            "A GET is answered with a \
             status below 400. A redirect is not followed.",
        ),
        key(
            "exec",
            "",
            Range::Words("absolute path and arguments, as a list"),
            "The program ends \
             with status 0. There is no shell.",
        ),
        key(
            "address",
            "",
            Range::Words("true"),
            "The group's first virtual or private IP is on \
             an interface of this host: somebody else, such as keepalived, decides who holds it, \
             and natha follows.",
        ),
        key("interval", "1s", Range::Millis(100, HOUR), "Time between two rounds."),
        key("timeout", "1s", Range::Millis(50, MINUTE), "Time limit of one."),
        key(
            "fall",
            "3",
            Range::Number(1, 100),
            "Failures in a row after which a node cannot \
             serve the group.",
        ),
        key("rise", "2", Range::Number(1, 100), "Successes in a row after which it can again."),
    ],
};

/// The names of the four kinds of checks.
pub(super) const PROBES: [&str; 4] = ["tcp", "http", "exec", "address"];
