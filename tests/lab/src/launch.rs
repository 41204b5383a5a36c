//! Starting a lab from outside, and making sure that nothing of it outlives its owner.
//!
//! A lab is one process tree in process, mount, network, host name and IPC namespaces of its own.
//! Its first process holds the reading end of a pipe; the owner holds the writing end. However the
//! owner ends, the pipe closes, the first process ends, and the kernel ends everything else: every
//! process, network, mount and file in memory. Outside there is only one directory.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid};

use crate::daemon::{SOCKET, SPEC};
use crate::guest::container;
use crate::spec::Spec;

/// How the directories of labs begin.
pub(crate) const PREFIX: &str = "natha-lab-";
/// The file with the owner's process id.
const OWNER: &str = "owner";
/// What a lab prints when it is ready.
pub const READY: &str = "ready";
/// How long a lab may take to get ready.
const PATIENCE: Duration = Duration::from_mins(1);
/// The programs that a lab runs, and the Debian packages they are in.
const TOOLS: [(&str, &str); 3] =
    [("unshare", "util-linux"), ("ip", "iproute2"), ("nft", "nftables")];

/// A started lab, as its owner holds it. Dropping it ends the lab.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    directory: PathBuf,
}

impl Launched {
    /// The lab's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// The process id of the lab's outermost process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the lab ends by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self) -> Result<()> {
        // `Child::wait` would close the pipe, and that would end the lab.
        let lifeline = self.child.stdin.take();
        let status = self.child.wait().context("cannot wait for the lab");
        drop(lifeline);
        status.map(drop)
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // Killing the outermost process kills the lab's first one: unshare's --kill-child.
        drop(self.child.kill());
        drop(self.child.wait());
        container::sweep(&self.directory);
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Starts a lab and waits until it is ready. `program` is the `natha-lab` binary.
///
/// # Errors
/// When the specification is wrong or something is missing on this machine: everything that is, and
/// how to get it; or when the lab does not get ready, with what it said.
pub fn launch(program: &Path, spec: &Spec) -> Result<Launched> {
    let mut faults = spec.faults();
    faults.extend(missing());
    if !faults.is_empty() {
        bail!("the lab cannot start:\n  {}", faults.join("\n  "));
    }
    remove_stale();
    let directory = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir()
        .context("cannot make the lab's directory")?
        .keep();
    fs::write(directory.join(OWNER), std::process::id().to_string())?;
    fs::write(directory.join(SPEC), serde_json::to_vec_pretty(spec)?)?;
    let log = fs::File::create(directory.join("lab.log"))?;
    let child = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
        .args(["--net", "--uts", "--ipc", "--"])
        .arg(program)
        .arg("first")
        .arg(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot run `unshare`")?;
    let mut launched = Launched { child, directory };
    match first_line(launched.child.stdout.take()) {
        Some(line) if line == READY => Ok(launched),
        _ => {
            let said = fs::read_to_string(launched.directory.join("lab.log")).unwrap_or_default();
            bail!("the lab does not start:\n{}", said.trim())
        }
    }
}

/// Starts a lab that is owned by a process of its own, in a session of its own, and waits until it
/// is ready. Returns its directory and its owner's process id.
///
/// # Errors
/// As [`launch`]; what is missing has then been said on standard error.
pub fn detach(program: &Path, spec: &Spec) -> Result<(PathBuf, u32)> {
    let mut file = tempfile::NamedTempFile::new().context("cannot make a file")?;
    file.write_all(&serde_json::to_vec(spec)?).context("cannot write the specification")?;
    let mut child = Command::new("setsid")
        .arg("--fork")
        .arg(program)
        .args(["up", "--detached", "--spec"])
        .arg(file.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run `setsid`: on Debian it is in the package util-linux")?;
    let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let lines: Vec<String> = lines.map_while(Result::ok).take(2).collect();
    child.wait().context("cannot wait for `setsid`")?;
    match lines.as_slice() {
        [ready, directory] if ready == READY => {
            let directory = PathBuf::from(directory);
            let owner = fs::read_to_string(directory.join(OWNER))?;
            let owner = owner.trim().parse().context("the lab's owner is no process id")?;
            Ok((directory, owner))
        }
        _ => bail!("the lab does not start"),
    }
}

/// What this machine lacks for a lab, and how to get it.
#[must_use]
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !Uid::effective().is_root() {
        missing.push("it needs root for namespaces and mounts: run it with sudo".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for (tool, package) in TOOLS {
        if !directories.iter().any(|directory| directory.join(tool).is_file()) {
            missing.push(format!(
                "`{tool}` is not on the PATH: on Debian it is in the package {package}"
            ));
        }
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.split_whitespace().any(|word| word == "overlay") {
        missing.push("the kernel has no overlayfs: `modprobe overlay`".to_owned());
    }
    missing
}

/// Every lab of this machine: its directory and its owner's process id.
#[must_use]
pub fn labs() -> Vec<(PathBuf, i32)> {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return Vec::new() };
    let labs =
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    labs.filter_map(|entry| {
        let owner = fs::read_to_string(entry.path().join(OWNER)).ok()?;
        Some((entry.path(), owner.trim().parse().ok()?))
    })
    .collect()
}

/// Waits until a lab that was told to end has removed its directory, the last thing it does.
///
/// # Errors
/// When it is still there after ten seconds.
pub fn wait_gone(directory: &Path) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while directory.exists() {
        if Instant::now() >= end {
            bail!("the lab in {} was told to end and has not", directory.display());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Removes the directories of labs whose owner is gone.
fn remove_stale() {
    for (directory, owner) in labs() {
        if kill(Pid::from_raw(owner), None).is_err() {
            container::sweep(&directory);
            drop(fs::remove_dir_all(directory));
        }
    }
}

fn first_line(stream: Option<impl Read + Send + 'static>) -> Option<String> {
    let stream = stream?;
    let (send, line) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let mut lines = BufReader::new(stream);
        if lines.read_line(&mut text).is_ok() {
            drop(send.send(text.trim_end().to_owned()));
        }
    });
    line.recv_timeout(PATIENCE).ok()
}
