use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::group_keys::{CHECK, GROUP, IfAbsent, KINDS, KeySet, PROBES};
use crate::config::{
    EgressMode, Home, Local, Problems, Resolved, ResourceSetting, ServiceCheck, ServiceProbe,
    Settings, Sources, resolve, settings_digest,
};

fn resolved(text: &str) -> Result<Resolved, Problems> {
    let file = Some((PathBuf::from("/n.toml"), text.to_owned()));
    resolve(&Sources { file, ..Sources::default() })
}

fn settings(text: &str) -> Settings {
    resolved(text).unwrap_or_else(|problems| panic!("{problems}\nof {text}")).settings
}

fn problems_of(text: &str) -> Vec<String> {
    let Problems(all) = resolved(text).expect_err(text);
    all.iter().map(ToString::to_string).collect()
}

const EVERYTHING: &str = "[[group]]
name = \"db\"
prefer = [\"db, left\", \"i-0123abcd\", \"eu-west-1b\"]
hand_back = false
hold = \"60s\"
local = \"dnat:5432\"
egress = \"strict\"
egress_sources = [\"10.0.9.0/24\"]
[[group.resource]]
kind = \"vip\"
address = \"192.168.99.10\"
tables = [\"rtb-0123abcd\"]
[[group.resource]]
kind = \"private-ip\"
address = \"10.0.0.99\"
[[group.resource]]
kind = \"eip\"
allocation = \"eipalloc-0123abcd\"
on = \"10.0.0.99\"
[[group.resource]]
kind = \"egress-ip\"
allocation = \"eipalloc-0123abff\"
landing = [\"10.0.0.11\", \"10.0.1.11\"]
[[group.resource]]
kind = \"dns\"
zone = \"/hostedzone/Z0123\"
name = \"DB.example.com.\"
ttl = 5
[group.check]
exec = [\"/usr/bin/check\", \"a,b\", \"-c 1\"]
interval = \"500ms\"
timeout = \"2s\"
fall = 4
rise = 1
";

#[test]
fn every_key_of_a_group_is_read() {
    let [group] = settings(EVERYTHING).groups.try_into().unwrap();
    assert_eq!(group.home, Some(Home::Named("db, left".to_owned())));
    let named = Home::Named("eu-west-1b".to_owned());
    assert_eq!(group.prefer, [Home::Instance("i-0123abcd".parse().unwrap()), named]);
    assert_eq!((group.hand_back, group.hold), (Some(false), Some(Duration::from_mins(1))));
    assert_eq!(group.local, Local::Dnat(5432));
    assert_eq!(group.egress, EgressMode::Strict);
    assert_eq!(group.egress_sources, ["10.0.9.0/24".parse().unwrap()]);
    let private = Ipv4Addr::new(10, 0, 0, 99);
    assert_eq!(
        group.resources,
        [
            ResourceSetting::Vip {
                address: Ipv4Addr::new(192, 168, 99, 10),
                tables: vec!["rtb-0123abcd".parse().unwrap()],
            },
            ResourceSetting::PrivateIp { address: private },
            ResourceSetting::Eip {
                allocation: "eipalloc-0123abcd".parse().unwrap(),
                on: Some(private)
            },
            ResourceSetting::EgressIp {
                allocation: "eipalloc-0123abff".parse().unwrap(),
                landing: vec![Ipv4Addr::new(10, 0, 0, 11), Ipv4Addr::new(10, 0, 1, 11)],
            },
            ResourceSetting::Dns {
                zone: "Z0123".parse().unwrap(),
                name: "db.example.com".parse().unwrap(),
                ttl: 5,
                public: false,
            },
        ]
    );
    let arguments = vec!["a,b".to_owned(), "-c 1".to_owned()];
    let probe = ServiceProbe::Exec("/usr/bin/check".into(), arguments);
    let (interval, timeout) = (Duration::from_millis(500), Duration::from_secs(2));
    assert_eq!(group.check, Some(ServiceCheck { probe, interval, timeout, fall: 4, rise: 1 }));
}

#[test]
fn every_key_counts_for_the_digest() {
    let base = settings_digest(&settings(EVERYTHING));
    for (from, to) in [
        ("i-0123abcd", "i-0123abce"),
        ("db, left", "db"),
        ("hand_back = false", "hand_back = true"),
        ("60s", "61s"),
        ("dnat:5432", "redirect"),
        ("192.168.99.10", "192.168.99.11"),
        ("rtb-0123abcd", "rtb-0123abce"),
        ("address = \"10.0.0.99\"", "address = \"10.0.0.98\""),
        ("eipalloc-0123abcd", "eipalloc-0123abce"),
        ("egress = \"strict\"", ""),
        ("10.0.9.0/24", "10.0.8.0/24"),
        ("eipalloc-0123abff", "eipalloc-0123abfe"),
        ("\"10.0.0.11\", ", ""),
        ("on = \"10.0.0.99\"", ""),
        ("Z0123", "Z0124"),
        ("DB.", "b."),
        ("ttl = 5", "ttl = 6\npublic = true"),
        ("a,b", "a"),
        ("interval = \"500ms\"", ""),
        ("timeout = \"2s\"", ""),
        ("fall = 4", ""),
        ("rise = 1", ""),
    ] {
        let changed = EVERYTHING.replacen(from, to, 1);
        assert_ne!(changed, EVERYTHING, "{from}");
        assert_ne!(settings_digest(&settings(&changed)), base, "{from} -> {to}");
    }
}

#[test]
fn absent_keys_have_their_defaults() {
    let text = "[[group]]\nname = \"a\"\n[[group.resource]]\nkind = \"dns\"\nzone = \"Z1\"\n\
                name = \"a.b\"\n[group.check]\ntcp = 5432\n";
    let [group] = settings(text).groups.try_into().unwrap();
    assert!(matches!(group.resources[0], ResourceSetting::Dns { ttl: 60, public: false, .. }));
    let probe = ServiceProbe::Tcp("127.0.0.1:5432".parse().unwrap());
    assert_eq!(group.check, Some(ServiceCheck::of(probe)));
    assert_eq!((group.local, group.hand_back, group.hold), (Local::Off, None, None));
    assert_eq!((group.home, group.prefer), (None, Vec::new()));
    assert_eq!((group.egress, group.egress_sources), (EgressMode::Eager, Vec::new()));
}

/// A group with one resource and more lines.
fn with(resource: &str, rest: &str) -> String {
    format!("[[group]]\nname = \"a\"\nresource = [{{ {resource} }}]\n{rest}\n")
}

const VIP: &str = "kind = \"vip\", address = \"192.168.9.9\"";

#[test]
fn addresses_are_carried_unless_other_software_does_it() {
    let private = "kind = \"private-ip\", address = \"10.0.0.9\"";
    let eip = "kind = \"eip\", allocation = \"eipalloc-0123abcd\"";
    let follow = "check = { address = true }";
    for (resource, rest, wanted) in [
        (VIP, "", Local::Lo),
        (VIP, "local = \"off\"", Local::Off),
        (VIP, "local = \"redirect\"", Local::Redirect),
        (VIP, follow, Local::Off),
        (private, "", Local::Lo),
        (eip, "", Local::Off),
    ] {
        let found = settings(&with(resource, rest));
        assert_eq!(found.groups[0].local, wanted, "{resource} {rest}");
    }
}

#[test]
fn checks_are_read_in_all_their_forms() {
    let probe = |text: &str| {
        let found = settings(&with(VIP, &format!("check = {{ {text} }}")));
        found.groups[0].check.clone().unwrap().probe
    };
    let socket = |text: &str| text.parse().unwrap();
    assert_eq!(probe("tcp = \"80\""), ServiceProbe::Tcp(socket("127.0.0.1:80")));
    assert_eq!(probe("tcp = \"10.0.0.1:80\""), ServiceProbe::Tcp(socket("10.0.0.1:80")));
    let http = |at: &str, path: &str| ServiceProbe::Http(socket(at), path.to_owned());
    assert_eq!(probe("http = \"http://127.0.0.1:81/a/b?c\""), http("127.0.0.1:81", "/a/b?c"));
    assert_eq!(probe("http = \"http://localhost\""), http("127.0.0.1:80", "/"));
    assert_eq!(probe("http = \"http://localhost:8080/x\""), http("127.0.0.1:8080", "/x"));
    assert_eq!(probe("exec = \"/bin/true\""), ServiceProbe::Exec("/bin/true".into(), vec![]));
    assert_eq!(probe("address = true"), ServiceProbe::Address);
}

#[test]
fn an_invalid_check_is_refused_with_its_line() {
    for (check, part) in [
        ("", "has no probe"),
        ("tcp = 80, address = true", "has several probes: tcp, address"),
        ("tcp = 0", "not a place to connect to"),
        ("tcp = \"db.example.com:80\"", "not a place to connect to"),
        ("http = \"https://127.0.0.1/\"", "such as curl"),
        ("http = \"http://db.example.com/\"", "no address after"),
        ("http = \"http://localhosts/\"", "no address after"),
        ("http = \"http://127.0.0.1/a b\"", "spaces"),
        ("exec = \"check.sh\"", "not an absolute path"),
        ("exec = []", "is empty"),
        ("exec = [[\"/bin/true\"]]", "invalid type: sequence"),
        ("exec = [\"/bin/true\", \"\\u001b[2J\"]", "control character"),
        ("address = false", "cannot be false"),
        ("tcp = 80, interval = \"10ms\"", "too short"),
        ("tcp = 80, timeout = \"2m\"", "too long"),
        ("tcp = 80, fall = 0", "too small"),
        ("tcp = 80, rise = 101", "too large"),
        ("tcp = 80, raise = 1", "did you mean `rise`?"),
    ] {
        let all = problems_of(&with(VIP, &format!("check = {{ {check} }}")));
        assert_eq!(all.len(), 1, "{check}: {all:#?}");
        assert!(all[0].contains(part) && all[0].contains("/n.toml:4"), "{check}: {all:#?}");
        assert!(!all[0].contains('\u{1b}'), "{all:#?}");
    }
}

#[test]
fn an_invalid_resource_is_refused() {
    for (resource, part) in [
        ("address = \"10.0.0.1\"", "kind (/n.toml:3): is missing; it may be: vip, private-ip"),
        ("kind = \"vipp\"", "did you mean \"vip\"?"),
        ("kind = \"carp\"", "it may be: vip, private-ip, eip, egress-ip, dns"),
        ("kind = \"vip\"", "address (/n.toml:3): is missing"),
        ("kind = \"vip\", address = \"10.0.0.300\"", "is not an IPv4 address"),
        ("kind = \"vip\", address = \"192.168.9.9\", tables = []", "is empty"),
        ("kind = \"private-ip\", address = \"10.0.0.9\", tables = []", "is not a key of"),
        ("kind = \"eip\", allocation = \"eip-1\"", "is not an allocation id"),
        ("kind = \"egress-ip\", allocation = \"eip-1\"", "is not an allocation id"),
        ("kind = \"dns\", zone = \"z1\", name = \"a.b\"", "is not a hosted zone id"),
        ("kind = \"dns\", zone = \"Z1\", name = \"*.b\"", "is not a DNS name"),
        ("kind = \"dns\", zone = \"Z1\", name = \"a.b\", ttl = 0", "too small"),
        ("kind = \"dns\", zone = \"Z1\", name = \"a.b\", ttl = 86401", "too large"),
    ] {
        let all = problems_of(&with(resource, ""));
        assert_eq!(all.len(), 1, "{resource}: {all:#?}");
        assert!(all[0].contains(part), "{resource}: {all:#?}");
    }
}

#[test]
fn wrong_keys_of_a_group_are_reported_at_once_and_with_their_lines() {
    let text = "[[group]]\nname = \"a\"\nhome = \"x\"\nprefer = [\"y\"]\nlocal = \"eth0\"\n\
                hold = \"1ms\"\nperfer = []\n[[group.resource]]\nkind = \"vip\"\n\
                adress = \"1.2.3.4\"\n[[group.resource]]\nkind = \"eip\"\n\
                [group.check]\nfall = 0\n";
    let all = problems_of(text);
    for part in [
        "group.prefer (/n.toml:4): cannot be combined with `home`",
        "group.perfer (/n.toml:7): is not a key of [[group]]; did you mean `prefer`?",
        "group.resource.adress (/n.toml:10): is not a key of [[group.resource]]; did you mean \
         `address`?",
        "group.resource.address (/n.toml:8): is missing",
        "group.resource.allocation (/n.toml:11): is missing",
        "group.check (/n.toml:13): has no probe",
    ] {
        assert!(all.iter().any(|problem| problem.contains(part)), "no `{part}` in {all:#?}");
    }
    assert_eq!(all.len(), 6, "{all:#?}");
}

#[test]
fn a_wrong_value_is_reported_with_its_key_its_line_and_what_it_may_be() {
    let good = "[[group]]\nname = \"a\"\nlocal = \"lo\"\nhold = \"1s\"\n\
                [[group.resource]]\nkind = \"vip\"\naddress = \"192.168.9.9\"\n\
                [group.check]\ntcp = 80\nfall = 1\n";
    settings(good);
    for (from, to, problem) in [
        ("\"a\"", "\"a b\"", "group.name (/n.toml:2): `a b` is not a group name"),
        (
            "\"lo\"",
            "\"eth0\"",
            "group.local (/n.toml:3): `eth0` is not a mode; it may be: lo, redirect",
        ),
        ("\"1s\"", "\"1ms\"", "group.hold (/n.toml:4): is too short; it may be: 1s to 1day"),
        ("\"1s\"", "[]", "group.hold (/n.toml:4): invalid type: sequence"),
        ("192.168.9.9", "1.2.3", "group.resource.address (/n.toml:7): `1.2.3` is not an IPv4"),
        ("tcp = 80", "tcp = 0", "group.check.tcp (/n.toml:9): `0` is not a place"),
        ("fall = 1", "fall = 0", "group.check.fall (/n.toml:10): is too small; it may be: 1 to"),
    ] {
        let all = problems_of(&good.replacen(from, to, 1));
        assert!(all.len() == 1 && all[0].contains(problem), "{to}: {all:#?}");
    }
}

/// The keys of a JSON object.
fn names(value: &serde_json::Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The kind under which the reference lists a resource. No default: a new kind must be added here,
/// to [`KINDS`] and to [`EVERYTHING`].
const fn listed_as(resource: &ResourceSetting) -> &'static str {
    match resource {
        ResourceSetting::Vip { .. } => "vip",
        ResourceSetting::PrivateIp { .. } => "private-ip",
        ResourceSetting::Eip { .. } => "eip",
        ResourceSetting::EgressIp { .. } => "egress-ip",
        ResourceSetting::Dns { .. } => "dns",
    }
}

#[test]
fn the_reference_has_exactly_the_keys_that_serde_reads() {
    let found = settings(EVERYTHING);
    let listed = found.groups[0].resources.iter().map(listed_as);
    assert!(listed.eq(KINDS.map(|(kind, _)| kind)));
    let mut group = found.groups[0].clone();
    // Settings refuse it beside all these resources.
    group.fallback = Some("nat-0123abcd".parse().unwrap());
    let group = serde_json::to_value(&group).unwrap();
    let keys = |known: &'static KeySet| known.keys.iter().map(|key| key.name);
    let inner = ["resource", "check"];
    assert_eq!(names(&group), keys(&GROUP).chain(inner).collect::<BTreeSet<_>>());
    let resources = group["resource"].as_array().unwrap();
    assert_eq!(resources.len(), KINDS.len());
    for ((kind, known), resource) in KINDS.into_iter().zip(resources) {
        assert_eq!(names(resource), BTreeSet::from([kind]));
        let documented: BTreeSet<_> = keys(known).filter(|name| *name != "kind").collect();
        assert_eq!(names(&resource[kind]), documented, "{kind}");
    }
    let documented = keys(&CHECK).filter(|name| !PROBES.contains(name)).chain(["probe"]);
    assert_eq!(names(&group["check"]), documented.collect::<BTreeSet<_>>());
    for (probe, value) in PROBES.into_iter().zip(["80", "\"http://127.0.0.1\"", "[\"/a\"]", "true"])
    {
        let found = settings(&with(VIP, &format!("check = {{ {probe} = {value} }}")));
        let check = serde_json::to_value(&found.groups[0].check).unwrap();
        let written = &check["probe"];
        assert!(written == probe || names(written) == BTreeSet::from([probe]), "{written}");
    }
}

#[test]
fn what_the_reference_calls_a_default_is_what_serde_takes() {
    let least = "[[group]]\nname = \"a\"\n[[group.resource]]\nkind = \"dns\"\nzone = \"Z1\"\n\
                 name = \"a.b\"\n[group.check]\ntcp = 80\n";
    let sets = [("[[group]]\n", &GROUP), ("kind = \"dns\"\n", KINDS[4].1), ("tcp = 80\n", &CHECK)];
    for (after, known) in sets {
        for key in known.keys {
            let IfAbsent::Value(value) = key.if_absent else { continue };
            if key.name == "cidr" {
                // It needs `tables`: see below.
                continue;
            }
            let given = format!("{after}{} = \"{value}\"\n", key.name);
            let text = least.replacen(after, &given, 1);
            assert_eq!(settings(&text), settings(least), "{}", key.name);
        }
    }
    let tables = "[[group]]\nname = \"a\"\ntables = [\"rtb-0123abcd\"]\n";
    assert_eq!(settings(&format!("{tables}cidr = \"0.0.0.0/0\"\n")), settings(tables));
}

#[test]
fn a_group_has_something_to_move() {
    let all = problems_of("[[group]]\nname = \"a\"\n");
    assert!(all.len() == 1 && all[0].contains("there are no resources"), "{all:#?}");
    for empty in ["tables = []", "resource = []"] {
        let all = problems_of(&format!("[[group]]\nname = \"a\"\n{empty}\n"));
        assert!(all.len() == 1 && all[0].contains("nothing to move"), "{all:#?}");
    }
    let all = problems_of(&with(VIP, "cidr = \"10.0.0.0/8\""));
    assert!(all.len() == 1 && all[0].contains("applies to `tables`"), "{all:#?}");
}

#[test]
fn groups_in_another_shape_are_refused_with_the_right_one() {
    for (text, part) in [
        ("[group]\nname = \"a\"\n", "write [[group]]"),
        ("[[groups]]\nname = \"a\"\n", "write groups as [[group]]"),
        ("group = [1]\n", "write [[group]] and its keys"),
        ("[[group]]\nname = \"a\"\n[group.resource]\nkind = \"vip\"\n", "[[group.resource]]"),
        ("[[group]]\nname = \"a\"\nresource = [1]\n", "is not a table"),
        ("[[group]]\nname = \"a\"\ntables = [\"rtb-0123abcd\"]\ncheck = 1\n", "is not a table"),
    ] {
        let all = problems_of(text);
        assert!(all.len() == 1 && all[0].contains(part), "{text}: {all:#?}");
    }
}
