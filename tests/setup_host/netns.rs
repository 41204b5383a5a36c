//! A network namespace that is gone when the test ends, however it ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

/// Tells the namespaces of one test process apart.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Runs a program to its end.
#[expect(clippy::disallowed_methods, reason = "tests run programs without the crate's runner")]
fn run(program: &str, args: &[&str], envs: &[(&str, &str)]) -> Output {
    let mut command = std::process::Command::new("timeout");
    command.args(["60", program]).args(args).envs(envs.iter().copied());
    command.output().unwrap_or_else(|e| panic!("`timeout` (coreutils) must be installed: {e}"))
}

/// Runs a program that must succeed, and returns what it printed.
pub(crate) fn must(program: &str, args: &[&str]) -> String {
    let output = run(program, args, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {} failed: {errors}", args.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// What `natha` did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn complains(self, about: &[&str]) -> Self {
        for part in about {
            assert!(self.stderr.contains(part), "`{part}` is not in {self:#?}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// A namespace with loopback up.
pub(crate) struct Netns {
    pub(crate) name: String,
    state: tempfile::TempDir,
    endpoints: Option<String>,
}

impl Drop for Netns {
    fn drop(&mut self) {
        run("ip", &["netns", "delete", &self.name], &[]);
    }
}

impl Netns {
    pub(crate) fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("natha-t{}-{count}", std::process::id());
        must("ip", &["netns", "add", &name]);
        let netns = Self { name, state: tempfile::tempdir().unwrap(), endpoints: None };
        netns.ip("link set lo up");
        netns
    }

    /// A namespace with one interface `ens5`, 10.0.0.10/24, and a default route through it.
    pub(crate) fn one_armed() -> Self {
        let netns = Self::new();
        netns.interface("ens5", "10.0.0.10/24", "02:00:00:00:00:05");
        netns.ip("route add default via 10.0.0.1");
        netns
    }

    /// Adds an interface whose other end leads nowhere.
    pub(crate) fn interface(&self, name: &str, address: &str, mac: &str) {
        self.ip(&format!("link add {name} address {mac} type veth peer name {name}-peer"));
        self.ip(&format!("addr add {address} dev {name}"));
        self.ip(&format!("link set {name} up"));
        self.ip(&format!("link set {name}-peer up"));
    }

    /// Has `natha` find EC2 and the metadata at this address.
    pub(crate) fn with_aws_at(mut self, address: &str) -> Self {
        self.endpoints = Some(format!("http://{address}"));
        self
    }

    pub(crate) fn state_dir(&self) -> &Path {
        self.state.path()
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.state.path().join("journal.json")
    }

    /// `ip` in the namespace, arguments in one line.
    pub(crate) fn ip(&self, args: &str) -> String {
        let args: Vec<&str> = ["-n", &self.name].into_iter().chain(args.split(' ')).collect();
        must("ip", &args)
    }

    /// Any program in the namespace, which must succeed.
    pub(crate) fn exec(&self, args: &[&str]) -> String {
        must("ip", &[&["netns", "exec", &self.name], args].concat())
    }

    /// Whether a program in the namespace succeeds.
    pub(crate) fn succeeds(&self, args: &[&str]) -> bool {
        run("ip", &[&["netns", "exec", &self.name], args].concat(), &[]).status.success()
    }

    pub(crate) fn nft(&self, commands: &str) -> String {
        self.exec(&["nft", commands])
    }

    pub(crate) fn sysctl(&self, path: &str) -> String {
        self.exec(&["cat", &format!("/proc/sys/{path}")]).trim().to_owned()
    }

    pub(crate) fn set_sysctl(&self, path: &str, value: &str) {
        self.exec(&["sh", "-c", &format!("echo {value} > /proc/sys/{path}")]);
    }

    /// Runs `natha`, arguments in one line.
    pub(crate) fn natha(&self, args: &str) -> Ran {
        self.natha_under(&[], args)
    }

    /// Runs `natha` under another program.
    pub(crate) fn natha_under(&self, wrapper: &[&str], args: &str) -> Ran {
        let program = env!("CARGO_BIN_EXE_natha");
        let mut all = vec!["netns", "exec", &self.name];
        all.extend(wrapper);
        all.push(program);
        all.extend(args.split(' '));
        // Port 9 of loopback refuses: without a fake, nothing must ever be asked outside.
        let nowhere = "http://127.0.0.1:9".to_owned();
        let endpoint = self.endpoints.as_ref().unwrap_or(&nowhere);
        let envs = [
            ("NATHA_STATE_DIR", self.state.path().to_str().unwrap()),
            ("NATHA_API_ENDPOINT", endpoint),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        Ran::new(&run("ip", &all, &envs))
    }

    /// Every sysctl below `net`, and every nft table but natha's.
    pub(crate) fn everything_else(&self) -> (String, String) {
        let conf = "grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward \
                    /proc/sys/net/netfilter 2>/dev/null | grep -v conntrack_count | sort";
        let tables = "nft list tables | grep -v 'table ip natha' | \
                      while read -r _ family name _; do \
                      nft -a list table $family $name; done";
        (self.exec(&["sh", "-c", conf]), self.exec(&["sh", "-c", tables]))
    }

    /// Runs `f` inside the namespace: the sockets it makes belong there.
    pub(crate) fn inside<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let path = format!("/run/netns/{}", self.name);
        // A thread of its own: its namespace is changed for good.
        let thread = std::thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
