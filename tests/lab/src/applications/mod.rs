//! Real applications across a cluster of [`crate::egress`]: servers at the internet host, clients
//! on a private host. Each client keeps one connection, and shows by what it says that it is the
//! same one as before.
//!
//! Programs at the internet host see the machine's own file system. So each server runs in a mount
//! namespace of its own, with what it writes to in memory.

mod download;

use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use download::{Download, Transferred};

use crate::control::protocol::Output;
use crate::net::internet::INTERNET_HOST;
use crate::patterns::services;
use crate::scene::Scene;

/// The private host with the clients.
const CLIENT: &str = "host-a";
/// What is printed when a client has ended, before its exit code.
const ENDED: &str = "ended ";
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
const SSH_PORT: &str = "2222";
const WEBSOCKET_PORT: &str = "8765";
const SSH_KEY: &str = "/tmp/ssh-key";
/// What a shell at the server does with the client's lines.
const SSH_COMMAND: &str = "while read -r line; do echo \"$line $$\"; done";

/// An application. The client keeps one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// Debian's PostgreSQL server, and psql.
    Postgres,
    /// Debian's sshd with keys of its own, and ssh with a shell.
    Ssh,
    /// A WebSocket server and a client, of Python's `websockets`.
    WebSocket,
}

/// A client that runs, its standard input and what it has printed.
#[derive(Debug)]
pub struct Session<'a> {
    scene: &'a Scene,
    application: Application,
    name: String,
}

impl Application {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Ssh, Self::WebSocket];

    /// A line that makes the client print this word, then a space and what shows that its
    /// connection is the same one as before: PostgreSQL's process and transaction, the shell's
    /// process, the number of the message on the WebSocket.
    fn question(self, word: &str) -> String {
        match self {
            Self::Postgres => {
                format!("select '{word} ' || pg_backend_pid() || ' ' || txid_current();")
            }
            Self::Ssh | Self::WebSocket => word.to_owned(),
        }
    }

    /// The client's program and its arguments.
    fn client(self) -> Vec<String> {
        let words = |line: String| line.split(' ').map(str::to_owned).collect();
        match self {
            Self::Postgres => {
                words(format!("psql -h {INTERNET_HOST} -U postgres -d lab -Atq -v ON_ERROR_STOP=1"))
            }
            Self::Ssh => {
                let mut command: Vec<String> = words(format!(
                    "ssh -F /dev/null -i {SSH_KEY} -p {SSH_PORT} -o BatchMode=yes \
                     -o ConnectionAttempts=30 -o StrictHostKeyChecking=no \
                     -o UserKnownHostsFile=/dev/null root@{INTERNET_HOST}"
                ));
                command.push(SSH_COMMAND.to_owned());
                command
            }
            Self::WebSocket => {
                let mut command = vec![python(), "-c".to_owned(), WEBSOCKET_CLIENT.to_owned()];
                command.extend([INTERNET_HOST.to_string(), WEBSOCKET_PORT.to_owned()]);
                command
            }
        }
    }
}

/// Starts the servers of all applications at the internet host.
///
/// # Errors
/// When one does not start.
pub fn start_servers(scene: &Scene) -> Result<()> {
    let postgres = services::postgres("lab", "*");
    let memory = "mount -t tmpfs -o mode=755 tmpfs /var/lib/postgresql";
    serve(scene, &format!("{memory}\n{postgres}"), &[])?;
    let make = format!("ssh-keygen -q -t ed25519 -N '' -f {SSH_KEY} && cat {SSH_KEY}.pub");
    let public = scene.sh(CLIENT, &make)?;
    serve(scene, &sshd(), &[public.trim()])?;
    let (python, target) = (python(), INTERNET_HOST.to_string());
    scene.spawn("internet", &[&python, "-c", WEBSOCKET_SERVER, &target, WEBSOCKET_PORT])
}

impl<'a> Session<'a> {
    /// Opens a session with a server of [`start_servers`]. Those of one application have different
    /// numbers.
    ///
    /// # Errors
    /// When the client does not connect.
    pub fn open(scene: &'a Scene, application: Application, number: usize) -> Result<Self> {
        let name = format!("{application:?}-{number}");
        let command = application.client();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        start(scene, &name, &command)?;
        let session = Self { scene, application, name };
        session.repeat("open")?;
        Ok(session)
    }

    /// Gives the client a line.
    ///
    /// # Errors
    /// When the client has ended.
    pub fn say(&self, line: &str) -> Result<()> {
        let done = self.give(line)?;
        if done.code != 0 {
            bail!("{} takes no line: {}{}", self.name, done.stdout, self.said()?);
        }
        Ok(())
    }

    /// Has the client print a word with what shows that its connection is the same one as before,
    /// and returns that.
    ///
    /// # Errors
    /// When it does not, in time: with what it has printed.
    pub fn repeat(&self, word: &str) -> Result<String> {
        self.say(&self.application.question(word))?;
        wait_said(self.scene, &self.name, &format!("{word} "))
    }

