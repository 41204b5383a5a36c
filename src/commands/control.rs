//! Client of the running monitor's control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::failover::Command;
use crate::status::{Forwarded, Report, Starting};
use crate::types::display_duration;

/// Time limit for one request and its reply.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest reply accepted, in bytes. A report of 16 nodes, 200 groups and 200 events is far
/// smaller.
const REPLY_MAX: usize = 16 * 1024 * 1024;

/// The reply to a status request.
#[derive(Debug)]
pub(super) enum MonitorStatus {
    Running(Box<Report>),
    /// The monitor has not discovered its cluster yet.
    Starting(Starting),
}

/// Reads the monitor's status.
///
/// # Errors
/// If no monitor is running; the message says how to start one.
pub(super) async fn status(socket: &Path) -> anyhow::Result<MonitorStatus> {
    let (code, body) = exchange(socket, Method::GET, "/status", Bytes::new()).await?;
    match code {
        StatusCode::OK => {
            let report = serde_json::from_slice(&body).context(
                "cannot parse the monitor's reply: does it run another version of natha?",
            )?;
            Ok(MonitorStatus::Running(Box::new(report)))
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            let starting = serde_json::from_slice(&body);
            Ok(MonitorStatus::Starting(starting.context("cannot parse the monitor's reply")?))
        }
        other => Err(refusal(other, &body)),
    }
}

/// Reads the report of a monitor that has discovered its cluster.
///
/// # Errors
/// As for [`status`], and while the monitor is starting.
pub(super) async fn running(socket: &Path) -> anyhow::Result<Box<Report>> {
    match status(socket).await? {
        MonitorStatus::Running(report) => Ok(report),
        MonitorStatus::Starting(starting) => {
            bail!("the monitor is starting: {}", starting.starting)
        }
    }
}

/// How many packets of private hosts this node has forwarded to the internet; none if the monitor
/// cannot tell.
///
/// # Errors
/// If no monitor is running.
pub(super) async fn forwarded(socket: &Path) -> anyhow::Result<Option<u64>> {
    let (code, body) = exchange(socket, Method::GET, "/forwarded", Bytes::new()).await?;
    if code != StatusCode::OK {
        return Ok(None);
    }
    let parsed: Result<Forwarded, _> = serde_json::from_slice(&body);
    Ok(parsed.ok().map(|forwarded| forwarded.packets))
}

/// Sends the monitor a command.
///
/// # Errors
/// If no monitor is running, or it refuses; the message gives its reason.
pub(super) async fn command(socket: &Path, command: &Command) -> anyhow::Result<()> {
    let body = serde_json::to_vec(command).context("cannot encode the command")?;
    let (code, answer) = exchange(socket, Method::POST, "/command", body.into()).await?;
    match code {
        StatusCode::ACCEPTED => Ok(()),
        StatusCode::SERVICE_UNAVAILABLE => {
            bail!("the monitor is still starting: see `natha status`")
        }
        other => Err(refusal(other, &answer)),
    }
}

fn refusal(code: StatusCode, body: &[u8]) -> anyhow::Error {
    match code {
        StatusCode::CONFLICT => anyhow!("{}", String::from_utf8_lossy(body)),
        other => anyhow!("the monitor replied {other}: {}", String::from_utf8_lossy(body)),
    }
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let work = async {
        let stream = connect(socket).await?;
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "natha")
            .body(Full::new(body))?;
        let response = client.send_request(request).await?;
        let code = response.status();
        let body = Limited::new(response.into_body(), REPLY_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        driver.abort();
        Ok((code, body))
    };
    match timeout(LIMIT, work).await {
        Ok(result) => result,
        Err(_) => bail!(
            "the monitor did not reply on {} within {}: run `systemctl restart natha-monitor`",
            socket.display(),
            display_duration(LIMIT)
        ),
    }
}

/// No monitor answers on the socket.
#[derive(Debug, thiserror::Error)]
#[error(
    "no monitor is running on this host (no reply on {}): start it with `systemctl start \
     natha-monitor`, or run `natha monitor`",
    .0.display()
)]
pub(super) struct NoMonitor(PathBuf);

async fn connect(socket: &Path) -> anyhow::Result<UnixStream> {
    UnixStream::connect(socket).await.map_err(|error| {
        let shown = socket.display();
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                NoMonitor(socket.to_owned()).into()
            }
            std::io::ErrorKind::PermissionDenied => {
                anyhow!("permission denied for {shown}: run this as root")
            }
            _ => anyhow::Error::new(error).context(format!("cannot open {shown}")),
        }
    })
}
