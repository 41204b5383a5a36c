//! An instance seen from the lab: booting it, running things inside, pulling its plug.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::init::{Boot, PANICKED, REBOOTS, UP, login};
use crate::net::netns::Netns;
use crate::process::{self, Finished};

/// The namespaces of an instance besides its network.
const OWN: [(&str, CloneFlags); 5] = [
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// How long an instance may take until it has its own root.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running instance.
#[derive(Debug)]
pub struct Machine {
    init: Child,
    place: Place,
    /// Held open until user data may run.
    held: Option<ChildStdin>,
}

/// How an instance came to run no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// It powered itself off, or its plug was pulled.
    Off,
    /// It boots again, which it asked for itself.
    Reboots,
    /// Its kernel panicked.
    Panicked,
}

/// Where an instance is: enough to enter it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its first process, as the lab numbers it.
    pub init: Pid,
    /// Its network.
    pub netns: Netns,
    environment: Vec<(String, String)>,
}

impl Machine {
    /// Starts an instance in `netns`, whose interfaces are in place, and waits until it has its own
    /// root: what runs inside from then on cannot touch the machine's. Its user data waits for
    /// [`Machine::release`].
    ///
    /// # Errors
    /// When its namespaces, its first process or its root cannot be made: with what it said.
    pub fn boot(boot: &Boot, netns: &Netns) -> Result<Self> {
        let spec = serde_json::to_string(boot).context("a boot that JSON cannot say")?;
        fs::create_dir_all(&boot.home)?;
        let log = boot.console.with_extension("init");
        let stderr = File::create(&log).context("cannot write an instance's log")?;
        let itself = std::env::current_exe().context("the lab cannot find its own program")?;
        let mut init = thread::scope(|scope| {
            let start = || -> Result<Child> {
                netns.enter()?;
                let own = OWN.iter().filter(|(name, _)| *name != "net");
                let own = own.fold(CloneFlags::CLONE_FS, |all, (_, flag)| all | *flag);
                unshare(own).context("cannot make an instance's namespaces")?;
                Command::new(itself)
                    .args(["guest", &spec])
                    .env_clear()
                    .envs(login())
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(stderr)
                    .spawn()
                    .context("cannot start an instance's first process")
            };
            scope.spawn(start).join().map_err(|_| anyhow!("the thread that boots panicked"))?
        })?;
        let pid = Pid::from_raw(i32::try_from(init.id()).context("a process id out of range")?);
        let environment = boot.environment.clone();
        let place = Place { init: pid, netns: netns.clone(), environment };
        let (held, stdout) = (init.stdin.take(), init.stdout.take());
        let machine = Self { init, place, held };
        if first_line(stdout).as_deref() == Some(UP) {
            return Ok(machine);
        }
        machine.kill();
        let said = fs::read_to_string(&log).unwrap_or_default();
        bail!("the instance does not come up: {}", said.trim())
    }

    /// Lets its user data run: packets find it now. A second time does nothing.
    pub fn release(&mut self) {
        drop(self.held.take());
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Calls `tell` once its first process has ended, for whatever reason. It is not reaped by
    /// that: its process id stays its own until [`Machine::kill`].
    pub fn when_halted(&self, tell: impl FnOnce(Halt) + Send + 'static) {
        let init = self.place.init;
        thread::spawn(move || {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            let ended = loop {
                match waitid(Id::Pid(init), flags) {
                    Err(Errno::EINTR) => {}
                    ended => break ended,
                }
            };
            tell(match ended {
                Ok(WaitStatus::Exited(_, code)) if code == i32::from(PANICKED) => Halt::Panicked,
                Ok(WaitStatus::Exited(_, code)) if code == i32::from(REBOOTS) => Halt::Reboots,
                _ => Halt::Off,
            });
        });
    }

    /// Pulls the plug: nothing of it runs when this returns.
    pub fn kill(mut self) {
        // Its first process may have ended already; the kernel then has ended all others.
        let _ = kill(self.place.init, Signal::SIGCONT);
        drop(self.init.kill());
        drop(self.init.wait());
    }
}

impl Place {
    /// Starts a program inside as root, in the environment of a login on the instance.
    ///
    /// # Errors
    /// When the instance is gone or the program does not exist there.
    pub fn start(&self, command: &mut Command) -> Result<Child> {
        let spaces = OWN
            .map(|(name, flag)| {
                let path = PathBuf::from(format!("/proc/{}/ns/{name}", self.init));
                File::open(&path).map(|file| (file, flag))
            })
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .context("the instance does not run")?;
        command.env_clear().envs(login()).envs(self.environment.iter().cloned());
        thread::scope(|scope| {
            let enter = || -> Result<Child> {
                // A thread may change its root only when it does not share it with others.
                unshare(CloneFlags::CLONE_FS).context("cannot leave the lab's root")?;
                for (space, flag) in spaces {
                    setns(space, flag).context("cannot enter the instance")?;
                }
                let name = command.get_program().to_string_lossy().into_owned();
                command
                    .current_dir("/")
                    .spawn()
                    .with_context(|| format!("cannot run `{name}` on the instance"))
            };
            scope.spawn(enter).join().map_err(|_| anyhow!("the thread that enters panicked"))?
        })
    }

    /// Runs a program inside to its end.
    ///
    /// # Errors
    /// As [`Place::start`], and when it is not over within `limit`.
    pub fn run(&self, argv: &[String], input: &[u8], limit: Duration) -> Result<Finished> {
        let (program, arguments) = argv.split_first().context("no command given")?;
        let child = self.start(process::piped(Command::new(program).args(arguments)))?;
        process::finish(child, input, limit)
    }
}

/// The first line that arrives within [`PATIENCE`].
fn first_line(stream: Option<ChildStdout>) -> Option<String> {
    let stream = stream?;
    let (send, line) = mpsc::channel();
    thread::spawn(move || drop(send.send(BufReader::new(stream).lines().next())));
    line.recv_timeout(PATIENCE).ok()??.ok()
}

/// The directory of an instance in the lab's own file system.
#[must_use]
pub fn home(disks: &Path, instance: &str) -> PathBuf {
    disks.join(instance)
}
