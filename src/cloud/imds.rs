//! The instance metadata service (IMDSv2 only): the identity of this host.

use std::net::Ipv4Addr;
use std::time::Duration;

use aws_config::imds::client::error::ImdsError;
use ipnet::Ipv4Net;

use super::errors::chain;
use crate::types::{InstanceId, NetworkInterfaceId, SubnetId, VpcId, Zone, shown};

/// Time limit of one request, including retries. The service is local to the host.
const LIMIT: Duration = Duration::from_secs(3);

/// Time limit of one attempt.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(1);

/// How often an item is requested if there is no answer. At boot the first packets may be lost, and
/// the client does not retry a request that timed out.
const ATTEMPTS: u32 = 4;

/// The item that lists the interfaces.
const MACS: &str = "network/interfaces/macs/";

/// What to do about a service that does not answer.
const REMEDY: &str = "this host is not on EC2, or the service is disabled for this instance, or \
                      its hop limit is too low for a container; enable it with `aws ec2 \
                      modify-instance-metadata-options --http-endpoint enabled \
                      --http-put-response-hop-limit 2`, or set AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// The identity of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) instance: InstanceId,
    /// Its region, such as `eu-west-1`.
    pub(crate) region: String,
    /// Its zone.
    pub(crate) zone: Zone,
    /// The VPC of its primary interface.
    pub(crate) vpc: VpcId,
    /// Its interfaces, by device number.
    pub(crate) interfaces: Vec<OwnInterface>,
    /// The IPv4 blocks of its VPC.
    pub(crate) vpc_cidrs: Vec<Ipv4Net>,
}

/// A network interface of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnInterface {
    /// Its hardware address, lower case with colons.
    pub(crate) mac: String,
    /// Its id.
    pub(crate) id: NetworkInterfaceId,
    /// Its place on the instance; 0 is the primary one.
    pub(crate) device_number: u32,
    /// Its private addresses, the primary one first.
    pub(crate) addresses: Vec<Ipv4Addr>,
    /// Its subnet.
    pub(crate) subnet: SubnetId,
}

/// Why the metadata could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImdsFault {
    /// There is no answer.
    #[error("{}: {}", silent(.0), REMEDY)]
    Unavailable(String),
    /// The service refuses the request.
    #[error("the instance metadata service refuses {}: HTTP {status}", shown(path))]
    Refused { path: String, status: u16 },
    /// The answer cannot be parsed.
    #[error(
        "the instance metadata service answers {} with `{}`: {problem}",
        shown(path),
        shown(text)
    )]
    Malformed { path: String, text: String, problem: String },
}

/// A client of the instance metadata service. Clones share its session token.
#[derive(Debug, Clone)]
pub(crate) struct Imds {
    client: aws_config::imds::Client,
}

fn silent(why: &str) -> String {
    format!("the instance metadata service does not answer ({why})")
}

impl ImdsFault {
    /// What is wrong in a few words, without what to do. Of the causes it has the last one, which
    /// says most.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Unavailable(why) => silent(why.rsplit(": ").next().unwrap_or(why)),
            Self::Refused { .. } | Self::Malformed { .. } => self.to_string(),
        }
    }

    /// What to do, where there is more to say than [`Self::what`] does.
    pub(crate) const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable(_) => Some(REMEDY),
            Self::Refused { .. } | Self::Malformed { .. } => None,
        }
    }
}

impl Default for Imds {
    fn default() -> Self {
        Self::new()
    }
}