    /// Whether the client still prints a word that it is given, within some time.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn lives(&self, word: &str, limit: Duration) -> Result<bool> {
        // A client that has ended takes no line.
        self.give(&self.application.question(word))?;
        let beginning = format!("{word} ");
        let answered = || -> Result<bool> {
            Ok(self.said()?.lines().any(|line| line.starts_with(&beginning)))
        };
        let is_over =
            || Ok(answered()? || self.said()?.lines().any(|line| line.starts_with(ENDED)));
        self.scene.holds_within(limit, is_over)?;
        answered()
    }

    /// Waits for a line that begins so, and returns the rest of the first one.
    ///
    /// # Errors
    /// When none comes in time, or the client has ended without it: with what it has printed.
    pub fn wait_said(&self, beginning: &str) -> Result<String> {
        wait_said(self.scene, &self.name, beginning)
    }

    fn said(&self) -> Result<String> {
        said(self.scene, &self.name)
    }

    fn give(&self, line: &str) -> Result<Output> {
        // Nothing reads the pipe of a client that has ended.
        let script = format!("printf '%s\\n' \"$0\" >/tmp/{}/in", self.name);
        self.scene.exec(CLIENT, &["timeout", "5", "sh", "-c", &script, line], PATIENCE)
    }
}

/// Starts a client on the private host under a name of its own.
fn start(scene: &Scene, name: &str, command: &[&str]) -> Result<()> {
    scene.sh(CLIENT, &format!("mkdir /tmp/{name} && mkfifo /tmp/{name}/in"))?;
    // The shell holds the pipe open for writing too, so that it never ends.
    let script = format!(
        "exec 9<>/tmp/{name}/in
        \"$@\" <&9 >/tmp/{name}/out 2>&1
        echo \"{ENDED}$?\" >>/tmp/{name}/out"
    );
    scene.spawn(CLIENT, &[&["sh", "-c", &script, "sh"], command].concat())
}

/// All that a client has printed.
fn said(scene: &Scene, name: &str) -> Result<String> {
    scene.sh(CLIENT, &format!("cat /tmp/{name}/out 2>/dev/null || true"))
}

/// Waits for a line of a client that begins so, and returns the rest of the first one.
fn wait_said(scene: &Scene, name: &str, beginning: &str) -> Result<String> {
    let found =
        |said: &str| said.lines().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned);
    let waited = scene.wait_for(|| {
        let said = said(scene, name)?;
        if found(&said).is_none() && said.lines().any(|line| line.starts_with(ENDED)) {
            bail!("it has ended");
        }
        Ok(found(&said).is_some())
    });
    let said = said(scene, name)?;
    waited.with_context(|| format!("{name} does not print `{beginning}`, but: {said}"))?;
    found(&said).with_context(|| format!("{name} has printed: {said}"))
}

/// The interpreter with what `scripts/requirements.txt` names.
fn python() -> String {
    std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Runs commands at the internet host that start a server, with a `/run` of its own.
fn serve(scene: &Scene, commands: &str, arguments: &[&str]) -> Result<()> {
    let own = "set -e\nexport LC_ALL=C.UTF-8\nmount -t tmpfs -o mode=755 tmpfs /run";
    let script = format!("{own}\n{commands}");
    let command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    let done = scene.exec("internet", &[&command[..], arguments].concat(), PATIENCE)?;
    if done.code != 0 {
        bail!("the server does not start ({}): {}{}", done.code, done.stdout, done.stderr);
    }
    Ok(())
}

/// Commands that start an SSH server for the public key that is their first argument. The server
/// sees a copy of the machine's passwords in which root is not locked and has none, so that only
/// the key logs in, on every machine.
fn sshd() -> String {
    format!(
        "umask 077
mkdir -p /run/sshd /run/lab
sed 's/^root:[^:]*:/root:*:/' /etc/shadow >/run/lab/shadow
mount --bind /run/lab/shadow /etc/shadow
ssh-keygen -q -t ed25519 -N '' -f /run/lab/host_key
printf '%s\\n' \"$1\" >/run/lab/authorized_keys
cat >/run/lab/sshd_config <<'END'
ListenAddress {INTERNET_HOST}:{SSH_PORT}
HostKey /run/lab/host_key
AuthorizedKeysFile /run/lab/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile /run/lab/sshd.pid
END
/usr/sbin/sshd -f /run/lab/sshd_config"
    )
}

const WEBSOCKET_SERVER: &str = "
import sys
from websockets.sync.server import serve

def repeat(connection):
    for number, message in enumerate(connection, 1):
        connection.send(f'{message} {number}')

with serve(repeat, sys.argv[1], int(sys.argv[2])) as server:
    server.serve_forever()
";

/// It tries again while the server starts.
const WEBSOCKET_CLIENT: &str = "
import sys, time
from websockets.sync.client import connect

def connected():
    for _ in range(100):
        try:
            return connect(f'ws://{sys.argv[1]}:{sys.argv[2]}')
        except OSError:
            time.sleep(0.1)
    sys.exit('the server does not listen')

with connected() as connection:
    for line in iter(sys.stdin.readline, ''):
        connection.send(line.strip())
        print(connection.recv(), flush=True)
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_asked_for_a_word_by_which_its_answer_begins() {
        for application in Application::ALL {
            assert!(application.question("word").contains("word"), "{application:?}");
            let command = application.client();
            assert!(command.iter().all(|word| !word.is_empty()), "{command:?}");
            let target = INTERNET_HOST.to_string();
            assert!(command.iter().any(|word| word.ends_with(&target)), "{command:?}");
        }
        assert!(sshd().contains("\"$1\""), "the client's key is its argument");
    }
}
