use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::{Problems, Resolved, Settings, Sources, resolve, settings_digest};

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
    assert_eq!(group.check, Some(Check { probe, interval, timeout, fall: 4, rise: 1 }));
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
fn what_is_left_out_has_its_default() {
    let text = "[[group]]\nname = \"a\"\n[[group.resource]]\nkind = \"dns\"\nzone = \"Z1\"\n\
                name = \"a.b\"\n[group.check]\ntcp = 5432\n";
    let [group] = settings(text).groups.try_into().unwrap();
    assert!(matches!(group.resources[0], ResourceSetting::Dns { ttl: 60, public: false, .. }));
    let probe = ServiceProbe::Tcp("127.0.0.1:5432".parse().unwrap());
    assert_eq!(group.check, Some(Check::of(probe)));
    assert_eq!((group.local, group.hand_back, group.hold), (Local::Off, None, None));
    assert_eq!((group.home, group.prefer), (None, Vec::new()));
}

/// A group with one resource and more lines.
fn with(resource: &str, rest: &str) -> String {
    format!("[[group]]\nname = \"a\"\nresource = [{{ {resource} }}]\n{rest}\n")
}

const VIP: &str = "kind = \"vip\", address = \"192.168.9.9\"";

#[test]
fn addresses_are_taken_in_unless_somebody_else_puts_them_there() {
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
fn what_no_check_can_be_is_told() {
    for (check, part) in [
        ("", "it is not said what is asked"),
        ("tcp = 80, address = true", "tcp and address are given"),
        ("tcp = 0", "neither a port"),
        ("tcp = \"db.example.com:80\"", "neither a port"),
        ("http = \"https://127.0.0.1/\"", "such as curl"),
        ("http = \"http://db.example.com/\"", "no address and port"),
        ("http = \"http://localhosts/\"", "no address and port"),
        ("http = \"http://127.0.0.1/a b\"", "spaces"),
        ("exec = \"check.sh\"", "not an absolute path"),
        ("exec = []", "is empty"),
        ("exec = [[\"/bin/true\"]]", "wrong type"),
        ("exec = [\"/bin/true\", \"\\u001b[2J\"]", "control character"),
        ("address = false", "no such value"),
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
fn what_no_resource_can_be_is_told() {
    for (resource, part) in [
        ("address = \"10.0.0.1\"", "kind (/n.toml:3): is missing; it may be: vip, private-ip"),
        ("kind = \"vipp\"", "did you mean \"vip\"?"),
        ("kind = \"carp\"", "it may be: vip, private-ip, eip, dns"),
        ("kind = \"vip\"", "address (/n.toml:3): is missing"),
        ("kind = \"vip\", address = \"10.0.0.300\"", "is not an IPv4 address"),
        ("kind = \"vip\", address = \"192.168.9.9\", tables = []", "is empty"),
        ("kind = \"private-ip\", address = \"10.0.0.9\", tables = []", "has no such key"),
        ("kind = \"eip\", allocation = \"eip-1\"", "is not an allocation id"),
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
fn everything_wrong_with_a_group_is_told_at_once_and_where() {
    let text = "[[group]]\nname = \"a\"\nhome = \"x\"\nprefer = [\"y\"]\nlocal = \"eth0\"\n\
                hold = \"1ms\"\nperfer = []\n[[group.resource]]\nkind = \"vip\"\n\
                adress = \"1.2.3.4\"\n[[group.resource]]\nkind = \"eip\"\n\
                [group.check]\nfall = 0\n";
    let all = problems_of(text);
    for part in [
        "group.prefer (/n.toml:4): is given beside `home`",
        "group.local (/n.toml:5): `eth0` is neither lo, redirect, off",
        "group.hold (/n.toml:6): is too short",
        "group.perfer (/n.toml:7): [[group]] has no such key; did you mean `prefer`?",
        "group.resource.adress (/n.toml:10): [[group.resource]] has no such key; did you mean \
         `address`?",
        "group.resource.address (/n.toml:8): is missing",
        "group.resource.allocation (/n.toml:11): is missing",
        "group.check (/n.toml:13): it is not said what is asked",
        "group.check.fall (/n.toml:14): is too small",
    ] {
        assert!(all.iter().any(|problem| problem.contains(part)), "no `{part}` in {all:#?}");
    }
    assert_eq!(all.len(), 9, "{all:#?}");
}

#[test]
fn a_group_has_something_to_move() {
    let all = problems_of("[[group]]\nname = \"a\"\n");
    assert!(all.len() == 1 && all[0].contains("no resource either"), "{all:#?}");
    for empty in ["tables = []", "resource = []"] {
        let all = problems_of(&format!("[[group]]\nname = \"a\"\n{empty}\n"));
        assert!(all.len() == 1 && all[0].contains("nothing to move"), "{all:#?}");
    }
    let all = problems_of(&with(VIP, "cidr = \"10.0.0.0/8\""));
    assert!(all.len() == 1 && all[0].contains("is about `tables`"), "{all:#?}");
}

#[test]
fn groups_in_another_shape_are_told_how_to_write_them() {
    for (text, part) in [
        ("[group]\nname = \"a\"\n", "write [[group]]"),
        ("[[groups]]\nname = \"a\"\n", "groups are written [[group]]"),
        ("group = [1]\n", "write [[group]] and its keys"),
        ("[[group]]\nname = \"a\"\n[group.resource]\nkind = \"vip\"\n", "[[group.resource]]"),
        ("[[group]]\nname = \"a\"\nresource = [1]\n", "is not a table"),
        ("[[group]]\nname = \"a\"\ntables = [\"rtb-0123abcd\"]\ncheck = 1\n", "is not a table"),
    ] {
        let all = problems_of(text);
        assert!(all.len() == 1 && all[0].contains(part), "{text}: {all:#?}");
    }
}
