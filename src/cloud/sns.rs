//! SNS: one call, `Publish`, by the query protocol (SNS API reference). The SDK's client would be a
//! crate for dozens of calls; what is needed of it, the signature, is a crate of its own.

use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::ec2::{self, Connections};
use super::errors::{chain, unexpected, wall_clock};
use super::https::{Https, Reply};
use crate::config::{Api, TopicArn};
use crate::types::{CloudFault, CloudFaultKind, printable};

/// The API's version.
const VERSION: &str = "2010-03-31";

/// The type of a form.
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// What is escaped in a form: all but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest message, in bytes (SNS API reference, `Publish`: 256 KB, with everything else).
const MESSAGE_MAX: usize = 200_000;

/// The API's name for it.
const CALL: &str = "Publish";

/// Publishes a subject and a text to a topic, with the usual AWS credentials. Without an address of
/// the API, it is that of the topic's region.
pub(crate) async fn publish(
    api: &Api,
    topic: &TopicArn,
    url: Option<&str>,
    (subject, text): (&str, &str),
    limit: Duration,
) -> Result<(), CloudFault> {
    let late = || fault(CloudFaultKind::Unreachable, "no AWS credentials within the time limit");
    let credentials = tokio::time::timeout(limit, credentials(api, topic)).await;
    let identity = credentials.unwrap_or_else(|_| Err(late()))?.into();
    let url = endpoint(url, topic);
    let body = form(topic, subject, text);
    let mut headers = vec![("content-type".to_owned(), FORM.to_owned())];
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(topic.region())
        .name("sns")
        .time(wall_clock())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unexpected(CALL, chain(&error)))?;
    let signature = signature(&url, &headers, &body, &params.into());
    headers.extend(signature.map_err(|why| unexpected(CALL, why))?);
    let https = Https::new(None).map_err(|why| unexpected(CALL, why))?;
    let reply = https.post(&url, headers, body.into_bytes(), limit).await;
    judge(&reply.map_err(|why| fault(CloudFaultKind::Unknown, &why))?)
}

fn fault(kind: CloudFaultKind, message: &str) -> CloudFault {
    CloudFault { kind, call: CALL.to_owned(), message: message.to_owned() }
}

/// What a reply says. An error has `<Code>` and `<Message>` (SNS API reference, "Common errors").
fn judge(reply: &Reply) -> Result<(), CloudFault> {
    let Reply { status, text } = reply;
    if (200..300).contains(status) {
        return Ok(());
    }
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
    };
    let code = element("Code").unwrap_or("no error code");
    let message = element("Message").unwrap_or("no text");
    let kind = match code {
        "Throttled" => CloudFaultKind::Throttled,
        "AuthorizationError" => CloudFaultKind::Denied,
        _ => CloudFaultKind::of_error(code, message, *status),
    };
    Err(fault(kind, &printable(&format!("{code}: {message} (HTTP {status})"))))
}

async fn credentials(
    api: &Api,
    topic: &TopicArn,
) -> Result<aws_credential_types::Credentials, CloudFault> {
    let none = |why: &str| fault(CloudFaultKind::Unreachable, &format!("no credentials: {why}"));
    let shared = Box::pin(ec2::shared(api, Some(topic.region()), Connections::Closed)).await?;
    let provider = shared.credentials_provider().ok_or_else(|| none("there is no source"))?;
    provider.provide_credentials().await.map_err(|error| none(&chain(&error)))
}

