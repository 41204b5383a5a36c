//! What a host carries for the groups that it holds, with packets that are sent to it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use natha::config::{GroupSetting, Local, ResourceSetting};
use natha::kernel::{addresses, carry};
use natha::plan::Primaries;

use crate::netns::Netns;
use crate::traffic::wire;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 20, 11);
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 200);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// Where nothing answers by itself: connections that are dropped end by this.
const PATIENCE: Duration = Duration::from_millis(700);
const LONG: Duration = Duration::from_secs(10);

/// A host, and a client whose route to the virtual IP leads there, as the VPC's would.
struct Net {
    host: Netns,
    client: Netns,
}

impl Net {
    fn new() -> Self {
        let (host, client) = (Netns::new(), Netns::new());
        wire((&host, "ens5", "10.0.1.10/24"), (&client, "eth0", "10.0.1.20/24"));
        client.ip(&format!("route add {VIP}/32 via {OWN}"));
        host.ip("route add default via 10.0.1.20");
        Self { host, client }
    }

    /// Makes the host carry its group or not, or as it is. What was changed.
    fn carry(&self, group: &GroupSetting, held: Option<bool>) -> Vec<String> {
        self.reconcile(vec![group.clone()], held)
    }

    fn reconcile(&self, groups: Vec<GroupSetting>, held: Option<bool>) -> Vec<String> {
        let outcome = self.outcome(groups, held);
        assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
        outcome.changes.iter().map(ToString::to_string).collect()
    }

    fn outcome(&self, groups: Vec<GroupSetting>, held: Option<bool>) -> carry::CarryOutcome {
        self.outcome_by(groups, held, primaries(&[("ens5", OWN)]))
    }

    /// The same with these primary addresses.
    fn outcome_by(
        &self,
        groups: Vec<GroupSetting>,
        held: Option<bool>,
        primaries: Primaries,
    ) -> carry::CarryOutcome {
        let state_dir = self.host.state_dir().to_owned();
        let duties: BTreeMap<_, _> =
            held.map(|held| ("db".parse().unwrap(), held)).into_iter().collect();
        let outcome = self.host.inside(move || {
            block_on(carry::reconcile(&state_dir, &groups, &duties, "ens5", &primaries))
        });
        outcome.unwrap()
    }

    fn listen(&self, address: Ipv4Addr) -> TcpListener {
        self.host.inside(move || TcpListener::bind((address, 0)).unwrap())
    }

    /// Connects from the client; none where nothing answers.
    fn connect(&self, to: SocketAddr) -> Option<TcpStream> {
        self.client.inside(move || TcpStream::connect_timeout(&to, PATIENCE).ok())
    }

    /// Whether a new connection from the client is served by this listener.
    fn serves(&self, listener: &TcpListener, port: u16) -> bool {
        let Some(mut client) = self.connect((VIP, port).into()) else { return false };
        listener.set_nonblocking(false).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"it").unwrap();
        drop(server);
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        said == "it"
    }

    fn addresses(&self, link: &str) -> String {
        self.host.ip(&format!("-brief address show dev {link}"))
    }

    fn pings(&self) -> bool {
        self.client.succeeds(&["ping", "-c1", "-W1", &VIP.to_string()])
    }

    fn record(&self) -> PathBuf {
        self.host.state_dir().join("carried.json")
    }
}

