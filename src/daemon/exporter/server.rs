//! The listener: HTTP/1.1 without encryption or authentication, for reading only.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::pages::{self, Body};
use super::{Exporter, Gathered, rounds};
use crate::daemon::alerts::Alert;
use crate::daemon::clock;
use crate::daemon::control_socket::{reply, text};
use crate::metrics::{CONTENT_TYPE, unready};

/// Connections served at once; others wait.
const CONNECTIONS: usize = 16;
/// Time limit of one connection. A reader that is slower is dropped.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// Time between two attempts to listen, and the least between two connections that fail.
const RETRY: Duration = Duration::from_secs(5);

/// Serves for as long as the runtime lives. The alert stands while the address cannot be had.
pub(super) async fn serve(address: SocketAddr, exporter: Rc<Exporter>, alert: Alert) {
    accept(listen(address, alert).await, exporter).await;
}

async fn accept(listener: TcpListener, exporter: Rc<Exporter>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let viewers = pages::places();
    let mut failures = rounds(RETRY);
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (exporter, viewers) = (exporter.clone(), viewers.clone());
                drop(spawn_local(async move {
                    let _ = timeout(CONNECTION_LIMIT, talk(stream, exporter, viewers)).await;
                    drop(slot);
                }));
            }
            // Such as no free file: it does not pass at once.
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection to the metrics");
                failures.tick().await;
            }
        }
    }
}

