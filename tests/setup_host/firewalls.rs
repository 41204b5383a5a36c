//! The remedies that setup prints for the chains of other programs, tried with these programs.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::netns::Netns;
use crate::traffic::{INTERNET, Net};

const SETUP: &str = "setup --source 10.0.0.0/16 --no-source-dest-check --json";

/// Where a connection that is not dropped takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// The only warning of a setup, if there is one.
fn warning(nat: &Netns) -> Option<String> {
    let report = nat.natha(SETUP).exits(0).json();
    let warnings = report["warnings"].as_array().unwrap();
    let mut told = warnings.iter().filter_map(|text| text.as_str()).map(str::to_owned);
    let found = told.find(|text| text.starts_with("chain "));
    assert!(told.all(|text| !text.starts_with("chain ")), "{report}");
    found
}

/// The commands of a program in a warning.
fn commands(warning: &str, program: &str) -> String {
    let lines = warning.lines().map(str::trim);
    let commands: Vec<&str> = lines.filter(|line| line.starts_with(program)).collect();
    assert!(!commands.is_empty(), "{warning}");
    commands.join("\n")
}

/// Whether the private host can open a connection. ufw lets echo pass in any case.
fn passes(net: &Net) -> bool {
    let listener = net.internet.inside(|| TcpListener::bind((INTERNET, 0)).unwrap());
    let to = listener.local_addr().unwrap();
    net.private.inside(move || TcpStream::connect_timeout(&to, PATIENCE).is_ok())
}

/// Runs a script in the NAT with a copy of ufw's configuration that lasts as long as the test.
fn with_ufw(net: &Net, script: &str) -> String {
    let copy = net.nat.state_dir().join("ufw");
    let prelude = format!(
        "[ -d {0} ] || cp -a /etc/ufw {0}; mount --bind {0} /etc/ufw; mount -t tmpfs none /run",
        copy.display()
    );
    net.nat.exec(&["unshare", "-m", "sh", "-ec", &format!("{prelude}\n{script}")])
}

#[test]
fn iptables_keeps_working_after_the_remedy_for_its_chain() {
    for docker in [false, true] {
        let net = Net::two_armed();
        net.nat.exec(&["iptables", "-P", "FORWARD", "DROP"]);
        if docker {
            net.nat.exec(&["iptables", "-N", "DOCKER-USER"]);
            net.nat.exec(&["iptables", "-A", "FORWARD", "-j", "DOCKER-USER"]);
        }
        assert!(!passes(&net));
        let warning = warning(&net.nat).expect("the chain drops");
        let owner = if docker { "(Docker)" } else { "(iptables)" };
        assert!(warning.contains(owner), "{warning}");
        net.nat.exec(&["sh", "-ec", &commands(&warning, "iptables ")]);
        assert!(passes(&net), "{warning}");
        let shown = net.nat.exec(&["iptables", "-S"]);
        assert!(shown.contains("--comment natha"), "{shown}");
        let saved = net.nat.exec(&["iptables-save", "-t", "filter"]);
        assert!(saved.contains(":FORWARD DROP") && saved.contains("natha"), "{saved}");
        assert_eq!(self::warning(&net.nat), None);
    }
}

#[test]
fn ufw_lets_through_what_its_remedy_says_and_keeps_it() {
    let net = Net::two_armed();
    with_ufw(&net, "ufw --force enable");
    assert!(!passes(&net));
    let warning = warning(&net.nat).expect("ufw drops what it forwards by default");
    assert!(warning.contains("(ufw)"), "{warning}");
    let remedy = commands(&warning, "ufw ");
    with_ufw(&net, &remedy);
    assert!(passes(&net), "{warning}");
    assert_eq!(self::warning(&net.nat), None);
    let rules = fs::read_to_string(net.nat.state_dir().join("ufw/user.rules")).unwrap();
    assert!(rules.contains("in_ens6!out_ens5"), "{rules}");
    with_ufw(&net, "ufw reload");
    assert!(passes(&net), "after a reload");
}

/// firewalld in the network namespace of the NAT, with a message bus and a configuration of its
/// own. Both end with this.
struct Firewalld<'a> {
    net: &'a Net,
    /// The process ids of the bus and of firewalld.
    daemons: Vec<String>,
}

impl<'a> Firewalld<'a> {
    fn start(net: &'a Net) -> Self {
        let copy = net.nat.state_dir().join("firewalld");
        let script = format!(
            "cp -a /etc/firewalld {0}; mount --bind {0} /etc/firewalld
             mount -t tmpfs none /run; mkdir /run/dbus
             dbus-daemon --system --nofork --nopidfile --print-address=3 \
                 3> /run/address > {0}.bus.log 2>&1 &
             bus=$!
             timeout 20 sh -c 'until [ -s /run/address ]; do :; done'
             firewalld --nofork --nopid > {0}.log 2>&1 &
             echo $bus $!
             timeout 60 sh -c 'until firewall-cmd --state; do :; done' > /dev/null 2>&1",
            copy.display()
        );
        let told = net.nat.exec(&["unshare", "-m", "sh", "-ec", &script]);
        let daemons = told.split_whitespace().map(str::to_owned).collect();
        Self { net, daemons }
    }

    fn run(&self, script: &str) -> String {
        self.net.nat.exec(&["nsenter", "-m", "-t", &self.daemons[1], "sh", "-ec", script])
    }
}

impl Drop for Firewalld<'_> {
    fn drop(&mut self) {
        for daemon in &self.daemons {
            self.net.nat.succeeds(&["kill", daemon]);
        }
    }
}

#[test]
fn firewalld_lets_through_what_its_remedy_says_and_keeps_it() {
    let net = Net::two_armed();
    let firewalld = Firewalld::start(&net);
    assert!(!passes(&net));
    let warning = warning(&net.nat).expect("firewalld rejects what it forwards by default");
    assert!(warning.contains("(firewalld)"), "{warning}");
    firewalld.run(&commands(&warning, "firewall-cmd "));
    assert!(passes(&net), "{warning}");
    let kept = firewalld.run("firewall-cmd --permanent --policy natha --list-all");
    assert!(kept.contains("10.0.0.0/16"), "{kept}");
    firewalld.run("firewall-cmd --reload");
    assert!(passes(&net), "after a reload");
}
