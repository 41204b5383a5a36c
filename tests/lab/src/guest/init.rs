//! The first process inside an instance: makes its file system, runs its user data, reaps.
//!
//! It runs in fresh process, mount, network, host name and IPC namespaces. The root disk is an
//! overlay: the machine the lab runs on below, the instance's own disk above.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::{Pid, chdir, pivot_root, sethostname};
use serde::{Deserialize, Serialize};

use super::{container, taps, vm};
use crate::clock::Clock;
use crate::net::netns;
use crate::net::resolver::RESOLVER;

/// Where the binary under test appears inside.
pub const NATHA: &str = "usr/local/bin/natha";
/// What user data is stored as inside.
const USER_DATA: &str = "/var/lib/cloud/instance/user-data.txt";
/// The lab's commands inside, for what halts or reboots its own instance, and their signals.
const COMMANDS: [(&str, &str); 2] =
    [("usr/local/sbin/poweroff", "TERM"), ("usr/local/sbin/reboot", "USR1")];
/// Kernel settings at their defaults: a new namespace inherits some from the machine below.
const FRESH: [(&str, &str); 9] = [
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "1"),
    ("net/ipv4/conf/default/send_redirects", "1"),
    ("net/ipv4/conf/all/accept_redirects", "1"),
    ("net/ipv4/conf/default/accept_redirects", "1"),
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv4/ping_group_range", "0 2147483647"),
];

/// The exit code of the first process of an instance whose kernel has panicked.
pub(super) const PANICKED: u8 = 70;
/// The same of an instance that has ended in order to boot again.
pub(super) const REBOOTS: u8 = 71;

/// What is said on standard output once the instance has its own root.
pub const UP: &str = "up";

/// What one boot needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Boot {
    /// The host name inside.
    pub hostname: String,
    /// Its directory in the lab: `disk` outlives a boot, the rest does not.
    pub home: PathBuf,
    /// Counts its boots.
    pub boot: u64,
    /// The binary under test, if it has it.
    pub natha: Option<PathBuf>,
    /// What it boots instead of running a script: a root file system, as a container, or a disk,
    /// as a virtual machine.
    #[serde(default)]
    pub image: Option<PathBuf>,
    /// The script to run.
    pub user_data: Option<String>,
    /// What the script's environment holds besides that of a clean login.
    pub environment: Vec<(String, String)>,
    /// Where the console goes.
    pub console: PathBuf,
    /// When the lab began, so that the console shows the lab's time.
    pub clock: Clock,
}

