//! What is changed, that it is changed once, and that it comes back.

use std::fs;
use std::process::Command;
use std::time::Duration;

use natha::kernel::forwarding::{
    ForwardingError, check_forwarding, check_switches, reassert, take_in,
};
use natha::kernel::news::{Changed, News};
use tokio::time::timeout;

use crate::netns::Netns;

const SETUP: &str = "setup --source 10.0.0.0/16 --no-source-dest-check";

/// What Docker and a distribution's firewall load, in outline.
const FOREIGN: &str = "
    add table ip filter
    add chain ip filter DOCKER-USER
    add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
    add rule ip filter FORWARD counter jump DOCKER-USER
    add table ip nat
    add chain ip nat POSTROUTING { type nat hook postrouting priority 100; policy accept; }
    add rule ip nat POSTROUTING ip saddr 172.17.0.0/16 oifname != docker0 counter masquerade
    add table inet filter
    add chain inet filter input { type filter hook input priority 0; policy drop; }
    add rule inet filter input ct state established,related accept
    add chain inet filter forward { type filter hook forward priority 0; policy drop; }";

#[test]
fn setup_makes_the_host_forward_and_teardown_brings_back_what_was_there() {
    let host = Netns::one_armed();
    // Connection tracking is loaded first, so that its sysctls can be compared.
    host.nft("add table ip other; add chain ip other c { type filter hook forward priority 0; }");
    host.nft("add rule ip other c ct state new accept");
    host.set_sysctl("net/ipv4/conf/default/send_redirects", "0");
    let before = host.everything_else();

    let ran = host.natha(&format!("{SETUP} --json")).exits(0);
    assert_eq!(ran.json()["result"], "changed");
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(host.sysctl("net/ipv4/conf/all/send_redirects"), "0");
    assert_eq!(host.sysctl("net/ipv4/conf/ens5/accept_redirects"), "0");
    assert_eq!(host.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal"), "1");
    assert!(host.nft("list table ip natha").contains("masquerade"));

    host.natha("teardown").exits(0);
    assert_eq!(host.everything_else(), before);
    assert!(!host.nft("list ruleset").contains("natha"));
    assert!(!host.journal().exists());
}

#[test]
fn a_second_setup_writes_nothing() {
    let host = Netns::one_armed();
    host.natha(SETUP).exits(0);
    let table = host.exec(&["nft", "-a", "list", "ruleset"]);
    let journal = fs::metadata(host.journal()).unwrap().modified().unwrap();

    let ran = host.natha(&format!("{SETUP} --json")).exits(0);
    assert_eq!(ran.json()["result"], "nothing-to-do");
    // Handles count up with every object that is loaded.
    assert_eq!(host.exec(&["nft", "-a", "list", "ruleset"]), table);
    assert_eq!(fs::metadata(host.journal()).unwrap().modified().unwrap(), journal);
}

#[test]
fn a_dry_run_tells_the_differences_and_changes_nothing() {
    let host = Netns::one_armed();
    let before = host.everything_else();
    let ran = host.natha(&format!("{SETUP} --dry-run --json")).exits(3);
    assert_eq!(ran.json()["result"], "would-change");
    assert_eq!(host.everything_else(), before);
    assert_eq!(fs::read_dir(host.state_dir()).unwrap().count(), 0);

    host.natha(SETUP).exits(0);
    host.natha(&format!("{SETUP} --dry-run")).exits(0);
    host.natha("teardown --dry-run").exits(3);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
}

#[test]
fn drift_is_found_and_mended_and_the_first_values_are_still_the_ones_restored() {
    let host = Netns::one_armed();
    host.natha(SETUP).exits(0);
    host.set_sysctl("net/ipv4/ip_forward", "0");
    host.nft("flush chain ip natha postrouting");

    let ran = host.natha(&format!("{SETUP} --dry-run")).exits(3);
    assert!(ran.stdout.contains("changed by another program"), "{ran:?}");
    host.natha(SETUP).exits(0);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
    assert!(host.nft("list table ip natha").contains("masquerade"));

    host.set_sysctl("net/ipv4/conf/all/send_redirects", "1");
    host.natha(SETUP).exits(0);
    host.natha("teardown").exits(0);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
    assert_eq!(host.sysctl("net/ipv4/conf/all/send_redirects"), "1");
}

#[test]
fn other_settings_replace_the_table() {
    let host = Netns::one_armed();
    host.natha(SETUP).exits(0);
    host.natha("setup --source 10.9.0.0/16 --no-source-dest-check").exits(0);
    let table = host.nft("list table ip natha");
    assert!(table.contains("10.9.0.0/16") && !table.contains("10.0.0.0/16"), "{table}");
}

#[test]
fn other_tables_stay_as_they_are_and_those_that_drop_are_told_about() {
    let host = Netns::one_armed();
    for line in FOREIGN.lines().filter(|line| !line.trim().is_empty()) {
        host.nft(line);
    }
    let (_, before) = host.everything_else();
    let ran = host.natha(&format!("{SETUP} --json")).exits(0);
    let warnings = ran.json()["warnings"].to_string();
    for chain in ["`FORWARD` of table `ip filter`", "`forward` of table `inet filter`"] {
        assert!(warnings.contains(chain), "{warnings}");
    }
    assert_eq!(host.everything_else().1, before);
    host.natha("teardown").exits(0);
    assert_eq!(host.everything_else().1, before);
}

#[test]
fn a_value_that_someone_else_set_since_is_left_alone() {
    let host = Netns::one_armed();
    host.natha(SETUP).exits(0);
    host.set_sysctl("net/netfilter/nf_conntrack_tcp_timeout_established", "1234");
    let ran = host.natha("teardown --json").exits(0);
    assert!(ran.json()["warnings"].to_string().contains("timeout_established"), "{ran:?}");
    assert_eq!(host.sysctl("net/netfilter/nf_conntrack_tcp_timeout_established"), "1234");
}

#[test]
fn teardown_twice_is_fine_and_a_lost_journal_leaves_no_table() {
    let host = Netns::one_armed();
    host.natha("teardown").exits(0);
    host.natha(SETUP).exits(0);
    fs::remove_file(host.journal()).unwrap();
    host.natha("teardown").exits(0);
    assert_eq!(host.nft("list tables"), "");
    let ran = host.natha("teardown --json").exits(0);
    assert_eq!(ran.json()["result"], "nothing-to-do");
}

#[test]
fn values_of_an_earlier_boot_are_not_brought_back() {
    let host = Netns::one_armed();
    host.natha(SETUP).exits(0);
    let journal = fs::read_to_string(host.journal()).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(host.journal(), journal.replace(boot.trim(), "another")).unwrap();
    // As after a boot of a host whose sysctl.d turns forwarding on.
    host.nft("delete table ip natha");
    host.natha("teardown").exits(0);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
    assert!(!host.journal().exists());
}

#[test]
fn with_several_interfaces_a_strict_reverse_path_filter_is_loosened() {
    let host = Netns::one_armed();
    host.interface("ens6", "10.0.1.10/24", "02:00:00:00:00:06");
    for scope in ["all", "ens5", "ens6"] {
        host.set_sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "1");
    }
    host.natha(SETUP).exits(0);
    let value = |scope| host.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"));
    assert_eq!((value("all"), value("ens5"), value("ens6")), ("1".into(), "2".into(), "2".into()));
    assert!(host.nft("list set ip natha links").contains("ens6"));
    host.natha("teardown").exits(0);
    assert_eq!(value("ens6"), "1");
}

