//! Connections live on: what is replicated survives the death of a node, and planned moves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use anyhow::Result;
use natha_lab::Spec;
use natha_lab::net::internet::INTERNET_HOST;
use natha_lab::scene::{self, QUICK, SERVICE, Scene};
use natha_lab::spec::{HostSpec, Role};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Connections of each kind.
const COUNT: usize = 20;
/// Their source ports begin here.
const PORT: usize = 41_000;

/// Two nodes with a group for each zone, and two private hosts in the first zone. The security
/// group admits the server: it knows no connections of another node's interface.
fn spec(replicate: bool) -> Spec {
    let config = format!(
        "heartbeat.key_file = \"/etc/natha/key\"\nreplicate.enabled = {replicate}\n{QUICK}\n{}",
        scene::egress_groups("eager")
    );
    let key = "umask 077; echo 0123456789abcdef0123456789abcdef > /etc/natha/key";
    let user_data = scene::user_data(&config, &format!("{key}\n{SERVICE}"));
    let spec = scene::spec(2, NATHA, &config).with_node_user_data(&user_data);
    scene::with_egress_ips(spec)
        .with_host(HostSpec::new("host-c", 0, Role::Private))
        .with_ingress(INTERNET_HOST.into())
}

/// Sends back what it gets, over TCP and UDP. What begins with `push` gets a line when a control
/// connection says so. Counts the addresses and ports that datagrams come from.
const SERVER: &str = r#"
use strict; use IO::Socket::INET; use IO::Select;
$SIG{PIPE} = 'IGNORE';
my $tcp = IO::Socket::INET->new(Listen => 512, LocalPort => 9000, ReuseAddr => 1) or die;
my $ctl = IO::Socket::INET->new(Listen => 5, LocalPort => 9001, ReuseAddr => 1) or die;
my $udp = IO::Socket::INET->new(Proto => 'udp', LocalPort => 9002) or die;
my $all = IO::Select->new($tcp, $ctl, $udp);
my (%push, %seen);
while (1) { for my $h ($all->can_read) {
    if ($h == $tcp) { $all->add($tcp->accept) }
    elsif ($h == $udp) { my $from = $udp->recv(my $b, 99); $seen{$from} = 1; $udp->send($b) }
    elsif ($h == $ctl) {
        my $c = $ctl->accept; my $line = <$c>;
        if ($line =~ /push/) { syswrite($_, "x\n") for values %push }
        print $c scalar(keys %seen), "\n"; close $c;
    } else {
        my $count = sysread($h, my $b, 99);
        if (!$count) { $all->remove($h); delete $push{$h}; close $h }
        elsif ($b =~ /^push/) { $push{$h} = $h }
        else { syswrite($h, $b) }
    }
} }
"#;

/// Opens TCP connections from ports of its own, says so in a file, waits for another file, then
/// counts those by which a line arrives: one that it sends itself (`echo`), or one of the server.
const CLIENT: &str = r#"
use strict; use IO::Socket::INET; use IO::Select;
$SIG{PIPE} = 'IGNORE';
my ($mode, $count, $port, $file) = @ARGV;
my @all = map { IO::Socket::INET->new(PeerAddr => 'SERVER:9000', LocalPort => $port + $_,
    ReuseAddr => 1, Timeout => 5) or die "$_: $!" } 0 .. $count - 1;
if ($mode eq 'push') { syswrite($_, "push\n") for @all }
else { for (@all) { syswrite($_, "a\n"); sysread($_, my $b, 9) } }
sub note { open(my $f, '>', "$file.$_[0].new"); print $f "$_[1]\n"; close $f;
    rename "$file.$_[0].new", "$file.$_[0]" }
note('open', scalar @all);
select(undef, undef, undef, 0.05) until -e "$file.go";
if ($mode eq 'echo') { syswrite($_, "b\n") for @all }
my ($wait, $alive, $end) = (IO::Select->new(@all), 0, time + 12);
while ($wait->count && time < $end) { for my $h ($wait->can_read(1)) {
    $alive++ if sysread($h, my $b, 9); $wait->remove($h);
} }
note('alive', $alive);
"#;

/// Sends a datagram by each of some sockets all the time.
const DATAGRAMS: &str = r#"
use strict; use IO::Socket::INET;
my ($count, $port, $file) = @ARGV;
my @all = map { IO::Socket::INET->new(PeerAddr => 'SERVER:9002', LocalPort => $port + $_,
    Proto => 'udp') or die } 0 .. $count - 1;
