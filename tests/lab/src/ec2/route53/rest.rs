//! REST with XML: which call a request is, and how an answer is written.

use percent_encoding::percent_decode_str;

use super::bare_id;
use super::tree::{self, Element};
use crate::ec2::error::ApiError;
use crate::ec2::params::Params;
use crate::ec2::sign::Signed;
use crate::ec2::xml::{XmlBody, escape};

/// Namespace of every answer of the 2013-04-01 API.
const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";
/// The parts of a record set that the lab has; each of the others changes what a record means.
const PARTS: [&str; 4] = ["Name", "Type", "TTL", "ResourceRecords"];

/// Reads a request: the parameters of a call, and the call.
pub(in crate::ec2) fn read(request: &Signed<'_>) -> Result<(Params, String), ApiError> {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let segments = path.trim_matches('/').split('/').skip(1).map(decode);
    let segments = segments.collect::<Result<Vec<String>, ApiError>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let zone = |id: &str| Params::new().with("HostedZoneId", bare_id(id));
    let (action, params) = match (request.method, segments.as_slice()) {
        ("POST", ["hostedzone", id, "rrset"]) => {
            ("ChangeResourceRecordSets", batch(zone(id), request.body)?)
        }
        ("GET", ["hostedzone", id, "rrset"]) => ("ListResourceRecordSets", zone(id)),
        ("GET", ["hostedzone", id]) => ("GetHostedZone", zone(id)),
        ("GET", ["hostedzonesbyname"]) => ("ListHostedZonesByName", Params::new()),
        ("GET", ["change", id]) => ("GetChange", Params::new().with("Id", bare_id(id))),
        (method, _) => {
            let message = format!("{method} {path} is no call of Route 53 that the lab has");
            return Err(ApiError::new(404, "UnknownOperationException", message));
        }
    };
    Ok((add_query(params, query)?, action.to_owned()))
}

fn add_query(mut params: Params, query: &str) -> Result<Params, ApiError> {
    let given = Params::parse(query)?;
    for name in given.names() {
        let known = match name {
            "name" => "StartRecordName",
            "type" => "StartRecordType",
            "identifier" => "StartRecordIdentifier",
            "maxitems" => "MaxItems",
            "dnsname" => "DNSName",
            "hostedzoneid" => "HostedZoneId",
            other => other,
        };
        params = params.with(known, given.get(name).unwrap_or_default());
    }
    Ok(params)
}

/// The changes of a batch as flat parameters.
fn batch(mut params: Params, body: &[u8]) -> Result<Params, ApiError> {
    let malformed = || {
        let message = "ChangeBatch is not valid, expected ChangeResourceRecordSetsRequest";
        ApiError::client("MalformedInput", message)
    };
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let root = tree::read(text).filter(|root| root.name == "ChangeResourceRecordSetsRequest");
    let root = root.ok_or_else(malformed)?;
    let batch = root.child("ChangeBatch").ok_or_else(malformed)?;
    if let Some(comment) = batch.text_of("Comment") {
        params = params.with("Comment", comment);
    }
    let changes = batch.child("Changes").ok_or_else(malformed)?;
    for (n, change) in changes.children.iter().enumerate() {
        let record = change.child("ResourceRecordSet").ok_or_else(malformed)?;
        if let Some(part) = record.children.iter().find(|it| !PARTS.contains(&&*it.name)) {
            return Err(super::invalid_input(format!(
                "This lab has no record sets with {}, only plain ones",
                part.name
            )));
        }
        let at = format!("Change.{}", n + 1);
        params = params.with(&format!("{at}.Action"), change.text_of("Action").unwrap_or_default());
        for part in ["Name", "Type", "TTL"] {
            if let Some(text) = record.text_of(part) {
                params = params.with(&format!("{at}.{part}"), text);
            }
        }
        let values = record.child("ResourceRecords").map_or(&[][..], |list| &list.children);
        for (m, value) in values.iter().filter_map(value).enumerate() {
            params = params.with(&format!("{at}.Value.{}", m + 1), value);
        }
    }
    Ok(params)
}

fn value(record: &Element) -> Option<&str> {
    record.text_of("Value")
}

fn decode(text: &str) -> Result<String, ApiError> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| super::invalid_input("The path is not valid UTF-8"))?;
    Ok(decoded.into_owned())
}

/// The whole document of a successful call.
pub(in crate::ec2) fn document(action: &str, body: &XmlBody) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<{action}Response xmlns=\"{NAMESPACE}\">{}</{action}Response>",
        body.as_str()
    )
}

/// The whole document of a refused call.
pub(in crate::ec2) fn error_document(error: &ApiError, request_id: &str) -> String {
    let side = if error.status >= 500 { "Receiver" } else { "Sender" };
    format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{side}</Type>\
         <Code>{}</Code><Message>{}</Message></Error><RequestId>{request_id}</RequestId>\
         </ErrorResponse>",
        escape(&error.code),
        escape(&error.message),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;

    fn ask(method: &str, path: &str, body: &str) -> Result<(Params, String), ApiError> {
        let headers = HeaderMap::new();
        read(&Signed { method, path, headers: &headers, body: body.as_bytes() })
    }

    fn record(inside: &str) -> String {
        format!(
            "<ChangeResourceRecordSetsRequest xmlns=\"{NAMESPACE}\"><ChangeBatch><Changes><Change>\
             <Action>UPSERT</Action><ResourceRecordSet>{inside}</ResourceRecordSet></Change>\
             </Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
        )
    }

    #[test]
    fn a_batch_becomes_flat_parameters() {
        let body = record(
            "<Name>a.test</Name><Type>A</Type><TTL>5</TTL><ResourceRecords><ResourceRecord><Value>\
             192.0.2.1</Value></ResourceRecord></ResourceRecords>",
        );
        let (params, action) = ask("POST", "/2013-04-01/hostedzone/Z1/rrset/", &body).unwrap();
        assert_eq!(action, "ChangeResourceRecordSets");
        assert_eq!(
            params.summary(),
            "Change.1.Action=UPSERT Change.1.Name=a.test Change.1.TTL=5 Change.1.Type=A \
             Change.1.Value.1=192.0.2.1 HostedZoneId=Z1"
        );
        let prefixed = "/2013-04-01/hostedzone/%2Fhostedzone%2FZ1/rrset";
        assert_eq!(ask("POST", prefixed, &body).unwrap().0, params);
    }

    #[test]
    fn what_the_lab_does_not_have_is_refused_and_not_passed_over() {
        let path = "/2013-04-01/hostedzone/Z1/rrset";
        let weighted = record("<Name>a</Name><Type>A</Type><Weight>1</Weight>");
        assert_eq!(ask("POST", path, &weighted).unwrap_err().code, "InvalidInput");
        assert_eq!(ask("POST", path, "<x/>").unwrap_err().code, "MalformedInput");
        assert_eq!(ask("DELETE", path, "").unwrap_err().status, 404);
    }

    #[test]
    fn a_listing_is_read_from_the_query() {
        let path = "/2013-04-01/hostedzone/Z1/rrset?maxitems=1&name=a.test&type=A";
        let (params, action) = ask("GET", path, "").unwrap();
        assert_eq!(action, "ListResourceRecordSets");
        assert_eq!(
            params.summary(),
            "HostedZoneId=Z1 MaxItems=1 StartRecordName=a.test StartRecordType=A"
        );
        let (params, action) = ask("GET", "/2013-04-01/change/C1", "").unwrap();
        assert_eq!((action.as_str(), params.get("Id")), ("GetChange", Some("C1")));
    }
}
