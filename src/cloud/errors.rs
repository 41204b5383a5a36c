//! From the SDK's errors to the few kinds that make a difference.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::types::{CloudFault, CloudFaultKind};

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
            (
                CloudFaultKind::of_error(code, text, status),
                format!("{code}: {text} (HTTP {status})"),
            )
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let kind = CloudFaultKind::of_status(status);
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
