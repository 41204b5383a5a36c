//! Keeps outdated changes from being sent.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_ec2::config::interceptors::{
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};

/// Decides, right before a signed request is handed to the connection, whether it may still be
/// sent.
///
/// Between the decision for a change and its sending, credentials are fetched and this process may
/// be paused for any length of time. The gate keeps outdated changes from being sent. After the
/// gate there is only one poll of an open connection, or opening a new one; and EC2 rejects a
/// request whose signature is older than five minutes.
///
/// A request that is sent again passes the gate again, which then stays open for as much longer as
/// that request has waited for its reply: a pause of this process closes it nevertheless.
#[derive(Clone)]
pub(crate) struct Gate(Arc<dyn Fn(Duration) -> bool + Send + Sync>);

impl Gate {
    /// A gate that is open while `may_send` returns true. It is given the time for which the change
    /// has waited on purpose.
    #[must_use]
    pub(crate) fn new(may_send: impl Fn(Duration) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_send))
    }

    /// Whether the change may be sent now, after it has waited for so long on purpose.
    pub(super) fn is_open(&self, waited: Duration) -> bool {
        (self.0)(waited)
    }

    /// A gate that is always open: for a change that an operator waits for.
    #[must_use]
    pub(crate) fn open() -> Self {
        Self::new(|_| true)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate(…)")
    }
}

/// A gate as an interceptor of the SDK, which records whether it stopped a request.
#[derive(Debug, Clone)]
pub(super) struct Gatekeeper {
    gate: Gate,
    stopped: Arc<AtomicBool>,
}

impl Intercept for Gatekeeper {
    fn name(&self) -> &'static str {
        "natha::Gatekeeper"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_ec2::error::BoxError> {
        // The connector asks the gate again before it sends the request once more.
        context.request_mut().add_extension(self.gate.clone());
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_ec2::error::BoxError> {
        if self.gate.is_open(Duration::ZERO) {
            return Ok(());
        }
        self.stopped.store(true, Ordering::Relaxed);
        Err("too late to send".into())
    }
}

impl Gatekeeper {
    pub(super) fn new(gate: &Gate) -> Self {
        Self { gate: gate.clone(), stopped: Arc::default() }
    }

    /// Whether it stopped the request.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