/// The headers that sign a request.
fn signature(
    url: &str,
    headers: &[(String, String)],
    body: &str,
    params: &SigningParams<'_>,
) -> Result<Vec<(String, String)>, String> {
    let signed = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let body = SignableBody::Bytes(body.as_bytes());
    let request = SignableRequest::new("POST", url, signed, body).map_err(|error| chain(&error))?;
    let (instructions, _) = sign(request, params).map_err(|error| chain(&error))?.into_parts();
    let added = instructions.headers();
    Ok(added.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The address of the API: as configured, or that of the topic's region (AWS general reference, and
/// the suffixes of the partitions in the SDKs' endpoint data).
fn endpoint(set: Option<&str>, topic: &TopicArn) -> String {
    let suffix = match topic.partition() {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        _ => "amazonaws.com",
    };
    match set {
        Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
        None => format!("https://sns.{}.{suffix}/", topic.region()),
    }
}

fn form(topic: &TopicArn, subject: &str, text: &str) -> String {
    let subject = ascii(subject);
    let fields = [
        ("Action", "Publish"),
        ("Message", head(text, MESSAGE_MAX)),
        ("Subject", subject.as_str()),
        ("TopicArn", topic.as_str()),
        ("Version", VERSION),
    ];
    let fields =
        fields.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)));
    fields.join("&")
}

/// A subject as SNS takes it: ASCII without control characters (SNS API reference, `Publish`).
fn ascii(subject: &str) -> String {
    let plain = |c: char| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' };
    subject.chars().map(plain).collect()
}

/// The begin of a text, of at most `max` bytes.
fn head(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, Sources, resolve};

    fn settings(text: &str) -> Settings {
        let file = Some(("natha.toml".into(), text.to_owned()));
        resolve(&Sources { file, ..Sources::default() }).unwrap().settings
    }

    fn topic(partition: &str, region: &str) -> Settings {
        settings(&format!("notify.sns_topic = \"arn:{partition}:sns:{region}:123456789012:a-b\""))
    }

    #[test]
    fn the_endpoint_is_that_of_the_region_unless_it_is_set() {
        for (partition, region, url) in [
            ("aws", "eu-west-1", "https://sns.eu-west-1.amazonaws.com/"),
            ("aws-cn", "cn-north-1", "https://sns.cn-north-1.amazonaws.com.cn/"),
            ("aws-us-gov", "us-gov-west-1", "https://sns.us-gov-west-1.amazonaws.com/"),
        ] {
            let settings = topic(partition, region);
            assert_eq!(endpoint(None, settings.notify.sns_topic.as_ref().unwrap()), url);
        }
        let settings = topic("aws", "eu-west-1");
        let topic = settings.notify.sns_topic.as_ref().unwrap();
        assert_eq!(endpoint(Some("https://vpce.example"), topic), "https://vpce.example/");
    }

    #[test]
    fn the_form_escapes_everything_that_could_end_a_field() {
        let settings = topic("aws", "eu-west-1");
        let form =
            form(settings.notify.sns_topic.as_ref().unwrap(), "a é\n", "x&Action=Delete é+%");
        assert_eq!(
            form,
            "Action=Publish&Message=x%26Action%3DDelete%20%C3%A9%2B%25&Subject=a%20%3F%3F\
             &TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Aa-b&Version=2010-03-31"
        );
    }

    #[test]
    fn an_error_is_named_by_its_code_and_text() {
        let reply = |status, code: &str| Reply {
            status,
            text: format!(
                "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
                 <Type>Sender</Type><Code>{code}</Code><Message>why not</Message></Error>\
                 </ErrorResponse>"
            ),
        };
        assert_eq!(judge(&Reply { status: 200, text: String::new() }), Ok(()));
        for (status, code, kind) in [
            (403, "AuthorizationError", CloudFaultKind::Denied),
            (400, "Throttled", CloudFaultKind::Throttled),
            (404, "NotFound", CloudFaultKind::Other),
            (500, "InternalError", CloudFaultKind::Unknown),
        ] {
            let fault = judge(&reply(status, code)).unwrap_err();
            assert_eq!(fault.kind, kind, "{code}");
            assert_eq!(fault.message, format!("{code}: why not (HTTP {status})"));
        }
        let bare = judge(&Reply { status: 503, text: "busy".to_owned() }).unwrap_err();
        assert_eq!(bare.kind, CloudFaultKind::Throttled);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(head("éé", 3), "é");
        assert_eq!(head("ab", 3), "ab");
    }
}
