//! The page for people: files that are part of the program, and a stream of what it shows.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::channel::{Channel, Sender};
use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::changes::ShownChange;
use super::{Exporter, Gathered, rounds};
use crate::daemon::clock;
use crate::daemon::control_socket::text;
use crate::metrics::Board;

/// Time between two messages of the stream.
const PACE: Duration = Duration::from_secs(1);
/// Streams at once. Prometheus and health checks must still get an answer.
const VIEWERS: usize = 8;
/// How long a stream lasts. It ends as HTTP has it, before the listener drops the connection.
pub(super) const STREAM: Duration = Duration::from_secs(8);
/// Messages that may wait for a slow reader.
const WAITING: usize = 2;
/// How long the browser waits before it connects again, in ms.
const RECONNECT: &str = "retry: 100\n\n";
/// A comment, which keeps the stream open.
const BUSY: &str = ": the event loop does not respond\n\n";
/// Nothing but what this listener serves, and no markup that runs code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the listener sends: something whole, or a stream.
pub(super) type Body = Either<Full<Bytes>, Channel<Bytes>>;

/// A file of the page, its type and its content.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 3] = [
    ("/", "text/html; charset=utf-8", include_str!("board/index.html")),
    ("/board.css", "text/css; charset=utf-8", include_str!("board/board.css")),
    ("/board.js", "text/javascript; charset=utf-8", include_str!("board/board.js")),
];

/// The answer for a file of the page; none if there is no such file.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let (_, kind, content) = FILES.iter().find(|(name, _, _)| *name == path)?;
    let mut response =
        Response::new(Either::Left(Full::from(Bytes::from_static(content.as_bytes()))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // The next version of the program has other files.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Some(response)
}

/// The places for streams.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(VIEWERS))
}

/// A message each second (HTML standard, "Server-sent events"), for so long.
pub(super) fn events(
    exporter: &Rc<Exporter>,
    places: &Arc<Semaphore>,
    lasts: Duration,
) -> Response<Body> {
    let Ok(place) = places.clone().try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many viewers\n").map(Either::Left);
    };
    let (mut sender, body) = Channel::new(WAITING);
    let exporter = exporter.clone();
    // It ends with the connection, if that ends earlier.
    drop(spawn_local(async move {
        let _ = timeout(lasts, send(&exporter, &mut sender)).await;
        // Before the stream ends: the browser then connects again.
        drop(place);
        drop(sender);
    }));
    let mut response = Response::new(Either::Right(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn send(exporter: &Exporter, sender: &mut Sender<Bytes>) {
    let mut rounds = rounds(PACE);
    let mut next = Bytes::from_static(RECONNECT.as_bytes());
    while sender.send_data(next).await.is_ok() {
        rounds.tick().await;
        // The page is being looked at: the hosts with the most traffic are followed.
        exporter.asked.set(Some(clock::now()));
        let gathered = exporter.gather().await;
        next = message(exporter, &gathered).unwrap_or(Bytes::from_static(BUSY.as_bytes()));
    }
}

/// What a message has.
#[derive(Debug, Serialize)]
struct Content<'a> {
    #[serde(flatten)]
    board: Board<'a>,
    /// The newest first.
    changes: Vec<ShownChange>,
}

/// A message; none if the event loop did not respond.
fn message(exporter: &Exporter, gathered: &Gathered) -> Option<Bytes> {
    let report = gathered.report.as_deref()?;
    let talkers = exporter.talkers.borrow();
    let talkers = talkers.as_ref().map(|(top, _)| top);
    let board = Board::new(report, &gathered.host, talkers);
    let changes = exporter.changes.borrow().shown(|id| report.node_name(id));
    match serde_json::to_string(&Content { board, changes }) {
        Ok(json) => Some(Bytes::from(format!("data: {json}\n\n"))),
        Err(error) => {
            tracing::warn!(%error, "cannot write what the page shows");
            None
        }
    }
}
