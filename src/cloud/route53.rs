//! The Route 53 client: reads and writes of A records.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use tokio::time::{Instant, sleep_until};

use super::ec2::{call, limits};
use super::errors::unexpected;
use super::gate::Gate;
use super::whole::WholeReplies;
use super::writes::{Sent, send};
use crate::config::Api;
use crate::types::{
    CloudFault, CloudFaultKind, DnsName, HostedZoneId, Location, Resource, RouteTarget, shown,
};

/// The least time between two reads: an account has 5 requests per second in total (Route 53
/// developer guide, "Quotas").
const PACE: Duration = Duration::from_millis(250);

/// A record by its zone and name.
type Record = (HostedZoneId, DnsName);

/// A client of the Route 53 API. Clones share connections, the pace of reads, and the pending
/// changes.
///
/// Each call has the time limit `api.timeout` and is sent once.
#[derive(Debug, Clone)]
pub(crate) struct Route53 {
    client: aws_sdk_route53::Client,
    /// The ids of this client's own changes that were `PENDING` when last read.
    changes: Arc<Mutex<BTreeMap<Record, String>>>,
    /// The earliest time of the next read.
    next_read: Arc<Mutex<Instant>>,
}

impl Route53 {
    /// A client with these credentials.
    pub(super) fn with(shared: &SdkConfig, api: &Api) -> Self {
        let mut config = aws_sdk_route53::config::Builder::from(shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(limits(api))
            .interceptor(WholeReplies);
        if let Some(endpoint) = &api.route53_endpoint {
            // The SDK knows the signing region only for the service's own endpoint.
            let region = signing_region(shared.region().map_or("", AsRef::as_ref));
            config = config.endpoint_url(endpoint).region(Region::from_static(region));
        }
        Self {
            client: aws_sdk_route53::Client::from_conf(config.build()),
            changes: Arc::default(),
            next_read: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Where these records lead. One whose change by this client is accepted but not yet on all of
    /// Route 53's servers is [`Location::Pending`].
    pub(crate) async fn records(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(Resource, Location)>, CloudFault> {
        let mut found = Vec::with_capacity(resources.len());
        for resource in resources {
            let Resource::Dns { zone, name, .. } = resource else { continue };
            let seen = if self.is_settling(zone, name).await? {
                Location::Pending
            } else {
                self.record(zone, name).await?
            };
            found.push((resource.clone(), seen));
        }
        Ok(found)
    }

    /// Whether this client's latest change of a record is still pending.
    async fn is_settling(&self, zone: &HostedZoneId, name: &DnsName) -> Result<bool, CloudFault> {
        const CALL: &str = "GetChange";
        let record = (zone.clone(), name.clone());
        let Some(id) = self.changes().get(&record).cloned() else { return Ok(false) };
        self.pace().await;
        let answer = call(CALL, self.client.get_change().id(&id).send()).await;
        let status = match answer {
            Ok(answer) => answer.change_info.map(|info| info.status),
            Err(fault) if fault.kind == CloudFaultKind::NotFound => Some(ChangeStatus::Insync),
            Err(fault) => return Err(fault),
        };
        match status {
            Some(ChangeStatus::Pending) => Ok(true),
            Some(ChangeStatus::Insync) => {
                let mut changes = self.changes();
                // There may be a newer change of the same record by now.
                if changes.get(&record) == Some(&id) {
                    changes.remove(&record);
                    return Ok(false);
                }
                Ok(changes.contains_key(&record))
            }
            other => Err(unexpected(CALL, format!("the answer's status is {other:?}"))),
        }
    }

    async fn record(&self, zone: &HostedZoneId, name: &DnsName) -> Result<Location, CloudFault> {
        const CALL: &str = "ListResourceRecordSets";
        self.pace().await;
        let request = self
            .client
            .list_resource_record_sets()
            .hosted_zone_id(zone.as_str())
            .start_record_name(name.as_str())
            .start_record_type(RrType::A)
            .max_items(1);
        match call(CALL, request.send()).await {
            Ok(answer) => seen(name, answer.resource_record_sets().first()),
            Err(fault) if fault.kind == CloudFaultKind::NotFound => Ok(Location::Absent),
            Err(fault) => Err(fault),
        }
    }

    /// Which of these zones exist, each with its name if its first record shows it: the records of
    /// the zone's own name come first, and some of them (NS, SOA) cannot be removed.
    pub(crate) async fn zones(
        &self,
        ids: &[HostedZoneId],
    ) -> Result<BTreeMap<HostedZoneId, Option<DnsName>>, CloudFault> {
        const CALL: &str = "ListResourceRecordSets";
        let mut found = BTreeMap::new();
        for id in ids {
            self.pace().await;
            let request = self.client.list_resource_record_sets();
            let request = request.hosted_zone_id(id.as_str()).max_items(1);
            match call(CALL, request.send()).await {
                Ok(answer) => {
                    let first = answer.resource_record_sets().first();
                    let apex = first.filter(|set| matches!(set.r#type(), RrType::Ns | RrType::Soa));
                    let name = apex.and_then(|set| plain(set.name()).parse().ok());
                    found.insert(id.clone(), name);
                }
                Err(fault) if fault.kind == CloudFaultKind::NotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(found)
    }

    /// Points a record at an address; creates the record if needed.
    pub(crate) async fn upsert(
        &self,
        zone: &HostedZoneId,
        name: &DnsName,
        ttl: u32,
        address: Ipv4Addr,
        gate: &Gate,
    ) -> Result<Sent, CloudFault> {
        const CALL: &str = "ChangeResourceRecordSets";
        let built =
            batch(name, ttl, address).map_err(|error| unexpected(CALL, error.to_string()))?;
        let request = self
            .client
            .change_resource_record_sets()
            .hosted_zone_id(zone.as_str())
            .change_batch(built);
        let Some(answer) = send!(CALL, gate, request)? else { return Ok(Sent::Expired) };
        // Without an id the change cannot be tracked, and the next read may confirm it early.
        if let Some(info) = answer.change_info {
            let id = info.id.strip_prefix("/change/").unwrap_or(&info.id).to_owned();
            self.changes().insert((zone.clone(), name.clone()), id);
        }
        Ok(Sent::Accepted)
    }

    fn changes(&self) -> std::sync::MutexGuard<'_, BTreeMap<Record, String>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the next read may begin.
    async fn pace(&self) {
        let turn = {
            let mut next = self.next_read.lock().unwrap_or_else(PoisonError::into_inner);
            turn(&mut next, Instant::now())
        };
        sleep_until(turn).await;
    }
}

/// Reserves a time for a read, and moves `next` on.
fn turn(next: &mut Instant, now: Instant) -> Instant {
    let turn = now.max(*next);
    *next = turn + PACE;
    turn
}

/// The signing region of a partition (AWS general reference, "Route 53 endpoints").
fn signing_region(own: &str) -> &'static str {
    if own.starts_with("cn-") {
        "cn-northwest-1"
    } else if own.starts_with("us-gov-") {
        "us-gov-west-1"
    } else {
        "us-east-1"
    }
}

fn batch(
    name: &DnsName,
    ttl: u32,
    address: Ipv4Addr,
) -> Result<ChangeBatch, aws_sdk_route53::error::BuildError> {
    let value = ResourceRecord::builder().value(address.to_string()).build()?;
    let set = ResourceRecordSet::builder()
        .name(name.as_str())
        .r#type(RrType::A)
        .ttl(ttl.into())
        .resource_records(value)
        .build()?;
    let change = Change::builder().action(ChangeAction::Upsert).resource_record_set(set).build()?;
    ChangeBatch::builder().changes(change).build()
}

/// Where a record points, from the first record set at or after its name.
fn seen(name: &DnsName, set: Option<&ResourceRecordSet>) -> Result<Location, CloudFault> {
    let Some(set) = set.filter(|set| plain(set.name()) == name.as_str()) else {
        return Ok(Location::Vacant);
    };
    let other = |what: &str| Ok(Location::At(RouteTarget::Other(what.to_owned())));
    match set.r#type() {
        RrType::A => {}
        // An A record cannot exist beside it.
        RrType::Cname => return other("a CNAME record"),
        _ => return Ok(Location::Vacant),
    }
    if set.set_identifier().is_some() {
        return other("a record with a routing policy");
    }
    if let Some(alias) = set.alias_target() {
        return other(&format!("the alias {}", shown(alias.dns_name())));
    }
    match set.resource_records() {
        [] => other("a record without a value"),
        [one] => {
            let address: Result<Ipv4Addr, _> = one.value().parse();
            address.map(|address| Location::At(RouteTarget::Address(address))).map_err(|_| {
                let text =
                    format!("the A record's value `{}` is not an address", shown(one.value()));
                unexpected("ListResourceRecordSets", text)
            })
        }
        [first, rest @ ..] => other(&format!("{} and {} more", shown(first.value()), rest.len())),
    }
}

/// A name from an answer in natha's form: lower case, without the final dot. Route 53 writes every
/// character other than `a-z 0-9 - _ .` as a backslash and three octal digits.
fn plain(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let mut plain = String::with_capacity(name.len());
    let mut rest = name.as_str();
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        // Anything else stays as it is, and equals none of natha's names.
        plain.push(code.map_or('\\', char::from));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain + rest
}

#[cfg(test)]
mod tests;