/// Runs a future in the namespace, programs that it starts included.
pub(crate) fn inside<T, F>(
    host: &Netns,
    f: impl FnOnce(std::path::PathBuf) -> F + Send + 'static,
) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let state = host.state_dir().to_owned();
    host.inside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(f(state))
    })
}

fn drifted(host: &Netns) -> Vec<String> {
    let found = inside(host, |state| async move { check_forwarding(&state).await });
    found.unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn the_monitor_finds_drift_and_mends_it_without_asking_ec2() {
    let host = Netns::one_armed();
    let unset = inside(&host, |state| async move { check_forwarding(&state).await });
    assert!(matches!(unset, Err(ForwardingError::NotSetUp)), "{unset:?}");

    host.natha(SETUP).exits(0);
    assert_eq!(drifted(&host), [""; 0]);

    host.set_sysctl("net/ipv4/ip_forward", "0");
    host.set_sysctl("net/ipv4/conf/all/send_redirects", "1");
    host.nft("delete table ip natha");
    let found = drifted(&host);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("nft table ip natha is absent"), "{found:?}");
    assert!(found.contains(&"net.ipv4.ip_forward is 0, should be 1".to_owned()), "{found:?}");
    let switches = inside(&host, |state| async move { check_switches(&state).await }).unwrap();
    let switches: Vec<String> = switches.iter().map(ToString::to_string).collect();
    assert!(switches.iter().any(|item| item.contains("all.send_redirects")), "{switches:?}");
    assert!(switches.iter().all(|item| !item.contains("table")), "{switches:?}");

    let changed = inside(&host, |state| async move { reassert(&state).await }).unwrap();
    assert!(changed.iter().any(|item| item.to_string().contains("send_redirects")), "{changed:?}");
    assert_eq!(drifted(&host), [""; 0]);
    let again = inside(&host, |state| async move { reassert(&state).await }).unwrap();
    assert!(again.is_empty(), "{again:?}");

    host.natha("teardown").exits(0);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
}

