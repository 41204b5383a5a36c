//! The instance metadata service, version 2, for every instance: told apart by the address that a
//! request comes from, which the router vouches for.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ipnet::Ipv4Net;
use tokio::net::TcpListener;

use crate::daemon::account::{IAM_ROLE, REGION};
use crate::daemon::shared::Shared;
use crate::dataplane::{Dataplane, Interface};
use crate::ec2::Particulars;

/// The longest life of a token, in seconds.
const LONGEST: u64 = 21_600;
/// The header with the wanted life of a token.
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// The header with the token.
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// The versions that are served besides `latest`: those that cloud-init asks for.
const VERSIONS: [&str; 5] = ["latest", "2021-03-23", "2018-09-24", "2016-09-02", "2009-04-04"];

/// What there is of every interface, where it is there at all.
const OF_INTERFACE: [&str; 16] = [
    "interface-id",
    "device-number",
    "local-hostname",
    "mac",
    "local-ipv4s",
    "network-card-index",
    "owner-id",
    "public-hostname",
    "public-ipv4s",
    "security-groups",
    "subnet-id",
    "subnet-ipv4-cidr-block",
    "vpc-id",
    "vpc-ipv4-cidr-block",
    "vpc-ipv4-cidr-blocks",
    "security-group-ids",
];

/// What there is of every instance, where it is there at all.
const OF_INSTANCE: [&str; 25] = [
    "ami-id",
    "ami-launch-index",
    "ami-manifest-path",
    "block-device-mapping/ami",
    "block-device-mapping/root",
    "events/maintenance/history",
    "events/maintenance/scheduled",
    "hostname",
    "iam/info",
    "instance-action",
    "instance-id",
    "instance-life-cycle",
    "instance-type",
    "local-hostname",
    "local-ipv4",
    "mac",
    "placement/availability-zone",
    "placement/availability-zone-id",
    "placement/region",
    "public-hostname",
    "public-ipv4",
    "reservation-id",
    "security-groups",
    "services/domain",
    "services/partition",
];

/// What there is besides the metadata and the user data.
const DYNAMIC: [&str; 2] = ["fws/instance-monitoring", "instance-identity/document"];

type Tokens = Arc<Mutex<BTreeMap<String, (String, Duration)>>>;

