//! Checking SigV4 signatures: the request is signed again with the secret that the lab knows,
//! and the two signatures must be the same.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use hyper::HeaderMap;

use super::error::ApiError;
use super::principal::{Credentials, Principal};
use super::service::Service;
use super::world::World;

/// How far a signature's time may be from the service's.
const SKEW: Duration = Duration::from_mins(5);

/// The parts of a request that a signature covers.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// What an `Authorization` header says.
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    headers: Vec<&'a str>,
    signature: &'a str,
}

/// Finds out who signed a request.
///
/// # Errors
/// `AuthFailure` and its like, with EC2's codes.
pub(super) fn principal(
    world: &World,
    request: &Signed<'_>,
    now: Duration,
) -> Result<Principal, ApiError> {
    let service = Service::of(request.path);
    signer(world, request, service, now).map_err(|error| service.unsigned(error))
}

fn signer(
    world: &World,
    request: &Signed<'_>,
    service: Service,
    now: Duration,
) -> Result<Principal, ApiError> {
    let header = text(request.headers, "authorization").ok_or_else(missing)?;
    let authorization = Authorization::parse(header).ok_or_else(malformed)?;
    let stamp = text(request.headers, "x-amz-date").ok_or_else(missing)?;
    let time = parse_stamp(stamp).ok_or_else(malformed)?;
    let Some((principal, keys)) = world.key(authorization.access_key_id) else {
        return Err(refused("AWS was not able to validate the provided access credentials"));
    };
    if !stamp.starts_with(authorization.date)
        || authorization.region != service.region(world.settings())
        || authorization.service != service.name()
    {
        return Err(service.out_of_scope());
    }
    let clock = world.settings().epoch + now;
    let apart = clock.duration_since(time).unwrap_or_else(|early| early.duration());
    if apart > SKEW {
        return Err(ApiError::client(
            "RequestExpired",
            "Request has expired: its signature is more than 5 minutes away from the time here",
        ));
    }
    if keys.expires.is_some_and(|expires| expires <= now) {
        return Err(ApiError::client("RequestExpired", "Request has expired."));
    }
    let token = text(request.headers, "x-amz-security-token");
    let covered = |name: &str| authorization.headers.contains(&name);
    let complete = covered("host")
        && covered("x-amz-date")
        && (token.is_none() || covered("x-amz-security-token"));
    if token != keys.session_token.as_deref() || !complete {
        return Err(refused("AWS was not able to validate the provided access credentials"));
    }
    if expected(request, &authorization, keys, time)? != authorization.signature {
        return Err(ApiError::new(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check \
             your AWS Secret Access Key and signing method. Consult the service documentation for \
             details.",
        ));
    }
    Ok(principal.clone())
}

/// The signature that the request should have.
fn expected(
    request: &Signed<'_>,
    authorization: &Authorization<'_>,
    keys: &Credentials,
    time: SystemTime,
) -> Result<String, ApiError> {
    let hashed = authorization.headers.contains(&"x-amz-content-sha256");
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    if hashed {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let token = keys.session_token.clone();
    let identity =
        SdkCredentials::new(&keys.access_key_id, &keys.secret_access_key, token, None, "lab")
            .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(authorization.region)
        .name(authorization.service)
        .time(time)
        .settings(settings)
        .build()
        .map_err(|_| malformed())?
        .into();
    let covered = authorization.headers.iter();
    let headers: Vec<(&str, &str)> = covered
        .filter(|name| !matches!(**name, "x-amz-date" | "x-amz-security-token"))
        .filter_map(|name| Some((*name, text(request.headers, name)?)))
        .collect();
    let host = text(request.headers, "host").unwrap_or("ec2");
    let uri = format!("http://{host}{}", request.path);
    let body = SignableBody::Bytes(request.body);
    let signable = SignableRequest::new(request.method, uri, headers.into_iter(), body)
        .map_err(|_| malformed())?;
    let output = sign(signable, &params).map_err(|_| malformed())?;
    Ok(output.signature().to_owned())
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let rest = header.strip_prefix("AWS4-HMAC-SHA256")?;
        let field =
            |name: &str| rest.split(',').map(str::trim).find_map(|part| part.strip_prefix(name));
        let mut scope = field("Credential=")?.split('/');
        let access_key_id = scope.next()?;
        let (date, region, service) = (scope.next()?, scope.next()?, scope.next()?);
        Some(Self {
            access_key_id,
            date,
            region,
            service,
            headers: field("SignedHeaders=")?.split(';').collect(),
            signature: field("Signature=")?,
        })
    }
}

/// Reads `20260102T030405Z`.
fn parse_stamp(text: &str) -> Option<SystemTime> {
    if text.len() != 16 || !text.is_ascii() {
        return None;
    }
    let (date, time) = (&text[..8], &text[9..15]);
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..8],
        &time[..2],
        &time[2..4],
        &time[4..6]
    );
    humantime::parse_rfc3339(&iso).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn refused(message: &str) -> ApiError {
    ApiError::new(401, "AuthFailure", message)
}

fn missing() -> ApiError {
    ApiError::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
}

fn malformed() -> ApiError {
    ApiError::client(
        "IncompleteSignature",
        "The request signature does not conform to AWS standards",
    )
}
