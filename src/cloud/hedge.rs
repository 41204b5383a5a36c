//! Hedged requests: one that stays without a reply is sent again, over a new connection.
//!
//! The name of an API has addresses in several zones. When a zone fails, the connections to its
//! addresses fall silent, and no side closes them. A takeover would then wait for the time limit of
//! its first call, just when a zone has failed. So the client does not wait that long: whichever
//! reply arrives first counts ("The Tail at Scale", Dean and Barroso, 2013).
//!
//! A reply that reports a failure says nothing about the other request, which the API may still
//! carry out. So it counts only when the other one has failed as well. Otherwise the call ends with
//! its time limit, and its outcome is unknown, as without a second request.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::config::ConfigBag;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use tokio::select;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::errors::never_connected;
use super::gate::Gate;

/// How long a request waits for its reply until it is sent again. EC2 usually answers in less.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Time limit for opening a TCP and TLS connection.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Requests that are being sent again at the same time, so that a slow API gets few more requests
/// than before. Others wait for their turn.
const AT_ONCE: usize = 8;

/// Connections that are tried for sending a request again: each goes to another address, and the
/// addresses of a failed zone accept none.
const CONNECTIONS: usize = 3;

/// How long kept connections are not used after one fell silent. The client closes them when they
/// have been idle for that long.
const DISTRUST: Duration = Duration::from_secs(90);

type Reply = Result<HttpResponse, ConnectorError>;

/// A client that sends a request again if it has no reply after a while.
#[derive(Debug)]
pub(super) struct Hedged {
    usual: SharedHttpClient,
    fresh: SharedHttpClient,
    common: Arc<Common>,
}

/// What the connectors of a client share.
#[derive(Debug)]
struct Common {
    patience: Duration,
    turns: Semaphore,
    /// When a connection of the usual client was silent while a new one had a reply.
    silence: Mutex<Option<Instant>>,
}

/// Both ways to send a request, with the time limits of one kind of call.
#[derive(Debug, Clone)]
struct Connector {
    usual: SharedHttpConnector,
    fresh: SharedHttpConnector,
    common: Arc<Common>,
}

impl Hedged {
    /// A client that sends a request by `usual`, and after `patience` again by `fresh`, which makes
    /// a connection for each request.
    pub(super) fn new(
        usual: SharedHttpClient,
        fresh: SharedHttpClient,
        patience: Duration,
    ) -> Self {
        let (turns, silence) = (Semaphore::new(AT_ONCE), Mutex::default());
        Self { usual, fresh, common: Arc::new(Common { patience, turns, silence }) }
    }
}

impl HttpClient for Hedged {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            usual: self.usual.http_connector(settings, components),
            fresh: self.fresh.http_connector(settings, components),
            common: self.common.clone(),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.usual.validate_base_client_config(components, config)?;
        self.fresh.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.usual.validate_final_config(components, config)?;
        self.fresh.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.usual.connector_metadata()
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let usual = if self.common.is_distrusted() { &self.fresh } else { &self.usual };
        let gate = request.extension::<Gate>().cloned();
        let copy = may_be_sent_again(&request).then(|| request.try_clone()).flatten();
        let first = usual.call(request);
        let Some(copy) = copy else { return first };
        let this = self.clone();
        HttpConnectorFuture::new(async move { this.hedge(first, copy, gate).await })
    }
}

impl Connector {
    /// The first reply that reports success: to the request sent first, or to its copy.
    async fn hedge(
        &self,
        first: HttpConnectorFuture,
        copy: HttpRequest,
        gate: Option<Gate>,
    ) -> Reply {
        let mut first = pin!(first);
        if let Ok(reply) = timeout(self.common.patience, &mut first).await {
            return reply;
        }
        let mut again = pin!(self.send_again(copy, gate));
        select! {
            reply = &mut first => match reply {
                Ok(reply) if reply.status().is_success() => Ok(reply),
                failure => together(failure, again.await),
            },
            reply = &mut again => match reply {
                Some(Ok(reply)) if reply.status().is_success() => {
                    self.common.distrust();
                    Ok(reply)
                }
                failure => together(first.await, failure),
            },
        }
    }

    /// The reply to a copy of a request, by a new connection. None if it was not sent, because its
    /// gate had closed.
    async fn send_again(&self, copy: HttpRequest, gate: Option<Gate>) -> Option<Reply> {
        let _turn = self.common.turns.acquire().await.ok()?;
        let mut last = None;
        let mut waited = self.common.patience;
        for _ in 0..CONNECTIONS {
            if gate.as_ref().is_some_and(|gate| !gate.is_open(waited)) {
                break;
            }
            // As long as a connection may take.
            waited += CONNECT_LIMIT;
            tracing::debug!(uri = copy.uri(), "no reply: sending the request again");
            match self.fresh.call(copy.try_clone()?).await {
                Err(error) if never_connected(&error) => last = Some(Err(error)),
                reply => return Some(reply),
            }
        }
        last
    }
}

impl Common {
    fn is_distrusted(&self) -> bool {
        let silence = *self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.is_some_and(|since| since.elapsed() < DISTRUST)
    }

    fn distrust(&self) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Whether the API may get a request twice: a read, or a change with a gate, which sets a state and
/// so does the same when it is repeated. A notice, for one, would arrive twice.
fn may_be_sent_again(request: &HttpRequest) -> bool {
    let reads = |body: &[u8]| body.starts_with(b"Action=Describe");
    request.method() == "GET"
        || request.extension::<Gate>().is_some()
        || request.body().bytes().is_some_and(reads)
}

/// The outcome of a request and of its copy, of which the one that ended first did not succeed.
///
/// A success counts. Otherwise an error that leaves open what the API did comes before a failure
/// that the API reports.
fn together(first: Reply, again: Option<Reply>) -> Reply {
    let succeeded = |reply: &HttpResponse| reply.status().is_success();
    match (first, again) {
        (Ok(reply), _) | (_, Some(Ok(reply))) if succeeded(&reply) => Ok(reply),
        (Err(error), Some(again)) if never_connected(&error) => again,
        (Ok(_), Some(Err(error))) if !never_connected(&error) => Err(error),
        (first, _) => first,
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "it stands beside errors")]
    fn reply(status: u16) -> Reply {
        let status = StatusCode::try_from(status).unwrap();
        Ok(HttpResponse::new(status, "".into()))
    }

    /// An error that leaves open what became of the request.
    fn lost() -> Reply {
        Err(ConnectorError::io("the connection was closed".into()))
    }

    /// The status of an outcome; none for an error.
    fn status(outcome: Reply) -> Option<u16> {
        outcome.ok().map(|reply| reply.status().as_u16())
    }

    #[test]
    fn a_success_counts_then_an_unknown_outcome_then_a_reported_failure() {
        assert_eq!(status(together(reply(200), Some(reply(400)))), Some(200));
        assert_eq!(status(together(reply(503), Some(reply(200)))), Some(200));
        assert_eq!(status(together(lost(), Some(reply(200)))), Some(200));
        assert_eq!(status(together(lost(), Some(reply(400)))), None);
        assert_eq!(status(together(reply(400), Some(lost()))), None);
        assert_eq!(status(together(reply(400), Some(reply(503)))), Some(400));
        assert_eq!(status(together(reply(400), None)), Some(400), "the second was not sent");
    }
}
