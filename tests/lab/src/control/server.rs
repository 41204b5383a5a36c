//! Answering on the control socket.

use std::convert::Infallible;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::task::{JoinSet, spawn_blocking};

use super::protocol::{Called, NetChange, Output, Request, Status, Timeline};
use crate::daemon::shared::{Happening, Order, Power, Shared};
use crate::ec2::{Params, Principal};
use crate::guest::processes;
use crate::net::internet::INTERNET_HOST;
use crate::net::resolver::RESOLVER;
use crate::process;

/// The longest request.
const LONGEST: usize = 1 << 20;
/// How a program that runs in the internet, not on an instance, is addressed.
const INTERNET: &str = "internet";

/// How long requests may go on once the lab ends: the one that ended it is answered at once.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves the control socket until `ended` resolves, and then what is under way.
pub async fn serve(shared: Arc<Shared>, listener: UnixListener, ended: impl Future) {
    let mut connections = JoinSet::new();
    let mut ended = pin!(ended);
    loop {
        let stream = tokio::select! {
            _ = &mut ended => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => break,
            },
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let answer = service_fn(move |request| respond(Arc::clone(&shared), request));
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away is no concern of the lab.
            drop(http.serve_connection(TokioIo::new(stream), answer).await);
        });
    }
    let answered = async { while connections.join_next().await.is_some() {} };
    drop(tokio::time::timeout(LAST_ANSWERS, answered).await);
}

