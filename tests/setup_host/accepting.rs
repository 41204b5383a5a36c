//! Hosts that are no NAT: databases, and web servers behind a load balancer that sends them packets
//! to a virtual IP as they are.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use natha::kernel::forwarding::{check_plan, reassert};

use crate::changes::inside;
use crate::fake_aws::FakeAws;
use crate::netns::Netns;
use crate::traffic::wire;

const VIP: &str = "192.168.20.11";
const INTERFACE: &str = "eni-0000000000000000a";
const MAC: &str = "02:00:00:00:00:05";
const PATIENCE: Duration = Duration::from_millis(700);

/// Flags of a web server; the mode comes after them.
const BACKEND: &str = "--no-source-dest-check --set host.nat=false --set host.accept=192.168.20.11";

/// A web server, and the load balancer, which passes on what is for the virtual IP.
fn pair() -> (Netns, Netns) {
    let (host, balancer) = (Netns::new(), Netns::new());
    wire((&host, "ens5", "10.0.1.10/24"), (&balancer, "eth0", "10.0.1.20/24"));
    host.ip("route add default via 10.0.1.20");
    balancer.ip(&format!("route add {VIP}/32 via 10.0.1.10"));
    (host, balancer)
}

/// Whether a connection to the virtual IP is answered by the host, as from the virtual IP.
fn answers(host: &Netns, balancer: &Netns) -> bool {
    let listener = host.inside(|| TcpListener::bind("0.0.0.0:0").unwrap());
    let to = SocketAddr::new(VIP.parse().unwrap(), listener.local_addr().unwrap().port());
    balancer.inside(move || TcpStream::connect_timeout(&to, PATIENCE).is_ok())
}

fn rows(ran: &crate::netns::Ran) -> Vec<(String, String)> {
    let rows = ran.json()["rows"].as_array().unwrap().clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(&row["what"]), text(&row["outcome"]))).collect()
}

fn backend(mode: &str, what: &str) {
    let (host, balancer) = pair();
    let flags = format!("{BACKEND} --set host.accept_mode={mode}");
    let before = (host.everything_else(), host.ip("-4 address show"));
    assert!(!answers(&host, &balancer));

    let dry = host.natha(&format!("setup {flags} --dry-run --json")).exits(3);
    assert_eq!(rows(&dry), [(what.to_owned(), "would-change".to_owned())]);
    assert_eq!((host.everything_else(), host.ip("-4 address show")), before);
    let ran = host.natha(&format!("setup {flags}")).exits(0);
    let purpose = format!("This host accepts packets for {VIP}.");
    assert!(ran.stdout.contains(&purpose), "{}", ran.stdout);
    assert!(answers(&host, &balancer));
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0", "a web server forwards nothing");
    let again = host.natha(&format!("setup {flags} --json")).exits(0);
    assert_eq!(again.json()["result"], "nothing-to-do");

    // Drift is found and mended.
    if mode == "lo" {
        host.ip(&format!("addr del {VIP}/32 dev lo"));
    } else {
        host.nft("delete table ip natha");
    }
    let dry = host.natha(&format!("setup {flags} --dry-run --json")).exits(3);
    assert_eq!(rows(&dry), [(what.to_owned(), "would-change".to_owned())]);
    host.natha(&format!("setup {flags}")).exits(0);
    assert!(answers(&host, &balancer));

    let torn = host.natha("teardown --json").exits(0);
    assert_eq!(rows(&torn), [(what.to_owned(), "restored".to_owned())]);
    assert!(!answers(&host, &balancer));
    assert!(!host.nft("list tables").contains("natha"));
    assert_eq!(host.ip("-4 address show"), before.1);
}

#[test]
fn a_web_server_answers_on_an_address_of_lo() {
    backend("lo", "interface with 192.168.20.11");
}

#[test]
fn a_web_server_answers_by_redirection() {
    backend("redirect", "nft table ip natha");
}

#[test]
fn a_web_server_answers_on_its_primary_address_though_a_secondary_one_comes_first() {
    let (host, balancer) = (Netns::new(), Netns::new());
    // As where the system adds secondary addresses before the lease arrives.
    wire((&host, "ens5", "10.0.0.200/32"), (&balancer, "eth0", "10.0.0.20/24"));
    host.ip("addr add 10.0.0.10/24 dev ens5");
    host.ip(&format!("link set ens5 address {MAC}"));
    host.ip("route add default via 10.0.0.20");
    balancer.ip(&format!("route add {VIP}/32 via 10.0.0.10"));
    let (host, aws) = FakeAws::start(host, &[(INTERFACE, MAC)]);
    let listener = host.inside(|| TcpListener::bind("10.0.0.10:0").unwrap());
    let to = SocketAddr::new(VIP.parse().unwrap(), listener.local_addr().unwrap().port());
    let answers = || balancer.inside(move || TcpStream::connect_timeout(&to, PATIENCE).is_ok());
    let set_up =
        || host.natha(&format!("setup {BACKEND} --set host.accept_mode=redirect")).exits(0);
    // Without the metadata, the kernel chooses.
    aws.with(|state| state.no_metadata = true);
    set_up();
    assert!(!answers());
    aws.with(|state| state.no_metadata = false);
    set_up();
    assert!(answers(), "{}", host.nft("list table ip natha"));
    // A later setup keeps it while the metadata does not answer.
    aws.with(|state| state.no_metadata = true);
    set_up();
    assert!(answers());
    aws.with(|state| state.no_metadata = false);
    let with_check = "--set host.nat=false --set host.accept=192.168.20.11";
    host.natha(&format!("setup {with_check} --set host.accept_mode=redirect")).exits(0);
    assert!(answers());
}