/// Serves every instance of the lab.
pub async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let tokens = Tokens::default();
    while let Ok((stream, peer)) = listener.accept().await {
        let (shared, tokens) = (Arc::clone(&shared), Arc::clone(&tokens));
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let response = respond(&shared, &tokens, peer.ip(), &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away is no concern of the service.
            drop(http.serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}

fn respond(
    shared: &Shared,
    tokens: &Tokens,
    peer: IpAddr,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let now = shared.clock.now();
    let dataplane = shared.world.lock().dataplane(now);
    let Some(instance) = instance_at(&dataplane, peer) else { return plain(404, "") };
    let path = single_slashes(request.uri().path());
    let (method, headers) = (request.method(), request.headers());
    if path == "/latest/api/token" {
        return give_token(tokens, &instance, method, headers, now);
    }
    if needs_token(shared, &instance, headers) && !token_is_good(tokens, &instance, headers, now) {
        return plain(401, "");
    }
    if method != Method::GET {
        return plain(405, "");
    }
    let about = About { shared, dataplane: &dataplane, instance: &instance, now };
    match about.answer(&path) {
        Some(text) => plain(200, &text),
        None => plain(404, ""),
    }
}

/// Clients append an entry of a listing, which has a slash at its end, and another slash.
fn single_slashes(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// Version 1 of the service is there unless the instance requires tokens. A request with a token is
/// judged by it.
fn needs_token(shared: &Shared, instance: &str, headers: &HeaderMap) -> bool {
    let particulars = shared.world.lock().particulars(instance);
    particulars.is_none_or(|it| it.tokens_required) || headers.contains_key(TOKEN)
}

fn instance_at(dataplane: &Dataplane, peer: IpAddr) -> Option<String> {
    let IpAddr::V4(peer) = peer else { return None };
    let mut interfaces = dataplane.interfaces.values();
    interfaces.find(|it| it.addresses.contains(&peer)).map(|it| it.instance.clone())
}

fn plain(status: u16, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let kind = hyper::header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

fn give_token(
    tokens: &Tokens,
    instance: &str,
    method: &Method,
    headers: &HeaderMap,
    now: Duration,
) -> Response<Full<Bytes>> {
    if method != Method::PUT {
        return plain(405, "");
    }
    if headers.contains_key("x-forwarded-for") {
        return plain(403, "");
    }
    let wanted = headers.get(TTL).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let Some(seconds @ 1..=LONGEST) = wanted else { return plain(400, "") };
    let mut random = [0; 24];
    if getrandom::fill(&mut random).is_err() {
        return plain(500, "");
    }
    let token = random.map(|byte| format!("{byte:02x}")).concat();
    let mut known = tokens.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|_, (_, end)| *end > now);
    let end = now + Duration::from_secs(seconds);
    known.insert(token.clone(), (instance.to_owned(), end));
    let mut response = plain(200, &token);
    response.headers_mut().insert(TTL, seconds.into());
    response
}

fn token_is_good(tokens: &Tokens, instance: &str, headers: &HeaderMap, now: Duration) -> bool {
    let token = headers.get(TOKEN).and_then(|value| value.to_str().ok());
    let known = tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let found = token.and_then(|token| known.get(token));
    found.is_some_and(|(owner, end)| owner == instance && *end > now)
}

/// One request about one instance.
struct About<'a> {
    shared: &'a Shared,
    dataplane: &'a Dataplane,
    instance: &'a str,
    now: Duration,
}

impl About<'_> {
    fn answer(&self, path: &str) -> Option<String> {
        let primary = self.interface(|it| it.device_index == 0)?;
        let instance = self.dataplane.instances.get(self.instance)?;
        let path = path.strip_prefix('/')?;
        let (version, path) = path.split_once('/').unwrap_or((path, ""));
        if version.is_empty() {
            return Some(VERSIONS.join("\n"));
        }
        if !VERSIONS.contains(&version) {
            return None;
        }
        let Some(path) = path.strip_prefix("meta-data/") else {
            return match path {
                "" => Some("dynamic\nmeta-data\nuser-data".to_owned()),
                "user-data" => instance.user_data.clone(),
                "meta-data" => self.list(""),
                "dynamic" => entries(DYNAMIC.into_iter(), "", |_| true),
                "dynamic/fws/instance-monitoring" => Some("disabled".to_owned()),
                "dynamic/instance-identity/document" => self.document(primary.1),
                _ => {
                    let directory = format!("{}/", path.strip_prefix("dynamic/")?);
                    entries(DYNAMIC.into_iter(), &directory, |_| true)
                }
            };
        };
        if let Some(text) = self.set_by_hand(path) {
            return Some(text);
        }
        match path {
            "mac" => Some(primary.1.mac.clone()),
            "local-ipv4" => primary.1.addresses.first().map(Ipv4Addr::to_string),
            "hostname" => self.of_interface(primary.0, primary.1, "local-hostname"),
            "public-ipv4" => {
                primary.1.public.get(primary.1.addresses.first()?).map(Ipv4Addr::to_string)
            }
            "local-hostname" | "public-hostname" | "security-groups" => {
                self.of_interface(primary.0, primary.1, path)
            }
            "network/interfaces/macs" => Some(self.macs()),
            "iam/security-credentials" => Some(self.role()),
            "iam/info" => Some(self.profile()),
            _ => self
                .of_instance(path)
                .or_else(|| self.below(path))
                .or_else(|| self.list(&format!("{path}/"))),
        }
    }

    fn of_instance(&self, path: &str) -> Option<String> {
        let Particulars { zone, kind, image, reservation, life_cycle, .. } = self.particulars()?;
        let zone_id = zone_id(&zone);
        let text: &str = match path {
            "ami-id" => &image,
            "ami-launch-index" => "0",
            "ami-manifest-path" => "(unknown)",
            "block-device-mapping/ami" | "block-device-mapping/root" => "/dev/xvda",
            "events/maintenance/history" | "events/maintenance/scheduled" => "[]",
            "instance-action" => "none",
            "instance-id" => self.instance,
            "instance-life-cycle" => life_cycle,
            "instance-type" => &kind,
            "placement/availability-zone" => &zone,
            "placement/availability-zone-id" => &zone_id,
            "placement/region" => REGION,
            "reservation-id" => &reservation,
            "services/domain" => "amazonaws.com",
            "services/partition" => "aws",
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// What is in a directory, one name a line; another directory has a slash at its end.
    fn list(&self, directory: &str) -> Option<String> {
        let mut all = OF_INSTANCE.map(str::to_owned).to_vec();
        all.push(format!("iam/security-credentials/{}", self.role()));
        for it in self.dataplane.interfaces.values().filter(|it| it.instance == self.instance) {
            let about = format!("network/interfaces/macs/{}", it.mac);
            all.extend(OF_INTERFACE.map(|item| format!("{about}/{item}")));
            let public = it.public.values();
            all.extend(public.map(|address| format!("{about}/ipv4-associations/{address}")));
        }
        let tags = self.tags().unwrap_or_default().into_keys();
        all.extend(tags.map(|key| format!("tags/instance/{key}")));
        let set = self.shared.state().metadata.keys().cloned().collect::<Vec<_>>();
        all.extend(set.into_iter().filter(|(id, _)| id == self.instance).map(|(_, path)| path));
        // Not every instance has all of them: a public address, say.
        let is_there =
            |item: &str| self.answer(&format!("/latest/meta-data/{directory}{item}")).is_some();
        entries(all.iter().map(String::as_str), directory, is_there)
    }

    fn below(&self, path: &str) -> Option<String> {
        if let Some(rest) = path.strip_prefix("network/interfaces/macs/") {
            let (mac, rest) = rest.split_once('/')?;
            let (id, interface) = self.interface(|it| it.mac == mac)?;
            return self.of_interface(id, interface, rest);
        }
        if let Some(role) = path.strip_prefix("iam/security-credentials/") {
            return (role == self.role()).then(|| self.credentials()).flatten();
        }
        if let Some(key) = path.strip_prefix("tags/instance") {
            let tags = self.tags()?;
            return match key.strip_prefix('/') {
                None => Some(tags.into_keys().collect::<Vec<_>>().join("\n")),
                Some(key) => tags.get(key).cloned(),
            };
        }
        None
    }

    /// What the lab's user has put there, a scheduled event for example.
    fn set_by_hand(&self, path: &str) -> Option<String> {
        let place = (self.instance.to_owned(), path.to_owned());
        self.shared.state().metadata.get(&place).cloned()
    }

    fn of_interface(&self, id: &str, interface: &Interface, path: &str) -> Option<String> {
        let lines = |addresses: &mut dyn Iterator<Item = Ipv4Addr>| {
            let text: Vec<_> = addresses.map(|address| address.to_string()).collect();
            Some(text.join("\n")).filter(|text| !text.is_empty())
        };
        if let Some(public) = path.strip_prefix("ipv4-associations/") {
            let public: Ipv4Addr = public.parse().ok()?;
            let own = interface.public.iter().filter(|(_, it)| **it == public);
            return lines(&mut own.map(|(private, _)| *private));
        }
        let settings = self.shared.world.lock().settings().clone();
        let address = interface.addresses.first()?;
        match path {
            "local-hostname" => Some(settings.private_name(*address)),
            "public-hostname" => {
                interface.public.get(address).map(|public| settings.public_name(*public))
            }
            "interface-id" => Some(id.to_owned()),
            "device-number" => Some(interface.device_index.to_string()),
            "network-card-index" => Some("0".to_owned()),
            "mac" => Some(interface.mac.clone()),
            "local-ipv4s" => lines(&mut interface.addresses.iter().copied()),
            "public-ipv4s" => lines(&mut interface.public.values().copied()),
            "subnet-id" => Some(interface.subnet.clone()),
            "subnet-ipv4-cidr-block" => {
                self.dataplane.subnets.get(&interface.subnet).map(|subnet| subnet.cidr.to_string())
            }
            "vpc-id" => self.vpc(interface),
            "vpc-ipv4-cidr-block" => self.blocks(interface).first().map(ToString::to_string),
            "vpc-ipv4-cidr-blocks" => {
                let blocks = self.blocks(interface);
                let blocks: Vec<_> = blocks.iter().map(ToString::to_string).collect();
                Some(blocks.join("\n"))
            }
            "owner-id" => Some(settings.account),
            "security-group-ids" => self.groups(id).map(|(ids, _)| ids.join("\n")),
            "security-groups" => self.groups(id).map(|(_, names)| names.join("\n")),
            _ => None,
        }
    }

    fn interface(&self, which: impl Fn(&Interface) -> bool) -> Option<(&str, &Interface)> {
        let mut own = self.dataplane.interfaces.iter();
        own.find(|(_, it)| it.instance == self.instance && which(it)).map(|(id, it)| (&**id, it))
    }

    fn macs(&self) -> String {
        let own = self.dataplane.interfaces.values().filter(|it| it.instance == self.instance);
        own.map(|it| format!("{}/", it.mac)).collect::<Vec<_>>().join("\n")
    }

    fn tags(&self) -> Option<BTreeMap<String, String>> {
        self.shared.world.lock().metadata_tags(self.instance).cloned()
    }

    fn particulars(&self) -> Option<Particulars> {
        self.shared.world.lock().particulars(self.instance)
    }

    fn role(&self) -> String {
        let world = self.shared.world.lock();
        world.role(self.instance).unwrap_or(IAM_ROLE).to_owned()
    }

    fn vpc(&self, interface: &Interface) -> Option<String> {
        self.shared.world.lock().vpc_of(&interface.subnet).map(str::to_owned)
    }

    fn blocks(&self, interface: &Interface) -> Vec<Ipv4Net> {
        let world = self.shared.world.lock();
        world.vpc_of(&interface.subnet).map(|vpc| world.blocks_of(vpc)).unwrap_or_default()
    }

    fn groups(&self, id: &str) -> Option<(Vec<String>, Vec<String>)> {
        let world = self.shared.world.lock();
        world.groups_of(id).map(|(ids, names)| (ids.to_vec(), names))
    }

    fn account_id(&self) -> String {
        self.shared.world.lock().settings().account.clone()
    }

    fn stamp(&self, at: Duration) -> String {
        let epoch = self.shared.world.lock().settings().epoch;
        humantime::format_rfc3339_seconds(epoch + at).to_string()
    }

    fn profile(&self) -> String {
        let (account, role) = (self.account_id(), self.role());
        serde_json::json!({
            "Code": "Success",
            "LastUpdated": self.stamp(self.now),
            "InstanceProfileArn": format!("arn:aws:iam::{account}:instance-profile/{role}"),
            "InstanceProfileId": format!("AIPA{:0>16}", role.len()),
        })
        .to_string()
    }

    fn credentials(&self) -> Option<String> {
        let keys = self.shared.world.lock().credentials_for(self.instance, self.now)?;
        let text = serde_json::json!({
            "Code": "Success",
            "LastUpdated": self.stamp(self.now),
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": keys.session_token,
            "Expiration": self.stamp(keys.expires.unwrap_or(self.now)),
        });
        Some(text.to_string())
    }

    fn document(&self, primary: &Interface) -> Option<String> {
        let about = self.particulars()?;
        let document = serde_json::json!({
            "accountId": self.account_id(),
            "architecture": about.architecture,
            "availabilityZone": about.zone,
            "billingProducts": null,
            "devpayProductCodes": null,
            "imageId": about.image,
            "instanceId": self.instance,
            "instanceType": about.kind,
            "kernelId": null,
            "marketplaceProductCodes": null,
            "pendingTime": self.stamp(about.launched),
            "privateIp": primary.addresses.first(),
            "ramdiskId": null,
            "region": REGION,
            "version": "2017-09-30",
        });
        Some(document.to_string())
    }
}

/// What of these items is in a directory, one name a line; another directory has a slash at its
/// end. None where there is nothing.
fn entries<'a>(
    items: impl Iterator<Item = &'a str>,
    directory: &str,
    is_there: impl Fn(&str) -> bool,
) -> Option<String> {
    let mut names = BTreeSet::new();
    for item in items.filter_map(|item| item.strip_prefix(directory)) {
        match item.split_once('/') {
            Some((below, _)) => drop(names.insert(format!("{below}/"))),
            None if is_there(item) => drop(names.insert(item.to_owned())),
            None => {}
        }
    }
    let names: Vec<_> = names.into_iter().collect();
    Some(names.join("\n")).filter(|names| !names.is_empty())
}

/// The zone's id: `use1-az1` for `us-east-1a`, as in an account whose letters are in order.
fn zone_id(zone: &str) -> String {
    let number = zone.bytes().last().map_or(1, |letter| letter.wrapping_sub(b'a') + 1);
    format!("use1-az{number}")
}