/// What a monitor has recorded that translates hosts of a strict group.
const STRICT: &str = r#"{"boot": "", "landings": {}, "guard": {"uplink": "ens5",
    "vpc_networks": ["10.0.0.0/16"], "groups": [{"sources": ["10.0.100.0/24"],
    "landings": ["10.0.0.201"], "arrived": false, "strict": true, "inserting": false}]}}"#;

#[test]
fn a_flushed_ruleset_translates_again_only_once_strict_hosts_are_held_back() {
    let host = Netns::one_armed();
    host.natha(SETUP).exits(0);
    fs::write(host.state_dir().join("egress.json"), STRICT).unwrap();
    let blocks = || vec!["100.64.0.0/16".parse().unwrap()];
    for takes_in in [false, true] {
        host.nft("flush ruleset");
        inside(&host, move |state| async move {
            if takes_in {
                take_in(&state, &blocks(), true).await.unwrap();
            } else {
                reassert(&state).await.unwrap();
            }
        });
        let hold = host.nft("list chain ip natha_egress hold");
        assert!(hold.contains("10.0.100.0/24") && hold.contains("drop"), "{hold}");
        // In the order in which they were made.
        let tables = host.nft("list tables");
        let guard = tables.find("natha_egress\n").unwrap();
        assert!(guard < tables.find("natha\n").unwrap(), "{tables}");
    }
    // What the monitor has loaded itself stays.
    host.nft("delete table ip natha; flush chain ip natha_egress hold");
    inside(&host, |state| async move { reassert(&state).await }).unwrap();
    assert!(!host.nft("list chain ip natha_egress hold").contains("drop"));
}

#[test]
fn counting_packets_is_no_drift() {
    let host = Netns::one_armed();
    host.natha(SETUP).exits(0);
    host.nft("add counter ip natha spare");
    assert_eq!(drifted(&host).len(), 1);
    host.nft("delete counter ip natha spare");
    host.nft("reset counters table ip natha");
    assert_eq!(drifted(&host), [""; 0]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests run programs without the crate's runner")]
fn the_kernel_announces_changes_of_rules_addresses_and_forwarding_and_no_reads() {
    let host = Netns::one_armed();
    inside(&host, |_| async {
        let news = News::open().unwrap();
        let run = |command: &str| {
            let ran = Command::new("sh").args(["-c", command]).status().unwrap();
            assert!(ran.success(), "{command}");
        };
        for (command, ruleset) in [
            ("nft add table ip other", true),
            ("nft flush ruleset", true),
            ("echo 1 > /proc/sys/net/ipv4/ip_forward", false),
            ("echo 0 > /proc/sys/net/ipv4/conf/ens5/forwarding", false),
            ("ip address add 10.9.9.9/32 dev lo", false),
            ("ip link add spare type veth peer name spare-peer", false),
        ] {
            run(command);
            let found = timeout(Duration::from_secs(20), news.next()).await;
            let found = found.unwrap_or_else(|_| panic!("no news of `{command}`")).unwrap();
            assert_eq!((found.ruleset, found.network), (ruleset, !ruleset), "{command}");
            news.waiting().unwrap();
        }
        run("nft list ruleset; ip address; cat /proc/sys/net/ipv4/ip_forward");
        assert_eq!(news.waiting().unwrap(), Changed::default());
    });
}

#[test]
fn a_block_that_the_vpc_gets_is_translated_from_then_on() {
    let host = Netns::one_armed();
    host.natha("setup --source 10.0.0.0/16 --no-source-dest-check").exits(0);
    let pods = || vec!["10.0.0.0/16".parse().unwrap(), "100.64.0.0/16".parse().unwrap()];
    for changed in [true, false] {
        let blocks = pods();
        let took = inside(&host, |state| async move { take_in(&state, &blocks, true).await });
        assert_eq!(took.unwrap(), changed);
        assert!(host.nft("list set ip natha sources").contains("100.64.0.0/16"));
        assert_eq!(drifted(&host), [""; 0]);
    }
    host.natha("teardown").exits(0);
    assert_eq!(host.nft("list tables"), "");
}
