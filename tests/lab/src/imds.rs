//! The instance metadata service, version 2, for every instance: told apart by the address that a
//! request comes from, which the router vouches for.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

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

/// The longest life of a token, in seconds.
const LONGEST: u64 = 21_600;
/// The header with the wanted life of a token.
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// The header with the token.
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// The versions that are served besides `latest`: those that cloud-init asks for.
const VERSIONS: [&str; 5] = ["latest", "2021-03-23", "2018-09-24", "2016-09-02", "2009-04-04"];

/// What there is of every interface, where it is there at all.
const OF_INTERFACE: [&str; 11] = [
    "interface-id",
    "device-number",
    "mac",
    "local-ipv4s",
    "public-ipv4s",
    "subnet-id",
    "subnet-ipv4-cidr-block",
    "vpc-id",
    "vpc-ipv4-cidr-block",
    "vpc-ipv4-cidr-blocks",
    "security-group-ids",
];

/// What there is of every instance, where it is there at all.
const OF_INSTANCE: [&str; 10] = [
    "hostname",
    "instance-id",
    "instance-type",
    "local-hostname",
    "local-ipv4",
    "mac",
    "placement/availability-zone",
    "placement/availability-zone-id",
    "placement/region",
    "public-ipv4",
];

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
    let path = request.uri().path();
    let (method, headers) = (request.method(), request.headers());
    if path == "/latest/api/token" {
        return give_token(tokens, &instance, method, headers, now);
    }
    if !token_is_good(tokens, &instance, headers, now) {
        return plain(401, "");
    }
    if method != Method::GET {
        return plain(405, "");
    }
    let about = About { shared, dataplane: &dataplane, instance: &instance, now };
    match about.answer(path.trim_end_matches('/')) {
        Some(text) => plain(200, &text),
        None => plain(404, ""),
    }
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
        let zone = self.zone()?;
        let (version, path) = path.strip_prefix('/')?.split_once('/')?;
        if !VERSIONS.contains(&version) {
            return None;
        }
        let Some(path) = path.strip_prefix("meta-data/") else {
            return match path {
                "user-data" => instance.user_data.clone(),
                "meta-data" => self.list(""),
                "dynamic/instance-identity" => Some("document".to_owned()),
                "dynamic/instance-identity/document" => Some(self.document(primary.1, &zone)),
                _ => None,
            };
        };
        let address = primary.1.addresses.first()?;
        match path {
            "instance-id" => Some(self.instance.to_owned()),
            "mac" => Some(primary.1.mac.clone()),
            "local-ipv4" => Some(address.to_string()),
            "public-ipv4" => primary.1.public.get(address).map(Ipv4Addr::to_string),
            "hostname" | "local-hostname" => {
                Some(format!("ip-{}.ec2.internal", address.to_string().replace('.', "-")))
            }
            "instance-type" => Some("t4g.nano".to_owned()),
            "placement/region" => Some(REGION.to_owned()),
            "placement/availability-zone-id" => Some(zone_id(&zone)),
            "placement/availability-zone" => Some(zone),
            "network/interfaces/macs" => Some(self.macs()),
            "iam/security-credentials" => Some(self.role()),
            _ => self.below(path).or_else(|| self.list(&format!("{path}/"))),
        }
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
        let mut names = BTreeSet::new();
        for item in all.iter().filter_map(|item| item.strip_prefix(directory)) {
            let whole = format!("/latest/meta-data/{directory}{item}");
            match item.split_once('/') {
                Some((below, _)) => drop(names.insert(format!("{below}/"))),
                // Not every instance has all of them: a public address, say.
                None if self.answer(&whole).is_some() => drop(names.insert(item.to_owned())),
                None => {}
            }
        }
        let names: Vec<_> = names.into_iter().collect();
        Some(names.join("\n")).filter(|names| !names.is_empty())
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
        self.shared.state().metadata.get(&(self.instance.to_owned(), path.to_owned())).cloned()
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
        match path {
            "interface-id" => Some(id.to_owned()),
            "device-number" => Some(interface.device_index.to_string()),
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
            "owner-id" => Some(self.account_id()),
            "security-group-ids" => self.groups(id),
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

    fn zone(&self) -> Option<String> {
        let world = self.shared.world.lock();
        world.instance_place(self.instance).map(|(zone, ..)| zone.to_owned())
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

    fn groups(&self, id: &str) -> Option<String> {
        self.shared.world.lock().groups_of(id).map(|groups| groups.join("\n"))
    }

    fn account_id(&self) -> String {
        self.shared.world.lock().settings().account.clone()
    }

    fn credentials(&self) -> Option<String> {
        let mut world = self.shared.world.lock();
        let keys = world.credentials_for(self.instance, self.now)?;
        let epoch = world.settings().epoch;
        let stamp = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
        let text = serde_json::json!({
            "Code": "Success",
            "LastUpdated": stamp(epoch + self.now),
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": keys.session_token,
            "Expiration": stamp(epoch + keys.expires.unwrap_or(self.now)),
        });
        Some(text.to_string())
    }

    fn document(&self, primary: &Interface, zone: &str) -> String {
        serde_json::json!({
            "accountId": self.account_id(),
            "architecture": "arm64",
            "availabilityZone": zone,
            "imageId": "ami-0123456789abcdef0",
            "instanceId": self.instance,
            "instanceType": "t4g.nano",
            "privateIp": primary.addresses.first(),
            "region": REGION,
            "version": "2017-09-30",
        })
        .to_string()
    }
}

/// The zone's id: `use1-az1` for `us-east-1a`, as in an account whose letters are in order.
fn zone_id(zone: &str) -> String {
    let number = zone.bytes().last().map_or(1, |letter| letter.wrapping_sub(b'a') + 1);
    format!("use1-az{number}")
}
