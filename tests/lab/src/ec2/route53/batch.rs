//! ChangeResourceRecordSets.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::zone::{Change, RecordSet, Records, Zone, full_name};
use super::{bare_id, invalid_input, listing, no_such_zone};
use crate::ec2::error::ApiError;
use crate::ec2::model::State;
use crate::ec2::params::Params;
use crate::ec2::world::Ctx;
use crate::ec2::xml::XmlBody;

/// Most changes in a batch.
const MOST: usize = 1_000;
/// Types of records that the lab has.
const KINDS: [&str; 3] = ["A", "AAAA", "TXT"];
/// The longest TTL, in seconds.
const LONGEST: u32 = 2_147_483_647;

/// One change of a batch.
struct Wanted {
    action: String,
    record: RecordSet,
}

/// Applies a batch as a whole or not at all.
pub(in crate::ec2) fn change(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = bare_id(params.need("HostedZoneId")?).to_owned();
    let serial = state.random();
    let zone = state.zones.get_mut(&id).ok_or_else(|| no_such_zone(&id))?;
    let wanted = read(zone, params)?;
    if ctx.prior_request || zone.busy > ctx.now {
        return Err(ApiError::client(
            "PriorRequestNotComplete",
            "The request was rejected because Route 53 was still processing a prior request.",
        ));
    }
    let mut records = zone.records().clone();
    let mut faults = Vec::new();
    for wanted in wanted {
        faults.extend(apply(zone, &mut records, wanted).err());
    }
    if !faults.is_empty() {
        return Err(invalid(&faults));
    }
    let timings = ctx.settings.timings;
    let change = Change {
        id: format!("C0{serial:016X}"),
        submitted: ctx.now,
        synced: ctx.now + timings.dns_sync(),
        comment: params.get("Comment").map(str::to_owned),
    };
    zone.busy = ctx.now + timings.dns_busy();
    zone.accept(records, change);
    let mut body = XmlBody::new();
    if let Some(change) = zone.changes.back() {
        listing::show_change(&mut body, change, ctx);
    }
    Ok(body)
}

fn invalid(faults: &[String]) -> ApiError {
    ApiError::client("InvalidChangeBatch", format!("[{}]", faults.join(", ")))
}

/// Reads the batch: what no zone could take is refused before anything is looked up.
fn read(zone: &Zone, params: &Params) -> Result<Vec<Wanted>, ApiError> {
    let listed = params.structures("Change");
    if listed.is_empty() {
        return Err(invalid_input(
            "Invalid XML ; cvc-complex-type.2.4.b: The content of element 'Changes' is not \
             complete.",
        ));
    }
    if listed.len() > MOST {
        let message = format!("Number of records limit of {MOST} exceeded.");
        return Err(ApiError::client("InvalidChangeBatch", message));
    }
    listed.iter().map(|at| read_one(zone, params, at)).collect()
}

fn read_one(zone: &Zone, params: &Params, at: &str) -> Result<Wanted, ApiError> {
    let text = |field: &str| params.get(&format!("{at}.{field}"));
    let action = text("Action").unwrap_or_default();
    if !["CREATE", "UPSERT", "DELETE"].contains(&action) {
        return Err(invalid_input(format!(
            "Invalid XML ; cvc-enumeration-valid: Value '{action}' is not facet-valid with respect \
             to enumeration '[CREATE, DELETE, UPSERT]'. It must be a value from the enumeration."
        )));
    }
    let (given, kind) = (text("Name").unwrap_or_default(), text("Type").unwrap_or_default());
    let Some(name) = full_name(given) else {
        return Err(invalid(&[format!(
            "FATAL problem: UnsupportedCharacter (Value contains unsupported characters) \
             encountered with '{given}'"
        )]));
    };
    if !zone.contains(&name) {
        let (name, zone) = (&name, zone.name());
        return Err(invalid(&[format!(
            "RRSet with DNS name {name} is not permitted in zone {zone}"
        )]));
    }
    if !KINDS.contains(&kind) {
        return Err(invalid_input(format!(
            "This lab has no records of type '{kind}', only {}",
            KINDS.join(", ")
        )));
    }
    let about = format!("[Action={action}, Name={name}, Type={kind}, SetIdentifier=null]");
    let values = params.list(&format!("{at}.Value"));
    let ttl = match (text("TTL"), values.is_empty()) {
        (None, true) => {
            return Err(invalid_input(format!(
                "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and \
                 ResourceRecords], or TrafficPolicyInstanceId], but found none in Change with \
                 {about}"
            )));
        }
        (Some(_), true) => return Err(missing("ResourceRecords", &about)),
        (None, false) => return Err(missing("TTL", &about)),
        (Some(text), false) => text.parse().ok().filter(|ttl| *ttl <= LONGEST),
    };
    let Some(ttl) = ttl else {
        let text = text("TTL").unwrap_or_default();
        return Err(invalid_input(format!(
            "Invalid XML ; cvc-datatype-valid: '{text}' is no TTL from 0 to {LONGEST}"
        )));
    };
    let record = RecordSet { name, kind: kind.to_owned(), ttl, values };
    Ok(Wanted { action: action.to_owned(), record })
}

fn missing(field: &str, about: &str) -> ApiError {
    invalid_input(format!("Invalid request: Missing field '{field}' in Change with {about}"))
}

/// Carries one change out on the records, or says what is wrong with it.
fn apply(zone: &Zone, records: &mut Records, wanted: Wanted) -> Result<(), String> {
    let Wanted { action, record } = wanted;
    let (key, present) = (record.key(), records.get(&record.key()));
    let about = format!("[name='{}', type='{}']", record.name, record.kind);
    match (action.as_str(), present) {
        ("DELETE", None) => {
            Err(format!("Tried to delete resource record set {about} but it was not found"))
        }
        ("DELETE", Some(present)) if !same(present, &record) => Err(format!(
            "Tried to delete resource record set {about} but the values provided do not match the \
             current values"
        )),
        ("DELETE", Some(_)) => {
            records.remove(&key);
            Ok(())
        }
        ("CREATE", Some(_)) => {
            Err(format!("Tried to create resource record set {about} but it already exists"))
        }
        _ => {
            debug_assert!(zone.contains(&record.name), "names elsewhere were refused");
            check_values(&record)?;
            records.insert(key, record);
            Ok(())
        }
    }
}

/// Whether two record sets hold the same: the order of values does not count.
fn same(a: &RecordSet, b: &RecordSet) -> bool {
    let sorted = |record: &RecordSet| record.values.iter().cloned().collect::<BTreeSet<String>>();
    a.ttl == b.ttl && a.values.len() == b.values.len() && sorted(a) == sorted(b)
}

fn check_values(record: &RecordSet) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for value in &record.values {
        let problem = match record.kind.as_str() {
            "A" if value.parse::<Ipv4Addr>().is_err() => {
                Some("ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)")
            }
            "AAAA" if value.parse::<Ipv6Addr>().is_err() => {
                Some("AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)")
            }
            "TXT" if value.len() < 2 || !value.starts_with('"') || !value.ends_with('"') => {
                Some("InvalidCharacterString (Value should be enclosed in quotation marks)")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            let what = format!("FATAL problem: {problem} encountered with '{value}'");
            return Err(format!("Invalid Resource Record: '{what}'"));
        }
        if !seen.insert(value) {
            return Err(format!("Duplicate Resource Record: '{value}'"));
        }
    }
    Ok(())
}
