//! The keys of a `[[group]]` and of the tables inside it: the reference, and what `file/groups.rs`
//! checks for unknown and missing keys. The types that serde reads are in `group.rs`; a test holds
//! the two to each other.

use super::values::Range;

/// One key.
pub(super) struct GroupKey {
    pub(super) name: &'static str,
    pub(super) if_absent: IfAbsent,
    pub(super) range: Range,
    pub(super) about: &'static str,
}

/// What holds where a key is not given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IfAbsent {
    /// It must be given.
    Required,
    /// This value.
    Value(&'static str),
    /// What follows from other settings, in words.
    Derived(&'static str),
    /// Nothing.
    Unset,
}

/// The keys of one kind of table.
pub(super) struct KeySet {
    /// The table's heading in the file.
    pub(super) table: &'static str,
    pub(super) about: &'static str,
    /// In the order of the reference.
    pub(super) keys: &'static [GroupKey],
}

impl KeySet {
    pub(super) fn find(&self, name: &str) -> Option<&'static GroupKey> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(
    name: &'static str,
    if_absent: IfAbsent,
    range: Range,
    about: &'static str,
) -> GroupKey {
    GroupKey { name, if_absent, range, about }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `hold`.
pub(super) const HOLD: Range = Range::Millis(SECOND, DAY);
/// `interval` of a check.
pub(super) const INTERVAL: Range = Range::Millis(100, HOUR);
/// `timeout` of a check.
pub(super) const TIMEOUT: Range = Range::Millis(50, MINUTE);
/// `fall` and `rise` of a check.
pub(super) const COUNT: Range = Range::Number(1, 100);
/// `ttl` of a record.
pub(super) const TTL: Range = Range::Number(1, 86_400);

const BOOL: Range = Range::Words("true or false");
const ADDRESS: Range = Range::Words("IPv4 address");
const TABLES: Range = Range::Words("route table ids");
const NODE: Range = Range::Words("instance id, node name or zone");

/// `[[group]]`. The tables inside it, `resource` and `check`, have key sets of their own.
pub(super) static GROUP: KeySet = KeySet {
    table: "[[group]]",
    about: "what moves together, and which nodes are preferred",
    keys: &[
        key(
            "name",
            IfAbsent::Required,
            Range::Words("1 to 64 of a-z A-Z 0-9 . _ -"),
            "The group's name, the same on all nodes.",
        ),
        key(
            "home",
            IfAbsent::Derived("the rank order decides"),
            NODE,
            "The node that holds the group in normal operation.",
        ),
        key(
            "prefer",
            IfAbsent::Unset,
            Range::Words("list of instance ids, node names or zones"),
            "Nodes in order of preference; the first is the home. Use instead of `home`.",
        ),
        key(
            "tables",
            IfAbsent::Unset,
            TABLES,
            "The route tables whose default route the group moves. Required if the group has no \
             resources.",
        ),
        key(
            "cidr",
            IfAbsent::Value("0.0.0.0/0"),
            Range::Words("IPv4 network"),
            "The destination of the routes in `tables`.",
        ),
        key(
            "hand_back",
            IfAbsent::Derived("as `hand_back.enabled`"),
            BOOL,
            "Whether the group returns automatically to a more preferred node.",
        ),
        key(
            "hold",
            IfAbsent::Derived("as `hand_back.hold`"),
            HOLD,
            "How long a preferred node must be healthy before the group is handed back to it.",
        ),
        key(
            "local",
            IfAbsent::Derived(
                "`lo` if the group has a virtual or private IP and no `address` check, else `off`",
            ),
            Range::Words("lo, redirect, dnat:PORT or off"),
            "How the holder accepts packets to the group's virtual IPs. `lo`: they become \
             addresses of `lo`. `redirect`: packets are redirected to the primary address of the \
             interface they arrive on, port by port. `dnat:PORT`: all TCP and UDP ports are \
             redirected to one port there. Private IPs become addresses of the forwarding \
             interface. `off`: natha configures neither; other software does.",
        ),
        key(
            "egress",
            IfAbsent::Value("eager"),
            Range::Words("eager or strict"),
            "What new connections of private hosts do while the group's holder does not have its \
             egress IPs yet. `eager`: they leave by the holder's own public address. `strict`: \
             they wait. Needs an `egress-ip`.",
        ),
        key(
            "egress_sources",
            IfAbsent::Unset,
            Range::Words("list of IPv4 networks"),
            "Networks whose hosts reach the internet by the group's egress IPs, in addition to the \
             subnets of `tables`. Needs an `egress-ip`.",
        ),
        key(
            "fallback",
            IfAbsent::Unset,
            Range::Words("NAT gateway id"),
            "The NAT gateway to which the routes in `tables` point while no node can serve the \
             group. Only for groups of default routes, and not with `egress = \"strict\"`.",
        ),
    ],
};

/// `[[group.resource]]` of `kind = "vip"`.
static VIP: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "a virtual IP outside the VPC: a route to `address`/32 in route tables",
    keys: &[
        key("kind", IfAbsent::Required, Range::Words("vip"), "The kind of resource."),
        key(
            "address",
            IfAbsent::Required,
            ADDRESS,
            "The virtual IP. It must be outside the VPC's address blocks.",
        ),
        key(
            "tables",
            IfAbsent::Derived("every table of the VPC with a route to the address"),
            TABLES,
            "The route tables that route it.",
        ),
    ],
};

/// `[[group.resource]]` of `kind = "private-ip"`.
static PRIVATE_IP: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "a secondary private IP in the subnet that all members share",
    keys: &[
        key("kind", IfAbsent::Required, Range::Words("private-ip"), "The kind of resource."),
        key("address", IfAbsent::Required, ADDRESS, "The private IP."),
    ],
};