until (-e "$file.go") { $_->send('a') for @all; select(undef, undef, undef, 0.1) }
"#;

/// A cluster, and connections of all kinds through its first node.
struct Mixed {
    scene: Scene,
    /// Where the clients' files are.
    files: String,
    round: usize,
}

impl Mixed {
    fn start(replicate: bool) -> Self {
        let scene = Scene::start(&spec(replicate)).unwrap();
        let files = format!("/tmp/flows-{}", scene.pid());
        scene.spawn("internet", &["perl", "-e", SERVER]).unwrap();
        let mixed = Self { scene, files, round: 0 };
        mixed.wait_own_address();
        mixed
    }

    fn file(&self, name: &str) -> String {
        format!("{}-{}-{name}", self.files, self.round)
    }

    fn run(&self, host: &str, script: &str, arguments: &[&str]) {
        let script = script.replace("SERVER", &INTERNET_HOST.to_string());
        let argv = [&["perl", "-e", &script], arguments].concat();
        self.scene.spawn(host, &argv).unwrap();
    }

    /// Opens connections of all kinds.
    fn open(&mut self) {
        self.round += 1;
        let count = COUNT.to_string();
        for (host, name, mode, place) in self.clients() {
            let port = (PORT + place * 100).to_string();
            self.run(host, CLIENT, &[mode, &count, &port, &self.file(name)]);
        }
        for (host, name, _, _) in self.clients() {
            self.wait_file(host, &format!("{}.open", self.file(name)));
        }
        let port = (PORT + 1_000 + self.round * 100).to_string();
        self.run("host-a", DATAGRAMS, &[&count, &port, &self.file("udp")]);
    }

