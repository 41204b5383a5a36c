//! Asking a lab, blocking.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::protocol::Request;
use crate::meter::mixed;

/// How long a lab may take beyond what was asked of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the lab whose control socket this is.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the lab whose control socket is at this path.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// When the lab is not there, does not answer in time, or says that it cannot be done.
    pub fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        let socket = self.socket.display();
        let answer = self.exchange(request).with_context(|| format!("no answer from {socket}"))?;
        if answer.is_empty() {
            bail!("the lab ended before it answered");
        }
        let (head, body) = answer.split_once("\r\n\r\n").context("the lab's answer is no HTTP")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{}", body.trim());
        }
        serde_json::from_str(body).with_context(|| format!("unexpected answer: {body}"))
    }

    fn exchange(&self, request: &Request) -> Result<String> {
        let mut stream = UnixStream::connect(&self.socket).context("no lab listens there")?;
        stream.set_read_timeout(Some(PATIENCE + request.limit()))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let body = serde_json::to_string(request).context("a request that JSON cannot say")?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Request {
    fn limit(&self) -> Duration {
        match self {
            Self::Status { limit_ms, .. } | Self::Exec { limit_ms, .. } => {
                Duration::from_millis(*limit_ms)
            }
            // A meter opens its flows one by one, and waits for their last answers.
            Self::Measure(_) | Self::Measured { .. } => mixed::PATIENCE,
            _ => Duration::ZERO,
        }
    }
}
