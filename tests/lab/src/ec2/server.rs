//! The APIs over HTTP/1.1: EC2's Query protocol, and Route 53's REST on the same address.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::actions;
use super::error::ApiError;
use super::params::Params;
use super::route53;
use super::service::Service;
use super::sign::{self, Signed};
use super::world::World;
use super::xml;

/// Longest request body, as on EC2 more than any sane call needs.
const BODY: usize = 256 * 1024;
/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 1_024;
/// How long a connection may take to send its request's head.
const PATIENCE: Duration = Duration::from_mins(1);

/// Tells the time since the lab began.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A world that several parties look at, and a bell that rings when it has changed.
#[derive(Debug, Clone)]
pub struct SharedWorld {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    world: Mutex<World>,
    bell: Notify,
}

impl SharedWorld {
    /// Shares a world.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { inner: Arc::new(Inner { world: Mutex::new(world), bell: Notify::new() }) }
    }

    /// Looks at the world or changes it; not to be held across an await. Whoever changes it rings.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.inner.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the world has changed.
    pub fn ring(&self) {
        self.inner.bell.notify_waiters();
    }

    /// The next ring. Take the future before looking at the world, so that none is missed.
    pub fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.inner.bell.notified()
    }
}

/// What happens to a connection instead of an answer.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("the reply is lost on purpose")]
    LostReply,
    #[error("the connection is reset on purpose")]
    Unreachable,
}

/// Serves the API until the future is dropped.
///
/// # Errors
/// Where the listener fails for good.
pub async fn serve(world: SharedWorld, listener: TcpListener, clock: Clock) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let (world, clock) = (world.clone(), Arc::clone(&clock));
        connections.spawn(async move {
            if let Err(error) = converse(stream, world, clock).await {
                tracing::debug!(%error, "a connection to the EC2 API ended");
            }
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection.
async fn converse(stream: TcpStream, world: SharedWorld, clock: Clock) -> anyhow::Result<()> {
    let handle = socket2::Socket::from(stream.as_fd().try_clone_to_owned()?);
    let service = hyper::service::service_fn(|request| {
        let (world, clock) = (world.clone(), Arc::clone(&clock));
        let handle = &handle;
        async move {
            let answered = answer(request, &world, &clock).await;
            if matches!(answered, Err(Silence::Unreachable)) {
                // Closing with a zero linger time sends RST instead of FIN.
                handle.set_linger(Some(Duration::ZERO)).ok();
            }
            answered
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

/// Answers one request.
async fn answer(
    request: Request<Incoming>,
    world: &SharedWorld,
    clock: &Clock,
) -> Result<Response<Full<Bytes>>, Silence> {
    let (head, body) = request.into_parts();
    let service = Service::of(head.uri.path());
    let Ok(body) = Limited::new(body, BODY).collect().await else {
        let error = ApiError::new(413, "RequestEntityTooLarge", "The request body is too large");
        return Ok(refuse(world, service, &error));
    };
    let body = body.to_bytes();
    let signed = Signed {
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: &head.headers,
        body: &body,
    };
    let read = match service {
        Service::Ec2 => read(&signed),
        Service::Route53 => route53::rest::read(&signed),
    };
    let (params, action) = match read {
        Ok(read) => read,
        Err(error) => return Ok(refuse(world, service, &error)),
    };
    let (principal, conduct) = {
        let mut locked = world.lock();
        match sign::principal(&locked, &signed, clock()) {
            Ok(principal) => {
                let conduct = locked.conduct(&principal, &action, &params);
                (principal, conduct)
            }
            Err(error) => {
                drop(locked);
                return Ok(refuse(world, service, &error));
            }
        }
    };
    if conduct.unreachable {
        return Err(Silence::Unreachable);
    }
    if conduct.hang {
        let never: Infallible = pending().await;
        match never {}
    }
    rest(conduct.before).await;
    let outcome = {
        let mut locked = world.lock();
        let outcome = locked.perform(&principal, &action, &params, &conduct, clock());
        outcome.map(|body| match service {
            Service::Ec2 => body.document(&action, &locked.request_id()),
            Service::Route53 => route53::rest::document(&action, &body),
        })
    };
    world.ring();
    rest(conduct.after).await;
    if conduct.lost_reply {
        return Err(Silence::LostReply);
    }
    Ok(match outcome {
        Ok(document) => respond(StatusCode::OK, document),
        Err(error) => refuse(world, service, &error),
    })
}

/// Reads the parameters, from the body of a POST or the query string of a GET.
fn read(request: &Signed<'_>) -> Result<(Params, String), ApiError> {
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let text = match request.method {
        "POST" => std::str::from_utf8(request.body)
            .map_err(|_| ApiError::client("MalformedQueryString", "The body is not UTF-8"))?,
        "GET" => query,
        _ => return Err(ApiError::new(405, "UnsupportedHttpVerb", "The HTTP verb is not allowed")),
    };
    let params = Params::parse(text)?;
    let action = params
        .get("Action")
        .ok_or_else(|| ApiError::client("MissingAction", "The request is missing an action"))?
        .to_owned();
    if actions::find(&action).is_ok_and(|action| action.service != Service::Ec2) {
        return Err(actions::unknown(&action));
    }
    if params.get("Version") != Some("2016-11-15") {
        return Err(ApiError::client(
            "NoSuchVersion",
            "The requested API version does not exist; this is 2016-11-15",
        ));
    }
    Ok((params, action))
}

fn refuse(world: &SharedWorld, service: Service, error: &ApiError) -> Response<Full<Bytes>> {
    let id = world.lock().request_id();
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let document = match service {
        Service::Ec2 => xml::error_document(error, &id),
        Service::Route53 => route53::rest::error_document(error, &id),
    };
    respond(status, document)
}

fn respond(status: StatusCode, document: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(document)));
    *response.status_mut() = status;
    let content = HeaderValue::from_static("text/xml;charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, content);
    response.headers_mut().insert("server", HeaderValue::from_static("AmazonEC2"));
    response
}

async fn rest(lasting: Duration) {
    if !lasting.is_zero() {
        tokio::time::sleep(lasting).await;
    }
}