    /// Host, name, mode, and which hundred of ports. The two hosts use the same ports to the same
    /// server, so that their node has to change those of one of them.
    fn clients(&self) -> [(&'static str, &'static str, &'static str, usize); 3] {
        let base = self.round * 3;
        [
            ("host-a", "echo", "echo", base),
            ("host-c", "same", "echo", base),
            ("host-a", "push", "push", base + 1),
        ]
    }

    fn wait_file(&self, host: &str, file: &str) -> usize {
        let read = || self.scene.sh(host, &format!("cat {file} 2>/dev/null || true"));
        self.scene.wait_for(|| Ok(!read()?.trim().is_empty())).unwrap();
        read().unwrap().trim().parse().unwrap()
    }

    /// How many connections are alive: those whose client sends first, over both hosts, and those
    /// whose server does.
    fn alive(&self) -> (usize, usize) {
        self.control("push");
        for (host, name, _, _) in self.clients() {
            self.scene.sh(host, &format!("touch {}.go", self.file(name))).unwrap();
        }
        let [echo, same, push] = self
            .clients()
            .map(|(host, name, _, _)| self.wait_file(host, &format!("{}.alive", self.file(name))));
        self.scene.sh("host-a", &format!("touch {}.go", self.file("udp"))).unwrap();
        (echo + same, push)
    }

    /// From how many addresses and ports datagrams have come.
    fn control(&self, what: &str) -> usize {
        let ask = format!(
            "use IO::Socket::INET; $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:9001') or die;
             print $s \"{what}\\n\"; print <$s>"
        );
        let script = format!("perl -e '{}'", ask.replace('\'', "'\"'\"'"));
        self.scene.sh("internet", &script).unwrap().trim().parse().unwrap()
    }

    /// Waits until the first zone's hosts reach the internet by their egress IP.
    fn wait_own_address(&self) {
        let address = self.scene.account().unwrap().elastic["out-a"].address.to_string();
        let ask = format!(
            "perl -MIO::Socket::INET -e '
            $s = IO::Socket::INET->new(PeerAddr => \"{INTERNET_HOST}:80\", Timeout => 2) or exit;
            print $s \"GET / HTTP/1.0\\r\\n\\r\\n\";
            while (<$s>) {{ $last = $_ }} print $last'"
        );
        self.scene.wait_for(|| Ok(self.scene.sh("host-a", &ask)?.trim() == address)).unwrap();
    }

    /// What a node reports; nothing while its monitor does not run.
    fn status(&self, node: &str) -> Value {
        natha_lab::cluster::status(&self.scene, node).unwrap_or_default()
    }

    /// What a node reports of its streams.
    fn flows(&self, node: &str, part: &str) -> Result<Value> {
        let of = if node == "nat-a" { "nat-b" } else { "nat-a" };
        let peer = self.scene.host(of)?.instance;
        Ok(self.status(node)["flows"][part][peer.as_str()].clone())
    }

    /// Ends a node's monitor, and waits until it is run again.
    fn restart(&self, node: &str) {
        let before = self.status(node)["pid"].clone();
        self.scene.terminate(node).unwrap();
        let runs = || self.status(node)["pid"].clone();
        self.scene.wait_for(|| Ok(!runs().is_null() && runs() != before)).unwrap();
    }

    /// Waits until `heir` holds every connection of `owner`.
    fn wait_replicated(&self, owner: &str, heir: &str) {
        let least = u64::try_from(4 * COUNT).unwrap();
        self.scene
            .wait_for(|| {
                let (sent, kept) = (self.flows(owner, "heirs")?, self.flows(heir, "owners")?);
                let is_live = sent["state"] == "live" && kept["state"] == "live";
                let count = |value: &Value, name: &str| value[name].as_u64().unwrap_or(0);
                let held = count(&kept, "flows");
                Ok(is_live && held >= least && count(&sent, "waiting") == 0)
            })
            .unwrap();
    }

    /// Whether a node has removed connections of an egress IP that has left.
    fn has_removed(&self, node: &str) -> Result<bool> {
        Ok(self.scene.console(node)?.contains("removed: its egress IP has left"))
    }

    fn wait_removed(&self, node: &str) {
        self.scene.wait_for(|| self.has_removed(node)).unwrap();
    }

    fn kill(&self) {
        self.scene.panic("nat-a").unwrap();
        self.scene.wait_route(0, "nat-b").unwrap();
        self.wait_own_address();
    }
}

#[test]
fn what_only_replication_keeps_is_lost_without_it() {
    let mut mixed = Mixed::start(false);
    mixed.open();
    mixed.kill();
    let (client_first, server_first) = mixed.alive();
    assert!(client_first < 2 * COUNT, "a port that was changed is not known: {client_first}");
    assert_eq!(server_first, 0, "nothing tells the survivor whose they are");
}

#[test]
fn every_connection_survives_the_death_of_its_node() {
    let mut mixed = Mixed::start(true);
    mixed.open();
    mixed.wait_replicated("nat-a", "nat-b");
    mixed.kill();
    let status =
        mixed.scene.wait_status("nat-b", |status| scene::has_event(status, "connections", "new"));
    let status = status.unwrap();
    assert_eq!(mixed.alive(), (2 * COUNT, COUNT), "{status:#}");
    assert_eq!(mixed.control("seen"), COUNT, "the same address and ports");
}

#[test]
fn a_planned_move_and_restarts_of_the_monitors_break_nothing() {
    let mut mixed = Mixed::start(true);
    mixed.open();
    mixed.wait_replicated("nat-a", "nat-b");
    // The monitors are started again by what runs them.
    for node in ["nat-b", "nat-a"] {
        mixed.restart(node);
        mixed.wait_replicated("nat-a", "nat-b");
    }
    mixed.scene.wait_well().unwrap();
    let boots = mixed.scene.boots("nat-a").unwrap();
    mixed.kill();
    assert_eq!(mixed.alive(), (2 * COUNT, COUNT));
    // The home gets its group back, under load.
    mixed.open();
    let load = mixed.scene.flows("host-a", 20, 50).unwrap();
    mixed.scene.wait_boot("nat-a", boots).unwrap();
    mixed.scene.wait_route(0, "nat-a").unwrap();
    mixed.wait_own_address();
    // A restart within the minute after a group has left does not keep its connections there.
    assert!(!mixed.has_removed("nat-b").unwrap());
    mixed.restart("nat-b");
    assert_eq!(mixed.alive(), (2 * COUNT, COUNT));
    let report = mixed.scene.flowed(load).unwrap();
    assert_eq!(report.broken, 0, "{:?}", report.reasons);
    mixed.wait_removed("nat-b");
    mixed.scene.wait_well().unwrap();
}

#[test]
fn a_hand_over_on_request_and_the_hand_back_break_nothing() {
    let mut mixed = Mixed::start(true);
    mixed.open();
    mixed.wait_replicated("nat-a", "nat-b");
    let done = mixed.scene.natha("nat-a", &["handover", "a", "--to", "nat-b"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    for holder in ["nat-b", "nat-a"] {
        mixed.scene.wait_route(0, holder).unwrap();
        mixed.wait_own_address();
    }
    assert_eq!(mixed.alive(), (2 * COUNT, COUNT));
    assert_eq!(mixed.control("seen"), COUNT, "the same addresses and ports");
    // A minute after the group has left, its connections occupy no ports there any more.
    mixed.wait_removed("nat-b");
}
