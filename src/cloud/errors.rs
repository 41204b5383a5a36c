//! From the SDK's errors to the few kinds that make a difference.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::types::{CloudFault, CloudFaultKind};

/// How far this host's wall clock may be from EC2's before a refused signature is put down to it.
/// EC2 takes signatures that are up to 5 minutes off.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(4);

/// What a failed call means.
pub(super) fn fault<E>(call: &str, error: &SdkError<E, HttpResponse>) -> CloudFault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (kind, message) = match error {
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let code = meta.code().unwrap_or("no error code");
            let text = meta.message().unwrap_or("no text");
            let status = service.raw().status().as_u16();
            let date = service.raw().headers().get("date");
            let kind = match classify(code, text, status) {
                CloudFaultKind::Denied if may_be_clock(code, date, wall_clock()) => {
                    CloudFaultKind::OutOfDate
                }
                kind => kind,
            };
            (kind, format!("{code}: {text} (HTTP {status})"))
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let kind = kind_of_status(status);
            (kind, format!("HTTP {status}, an answer that is not EC2's: {}", chain(error)))
        }
        SdkError::TimeoutError(_) => (CloudFaultKind::Unknown, chain(error)),
        _ => (kind_of_transport(error), chain(error)),
    };
    CloudFault { kind, call: call.to_owned(), message }
}

/// A fault that natha itself found in an answer.
pub(super) fn unexpected(call: &str, message: impl Into<String>) -> CloudFault {
    CloudFault { kind: CloudFaultKind::Other, call: call.to_owned(), message: message.into() }
}

/// The kind of an error that EC2 answered with (EC2 user guide, "Error codes").
pub(super) fn classify(code: &str, text: &str, status: u16) -> CloudFaultKind {
    use CloudFaultKind as Kind;
    match code {
        "RequestLimitExceeded"
        | "EC2ThrottledException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException" => Kind::Throttled,
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "Blocked"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "PendingVerification"
        | "SignatureDoesNotMatch"
        | "UnauthorizedException"
        | "UnrecognizedClientException" => Kind::Denied,
        "RequestExpired" => Kind::OutOfDate,
        "IncorrectInstanceState" | "IncorrectState" | "IncorrectSpotRequestState" => Kind::State,
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InstanceLimitExceeded"
        | "VcpuLimitExceeded" => Kind::Capacity,
        "UnsupportedOperation" | "OperationNotPermitted" | "Unsupported" => Kind::Unsupported,
        "RouteAlreadyExists" => Kind::Exists,
        // ReplaceRoute answers this, not a NotFound code, where the table has no such route.
        "InvalidParameterValue" if text.contains("no route defined") => Kind::NotFound,
        _ if code.ends_with(".NotFound") => Kind::NotFound,
        _ => kind_of_status(status),
    }
}

/// The time that the SDK signs with.
#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with EC2's time, and decides nothing"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Whether a refused signature is one of a wrong time: EC2 has the same code for that and for
/// wrong credentials, so the time in the answer's `Date` header decides.
fn may_be_clock(code: &str, date: Option<&str>, now: SystemTime) -> bool {
    if !matches!(code, "AuthFailure" | "SignatureDoesNotMatch") {
        return false;
    }
    let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
    let Some(theirs) = date.and_then(|date| SystemTime::try_from(date).ok()) else { return false };
    let apart = now.duration_since(theirs).unwrap_or_else(|early| early.duration());
    apart > CLOCK_TOLERANCE
}

/// The kind of an answer whose error code says nothing.
fn kind_of_status(status: u16) -> CloudFaultKind {
    match status {
        401 | 403 => CloudFaultKind::Denied,
        429 | 503 => CloudFaultKind::Throttled,
        // A broken answer, be it a success or a server error, does not tell what was done.
        200..=299 | 500..=599 => CloudFaultKind::Unknown,
        _ => CloudFaultKind::Other,
    }
}

/// The kind of an error that came up before any answer.
fn kind_of_transport<E>(error: &SdkError<E, HttpResponse>) -> CloudFaultKind
where
    E: Error + 'static,
{
    if in_chain::<CredentialsError>(error).is_some() {
        return CloudFaultKind::Denied;
    }
    if in_chain::<hyper_util::client::legacy::Error>(error)
        .is_some_and(hyper_util::client::legacy::Error::is_connect)
    {
        return CloudFaultKind::Unreachable;
    }
    match error {
        SdkError::ConstructionFailure(_) => CloudFaultKind::Other,
        // Once connected, silence says nothing about what EC2 did.
        _ => CloudFaultKind::Unknown,
    }
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

/// An error and its sources in one line, repetitions left out.
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
    use crate::types::CloudFaultKind as Kind;

    #[test]
    fn codes_have_their_kinds() {
        let cases = [
            ("RequestLimitExceeded", 503, Kind::Throttled),
            ("EC2ThrottledException", 503, Kind::Throttled),
            ("Unavailable", 503, Kind::Throttled),
            ("UnauthorizedOperation", 403, Kind::Denied),
            ("AuthFailure", 401, Kind::Denied),
            ("RequestExpired", 400, Kind::OutOfDate),
            ("SomethingNew", 403, Kind::Denied),
            ("InvalidRouteTableID.NotFound", 400, Kind::NotFound),
            ("InvalidNetworkInterfaceID.NotFound", 400, Kind::NotFound),
            ("RouteAlreadyExists", 400, Kind::Exists),
            ("IncorrectInstanceState", 400, Kind::State),
            ("IncorrectSpotRequestState", 400, Kind::State),
            ("InsufficientInstanceCapacity", 500, Kind::Capacity),
            ("UnsupportedOperation", 400, Kind::Unsupported),
            ("OperationNotPermitted", 400, Kind::Unsupported),
            ("InternalError", 500, Kind::Unknown),
            ("InvalidParameterCombination", 400, Kind::Other),
        ];
        for (code, status, kind) in cases {
            assert_eq!(classify(code, "", status), kind, "{code}");
        }
    }

    #[test]
    fn an_absent_route_is_told_from_other_bad_parameters() {
        let absent = "There is no route defined for '0.0.0.0/0' in the route table.";
        assert_eq!(classify("InvalidParameterValue", absent, 400), Kind::NotFound);
        assert_eq!(classify("InvalidParameterValue", "bad CIDR", 400), Kind::Other);
    }

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
    }
}
