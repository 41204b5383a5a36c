//! The only place that runs other programs.
//!
//! A program is looked up in the system's own directories, never through `$PATH`. It gets a time
//! limit, after which it is killed. Its standard error is part of the error.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Where programs are looked up, in this order.
const DIRECTORIES: [&str; 6] =
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// The most that is read of a program's output, in bytes.
const OUTPUT_MAX: u64 = 16 * 1024 * 1024;

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program is in none of the system's directories.
    #[error("`{name}` is not installed: not found in {}; install the package {package}",
            DIRECTORIES.join(", "))]
    Missing {
        name: &'static str,
        /// The package that has it in most distributions.
        package: &'static str,
    },
    /// The program could not be started, or its pipes failed.
    #[error("cannot run `{command}`")]
    Io {
        command: String,
        #[source]
        source: std::io::Error,
    },
    /// The program took too long and was killed.
    #[error("`{command}` did not end within {}; it was killed", humantime::format_duration(*limit))]
    TimedOut { command: String, limit: Duration },
    /// A check program ended with another status than 0.
    #[error("`{command}` reported failure ({status})")]
    Unhealthy { command: String, status: ExitStatus },
    /// The program ended with another status than 0.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        command: String,
        status: ExitStatus,
        /// What it printed on standard error, trimmed.
        stderr: String,
    },
}

/// A program and its path.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    name: &'static str,
    path: PathBuf,
}

impl Program {
    /// Looks up `name`; `package` is the package to install if it is missing.
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

    /// Runs the program and returns its standard output.
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
            // A program that ends without reading its input is judged by its status.
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

/// Runs a check program of the operator's, whose exit status says whether all is well. It has no
/// input, its output is discarded, its environment is `PATH` and `LC_ALL`, and its working
/// directory is `/`. At the time limit it is killed with its whole process group.
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
            // It was killed: this only reaps it.
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

/// The most that is read of a hook's standard error, in bytes.
const HOOK_ERRORS_MAX: u64 = 4 * 1024;

/// Runs a hook of the operator's, which gets `input` on its standard input. As root it becomes
/// `user`, without any capability, by `setpriv` (util-linux). Otherwise it stays the user that this
/// process is, with the ambient capabilities of the calling thread: see
/// [`renounce`](super::privilege::renounce). Its environment is `PATH` and `LC_ALL`, its working
/// directory `/`, and its output is discarded. At the time limit it is killed with its whole
/// process group.
pub(crate) async fn hook(
    path: &Path,
    user: &str,
    input: &[u8],
    limit: Duration,
) -> Result<(), RunError> {
    let command = path.display().to_string();
    let io = |source| RunError::Io { command: command.clone(), source };
    let (program, arguments) = if nix::unistd::geteuid().is_root() {
        (Program::find("setpriv", "util-linux")?.path, as_user(user, path).map_err(io)?)
    } else {
        (path.to_owned(), Vec::new())
    };
    #[expect(clippy::disallowed_methods, reason = "this is the runner that the ban points to")]
    let spawned = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", DIRECTORIES.join(":"))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(io)?;
    let mut group = ProcessGroup(child.id());
    let (stdin, errors) = (child.stdin.take(), child.stderr.take());
    let mut errors = tokio::spawn(first_bytes(errors));
    // What it left running may hold the pipe open: the reader ends with this call.
    let _reader = AbortOnDrop(errors.abort_handle());
    let talk = async {
        if let Some(mut stdin) = stdin {
            match stdin.write_all(input).await {
                // A program that ends without reading its input is judged by its status.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
                _ => drop(stdin),
            }
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(limit, talk).await;
    let Ok(status) = ended else {
        drop(group);
        // It was killed: this only reaps it.
        child.wait().await.map_err(io)?;
        return Err(RunError::TimedOut { command, limit });
    };
    let status = status.map_err(io)?;
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    let errors = tokio::time::timeout(HOOK_ERRORS_LIMIT, &mut errors).await;
    let errors = errors.ok().and_then(Result::ok).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&errors).trim().to_owned();
    Err(RunError::Failed { command, status, stderr })
}

/// Ends a task on drop.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long the standard error of a hook that has ended is waited for.
const HOOK_ERRORS_LIMIT: Duration = Duration::from_millis(200);

/// The arguments with which `setpriv` runs a program as a user, without any privilege.
fn as_user(user: &str, path: &Path) -> std::io::Result<Vec<OsString>> {
    let found = nix::unistd::User::from_name(user)?;
    let found = found.ok_or_else(|| {
        let what = format!("there is no user `{user}` (notify.hook_user)");
        std::io::Error::new(std::io::ErrorKind::NotFound, what)
    })?;
    let (uid, gid) = (format!("--reuid={}", found.uid), format!("--regid={}", found.gid));
    let none = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    let flags = [&["--clear-groups", "--no-new-privs"][..], &none[..], &["--"][..]].concat();
    let flags = flags.into_iter().map(OsString::from);
    Ok([uid.into(), gid.into()].into_iter().chain(flags).chain([path.into()]).collect())
}

/// The begin of a stream, which is read to its end.
async fn first_bytes(from: Option<tokio::process::ChildStderr>) -> Vec<u8> {
    let Some(mut from) = from else { return Vec::new() };
    let mut bytes = Vec::new();
    if (&mut from).take(HOOK_ERRORS_MAX).read_to_end(&mut bytes).await.is_ok() {
        // A program that writes more must not be held up by a full pipe.
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    bytes
}

/// Kills a whole process group on drop, unless its id was taken out.
struct ProcessGroup(Option<u32>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // An error means that the group has ended meanwhile.
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

    fn script(directory: &Path, text: &str) -> PathBuf {
        let path = directory.join("hook");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_hook_gets_its_input_and_has_no_capability() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let text = format!("cat > {0}; grep '^Cap[EPIA]' /proc/self/status >> {0}", out.display());
        let hook_path = script(directory.path(), &text);
        hook(&hook_path, "nobody", b"hello\n", LIMIT).await.unwrap();
        let found = std::fs::read_to_string(out).unwrap();
        let mut lines = found.lines();
        assert_eq!(lines.next(), Some("hello"));
        let masks: Vec<&str> = lines.filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert!(
            masks.len() >= 4 && masks.iter().all(|mask| *mask == "0000000000000000"),
            "{found}"
        );
    }

    #[tokio::test]
    async fn a_hook_that_fails_says_why_and_one_that_hangs_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let hook_path = script(directory.path(), "echo broken >&2; exit 4");
        let error = hook(&hook_path, "nobody", b"", LIMIT).await.unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains('4'), "{error}");
        let hook_path = script(directory.path(), "sleep 600");
        let limit = Duration::from_millis(50);
        let error = hook(&hook_path, "nobody", b"", limit).await.unwrap_err();
        assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    }
}
