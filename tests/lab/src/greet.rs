//! A tiny server for tests: it greets whoever connects with a line, over plain TCP or HTTP.

use std::fs;
use std::io::{Read, Write, stdin};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// What the kernel calls the server, for whoever kills it.
pub const NAME: &str = "greeter";
/// How long a client may take to send its request or to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How it greets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The line.
    pub line: String,
    /// As the answer to an HTTP request, whatever it asks for, instead of at once.
    pub http: bool,
}

/// Listens on every address, then leaves the serving to a process of its own: when this returns,
/// the server is there.
///
/// # Errors
/// When the port is taken, or no process can be made.
pub fn start(port: u16, greeting: &Greeting) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .with_context(|| format!("cannot listen on port {port}"))?;
    let itself = std::env::current_exe().context("the lab cannot find its own program")?;
    let mut command = Command::new(itself);
    command.args(["greet", &greeting.line]).args(greeting.http.then_some("--http"));
    command
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the server")?;
    Ok(())
}

/// Serves on the listening socket that is this process's standard input. Does not return.
///
/// # Errors
/// When the socket is none.
pub fn serve(greeting: &Greeting) -> Result<()> {
    fs::write("/proc/self/comm", NAME).context("cannot take a name")?;
    let socket = stdin().as_fd().try_clone_to_owned().context("there is no socket")?;
    let listener = TcpListener::from(socket);
    loop {
        let (stream, _) = listener.accept().context("cannot accept")?;
        let greeting = greeting.clone();
        // A client that goes away is no concern of the server.
        thread::spawn(move || drop(greet(stream, &greeting)));
    }
}

fn greet(mut stream: TcpStream, greeting: &Greeting) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = &greeting.line;
    if !greeting.http {
        return writeln!(stream, "{line}");
    }
    let mut head = [0; 1024];
    let _ = stream.read(&mut head)?;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{line}\n",
        line.len() + 1
    )
}
