//! The control socket, through which `natha status` and `natha handover` reach the monitor:
//! HTTP/1.1 over a Unix socket that only root may open.
//!
//! `GET /status` answers 200 with a [`Report`], or 503 with a
//! [`Starting`]. `GET /forwarded` answers 200 with [`Forwarded`]. `POST /command` takes a
//! [`Command`] and answers 202, or 409 with the reason against it.

use std::convert::Infallible;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::health::replies;
use super::inbox::{Note, Notes};
use crate::failover::Command;
use crate::status::{Forwarded, Report, Starting};

/// Connections served at once; others wait.
const CONNECTIONS: usize = 16;
/// Time limit of one connection.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// How long the loop may take to respond. It runs at least one turn per second.
const LOOP_LIMIT: Duration = Duration::from_secs(3);
/// Time after a connection that could not be accepted.
const RETRY: Duration = Duration::from_secs(1);
/// The largest request.
const BODY_MAX: usize = 16 * 1024;

/// Answers requests: until the loop runs, with the reason for waiting.
#[derive(Debug, Clone)]
pub(super) struct StatusEndpoint(Arc<Mutex<EndpointState>>);

#[derive(Debug, Clone)]
enum EndpointState {
    Starting(String),
    Running(Notes),
}

impl StatusEndpoint {
    pub(super) fn starting(why: &str) -> Self {
        Self(Arc::new(Mutex::new(EndpointState::Starting(why.to_owned()))))
    }

    pub(super) fn set_starting(&self, why: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            EndpointState::Starting(why.to_owned());
    }

    pub(super) fn set_running(&self, notes: Notes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = EndpointState::Running(notes);
    }

    fn state(&self) -> EndpointState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The file of the socket, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The next monitor replaces one that stays.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Opens the socket. One left by a dead monitor is replaced; the caller holds the host's lock, and
/// keeps it for as long as the file.
pub(super) fn listen(path: &Path) -> anyhow::Result<(UnixListener, SocketFile)> {
    let shown = path.display();
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace the socket {shown}"));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot open the socket {shown}"))?;
    let file = SocketFile(path.to_owned());
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot set the permissions of {shown}"))?;
    Ok((listener, file))
}

/// Serves for as long as the runtime lives.
pub(super) async fn serve(listener: UnixListener, endpoint: StatusEndpoint) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failures = interval(RETRY);
    failures.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let endpoint = endpoint.clone();
                tokio::spawn(async move {
                    // A client that is too slow loses only its own connection.
                    let _ = timeout(CONNECTION_LIMIT, talk(stream, endpoint)).await;
                    drop(slot);
                });
            }
            // Such as no free file: it does not pass at once.
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection on the control socket");
                failures.tick().await;
            }
        }
    }
}

async fn talk(stream: UnixStream, endpoint: StatusEndpoint) {
    let service = service_fn(move |request| {
        let endpoint = endpoint.clone();
        async move { Ok::<_, Infallible>(answer(request, &endpoint).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection to the control socket failed");
    }
}

async fn answer(request: Request<Incoming>, endpoint: &StatusEndpoint) -> Response<Full<Bytes>> {
    let notes = match endpoint.state() {
        EndpointState::Running(notes) => notes,
        EndpointState::Starting(starting) => {
            return json(StatusCode::SERVICE_UNAVAILABLE, &Starting { starting });
        }
    };
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => status(&notes).await,
        (&Method::POST, "/command") => command(request, &notes).await,
        (&Method::GET, "/forwarded") => forwarded().await,
        (_, "/status" | "/command" | "/forwarded") => {
            text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        }
        _ => text(StatusCode::NOT_FOUND, "not found; use /status, /command or /forwarded"),
    }
}

async fn forwarded() -> Response<Full<Bytes>> {
    match replies::forwarded().await {
        Ok(packets) => json(StatusCode::OK, &Forwarded { packets }),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}

async fn status(notes: &Notes) -> Response<Full<Bytes>> {
    match report(notes).await {
        Some(report) => json(StatusCode::OK, &*report),
        None => text(StatusCode::GATEWAY_TIMEOUT, "the monitor's loop does not respond"),
    }
}

/// The loop's report; none if the loop does not respond in time.
pub(super) async fn report(notes: &Notes) -> Option<Box<Report>> {
    let (sender, receiver) = oneshot::channel();
    ask(notes, Note::Status(sender), receiver).await
}

async fn command(request: Request<Incoming>, notes: &Notes) -> Response<Full<Bytes>> {
    let body = match Limited::new(request.into_body(), BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let command: Command = match serde_json::from_slice(&body) {
        Ok(command) => command,
        Err(error) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    tracing::info!(?command, "command received");
    let (sender, receiver) = oneshot::channel();
    match ask(notes, Note::Command { command, answer: sender }, receiver).await {
        Some(Ok(())) => text(StatusCode::ACCEPTED, "accepted"),
        Some(Err(reason)) => text(StatusCode::CONFLICT, &reason),
        None => text(StatusCode::GATEWAY_TIMEOUT, "the monitor's loop does not respond"),
    }
}

/// Sends a request to the loop; none if it does not respond in time.
async fn ask<T>(notes: &Notes, note: Note, answer: oneshot::Receiver<T>) -> Option<T> {
    let exchange = async {
        notes.send(note).await;
        answer.await.ok()
    };
    timeout(LOOP_LIMIT, exchange).await.ok().flatten()
}

fn json(code: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(body) {
        Ok(bytes) => reply(code, "application/json", bytes),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

pub(super) fn text(code: StatusCode, body: &str) -> Response<Full<Bytes>> {
    reply(code, "text/plain", body.as_bytes().to_vec())
}

pub(super) fn reply(code: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = code;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_the_owners_and_goes_with_the_monitor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("natha.sock");
        for _ in 0..2 {
            let (_listener, file) = listen(&path).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            drop(file);
            assert!(!path.exists());
        }
        std::fs::write(&path, "left by a dead monitor").unwrap();
        assert!(listen(&path).is_ok());
    }
}
