//! A small HTTP server that answers as a test tells it to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What becomes of a request.
pub(super) enum Answer {
    /// A response with this status and body.
    Reply(u16, String),
    /// No response for as long as the connection lives.
    Silence,
    /// The connection is closed without a response.
    Close,
}

/// A running server on loopback.
pub(super) struct Fake {
    /// Its URL.
    pub(super) url: String,
    /// The requests so far: method, path and body.
    seen: Arc<Mutex<Vec<String>>>,
    /// How many connections were made.
    connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    /// Starts a server that answers by method, path and body, in one text.
    pub(super) async fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        let connections = Arc::new(AtomicUsize::new(0));
        let made = connections.clone();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                made.fetch_add(1, Ordering::Relaxed);
                let (answer, log) = (answer.clone(), log.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, log) = (answer.clone(), log.clone());
                    async move {
                        let head = format!("{} {}", request.method(), request.uri());
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let text = format!("{head} {}", String::from_utf8_lossy(&body));
                        log.lock().unwrap().push(text.clone());
                        match answer(&text) {
                            Answer::Reply(status, body) => Ok(Response::builder()
                                .status(status)
                                .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
                                .body(Full::new(Bytes::from(body)))
                                .unwrap()),
                            Answer::Silence => std::future::pending().await,
                            Answer::Close => Err("closed on purpose"),
                        }
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { url, seen, connections, server }
    }

    /// How many connections were made so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}