async fn respond(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match handle(&shared, request).await {
        Ok(value) => (StatusCode::OK, value.to_string()),
        Err(problem) => (StatusCode::BAD_REQUEST, format!("{problem:#}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    Ok(response)
}

async fn handle(shared: &Arc<Shared>, request: hyper::Request<Incoming>) -> Result<Value> {
    let body = Limited::new(request.into_body(), LONGEST).collect().await;
    let body = body.map_err(|problem| anyhow::anyhow!("cannot read the request: {problem}"))?;
    let request = serde_json::from_slice(&body.to_bytes()).context("not a request")?;
    match request {
        Request::Status { after, limit_ms } => json(status(shared, after, limit_ms).await),
        Request::Timeline => {
            let calls = shared.world.lock().history().to_vec();
            json(Timeline { events: shared.state().timeline.clone(), calls })
        }
        Request::News { events, calls } => {
            let calls = shared.world.lock().history_after(calls).to_vec();
            let events = shared.state().timeline.get(events..).unwrap_or_default().to_vec();
            json(Timeline { events, calls })
        }
        Request::Exec { host, argv, input, limit_ms } => {
            let limit = Duration::from_millis(limit_ms);
            let shared = Arc::clone(shared);
            json(spawn_blocking(move || exec(&shared, &host, &argv, &input, limit)).await??)
        }
        Request::Spawn { host, argv } => {
            let shared = Arc::clone(shared);
            json(spawn_blocking(move || spawn(&shared, &host, &argv)).await??)
        }
        Request::Kill { host, process } => json(kill(shared, &host, process)?),
        Request::Console { host } => json(console(shared, &host)?),
        Request::Ec2 { action, params } => json(call(shared, &action, params)),
        Request::ApiFaults { faults } => {
            *shared.world.lock().faults_mut() = faults;
            Ok(Value::Null)
        }
        Request::AddApiFault { rule } => {
            shared.world.lock().faults_mut().add(rule);
            Ok(Value::Null)
        }
        Request::RolePolicy { profile, policy } => {
            shared.world.lock().set_role_policy(&profile, policy);
            Ok(Value::Null)
        }
        Request::Timings { timings } => {
            *shared.world.lock().timings_mut() = timings;
            shared.world.ring();
            Ok(Value::Null)
        }
        Request::Metadata { host, path, value } => metadata(shared, &host, path, value),
        Request::Net(change) => json(net(shared, change).await?),
        Request::Freeze { host } => json(kernel(shared, host, Power::Frozen).await?),
        Request::Thaw { host } => json(kernel(shared, host, Power::On).await?),
        Request::Panic { host } => json(kernel(shared, host, Power::Panicked).await?),
        Request::Measure(order) => {
            let (netns, resolver) = match order.host.as_str() {
                INTERNET => (shared.internet.clone(), INTERNET_HOST),
                host => (shared.place(host)?.netns, RESOLVER.parse()?),
            };
            let meters = Arc::clone(shared);
            let start = move || meters.meters.start(&order, &netns, resolver, meters.clock);
            json(spawn_blocking(start).await??)
        }
        Request::Measured { meter } => {
            let meters = Arc::clone(shared);
            json(spawn_blocking(move || meters.meters.stop(meter)).await??)
        }
        Request::Probes { meter, seen } => json(shared.meters.probes(meter, seen)?),
        Request::SoFar { meter } => json(shared.meters.so_far(meter)?),
        Request::Resolve { name } => json(shared.world.lock().resolve(&name, shared.clock.now())),
        Request::Down => json(shared.order(Order::Down).await?),
    }
}

fn metadata(shared: &Shared, host: &str, path: String, value: Option<String>) -> Result<Value> {
    let key = (shared.host(host)?.view.instance, path);
    let metadata = &mut shared.state().metadata;
    match value {
        Some(value) => metadata.insert(key, value),
        None => metadata.remove(&key),
    };
    Ok(Value::Null)
}

fn json(value: impl Serialize) -> Result<Value> {
    serde_json::to_value(value).context("an answer that JSON cannot say")
}

async fn status(shared: &Shared, after: Option<u64>, limit_ms: u64) -> Status {
    let mut version = shared.version();
    if let Some(after) = after {
        let newer = version.wait_for(|version| *version > after);
        // Whether something changed or the time is up: the answer is how it stands.
        drop(tokio::time::timeout(Duration::from_millis(limit_ms), newer).await);
    }
    let number = *version.borrow();
    let state = shared.state();
    Status {
        version: number,
        now_ms: shared.clock.now().as_secs_f64() * 1e3,
        hosts: state.hosts.values().map(|host| host.view.clone()).collect(),
        routes: state.routes.clone(),
        faults: state.faults.clone(),
        account: shared.account.clone(),
        problems: state.problems.clone(),
    }
}

fn exec(
    shared: &Shared,
    host: &str,
    argv: &[String],
    input: &str,
    limit: Duration,
) -> Result<Output> {
    use std::os::unix::process::ExitStatusExt;
    let done = if host == INTERNET {
        let (program, arguments) = argv.split_first().context("no command given")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(shared.account.operator_environment());
        let child = shared.internet.run(|| {
            process::piped(&mut command).spawn().with_context(|| format!("cannot run `{program}`"))
        })?;
        process::finish(child, input.as_bytes(), limit)?
    } else {
        shared.place(host)?.run(argv, input.as_bytes(), limit)?
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = done.status.code();
    Ok(Output {
        code: code.unwrap_or_else(|| 128 + done.status.signal().unwrap_or_default()),
        stdout: text(&done.stdout),
        stderr: text(&done.stderr),
    })
}

fn spawn(shared: &Shared, host: &str, argv: &[String]) -> Result<()> {
    let (program, arguments) = argv.split_first().context("no command given")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = if host == INTERNET {
        command.envs(shared.account.operator_environment());
        shared.internet.run(|| Ok(command.spawn()?))?
    } else {
        shared.place(host)?.start(&mut command)?
    };
    std::thread::spawn(move || child.wait());
    Ok(())
}

fn kill(shared: &Shared, host: &str, process: String) -> Result<usize> {
    let place = shared.place(host)?;
    let count = processes::signal_named(place.init, &process, Signal::SIGKILL)?;
    shared.note(Happening::Killed { host: host.to_owned(), process, count });
    Ok(count)
}

fn console(shared: &Shared, host: &str) -> Result<String> {
    let view = shared.host(host)?.view;
    let boots = (0..=view.boot)
        .filter_map(|boot| std::fs::read_to_string(shared.console(&view.name, boot)).ok());
    Ok(boots.collect())
}

fn call(
    shared: &Shared,
    action: &str,
    params: std::collections::BTreeMap<String, String>,
) -> Called {
    let now = shared.clock.now();
    let params = params.into_iter().fold(Params::new(), |all, (key, value)| all.with(&key, value));
    let answer = shared.world.lock().call(&Principal::Operator, action, &params, now);
    shared.world.ring();
    match answer {
        Ok(body) => Called { body: body.as_str().to_owned(), error: None, message: String::new() },
        Err(error) => {
            Called { body: String::new(), error: Some(error.code), message: error.message }
        }
    }
}

async fn net(shared: &Shared, change: NetChange) -> Result<()> {
    if let Some(host) = change.host() {
        shared.host(host)?;
    }
    let change = Box::new(move |faults: &mut _| change.apply(faults));
    shared.order(|answer| Order::Faults(change, answer)).await
}

async fn kernel(shared: &Shared, host: String, power: Power) -> Result<()> {
    let name = shared.host(&host)?.view.name;
    shared.order(|answer| Order::Kernel(name, power, answer)).await
}