fn primaries(list: &[(&str, Ipv4Addr)]) -> Primaries {
    list.iter().map(|(link, address)| ((*link).to_owned(), *address)).collect()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn group(local: Local, resources: Vec<ResourceSetting>) -> GroupSetting {
    let plain =
        GroupSetting::of_tables("db".parse().unwrap(), None, Vec::new(), Ipv4Net::default());
    GroupSetting { resources, local, ..plain }
}

fn vip(local: Local) -> GroupSetting {
    group(local, vec![ResourceSetting::Vip { address: VIP, tables: Vec::new() }])
}

fn floating() -> GroupSetting {
    group(Local::Lo, vec![ResourceSetting::PrivateIp { address: FLOATING }])
}

#[test]
fn an_address_of_lo_answers_while_the_group_is_held_and_never_is_a_source() {
    let net = Net::new();
    let listener = net.listen(ANY);
    let port = listener.local_addr().unwrap().port();
    assert!(!net.serves(&listener, port));
    let group = vip(Local::Lo);
    assert_eq!(net.carry(&group, Some(true)), ["192.168.20.11 on lo added"]);
    assert!(net.serves(&listener, port) && net.pings());
    assert!(net.carry(&group, Some(true)).is_empty(), "it is as it should be");
    assert!(net.carry(&group, None).is_empty(), "where nothing is known, nothing changes");

    // Also where the interface of the route has no address of its own to choose.
    net.host.interface("ens6", "10.0.9.9/24", "02:00:00:00:00:06");
    net.host.ip("addr flush dev ens6");
    net.host.ip("route add 203.0.113.0/24 dev ens6");
    for to in ["198.51.100.1", "203.0.113.9", "10.0.1.20"] {
        let route = net.host.ip(&format!("route get {to}"));
        assert!(route.contains("src 10.0.1.10"), "{route}");
    }

    assert_eq!(net.carry(&group, Some(false)), ["192.168.20.11 on lo removed"]);
    assert!(!net.serves(&listener, port));
    assert!(!net.addresses("lo").contains("192.168.20.11"));
    assert!(net.carry(&group, Some(false)).is_empty());
    assert!(!net.host.nft("list tables").contains("natha"), "no table is needed for it");
}

#[test]
fn a_private_ip_goes_on_its_interface_beside_the_primary_address() {
    let net = Net::new();
    let group = floating();
    assert_eq!(net.carry(&group, Some(true)), ["10.0.1.200 on ens5 added"]);
    assert!(net.addresses("ens5").contains("10.0.1.10/24 10.0.1.200/32"));
    assert!(net.client.succeeds(&["ping", "-c1", "-W5", &FLOATING.to_string()]));
    for to in ["198.51.100.1", "10.0.1.20"] {
        let route = net.host.ip(&format!("route get {to}"));
        assert!(route.contains("src 10.0.1.10"), "{route}");
    }
    // Not even after the primary address went and came, as with a new lease.
    net.host.ip("addr del 10.0.1.10/24 dev ens5");
    net.host.ip("addr add 10.0.1.10/24 dev ens5");
    let route = net.host.ip("route get 10.0.1.20");
    assert!(route.contains("src 10.0.1.10"), "{route}");
    assert_eq!(net.carry(&group, Some(false)), ["10.0.1.200 on ens5 removed"]);
    assert!(net.addresses("ens5").contains("10.0.1.10/24"));
}

#[test]
fn a_redirected_address_reaches_a_service_on_the_interface_from_near_and_far() {
    let net = Net::new();
    let listener = net.listen(OWN);
    let port = listener.local_addr().unwrap().port();
    let group = vip(Local::Redirect);
    assert_eq!(net.carry(&group, Some(true)), ["redirection of 192.168.20.11 added"]);
    assert!(net.serves(&listener, port) && net.pings());
    assert!(net.carry(&group, Some(true)).is_empty());
    // The host's own clients are redirected to loopback.
    let everywhere = net.listen(ANY);
    let to = SocketAddr::from((VIP, everywhere.local_addr().unwrap().port()));
    let mut near =
        net.host.inside(move || TcpStream::connect_timeout(&to, LONG).expect("an answer"));
    let (mut far_end, _) = everywhere.accept().unwrap();
    far_end.write_all(b"x").unwrap();
    near.read_exact(&mut [0]).unwrap();

    assert_eq!(net.carry(&group, Some(false)), ["redirection of 192.168.20.11 removed"]);
    assert!(!net.serves(&listener, port), "the VIP is not this host's any more");
    // What began before does not go on beside the new holder.
    near.set_read_timeout(Some(LONG)).unwrap();
    near.write_all(b"y").unwrap();
    let error = near.read_exact(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[test]
fn a_redirection_goes_to_the_primary_address_of_the_interface_though_another_one_comes_first() {
    let net = Net::new();
    // As where the system adds secondary addresses before the lease arrives.
    net.host.ip("addr del 10.0.1.10/24 dev ens5");
    net.host.ip(&format!("addr add {FLOATING}/32 dev ens5"));
    net.host.ip("addr add 10.0.1.10/24 dev ens5");
    let (other, second) = (Netns::new(), Ipv4Addr::new(10, 0, 2, 10));
    wire((&net.host, "ens6", "10.0.2.10/24"), (&other, "eth0", "10.0.2.20/24"));
    other.ip(&format!("route add {VIP}/32 via {second}"));
    let listeners = [OWN, second].map(|address| net.listen(address));
    let ports = listeners.each_ref().map(|one| one.local_addr().unwrap().port());
    let serves = || {
        let far = SocketAddr::from((VIP, ports[1]));
        let far = other.inside(move || TcpStream::connect_timeout(&far, PATIENCE).is_ok());
        (net.serves(&listeners[0], ports[0]), far)
    };
    let group = vip(Local::Redirect);
    net.outcome_by(vec![group.clone()], Some(true), Primaries::new());
    assert!(!serves().0, "the kernel takes the address that comes first");
    let known = primaries(&[("ens5", OWN), ("ens6", second)]);
    net.outcome_by(vec![group], Some(true), known.clone());
    assert_eq!(serves(), (true, true));
    // To one port, too.
    for (address, port) in [OWN, second].into_iter().zip(ports) {
        net.outcome_by(vec![vip(Local::Dnat(port))], Some(true), known.clone());
        let is_first = address == OWN;
        let to = SocketAddr::from((VIP, 5432));
        let from = if is_first { &net.client } else { &other };
        let answers = from.inside(move || TcpStream::connect_timeout(&to, PATIENCE).is_ok());
        assert!(answers, "{address}");
    }
}

#[test]
fn a_connection_from_afar_ends_with_the_redirection() {
    let net = Net::new();
    let listener = net.listen(ANY);
    let group = vip(Local::Redirect);
    net.carry(&group, Some(true));
    let to = SocketAddr::from((VIP, listener.local_addr().unwrap().port()));
    let mut client = net.connect(to).expect("an answer");
    let (_server, _) = listener.accept().unwrap();
    net.carry(&group, Some(false));
    client.set_read_timeout(Some(LONG)).unwrap();
    client.write_all(b"y").unwrap();
    let error = client.read_exact(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[test]
fn a_port_is_where_all_connections_go_and_pings_are_answered() {
    let net = Net::new();
    let listener = net.listen(ANY);
    let group = vip(Local::Dnat(listener.local_addr().unwrap().port()));
    net.carry(&group, Some(true));
    assert!(net.serves(&listener, 5432) && net.serves(&listener, 80) && net.pings());
    net.carry(&group, Some(false));
    assert!(!net.serves(&listener, 5432));
}

#[test]
fn an_address_that_was_there_before_is_left_alone() {
    let net = Net::new();
    net.host.ip(&format!("addr add {VIP}/32 dev ens5"));
    let group = vip(Local::Lo);
    for held in [Some(true), None] {
        assert!(net.carry(&group, held).is_empty(), "{held:?}");
        assert!(net.addresses("ens5").contains("192.168.20.11/32"), "{held:?}");
    }
    // Where another node holds it, that is told.
    let elsewhere = net.outcome(vec![group.clone()], Some(false));
    assert!(elsewhere.changes.is_empty() && net.addresses("ens5").contains("192.168.20.11/32"));
    let told: Vec<String> = elsewhere.errors.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["group db", "192.168.20.11 on ens5", "ip address delete 192.168.20.11/32 dev ens5"]
    {
        assert!(told[0].contains(part), "{told:?}");
    }
    net.carry(&group, Some(true));
    net.host.ip(&format!("addr del {VIP}/32 dev ens5"));
    assert_eq!(net.carry(&group, Some(true)), ["192.168.20.11 on lo added"]);
}

#[test]
fn a_private_ip_that_another_program_added_goes_once_another_node_has_it() {
    // As amazon-ec2-net-utils has it added, and as cloud-init does.
    for prefix in [32, 24] {
        let net = Net::new();
        let there = format!("{FLOATING}/{prefix}");
        net.host.ip(&format!("addr add {there} dev ens5"));
        let group = floating();
        for held in [Some(true), None] {
            assert!(net.carry(&group, held).is_empty(), "{there}, {held:?}");
            assert!(net.addresses("ens5").contains(&there), "{held:?}");
        }
        let off = GroupSetting { local: Local::Off, ..group.clone() };
        assert!(net.carry(&off, Some(false)).is_empty(), "it is another program's");
        assert!(net.addresses("ens5").contains(&there));
        assert_eq!(net.carry(&group, Some(false)), ["10.0.1.200 on ens5 removed"]);
        let left = net.addresses("ens5");
        assert!(left.contains("10.0.1.10/24") && !left.contains("10.0.1.200"), "{left}");
        assert!(net.carry(&group, Some(false)).is_empty());
        assert_eq!(net.carry(&group, Some(true)), ["10.0.1.200 on ens5 added"]);
    }
}

#[test]
fn the_other_addresses_stay_where_the_one_that_goes_is_the_first_of_their_subnet() {
    let net = Net::new();
    // The kernel's default; most systems set it to 1.
    let promotes = "net/ipv4/conf/ens5/promote_secondaries";
    for scope in ["all", "ens5"] {
        net.host.set_sysctl(&format!("net/ipv4/conf/{scope}/promote_secondaries"), "0");
    }
    net.host.ip("addr del 10.0.1.10/24 dev ens5");
    for address in [FLOATING, OWN] {
        net.host.ip(&format!("addr add {address}/24 dev ens5"));
    }
    assert!(net.host.ip("address show dev ens5").contains("10.0.1.10/24 scope global secondary"));
    assert_eq!(net.carry(&floating(), Some(false)), ["10.0.1.200 on ens5 removed"]);
    let left = net.addresses("ens5");
    assert!(left.contains("10.0.1.10/24") && !left.contains("10.0.1.200"), "{left}");
    assert_eq!(net.host.sysctl(promotes), "0");
}

#[test]
fn drift_is_mended() {
    let net = Net::new();
    let (on_lo, redirected) = (vip(Local::Lo), vip(Local::Redirect));
    net.carry(&on_lo, Some(true));
    net.host.ip(&format!("addr del {VIP}/32 dev lo"));
    assert_eq!(net.carry(&on_lo, Some(true)), ["192.168.20.11 on lo added"]);

    // Another way to carry the same group replaces the first.
    let changes = net.carry(&redirected, Some(true));
    assert_eq!(changes, ["192.168.20.11 on lo removed", "redirection of 192.168.20.11 added"]);
    let listener = net.listen(OWN);
    let port = listener.local_addr().unwrap().port();
    for damage in ["delete table ip natha_vip", "flush chain ip natha_vip prerouting"] {
        net.host.nft(damage);
        assert!(!net.serves(&listener, port), "{damage}");
        net.carry(&redirected, Some(true));
        assert!(net.serves(&listener, port), "{damage}");
    }
}

#[test]
fn what_an_earlier_run_left_stays_until_it_is_known_to_be_elsewhere() {
    let net = Net::new();
    let group = vip(Local::Lo);
    net.carry(&group, Some(true));
    assert!(net.carry(&group, None).is_empty());
    assert!(net.addresses("lo").contains("192.168.20.11"));
    // A group that the settings have no more.
    assert_eq!(net.reconcile(Vec::new(), None), ["192.168.20.11 on lo removed"]);
}

#[test]
fn what_was_put_there_in_an_earlier_boot_is_not_natha_s_any_more() {
    let net = Net::new();
    let group = vip(Local::Lo);
    net.carry(&group, Some(true));
    let text = fs::read_to_string(net.record()).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(net.record(), text.replace(boot.trim(), "another")).unwrap();
    assert!(net.outcome(vec![group], Some(false)).changes.is_empty());
    assert!(net.addresses("lo").contains("192.168.20.11"));
}

#[test]
fn a_damaged_record_is_named_and_nothing_changed() {
    let net = Net::new();
    let group = vip(Local::Lo);
    net.carry(&group, Some(true));
    fs::write(net.record(), "[").unwrap();
    let (state_dir, groups) = (net.host.state_dir().to_owned(), vec![group]);
    let duties = BTreeMap::from([("db".parse().unwrap(), false)]);
    let error = net.host.inside(move || {
        let primaries = Primaries::new();
        let work = carry::reconcile(&state_dir, &groups, &duties, "ens5", &primaries);
        block_on(work).unwrap_err().to_string()
    });
    assert!(error.contains("carried.json is damaged"), "{error}");
    assert!(net.addresses("lo").contains("192.168.20.11"));
}

#[test]
fn an_interface_that_is_gone_is_an_error_and_the_rest_is_done() {
    let net = Net::new();
    let vip = ResourceSetting::Vip { address: VIP, tables: Vec::new() };
    let both = group(Local::Lo, vec![vip, ResourceSetting::PrivateIp { address: FLOATING }]);
    let state_dir = net.host.state_dir().to_owned();
    let duties = BTreeMap::from([("db".parse().unwrap(), true)]);
    let outcome = net.host.inside(move || {
        let (groups, primaries) = ([both], Primaries::new());
        block_on(carry::reconcile(&state_dir, &groups, &duties, "ens9", &primaries)).unwrap()
    });
    let errors: Vec<String> = outcome.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["there is no interface `ens9` to put an address on"]);
    assert!(net.addresses("lo").contains("192.168.20.11"));
}

#[test]
fn the_kernel_tells_at_once_when_an_address_comes_and_goes() {
    let net = Net::new();
    let name = net.host.name.clone();
    net.host.inside(move || {
        block_on(async {
            let mut watch = addresses::watch().unwrap();
            let on_ens5 = format!("{VIP}/32");
            for verb in ["add", "del"] {
                let args = ["-n", &name, "addr", verb, &on_ens5, "dev", "ens5"];
                crate::netns::must("ip", &args);
                let told = tokio::time::timeout(LONG, watch.changed()).await;
                assert_eq!(told, Ok(true), "{verb}");
                let here = addresses::read().await.unwrap().iter().any(|own| own.address == VIP);
                assert_eq!(here, verb == "add");
            }
        });
    });
}
