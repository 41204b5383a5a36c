//! The Route 53 calls that only look.

use super::zone::{Change, Key, RecordSet, Zone, full_name, name_servers};
use super::{CHANGE_PREFIX, ZONE_PREFIX, bare_id, invalid_input, zone};
use crate::ec2::error::ApiError;
use crate::ec2::model::State;
use crate::ec2::params::Params;
use crate::ec2::world::Ctx;
use crate::ec2::xml::XmlBody;

/// Most records and most zones on a page.
const MOST_RECORDS: usize = 300;
const MOST_ZONES: usize = 100;

pub(in crate::ec2) fn get_change(
    state: &State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let mut body = XmlBody::new();
    show_change(&mut body, find_change(state, params.need("Id")?)?, ctx);
    Ok(body)
}

/// Finds a change of any zone.
pub(in crate::ec2) fn find_change<'a>(state: &'a State, id: &str) -> Result<&'a Change, ApiError> {
    let id = bare_id(id);
    let mut changes = state.zones.values().flat_map(|zone| &zone.changes);
    changes.find(|change| change.id == id).ok_or_else(|| {
        let message = format!("A change with the specified change ID does not exist: {id}");
        ApiError::new(404, "NoSuchChange", message)
    })
}

/// Writes a `ChangeInfo`.
pub(super) fn show_change(x: &mut XmlBody, change: &Change, ctx: &Ctx<'_>) {
    x.nest("ChangeInfo", |x| {
        x.put("Id", format!("{CHANGE_PREFIX}{}", change.id));
        x.put("Status", if change.synced <= ctx.now { "INSYNC" } else { "PENDING" });
        x.put("SubmittedAt", ctx.settings.stamp(change.submitted));
        x.maybe("Comment", change.comment.as_ref());
    });
}

pub(in crate::ec2) fn list_records(
    state: &State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let zone = zone(state, params.need("HostedZoneId")?)?;
    let size = page_size(params, MOST_RECORDS)?;
    let first = match (params.get("StartRecordName"), params.get("StartRecordType")) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(invalid_input("The request has a record type but no record name"));
        }
        (Some(name), kind) => {
            let full = full_name(name);
            let full = full.ok_or_else(|| invalid_input(format!("'{name}' is no name")))?;
            Some(Key::new(&full, kind.unwrap_or_default()))
        }
    };
    let mut rest =
        zone.records().iter().filter(|(key, _)| first.as_ref().is_none_or(|first| *key >= first));
    let page: Vec<&RecordSet> = rest.by_ref().take(size).map(|(_, record)| record).collect();
    let next = rest.next().map(|(_, record)| record);
    let mut body = XmlBody::new();
    body.nest("ResourceRecordSets", |x| {
        for record in page {
            x.nest("ResourceRecordSet", |x| show_record(x, record));
        }
    });
    body.put("IsTruncated", next.is_some());
    body.maybe("NextRecordName", next.map(|record| &record.name));
    body.maybe("NextRecordType", next.map(|record| &record.kind));
    body.put("MaxItems", size);
    Ok(body)
}

fn show_record(x: &mut XmlBody, record: &RecordSet) {
    x.put("Name", &record.name);
    x.put("Type", &record.kind);
    x.put("TTL", record.ttl);
    x.nest("ResourceRecords", |x| {
        for value in &record.values {
            x.nest("ResourceRecord", |x| x.put("Value", value));
        }
    });
}

pub(in crate::ec2) fn get_zone(
    state: &State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let zone = zone(state, params.need("HostedZoneId")?)?;
    let mut body = XmlBody::new();
    body.nest("HostedZone", |x| show_zone(x, zone));
    body.nest("DelegationSet", |x| {
        x.nest("NameServers", |x| {
            for server in name_servers() {
                x.put("NameServer", server.trim_end_matches('.'));
            }
        });
    });
    Ok(body)
}

pub(in crate::ec2) fn list_zones(
    state: &State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let size = page_size(params, MOST_ZONES)?;
    let (name, id) = (params.get("DNSName"), params.get("HostedZoneId"));
    let first = match (name, id) {
        (None, Some(_)) => return Err(invalid_input("The request has a zone id but no name")),
        (None, None) => None,
        (Some(name), id) => {
            let full = full_name(name).ok_or_else(|| {
                ApiError::client("InvalidDomainName", format!("'{name}' is no domain name"))
            })?;
            Some((Key::new(&full, ""), id.map(bare_id).unwrap_or_default().to_owned()))
        }
    };
    let place = |zone: &Zone| (Key::new(zone.name(), ""), zone.id.clone());
    let mut zones: Vec<&Zone> = state.zones.values().collect();
    zones.sort_by_key(|zone| place(zone));
    zones.retain(|zone| first.as_ref().is_none_or(|first| place(zone) >= *first));
    let next = zones.get(size).copied();
    zones.truncate(size);
    let mut body = XmlBody::new();
    body.nest("HostedZones", |x| {
        for zone in zones {
            x.nest("HostedZone", |x| show_zone(x, zone));
        }
    });
    body.maybe("DNSName", name);
    body.maybe("HostedZoneId", id);
    body.put("IsTruncated", next.is_some());
    body.maybe("NextDNSName", next.map(Zone::name));
    body.maybe("NextHostedZoneId", next.map(|zone| &zone.id));
    body.put("MaxItems", size);
    Ok(body)
}

fn show_zone(x: &mut XmlBody, zone: &Zone) {
    x.put("Id", format!("{ZONE_PREFIX}{}", zone.id));
    x.put("Name", zone.name());
    x.put("CallerReference", format!("lab-{}", zone.id));
    x.nest("Config", |x| x.put("PrivateZone", false));
    x.put("ResourceRecordSetCount", zone.records().len());
}

/// The size of a page: what was asked for, but no more than there may be.
fn page_size(params: &Params, most: usize) -> Result<usize, ApiError> {
    let Some(text) = params.get("MaxItems") else { return Ok(most) };
    let size = text.parse::<usize>().ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| invalid_input(format!("'{text}' is no number of items")))?;
    Ok(size.min(most))
}
