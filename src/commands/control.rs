//! The client of a running monitor's socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::failover::Command;
use crate::status::{Report, Starting};

/// Time limit of one exchange.
const LIMIT: Duration = Duration::from_secs(5);
/// The largest answer: a report of 16 nodes, 200 groups and 200 events is far smaller.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// What a monitor answers when it is asked for its status.
#[derive(Debug)]
pub(super) enum Answer {
    /// It runs.
    Running(Box<Report>),
    /// It has no roster yet.
    Starting(Starting),
}

/// Asks the monitor for its status.
///
/// # Errors
/// Where no monitor runs, saying how to start one.
pub(super) async fn status(socket: &Path) -> anyhow::Result<Answer> {
    let (code, body) = exchange(socket, Method::GET, "/status", Bytes::new()).await?;
    match code {
        StatusCode::OK => {
            let report = serde_json::from_slice(&body)
                .context("the monitor's answer makes no sense: is it of another version?")?;
            Ok(Answer::Running(Box::new(report)))
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            Ok(Answer::Starting(serde_json::from_slice(&body).context("a broken answer")?))
        }
        other => Err(refusal(other, &body)),
    }
}

/// Gives the monitor a command.
///
/// # Errors
/// Where no monitor runs, or it refuses, with its reason.
pub(super) async fn command(socket: &Path, command: &Command) -> anyhow::Result<()> {
    let body = serde_json::to_vec(command).context("the command cannot be written down")?;
    let (code, answer) = exchange(socket, Method::POST, "/command", body.into()).await?;
    match code {
        StatusCode::ACCEPTED => Ok(()),
        StatusCode::SERVICE_UNAVAILABLE => bail!("the monitor is still starting: `natha status`"),
        other => Err(refusal(other, &answer)),
    }
}

fn refusal(code: StatusCode, body: &[u8]) -> anyhow::Error {
    match code {
        StatusCode::CONFLICT => anyhow!("{}", String::from_utf8_lossy(body)),
        other => anyhow!("the monitor answers {other}: {}", String::from_utf8_lossy(body)),
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
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        driver.abort();
        Ok((code, body))
    };
    match timeout(LIMIT, work).await {
        Ok(result) => result,
        Err(_) => bail!(
            "the monitor behind {} does not answer within {}: `systemctl restart natha-monitor`",
            socket.display(),
            humantime::format_duration(LIMIT)
        ),
    }
}

async fn connect(socket: &Path) -> anyhow::Result<UnixStream> {
    UnixStream::connect(socket).await.map_err(|error| {
        let shown = socket.display();
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => anyhow!(
                "no monitor runs on this host (nobody answers on {shown}): start it with \
                 `systemctl start natha-monitor`, or run `natha monitor`"
            ),
            std::io::ErrorKind::PermissionDenied => {
                anyhow!("not allowed to open {shown}: run this as root")
            }
            _ => anyhow::Error::new(error).context(format!("cannot open {shown}")),
        }
    })
}
