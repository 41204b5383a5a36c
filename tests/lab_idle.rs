//! Idle connections: a private host that continues one after the timeout gets a reset, and one
//! whose connection has come from another node does not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::Spec;
use natha_lab::egress::Egress;
use natha_lab::net::internet::INTERNET_HOST;
use natha_lab::scene::{self, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// The shortest timeout that there is.
const TIMEOUT: &str = "host.established_timeout = \"1m\"";

/// Opens a connection to the echo server, says so in a file, and waits for another file. Then it
/// sends a line by the connection, and writes down what it gets within some seconds.
const CLIENT: &str = r#"
use strict; use Errno; use IO::Socket::INET;
my ($host, $file, $patience) = @ARGV;
sub note { open(my $f, '>', "$file.$_[0].new"); print $f "$_[1]\n"; close $f;
    rename "$file.$_[0].new", "$file.$_[0]" }
my $s = IO::Socket::INET->new(PeerAddr => "$host:7", Timeout => 5) or die "$!";
syswrite($s, "a\n"); sysread($s, my $b, 9) == 2 or die "no echo";
note('open', 'yes');
select(undef, undef, undef, 0.02) until -e "$file.go";
$SIG{ALRM} = sub { note('got', 'nothing'); exit };
alarm $patience;
syswrite($s, "b\n");
my $count = sysread($s, $b, 9);
note('got', $count ? 'an answer' : $!{ECONNRESET} ? 'a reset' : "an error: $!");
"#;

/// A connection of a private host.
struct Connection<'a> {
    scene: &'a Scene,
    host: &'static str,
    file: String,
}

impl<'a> Connection<'a> {
    /// Opens one, which waits for an answer for so many seconds when it goes on.
    fn open(scene: &'a Scene, host: &'static str, name: &str, patience: u32) -> Self {
        let file = format!("/tmp/idle-{}-{name}", scene.pid());
        let (to, patience) = (INTERNET_HOST.to_string(), patience.to_string());
        scene.spawn(host, &["perl", "-e", CLIENT, &to, &file, &patience]).unwrap();
        let connection = Self { scene, host, file };
        connection.read("open");
        connection
    }

    /// What the client gets when it goes on.
    fn go_on(&self) -> String {
        self.scene.sh(self.host, &format!("touch {}.go", self.file)).unwrap();
        self.read("got")
    }

    /// What the client has written down, once it has.
    fn read(&self, what: &str) -> String {
        let show = format!("cat {}.{what} 2>/dev/null || true", self.file);
        let read = || self.scene.sh(self.host, &show).map(|text| text.trim().to_owned());
        self.scene.wait_for(|| Ok(!read()?.is_empty())).unwrap();
        read().unwrap()
    }
}

/// Waits until a node sends resets to hosts of its group.
fn wait_resets(scene: &Scene, node: &str) {
    let show = "nft list table ip natha_egress 2>/dev/null || true";
    let sends = || Ok(scene.sh(node, show)?.contains("reject with tcp reset"));
    scene.wait_for(sends).map_err(|error| scene.explain(error)).unwrap();
}

#[test]
fn a_host_that_continues_an_idle_connection_gets_a_reset_within_a_second() {
    let config = format!("{TIMEOUT}\n{QUICK}");
    let scene = Scene::start(&scene::service(2, NATHA, &config)).unwrap();
    let idle = Connection::open(&scene, "host-a", "idle", 1);
    let busy = scene.flows("host-a", 5, 1_000).unwrap();
    wait_resets(&scene, "nat-a");
    assert_eq!(idle.go_on(), "a reset");
    let counts = "curl --silent http://127.0.0.1:6285/metrics | \
                  grep -E '^natha_idle_resets_total [1-9]'";
    scene.wait_for(|| Ok(scene.sh("nat-a", counts).is_ok())).unwrap();
    let report = scene.flowed(busy).unwrap();
    assert_eq!(report.broken, 0, "{:?}", report.reasons);
    let new = Connection::open(&scene, "host-a", "new", 5);
    assert_eq!(new.go_on(), "an answer");
}

/// The egress IP moves with the group, so the connection can go on.
fn with_egress_ips() -> Spec {
    let more = format!("{TIMEOUT}\n{QUICK}");
    Egress { strict: false, replicate: false, more: &more }.spec(NATHA)
}

#[test]
fn a_connection_that_another_node_has_served_goes_on_where_hosts_of_another_group_get_resets() {
    let scene = Scene::start(&with_egress_ips()).unwrap();
    let idle = Connection::open(&scene, "host-b", "idle", 1);
    wait_resets(&scene, "nat-b");
    let moved = Connection::open(&scene, "host-a", "moved", 30);
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    // Its packets are held back until the egress IP has arrived, and then repeated.
    assert_eq!(moved.go_on(), "an answer");
    wait_resets(&scene, "nat-b");
    assert_eq!(idle.go_on(), "a reset", "the other group is served as before");
}