/// The Elastic IP that a resource is.
const ALLOCATION: GroupKey = key(
    "allocation",
    IfAbsent::Required,
    Range::Words("allocation id"),
    "The allocation id of the Elastic IP.",
);

/// `[[group.resource]]` of `kind = "eip"`.
static EIP: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "an Elastic IP",
    keys: &[
        key("kind", IfAbsent::Required, Range::Words("eip"), "The kind of resource."),
        ALLOCATION,
        key(
            "on",
            IfAbsent::Derived("the primary private IP of the holder's forwarding interface"),
            ADDRESS,
            "The private IP to associate it with, usually a `private-ip` of the same group.",
        ),
    ],
};

/// `[[group.resource]]` of `kind = "egress-ip"`.
static EGRESS_IP: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "an Elastic IP by which the private hosts of the group reach the internet, whichever \
            node holds the group",
    keys: &[
        key("kind", IfAbsent::Required, Range::Words("egress-ip"), "The kind of resource."),
        ALLOCATION,
        key(
            "landing",
            IfAbsent::Derived("the secondary private IPs of each node, in order"),
            Range::Words("list of IPv4 addresses"),
            "The landing addresses: for each node, a secondary private IP of its forwarding \
             interface.",
        ),
    ],
};

/// `[[group.resource]]` of `kind = "dns"`.
static DNS: KeySet = KeySet {
    table: "[[group.resource]]",
    about: "an A record in Route 53 with the holder's address",
    keys: &[
        key("kind", IfAbsent::Required, Range::Words("dns"), "The kind of resource."),
        key("zone", IfAbsent::Required, Range::Words("hosted zone id"), "The hosted zone."),
        key("name", IfAbsent::Required, Range::Words("DNS name"), "The record's name."),
        key("ttl", IfAbsent::Value("60"), TTL, "The record's time to live, in seconds."),
        key(
            "public",
            IfAbsent::Value("false"),
            BOOL,
            "Whether the record contains the holder's public address instead of its private one.",
        ),
    ],
};

/// The kinds of resources, by the value of `kind`.
pub(super) static KINDS: [(&str, &KeySet); 5] = [
    ("vip", &VIP),
    ("private-ip", &PRIVATE_IP),
    ("eip", &EIP),
    ("egress-ip", &EGRESS_IP),
    ("dns", &DNS),
];

/// `[group.check]`.
pub(super) static CHECK: KeySet = KeySet {
    table: "[group.check]",
    about: "how a node checks that it can serve the group; exactly one of the first four keys is \
            required",
    keys: &[
        key(
            "tcp",
            IfAbsent::Unset,
            Range::Words("PORT or ADDRESS:PORT"),
            "Succeeds if a TCP connection is accepted. A port alone means 127.0.0.1.",
        ),
        key(
            "http",
            IfAbsent::Unset,
            Range::Words("http://ADDRESS:PORT/PATH"),
            "Succeeds if a GET request returns a status below 400. Redirects are not followed.",
        ),
        key(
            "exec",
            IfAbsent::Unset,
            Range::Words("absolute path and arguments, as a list"),
            "Succeeds if the program exits with status 0. It is run without a shell.",
        ),
        key(
            "address",
            IfAbsent::Unset,
            Range::Words("true"),
            "Succeeds while the group's first virtual or private IP is on an interface of this \
             host. Use it where other software, such as keepalived, chooses the holder; natha \
             then follows.",
        ),
        key("interval", IfAbsent::Value("1s"), INTERVAL, "Time between two probes."),
        key("timeout", IfAbsent::Value("1s"), TIMEOUT, "Time limit of one probe."),
        key(
            "fall",
            IfAbsent::Value("3"),
            COUNT,
            "Consecutive failures after which the node cannot serve the group.",
        ),
        key(
            "rise",
            IfAbsent::Value("2"),
            COUNT,
            "Consecutive successes after which it can serve it again.",
        ),
    ],
};

/// The keys of a check that say what is probed.
pub(super) const PROBES: [&str; 4] = ["tcp", "http", "exec", "address"];
