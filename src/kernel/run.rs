//! The one place where other programs are run.
//!
//! A program is found in the system's own directories and never through `$PATH`, gets a time
//! limit, is killed when it is over, and what it printed is part of the error.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Where programs are looked for, in this order.
const DIRECTORIES: [&str; 6] =
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// The most that is read of what a program prints, in bytes.
const OUTPUT_MAX: u64 = 16 * 1024 * 1024;

/// Why a program did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is in none of the system's directories.
    #[error("`{name}` is not installed: looked in {}; install the package that has it ({package})",
            DIRECTORIES.join(", "))]
    Missing {
        /// Its name.
        name: &'static str,
        /// The package that most distributions have it in.
        package: &'static str,
    },
    /// It could not be started, or talking to it failed.
    #[error("cannot run `{command}`")]
    Io {
        /// The command line.
        command: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long and was killed.
    #[error("`{command}` did not end within {}; it was killed", humantime::format_duration(*limit))]
    TimedOut {
        /// The command line.
        command: String,
        /// Its time limit.
        limit: Duration,
    },
    /// A check of the operator's ended with another status than 0.
    #[error("`{command}` reported failure ({status})")]
    Unhealthy {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// It ended with an error.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed on standard error, trimmed.
        stderr: String,
    },
}

/// A program that was found.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    name: &'static str,
    path: PathBuf,
}

impl Program {
    /// Finds `name`.
    ///
    /// # Errors
    /// [`RunError::Missing`], naming the package to install.
    pub(crate) fn find(name: &'static str, package: &'static str) -> Result<Self, RunError> {
        DIRECTORIES
            .iter()
            .map(|directory| PathBuf::from(directory).join(name))
            .find(|path| {
                path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
            })
            .map(|path| Self { name, path })
            .ok_or(RunError::Missing { name, package })
    }

    /// Runs it to its end and returns what it printed on standard output.
    ///
    /// # Errors
    /// If it cannot be started, does not end within `limit`, or ends with an error.
    pub(crate) async fn run(
        &self,
        args: &[&str],
        stdin: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, RunError> {
        let command = format!("{} {}", self.name, args.join(" "));
        match tokio::time::timeout(limit, self.talk(args, stdin)).await {
            Err(_elapsed) => Err(RunError::TimedOut { command, limit }),
            Ok(Err(source)) => Err(RunError::Io { command, source }),
            Ok(Ok((status, stdout, _))) if status.success() => Ok(stdout),
            Ok(Ok((status, _, stderr))) => {
                let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
                Err(RunError::Failed { command, status, stderr })
            }
        }
    }

    async fn talk(
        &self,
        args: &[&str],
        stdin: &[u8],
    ) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
        #[expect(clippy::disallowed_methods, reason = "this is the runner that the ban points to")]
        let mut child = tokio::process::Command::new(&self.path)
            .args(args)
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut input = child.stdin.take().expect("stdin was asked to be a pipe");
        let output = child.stdout.take().expect("stdout was asked to be a pipe");
        let errors = child.stderr.take().expect("stderr was asked to be a pipe");
        let feed = async {
            // A program that ends without reading its input tells why by its status.
            match input.write_all(stdin).await {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
                _ => {
                    drop(input);
                    Ok(())
                }
            }
        };
        let ((), stdout, stderr) = tokio::try_join!(feed, read(output), read(errors))?;
        Ok((child.wait().await?, stdout, stderr))
    }
}

/// Runs a program of the operator's, which tells by its status whether all is well. It gets no
/// input, what it prints goes nowhere, its environment is `PATH` and `LC_ALL`, and it is started in
/// `/`. At the time limit it is killed with everything that it has started and that has not left
/// its process group.
///
/// # Errors
/// If it cannot be started, does not end within `limit`, or ends with another status than 0.
pub(crate) async fn check(path: &Path, args: &[String], limit: Duration) -> Result<(), RunError> {
    let command = [&[path.display().to_string()], args].concat().join(" ");
    #[expect(clippy::disallowed_methods, reason = "this is the runner that the ban points to")]
    let spawned = tokio::process::Command::new(path)
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", DIRECTORIES.join(":"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let io = |source| RunError::Io { command: command.clone(), source };
    let mut child = spawned.map_err(io)?;
    let mut group = ProcessGroup(child.id());
    match tokio::time::timeout(limit, child.wait()).await {
        Err(_elapsed) => {
            drop(group);
            // It was killed: this only takes its remains away.
            child.wait().await.map_err(io)?;
            Err(RunError::TimedOut { command, limit })
        }
        Ok(ended) => {
            group.0 = None;
            let status = ended.map_err(io)?;
            if status.success() { Ok(()) } else { Err(RunError::Unhealthy { command, status }) }
        }
    }
}

/// Kills all of a process group when it goes, unless it was emptied.
struct ProcessGroup(Option<u32>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // One that has ended meanwhile is as good.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

async fn read(from: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(OUTPUT_MAX).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Program {
        Program::find("sh", "dash").expect("every system has a shell")
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn input_goes_in_and_output_comes_out() {
        let out = shell().run(&["-c", "cat"], b"hello", LIMIT).await.unwrap();
        assert_eq!(out, b"hello");
    }

    #[tokio::test]
    async fn what_a_failing_program_printed_is_in_the_error() {
        let error = shell().run(&["-c", "echo broken >&2; exit 4"], b"", LIMIT).await.unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
        assert!(error.to_string().contains('4'), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_stopped() {
        let limit = Duration::from_millis(50);
        let error = shell().run(&["-c", "exec sleep 600"], b"", limit).await.unwrap_err();
        assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_ignores_its_input_is_judged_by_its_status() {
        let input = vec![b'x'; 1 << 20];
        shell().run(&["-c", "exit 0"], &input, LIMIT).await.unwrap();
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = Program::find("no-such-program", "some-package").unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("some-package"), "{error}");
    }
}
