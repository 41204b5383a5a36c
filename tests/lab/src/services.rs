//! Services on a lab's hosts, and whether clients find them: what a test of the patterns needs
//! besides packets.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::control::protocol::{Output, Request};
use crate::greet;
use crate::lab::{Lab, program};
use crate::meter::tcp::{Aim, Greeting, Report};
use crate::meter::{self, What};

/// How a meter of connections connects: from one to the next, and how long each may take.
const INTERVAL_MS: u64 = 10;
const TIMEOUT_MS: u64 = 200;
/// How long a small program on a host may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Aim {
    /// Connections every 10 ms, of which each must get a banner within 200 ms.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self {
            port,
            name: None,
            greeting: Greeting::Line,
            interval_ms: INTERVAL_MS,
            timeout_ms: TIMEOUT_MS,
        }
    }

    /// The same to a name, which is looked up again whenever its record's TTL is over.
    #[must_use]
    pub fn name(name: &str, port: u16) -> Self {
        Self { name: Some(name.to_owned()), ..Self::port(port) }
    }

    /// The same with an HTTP request.
    #[must_use]
    pub fn http(self) -> Self {
        Self { greeting: Greeting::Http, ..self }
    }

    /// The same, and being connected is enough.
    #[must_use]
    pub fn connected(self) -> Self {
        Self { greeting: Greeting::Connected, ..self }
    }
}

impl Lab {
    /// Starts a server on a host that greets with a line; it listens when this returns. The kernel
    /// calls it [`greet::NAME`].
    ///
    /// # Errors
    /// When the host does not run or the port is taken.
    pub fn greet(&self, host: &str, port: u16, line: &str) -> Result<()> {
        self.start_greeter(host, port, &[line])
    }

    /// The same over HTTP.
    ///
    /// # Errors
    /// As [`Lab::greet`].
    pub fn greet_http(&self, host: &str, port: u16, line: &str) -> Result<()> {
        self.start_greeter(host, port, &[line, "--http"])
    }

    fn start_greeter(&self, host: &str, port: u16, rest: &[&str]) -> Result<()> {
        let (program, port) = (program()?, port.to_string());
        let program = program.to_str().context("the program's path is not UTF-8")?;
        let argv = [&[program, "greet", "--port", &port], rest].concat();
        let done = self.exec(host, &argv, PATIENCE)?;
        if done.code != 0 {
            bail!("no server on {host}: {}{}", done.stdout, done.stderr);
        }
        Ok(())
    }

    /// Ends the servers that greet on a host, as a crash does, and returns how many there were.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn kill_greeters(&self, host: &str) -> Result<usize> {
        self.kill(host, greet::NAME)
    }

    /// Writes a file on a host, with the directories on the way to it.
    ///
    /// # Errors
    /// When the host does not run, or its disk refuses.
    pub fn write(&self, host: &str, path: &str, text: &str) -> Result<()> {
        let script = "mkdir -p \"$(dirname \"$0\")\" && cat > \"$0\"";
        let argv = ["sh", "-c", script, path].map(str::to_owned).to_vec();
        let (host, input) = (host.to_owned(), text.to_owned());
        let limit_ms = u64::try_from(PATIENCE.as_millis())?;
        let done: Output = self.ask(&Request::Exec { host, argv, input, limit_ms })?;
        if done.code != 0 {
            bail!("cannot write {path}: {}{}", done.stdout, done.stderr);
        }
        Ok(())
    }

    /// Starts to connect from a host, or from `internet`, to an address, and returns the meter's
    /// number.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn connect(&self, host: &str, target: Ipv4Addr, aim: Aim) -> Result<u64> {
        self.measure(host, target, What::Tcp(aim))
    }

    /// The same to the aim's name, through the host's resolver.
    ///
    /// # Errors
    /// When the host does not run, or the aim has no name.
    pub fn connect_by_name(&self, host: &str, aim: Aim) -> Result<u64> {
        if aim.name.is_none() {
            bail!("the aim has no name");
        }
        self.measure(host, Ipv4Addr::UNSPECIFIED, What::Tcp(aim))
    }

    /// Stops a meter of connections.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn connected(&self, meter: u64) -> Result<Report> {
        match self.stop_meter(meter)? {
            meter::Report::Tcp(report) => Ok(report),
            _ => bail!("meter {meter} does not connect"),
        }
    }

    /// What a meter of connections has measured so far; it goes on.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn connected_so_far(&self, meter: u64) -> Result<Report> {
        self.ask(&Request::SoFar { meter })
    }
}