#[test]
fn a_monitor_brings_back_what_a_host_is_to_answer_on() {
    let (host, balancer) = pair();
    for (mode, what) in [("lo", "interface with 192.168.20.11"), ("redirect", "nft table ip natha")]
    {
        host.natha(&format!("setup {BACKEND} --set host.accept_mode={mode}")).exits(0);
        let drift = |state: PathBuf| async move { check_plan(&state).await };
        assert_eq!(inside(&host, drift).unwrap(), []);
        if mode == "lo" {
            host.ip(&format!("addr del {VIP}/32 dev lo"));
        } else {
            host.nft("delete table ip natha");
        }
        assert!(!answers(&host, &balancer), "{mode}");
        let found: Vec<String> =
            inside(&host, drift).unwrap().iter().map(|item| item.subject.to_string()).collect();
        assert_eq!(found, [what]);
        inside(&host, |state| async move { reassert(&state).await }).unwrap();
        assert!(answers(&host, &balancer), "{mode}");
        host.natha("teardown").exits(0);
        assert!(!answers(&host, &balancer), "{mode}");
    }
}

#[test]
fn an_address_that_is_there_already_is_left_where_it_is() {
    let (host, balancer) = pair();
    host.ip(&format!("addr add {VIP}/32 dev ens5"));
    let ran = host.natha(&format!("setup {BACKEND} --json")).exits(0);
    assert_eq!(ran.json()["result"], "nothing-to-do");
    host.natha("teardown").exits(0);
    assert!(answers(&host, &balancer));
}

#[test]
fn a_nat_can_answer_on_a_virtual_ip_too() {
    let host = Netns::one_armed();
    let flags = "--source 10.0.0.0/16 --no-source-dest-check --set host.accept=192.168.20.11";
    for mode in ["redirect", "lo"] {
        host.natha(&format!("setup {flags} --set host.accept_mode={mode}")).exits(0);
        assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
        assert!(host.nft("list table ip natha").contains("masquerade"));
    }
    assert!(!host.nft("list table ip natha").contains("redirect"));
    assert!(host.ip("address show dev lo").contains(VIP));
    host.natha("teardown").exits(0);
    assert!(!host.ip("address show dev lo").contains(VIP));
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
}

#[test]
fn a_nat_that_becomes_a_web_server_loses_its_table() {
    let host = Netns::one_armed();
    host.natha("setup --source 10.0.0.0/16 --no-source-dest-check").exits(0);
    let ran = host.natha(&format!("setup {BACKEND} --json")).exits(0);
    assert_eq!(rows(&ran)[0], ("nft table ip natha".to_owned(), "changed".to_owned()));
    assert!(!host.nft("list tables").contains("natha"));
    host.natha("teardown").exits(0);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0", "what was changed first is restored too");
}

#[test]
fn strict_reverse_path_filters_are_loosened_for_virtual_ips() {
    let (host, _balancer) = pair();
    host.set_sysctl("net/ipv4/conf/ens5/rp_filter", "1");
    host.natha(&format!("setup {BACKEND}")).exits(0);
    assert_eq!(host.sysctl("net/ipv4/conf/ens5/rp_filter"), "2");
    host.natha("teardown").exits(0);
    assert_eq!(host.sysctl("net/ipv4/conf/ens5/rp_filter"), "1");
}

#[test]
fn the_source_dest_check_is_turned_off_only_for_who_answers_on_virtual_ips() {
    let (host, aws) = FakeAws::start(Netns::one_armed(), &[(INTERFACE, MAC)]);
    let ran = host.natha("setup --set host.nat=false --json").exits(0);
    assert_eq!(ran.json()["result"], "nothing-to-do");
    assert!(aws.check_is_on(INTERFACE));
    host.natha("setup --set host.nat=false --set host.accept=192.168.20.11").exits(0);
    assert!(!aws.check_is_on(INTERFACE));
    host.natha("teardown").exits(0);
    assert!(aws.check_is_on(INTERFACE));
}

#[test]
fn addresses_that_no_packet_is_routed_to_are_refused() {
    let host = Netns::one_armed();
    for address in ["127.0.0.1", "169.254.169.254", "224.0.0.18", "0.0.0.0"] {
        let ran = host.natha(&format!("setup --set host.accept={address}")).exits(2);
        ran.complains(&["host.accept", address]);
    }
    let ran = host.natha("setup --set host.accept_mode=arp").exits(2);
    ran.complains(&["host.accept_mode", "lo or redirect"]);
}
