//! Converts the SDK's errors to the few kinds that make a difference.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::types::{ClockDifference, CloudFault, CloudFaultKind};

/// How far this host's wall clock may be off before it is blamed for a refused signature. EC2
/// accepts signatures that are up to 5 minutes off.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(4);

/// The fault behind a failed call.
pub(super) fn fault<E>(call: &str, error: &SdkError<E, HttpResponse>) -> CloudFault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (kind, message) = match error {
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let bare = service.raw().body().bytes().and_then(bare_error);
            let (code, text) = bare.unwrap_or_default();
            let code = meta.code().or(code).unwrap_or("no error code");
            let text = meta.message().or(text).unwrap_or("no text");
            let status = service.raw().status().as_u16();
            let date = service.raw().headers().get("date");
            let kind = match CloudFaultKind::of_error(code, text, status) {
                CloudFaultKind::Denied if may_be_clock(code, date, wall_clock()) => {
                    CloudFaultKind::OutOfDate
                }
                kind => kind,
            };
            (kind, format!("{code}: {text} (HTTP {status})"))
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let kind = CloudFaultKind::of_status(status);
            (kind, format!("cannot parse the answer (HTTP {status}): {}", chain(error)))
        }
        SdkError::TimeoutError(_) => (CloudFaultKind::Unknown, chain(error)),
        _ => (kind_of_transport(error), chain(error)),
    };
    CloudFault { kind, call: call.to_owned(), message }
}

/// The code and the first text of `InvalidChangeBatch`. Route 53 does not wrap this error like all
/// others, and the SDK finds neither in it.
fn bare_error(body: &[u8]) -> Option<(Option<&str>, Option<&str>)> {
    let body = str::from_utf8(body).ok()?;
    let code = body.contains("<InvalidChangeBatch").then_some("InvalidChangeBatch")?;
    let text = body.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    Some((Some(code), text.map(|(text, _)| text)))
}

/// A fault that natha found in an answer.
pub(super) fn unexpected(call: &str, message: impl Into<String>) -> CloudFault {
    CloudFault { kind: CloudFaultKind::Other, call: call.to_owned(), message: message.into() }
}

/// The time that the SDK signs with.
#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with EC2's time, and decides nothing"
)]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Whether a signature was refused because of this host's clock. EC2 has the same code for that and
/// for wrong credentials, so the answer's `Date` header decides.
fn may_be_clock(code: &str, date: Option<&str>, now: SystemTime) -> bool {
    if !matches!(code, "AuthFailure" | "SignatureDoesNotMatch") {
        return false;
    }
    difference(date, now).is_some_and(|difference| difference.apart > CLOCK_TOLERANCE)
}

/// How far this host's time `now` and the `Date` header of an answer are apart; none without such a
/// header.
pub(super) fn difference(date: Option<&str>, now: SystemTime) -> Option<ClockDifference> {
    let date = DateTime::from_str(date?, DateTimeFormat::HttpDate).ok()?;
    let theirs = SystemTime::try_from(date).ok()?;
    Some(match now.duration_since(theirs) {
        Ok(apart) => ClockDifference { apart, is_ahead: true },
        Err(early) => ClockDifference { apart: early.duration(), is_ahead: false },
    })
}

/// The kind of an error that occurred before any answer.
fn kind_of_transport<E>(error: &SdkError<E, HttpResponse>) -> CloudFaultKind
where
    E: Error + 'static,
{
    if in_chain::<CredentialsError>(error).is_some() {
        return CloudFaultKind::Denied;
    }
    if never_connected(error) {
        return CloudFaultKind::Unreachable;
    }
    match error {
        SdkError::ConstructionFailure(_) => CloudFaultKind::Other,
        // Once connected, a missing answer does not show what EC2 did.
        _ => CloudFaultKind::Unknown,
    }
}

/// Whether there was no connection, so that nothing was sent.
pub(super) fn never_connected(error: &(dyn Error + 'static)) -> bool {
    in_chain::<hyper_util::client::legacy::Error>(error)
        .is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// The first error of type `T` among an error and its sources.
fn in_chain<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(this) = next {
        if let Some(found) = this.downcast_ref::<T>() {
            return Some(found);
        }
        next = this.source();
    }
    None
}

/// An error and its sources in one line, without repetitions.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(this) = next {
        let part = this.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = this.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_refused_by_a_service_that_lives_in_another_time_is_out_of_date() {
        let date = Some("Tue, 15 Nov 1994 08:12:31 GMT");
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_887_151);
        let minutes = |n| then + Duration::from_mins(n);
        assert!(!may_be_clock("AuthFailure", date, minutes(3)));
        assert!(may_be_clock("AuthFailure", date, minutes(5)));
        assert!(may_be_clock("SignatureDoesNotMatch", date, then - Duration::from_hours(2)));
        assert!(!may_be_clock("UnauthorizedOperation", date, minutes(5)));
        assert!(!may_be_clock("AuthFailure", None, minutes(5)));
        assert!(!may_be_clock("AuthFailure", Some("noon"), minutes(5)));
        let ahead = difference(date, minutes(5)).unwrap();
        assert_eq!((ahead.apart, ahead.is_ahead), (Duration::from_mins(5), true));
        let behind = difference(date, then - Duration::from_secs(7)).unwrap();
        assert_eq!((behind.apart, behind.is_ahead), (Duration::from_secs(7), false));
    }
}
