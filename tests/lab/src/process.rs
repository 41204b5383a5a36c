//! Running a program to its end, with a time limit.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long the output of a program that has ended may still trickle in, when something that it
/// left in the background holds its output open.
const TRAILING_OUTPUT: Duration = Duration::from_millis(200);

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Prepares a command for [`finish`]: every stream is a pipe, and it leads its own process group.
pub fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0)
}

/// Feeds `input` to a child started from a [`piped`] command and waits for it to end.
///
/// # Errors
/// When it is not over within `limit`: its process group has then been killed.
pub fn finish(mut child: Child, input: &[u8], limit: Duration) -> Result<Finished> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id out of range")?);
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A program that ends without reading its input is not a fault of the caller.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let (ended, end) = mpsc::channel();
    thread::spawn(move || drop(ended.send(child.wait())));
    let Ok(status) = end.recv_timeout(limit) else {
        let _ = killpg(pid, Signal::SIGKILL);
        bail!("not finished after {} s: killed", limit.as_secs_f32());
    };
    let status = status.context("cannot wait for a program")?;
    Ok(Finished { status, stdout: stdout.take(), stderr: stderr.take() })
}

/// Runs one of the host's tools with `input` on its standard input.
///
/// # Errors
/// When the tool is missing, does not end within ten seconds, or fails: with what it said.
pub fn tool(name: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(name);
    let child = piped(command.args(arguments))
        .spawn()
        .with_context(|| format!("cannot run `{name}`: is it installed?"))?;
    let done = finish(child, input.as_bytes(), Duration::from_secs(10))
        .with_context(|| format!("`{name} {}`", arguments.join(" ")))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`{name} {}` failed ({}): {}", arguments.join(" "), done.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Output that is still arriving.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    complete: Receiver<()>,
}

impl Collected {
    fn take(self) -> Vec<u8> {
        // Either outcome is fine: the output is complete, or the rest of it is not this program's.
        let _ = self.complete.recv_timeout(TRAILING_OUTPUT);
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (done, complete) = mpsc::channel();
    let sink = Arc::clone(&bytes);
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        if let Some(mut stream) = stream {
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend_from_slice(&buffer[..count]);
            }
        }
        let _ = done.send(());
    });
    Collected { bytes, complete }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str, limit: Duration) -> Result<Finished> {
        let child = piped(Command::new("sh").args(["-c", script])).spawn().unwrap();
        finish(child, input.as_bytes(), limit)
    }

    #[test]
    fn a_program_gets_its_input_and_its_output_comes_back() {
        let done = shell("cat; echo wrong >&2; exit 3", "hello", Duration::from_secs(10)).unwrap();
        assert_eq!(done.stdout, b"hello");
        assert_eq!(done.stderr, b"wrong\n");
        assert_eq!(done.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        let problem = shell("sleep 600 & wait", "", Duration::from_millis(100)).unwrap_err();
        assert!(problem.to_string().contains("killed"), "{problem}");
    }

    #[test]
    fn what_stays_in_the_background_does_not_hold_up_the_answer() {
        let done = shell("echo $$; sleep 5 & exit 0", "", Duration::from_secs(4)).unwrap();
        assert!(done.status.success());
        assert!(!done.stdout.is_empty());
    }
}
