//! One HTTPS request, by the client that the AWS SDK uses too.

use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use http_body_util::{BodyExt, Collected, Limited};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::errors::chain;

/// The most that is read of a reply, in bytes.
const REPLY_MAX: usize = 16 * 1024;

/// A client for a few requests. Connections are not kept.
#[derive(Debug)]
pub(crate) struct Https(Connector);

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body, as far as it is text and not longer than [`REPLY_MAX`]. It may hold anything:
    /// escape it before it is shown.
    pub(crate) text: String,
}

impl Https {
    /// A client that trusts these certificates, in PEM, or those of the host. The error says what
    /// is wrong with them.
    pub(crate) fn new(roots: Option<&[u8]>) -> Result<Self, String> {
        let builder = Connector::builder().pool_max_idle_per_host(0);
        let mut builder = builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        if let Some(pem) = roots {
            check(pem)?;
            let store = TrustStore::empty().with_pem_certificate(pem);
            let context = TlsContext::builder().with_trust_store(store).build();
            builder = builder.tls_context(context.map_err(|error| chain(&error))?);
        }
        Ok(Self(builder.build()))
    }

    /// Posts a body and waits up to `limit` for the reply. The error says why there is none.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Reply, String> {
        let exchange = self.exchange(url, headers, body);
        let late = || format!("no reply within {}", humantime::format_duration(limit));
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(
        &self,
        url: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    ) -> Result<Reply, String> {
        let mut request = HttpRequest::new(body.into());
        request.set_method("POST").map_err(|error| chain(&error))?;
        request.set_uri(url).map_err(|error| chain(&error))?;
        for (name, value) in headers {
            request.headers_mut().try_insert(name, value).map_err(|error| chain(&error))?;
        }
        let response = self.0.call(request).await.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        // The status is what counts: a body that does not come is an empty one.
        let body = Limited::new(response.into_body(), REPLY_MAX).collect().await;
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        Ok(Reply { status, text: String::from_utf8_lossy(&body).trim().to_owned() })
    }
}

/// Checks that there are certificates, and that all of them can be parsed.
fn check(pem: &[u8]) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        store.add(certificate).map_err(|error| format!("has a broken certificate: {error}"))?;
    }
    if store.is_empty() { Err("has no certificate in PEM".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_cannot_be_used_are_an_error_and_no_panic() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        for (pem, what) in [("", "no certificate"), (broken, "broken"), (torn, "")] {
            let error = Https::new(Some(pem.as_bytes())).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error() {
        let limit = Duration::from_secs(5);
        let https = Https::new(None).unwrap();
        // Port 9 of the loopback address: nothing listens there.
        let error = https.post("https://127.0.0.1:9/", Vec::new(), Vec::new(), limit).await;
        assert!(error.is_err(), "{error:?}");
    }
}