/// Boots, then reaps until something sends SIGTERM: then everything inside is told to end, and
/// the instance is off. After SIGUSR1 it boots again. Never returns unless it cannot boot.
///
/// # Errors
/// When a file system cannot be made, with which one.
pub fn run(boot: &Boot) -> Result<()> {
    for (key, value) in FRESH {
        netns::sysctl(key, value)?;
    }
    let console = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&boot.console)
        .with_context(|| format!("cannot write {}", boot.console.display()))?;
    let root = make_root(boot)?;
    enter(&root)?;
    netns::ip("link set lo up\n")?;
    sethostname(&boot.hostname).context("cannot set the host name")?;
    fs::write("/etc/hostname", format!("{}\n", boot.hostname))?;
    fs::write("/etc/hosts", format!("127.0.0.1 localhost\n127.0.1.1 {}\n", boot.hostname))?;
    // What the machine has there may be a link to a file that does not exist here.
    drop(fs::remove_file("/etc/resolv.conf"));
    fs::write("/etc/resolv.conf", format!("nameserver {RESOLVER}\n"))?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGUSR1);
    signals.thread_block().context("cannot hold SIGTERM and SIGUSR1")?;
    let environment = boot.image.is_none().then(|| boot.environment.clone());
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            if let Some(environment) = environment {
                drain(&environment);
            }
            let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
            std::process::exit(if signal == Signal::SIGUSR1 { i32::from(REBOOTS) } else { 0 });
        }
    });
    let console = Console { file: Arc::new(Mutex::new(console)), clock: boot.clock };
    console.follow(Some(taps::console()?));
    let dying = console.clone();
    taps::watch_trigger(move || {
        dying.line("Kernel panic - not syncing: sysrq triggered crash");
        std::process::exit(i32::from(PANICKED));
    })?;
    writeln!(stdout(), "{UP}").context("cannot say that the instance is up")?;
    // The lab holds this open until packets find the instance, as a network is up before user data.
    stdin().read_to_end(&mut Vec::new()).context("cannot wait for the network")?;
    console.line("booted");
    let image = boot.image.as_ref().map(|image| {
        if vm::is_disk(image) { vm::SCRIPT.to_owned() } else { container::script(boot) }
    });
    if let Some(script) = image.as_ref().or(boot.user_data.as_ref())
        && let Err(problem) = start(script, boot, &console)
    {
        console.line(&format!("user data not run: {problem:#}"));
    }
    loop {
        // Without children: whoever enters from outside may still leave orphans here.
        if wait() == Err(Errno::ECHILD) {
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// What natha-drain.service does at a shutdown. An image has that unit itself; a host without a
/// monitor has nothing to hand over.
fn drain(environment: &[(String, String)]) {
    let mut command = Command::new("/usr/local/bin/natha");
    command.arg("drain").env_clear().envs(login()).envs(environment.iter().cloned());
    // Where the loop above reaps it, its status is lost, but not its end.
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn make_root(boot: &Boot) -> Result<PathBuf> {
    let disk = boot.home.join("disk");
    let work = boot.home.join(format!("work-{}", boot.boot));
    let root = boot.home.join("root");
    for directory in [&disk, &work, &root] {
        fs::create_dir_all(directory)?;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("cannot make the mounts private")?;
    let layers = format!("lowerdir=/,upperdir={},workdir={}", disk.display(), work.display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .context("cannot mount the root disk: the kernel needs overlayfs")?;
    let inside = |path: &str| root.join(path);
    for (kind, path, data) in [
        ("proc", "proc", None),
        ("sysfs", "sys", None),
        ("tmpfs", "dev", Some("mode=755")),
        ("tmpfs", "run", Some("mode=755")),
        ("tmpfs", "tmp", Some("mode=1777")),
    ] {
        fs::create_dir_all(inside(path))?;
        mount(Some(kind), &inside(path), Some(kind), MsFlags::empty(), data)
            .with_context(|| format!("cannot mount /{path}"))?;
    }
    name_boot(&root)?;
    show_checkout(&root)?;
    make_devices(&root)?;
    taps::make(&root)?;
    for (command, signal) in COMMANDS {
        super::put_program(&inside(command), &format!("#!/bin/sh\nexec kill -{signal} 1\n"))?;
    }
    if let Some(image) = &boot.image {
        let insert = if vm::is_disk(image) { vm::insert } else { container::insert };
        insert(boot, image, &root)?;
    } else if let Some(natha) = &boot.natha {
        bind(natha, &inside(NATHA))?;
    }
    Ok(root)
}

/// Gives the boot an id of its own, as the kernel of a machine does.
fn name_boot(root: &Path) -> Result<()> {
    let own = root.join("run/boot_id");
    fs::write(&own, fs::read("/proc/sys/kernel/random/uuid")?)?;
    let shown = root.join("proc/sys/kernel/random/boot_id");
    mount(Some(&own), &shown, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context("cannot give the boot an id of its own")
}

/// A checkout below `/tmp` stays visible, read-only, though an instance has a `/tmp` of its own:
/// what a checkout brings along, such as the AWS CLI, is run on instances by its path.
fn show_checkout(root: &Path) -> Result<()> {
    let program = std::env::current_exe().context("the lab cannot find its own program")?;
    let below = program.strip_prefix("/tmp").ok().and_then(|below| below.components().next());
    let Some(top) = below.map(|top| Path::new("tmp").join(top)) else { return Ok(()) };
    let (from, to) = (Path::new("/").join(&top), root.join(&top));
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&to)?;
    let shown = || format!("cannot show {} inside", from.display());
    mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>).with_context(shown)?;
    let sealed = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, &to, None::<&str>, sealed, None::<&str>).with_context(shown)
}

fn make_devices(root: &Path) -> Result<()> {
    let dev = root.join("dev");
    for node in ["null", "zero", "full", "random", "urandom", "tty", "net/tun"] {
        bind(&Path::new("/dev").join(node), &dev.join(node))?;
    }
    for (kind, name, data) in [("devpts", "pts", "newinstance,ptmxmode=0666"), ("tmpfs", "shm", "")]
    {
        fs::create_dir(dev.join(name))?;
        mount(Some(kind), &dev.join(name), Some(kind), MsFlags::empty(), Some(data))
            .with_context(|| format!("cannot mount /dev/{name}"))?;
    }
    for (target, name) in [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ] {
        symlink(target, dev.join(name))?;
    }
    Ok(())
}

pub(super) fn bind(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent)?;
    OpenOptions::new().create(true).append(true).open(to)?;
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot bind {} to {}", from.display(), to.display()))
}

fn enter(root: &Path) -> Result<()> {
    chdir(root)?;
    pivot_root(".", ".").context("cannot change the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("cannot leave the old root")?;
    chdir("/").context("cannot enter the new root")
}

fn start(script: &str, boot: &Boot, console: &Console) -> Result<()> {
    fs::create_dir_all(Path::new(USER_DATA).parent().unwrap_or(Path::new("/")))?;
    fs::write(USER_DATA, script)?;
    fs::set_permissions(USER_DATA, fs::Permissions::from_mode(0o700))?;
    let mut command = Command::new(USER_DATA);
    command
        .env_clear()
        .envs(login())
        .envs(boot.environment.iter().cloned())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A child inherits the signals that its thread holds back, and this one holds SIGTERM back.
    let child = thread::scope(|scope| {
        let spawn = || {
            SigSet::all().thread_unblock()?;
            command.spawn()
        };
        scope.spawn(spawn).join()
    });
    let mut child = child
        .map_err(|_| anyhow!("the thread that starts it panicked"))?
        .context("it must start with #! and its interpreter must exist")?;
    console.follow(child.stdout.take());
    console.follow(child.stderr.take());
    Ok(())
}

/// The environment of a clean root login.
#[must_use]
pub fn login() -> Vec<(String, String)> {
    [
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", "root"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("SHELL", "/bin/sh"),
        ("USER", "root"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

#[derive(Clone)]
struct Console {
    file: Arc<Mutex<File>>,
    clock: Clock,
}

impl Console {
    fn line(&self, text: &str) {
        let at = self.clock.now();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A console that cannot be written must not stop the instance.
        let _ = writeln!(file, "{:10.3} {text}", at.as_secs_f64());
    }

    fn follow(&self, stream: Option<impl Read + Send + 'static>) {
        let console = self.clone();
        let Some(stream) = stream else { return };
        thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            while let Ok(1..) = lines.read_until(b'\n', &mut line) {
                console.line(String::from_utf8_lossy(&line).trim_end());
                line.clear();
            }
        });
    }
}