async fn listen(address: SocketAddr, mut alert: Alert) -> TcpListener {
    let mut attempts = rounds(RETRY);
    loop {
        attempts.tick().await;
        match TcpListener::bind(address).await {
            Ok(listener) => {
                alert.set(None).await;
                return listener;
            }
            Err(error) => {
                let text = format!(
                    "metrics and health are not served: cannot listen on {address}: {error}; set \
                     metrics.listen to an address of this host and a free port, or to `off`"
                );
                alert.set(Some(text)).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, exporter: Rc<Exporter>, viewers: Arc<Semaphore>) {
    let service = service_fn(move |request| {
        let (exporter, viewers) = (exporter.clone(), viewers.clone());
        async move { Ok::<_, Infallible>(answer(&request, &exporter, &viewers).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection to the metrics failed");
    }
}

async fn answer(
    request: &Request<Incoming>,
    exporter: &Rc<Exporter>,
    viewers: &Arc<Semaphore>,
) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n").map(Either::Left);
    }
    let path = request.uri().path();
    if path == "/events" {
        return pages::events(exporter, viewers, pages::STREAM);
    }
    if let Some(file) = pages::file(path) {
        return file;
    }
    let respond: fn(&Gathered) -> Response<Full<Bytes>> = match path {
        "/metrics" => {
            exporter.asked.set(Some(clock::now()));
            metrics
        }
        "/healthz" => health,
        "/readyz" => readiness,
        _ => {
            let whole =
                text(StatusCode::NOT_FOUND, "not found; use /, /metrics, /healthz or /readyz\n");
            return whole.map(Either::Left);
        }
    };
    respond(&*exporter.gather().await).map(Either::Left)
}

const SILENT: &str = "the monitor's event loop does not respond\n";

fn metrics(gathered: &Gathered) -> Response<Full<Bytes>> {
    match (&gathered.report, &gathered.page) {
        (Some(_), Some(page)) => reply(StatusCode::OK, CONTENT_TYPE, page.to_vec()),
        (Some(_), None) => text(StatusCode::INTERNAL_SERVER_ERROR, "see the monitor's log\n"),
        (None, _) => text(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

/// Whether the process is alive and its event loop turns.
fn health(gathered: &Gathered) -> Response<Full<Bytes>> {
    match gathered.report {
        Some(_) => text(StatusCode::OK, "ok\n"),
        None => text(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

/// Whether this node can serve what it holds, and take over what others hold.
fn readiness(gathered: &Gathered) -> Response<Full<Bytes>> {
    let Some(report) = &gathered.report else {
        return text(StatusCode::SERVICE_UNAVAILABLE, SILENT);
    };
    let reasons = unready(report, &gathered.host);
    if reasons.is_empty() {
        return text(StatusCode::OK, "ok\n");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, &(reasons.join("\n") + "\n"))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Mutex;
    use tokio::task::LocalSet;

    use super::super::changes::tests::changes;
    use super::super::host::HostReader;
    use super::*;
    use crate::config::Settings;
    use crate::daemon::inbox::{self, Inbox, Note, Notes};
    use crate::status::Report;

    /// A status as the program prints it.
    fn report() -> Report {
        let golden = include_str!("../../../tests/golden/status_resources_json.snap");
        let (_, json) = golden.split_once("\n---\n").unwrap();
        serde_json::from_str(json).unwrap()
    }

    /// The exporter of a host that is no NAT.
    fn exporter(notes: Notes) -> Rc<Exporter> {
        let mut settings = Settings::default();
        settings.host.nat = Some(false);
        Rc::new(Exporter {
            notes,
            reader: HostReader::new(&settings, None),
            peaks: RefCell::default(),
            talkers: RefCell::default(),
            changes: RefCell::new(changes()),
            asked: Cell::new(None),
            gathered: Mutex::new(None),
        })
    }

    /// A listener for its metrics, and the inbox of its event loop.
    async fn serving() -> (SocketAddr, Inbox) {
        let (notes, inbox) = inbox::channel().unwrap();
        let exporter = exporter(notes);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(spawn_local(accept(listener, exporter)));
        (address, inbox)
    }

    /// Answers as the event loop does, and counts how often.
    fn answer_in_its_place(mut inbox: Inbox) -> Rc<Cell<usize>> {
        let asked = Rc::new(Cell::new(0));
        let counted = asked.clone();
        drop(spawn_local(async move {
            while let Some(note) = inbox.next().await {
                let Note::Status(answer) = note else { continue };
                counted.set(counted.get() + 1);
                answer.send(Box::new(report())).unwrap();
            }
        }));
        asked
    }

    async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: natha\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        ask(address, "GET", path).await
    }

    #[tokio::test]
    async fn requests_at_once_share_what_the_event_loop_answers() {
        let test = async {
            let (address, inbox) = serving().await;
            let asked = answer_in_its_place(inbox);
            let paths = ["/metrics", "/healthz", "/readyz", "/metrics"];
            let requests = paths.map(|path| spawn_local(get(address, path)));
            for request in requests {
                let answer = request.await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
            assert!((1..4).contains(&asked.get()), "{}: once a second at most", asked.get());
            let page = get(address, "/metrics").await;
            assert!(page.contains("text/plain; version=0.0.4"), "{page}");
            assert!(page.contains("\nnatha_build_info{version=\"1.2.3\"} 1\n"), "{page}");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn without_the_event_loop_nothing_is_well() {
        let test = async {
            let (address, inbox) = serving().await;
            drop(inbox);
            for path in ["/metrics", "/healthz", "/readyz"] {
                let answer = get(address, path).await;
                assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
                assert!(answer.contains("does not respond"), "{path}: {answer}");
            }
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn the_page_and_its_stream_need_nothing_else() {
        let test = async {
            let (address, inbox) = serving().await;
            let _asked = answer_in_its_place(inbox);
            for (path, part) in
                [("/", "<h1"), ("/board.css", "prefers-color-scheme"), ("/board.js", "EventSource")]
            {
                let answer = get(address, path).await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
                assert!(answer.contains("default-src 'none'"), "{path}: {answer}");
                assert!(answer.contains(part), "{path}: {answer}");
                assert!(!answer.contains("http://") || path == "/board.js", "{path}: {answer}");
            }
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /events HTTP/1.1\r\nHost: natha\r\n\r\n").await.unwrap();
            let mut text = String::new();
            let mut buffer = vec![0; 65_536];
            while text.matches("data: ").count() < 2 {
                let read = stream.read(&mut buffer).await.unwrap();
                assert_ne!(read, 0, "the stream has ended: {text}");
                text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            assert!(text.contains("text/event-stream"), "{text}");
            for part in ["\"findings\":", "\"changes\":[]"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_stream_ends_by_itself_and_its_place_is_free_by_then() {
        let test = async {
            let (notes, inbox) = inbox::channel().unwrap();
            let _asked = answer_in_its_place(inbox);
            let exporter = exporter(notes);
            let places = pages::places();
            let all = places.available_permits();
            let answer = pages::events(&exporter, &places, Duration::ZERO);
            assert_eq!(places.available_permits(), all - 1);
            let Either::Right(stream) = answer.into_body() else { panic!("it is no stream") };
            let text = stream.collect().await.expect("it was not cut off").to_bytes();
            assert!(text.starts_with(b"retry: "), "{text:?}");
            assert_eq!(places.available_permits(), all);
        };
        LocalSet::new().run_until(test).await;
        assert!(pages::STREAM + Duration::from_secs(1) < CONNECTION_LIMIT);
    }

    #[tokio::test]
    async fn what_is_no_request_to_read_changes_nothing() {
        let test = async {
            let (address, inbox) = serving().await;
            let asked = answer_in_its_place(inbox);
            for (method, path, code) in
                [("POST", "/metrics", 405), ("PUT", "/healthz", 405), ("GET", "/command", 404)]
            {
                let answer = ask(address, method, path).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{path}: {answer}");
            }
            assert_eq!(asked.get(), 0);
            let head = ask(address, "HEAD", "/healthz").await;
            assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
        };
        LocalSet::new().run_until(test).await;
    }
}