impl Imds {
    /// A client of the service at its usual address, or at the one that
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT` names.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self { client: limited().build() }
    }

    /// A client of a test's own service.
    #[cfg(test)]
    pub(crate) fn at(endpoint: &str) -> Result<Self, ImdsFault> {
        let builder = limited().endpoint(endpoint);
        let builder = builder.map_err(|error| ImdsFault::Unavailable(chain(error.as_ref())))?;
        Ok(Self { client: builder.build() })
    }

    pub(crate) async fn identity(&self) -> Result<Identity, ImdsFault> {
        let instance = self.parsed("instance-id").await?;
        let zone = self.parsed("placement/availability-zone").await?;
        let region = self.required("placement/region").await?;
        let macs = self.required(MACS).await?;
        let mut interfaces = Vec::new();
        for mac in macs.lines().map(|line| line.trim_end_matches('/')) {
            // It becomes part of a path, and the client panics if the path is invalid.
            if !is_mac(mac) {
                return Err(malformed(MACS, mac, "not a hardware address"));
            }
            interfaces.push(self.interface(mac).await?);
        }
        interfaces.sort_by_key(|interface| interface.device_number);
        let primary =
            interfaces.first().ok_or_else(|| malformed(MACS, &macs, "no interface is listed"))?;
        let about = format!("network/interfaces/macs/{}", primary.mac);
        let vpc = self.parsed(&format!("{about}/vpc-id")).await?;
        let vpc_cidrs = self.list(&format!("{about}/vpc-ipv4-cidr-blocks")).await?;
        Ok(Identity { instance, region, zone, vpc, interfaces, vpc_cidrs })
    }

    async fn interface(&self, mac: &str) -> Result<OwnInterface, ImdsFault> {
        let about = format!("network/interfaces/macs/{mac}");
        Ok(OwnInterface {
            mac: mac.to_ascii_lowercase(),
            id: self.parsed(&format!("{about}/interface-id")).await?,
            device_number: self.parsed(&format!("{about}/device-number")).await?,
            addresses: self.list(&format!("{about}/local-ipv4s")).await?,
            subnet: self.parsed(&format!("{about}/subnet-id")).await?,
        })
    }

    /// One item; none if it does not exist.
    pub(super) async fn get(&self, item: &str) -> Result<Option<String>, ImdsFault> {
        for _ in 1..ATTEMPTS {
            match self.get_once(item).await {
                Err(ImdsFault::Unavailable(why)) => {
                    tracing::debug!(item, why, "retrying the instance metadata service");
                }
                outcome => return outcome,
            }
        }
        self.get_once(item).await
    }

    async fn get_once(&self, item: &str) -> Result<Option<String>, ImdsFault> {
        let path = format!("/latest/meta-data/{item}");
        match self.client.get(&path).await {
            Ok(text) => Ok(Some(text.as_ref().trim().to_owned())),
            Err(ImdsError::ErrorResponse(answer)) => match answer.response().status().as_u16() {
                404 => Ok(None),
                status => Err(ImdsFault::Refused { path, status }),
            },
            Err(error) => Err(ImdsFault::Unavailable(chain(&error))),
        }
    }

    async fn required(&self, item: &str) -> Result<String, ImdsFault> {
        let path = || format!("/latest/meta-data/{item}");
        let absent = || ImdsFault::Refused { path: path(), status: 404 };
        self.get(item).await?.ok_or_else(absent)
    }

    async fn parsed<T>(&self, item: &str) -> Result<T, ImdsFault>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        parse(item, &self.required(item).await?)
    }

    /// One value per line; an item that does not exist is an empty list.
    async fn list<T>(&self, item: &str) -> Result<Vec<T>, ImdsFault>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let text = self.get(item).await?.unwrap_or_default();
        text.lines().map(|line| parse(item, line.trim())).collect()
    }
}

/// A client builder with the time limits set.
fn limited() -> aws_config::imds::client::Builder {
    aws_config::imds::Client::builder()
        .max_attempts(3)
        .connect_timeout(ATTEMPT_LIMIT)
        .read_timeout(ATTEMPT_LIMIT)
        .operation_attempt_timeout(ATTEMPT_LIMIT)
        .operation_timeout(LIMIT)
}

fn parse<T>(item: &str, text: &str) -> Result<T, ImdsFault>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error: T::Err| malformed(item, text, &error.to_string()))
}

fn malformed(item: &str, text: &str, problem: &str) -> ImdsFault {
    let path = format!("/latest/meta-data/{item}");
    ImdsFault::Malformed { path, text: text.to_owned(), problem: problem.to_owned() }
}

/// Whether a text is six hexadecimal bytes separated by colons.
fn is_mac(text: &str) -> bool {
    let byte = |part: &str| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
    text.split(':').count() == 6 && text.split(':').all(byte)
}
