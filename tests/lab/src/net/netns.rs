//! A network namespace that lives as long as its handle: no name, no file on the host.

use std::fs::File;
use std::process;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};

use crate::process as programs;

/// A network namespace, kept alive by a file descriptor.
#[derive(Debug, Clone)]
pub struct Netns {
    file: Arc<File>,
}

impl Netns {
    /// Makes an empty one.
    ///
    /// # Errors
    /// When the kernel refuses, usually for want of `CAP_SYS_ADMIN`.
    pub fn new() -> Result<Self> {
        let file = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("cannot hold a network namespace")
        })
        .join()
        .map_err(|_| anyhow!("the thread that makes a network namespace panicked"))??;
        Ok(Self { file: Arc::new(file) })
    }

    /// Moves the calling thread into this namespace, for good.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> Result<()> {
        setns(&*self.file, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")
    }

    /// Runs `work` inside, on a thread of its own: sockets that it opens stay there.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or what `work` returns.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = || {
                self.enter()?;
                work()
            };
            scope.spawn(inside).join().map_err(|_| anyhow!("a thread in a namespace panicked"))?
        })
    }

    /// Runs a batch of `ip` commands inside.
    ///
    /// # Errors
    /// When one of them fails: the rest has then not been run.
    pub fn ip(&self, batch: &str) -> Result<()> {
        self.run(|| ip(batch))
    }

    /// How `ip` commands of other namespaces name this one.
    #[must_use]
    pub fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", process::id(), self.file.as_raw_fd())
    }
}

/// Runs a batch of `ip` commands in the namespace of the calling thread.
///
/// # Errors
/// When one of them fails: the rest has then not been run.
pub fn ip(batch: &str) -> Result<()> {
    programs::tool("ip", &["-batch", "-"], batch)
        .map(drop)
        .with_context(|| format!("while running\n{batch}"))
}

/// Loads nftables rules in the namespace of the calling thread, all or nothing.
///
/// # Errors
/// When nft refuses any of them.
pub fn nft(rules: &str) -> Result<()> {
    programs::tool("nft", &["-f", "-"], rules)
        .map(drop)
        .with_context(|| format!("while loading\n{rules}"))
}

/// Writes a kernel setting of the namespace of the calling thread, by its path below `/proc/sys`.
///
/// # Errors
/// When the kernel has no such setting or refuses the value.
pub fn sysctl(path: &str, value: &str) -> Result<()> {
    std::fs::write(format!("/proc/sys/{path}"), value)
        .with_context(|| format!("cannot set {path} to {value}"))
}
