//! What EC2 tells, in natha's own words: no AWS type leaves the `cloud` layer.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{InstanceId, NetworkInterfaceId, RouteTableId, SubnetId, VpcId, Zone};

/// The few kinds of failure of an API call that make a difference to what natha does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudFaultKind {
    /// No answer in time, or the connection broke after sending: the outcome is unknown.
    Unknown,
    /// The API could not be reached at all: nothing was done.
    Unreachable,
    /// Over the request rate (`RequestLimitExceeded`, `EC2ThrottledException`, HTTP 503).
    Throttled,
    /// Not allowed by IAM, or the credentials are missing or expired.
    Denied,
    /// The request came out of date (`RequestExpired`): it bore a wall clock time too far from
    /// EC2's, or credentials that had ended. Nothing was done. The SDK learns EC2's time from the
    /// answer and gets new credentials, so the next attempt may well succeed.
    OutOfDate,
    /// The thing named does not exist (`*.NotFound`, or no such route).
    NotFound,
    /// The thing to create is there already (`RouteAlreadyExists`).
    Exists,
    /// The instance is in no state for this (`IncorrectInstanceState`).
    State,
    /// EC2 has no room to start it now (`InsufficientInstanceCapacity`).
    Capacity,
    /// This instance or request can never do this (`UnsupportedOperation`, stop protection).
    Unsupported,
    /// Anything else; the text tells.
    Other,
}

impl CloudFaultKind {
    /// The kind of an error that EC2 or Route 53 answered with (EC2 API reference, "Error codes";
    /// Route 53 API reference, the errors of each action).
    #[must_use]
    pub fn of_error(code: &str, text: &str, status: u16) -> Self {
        match code {
            "RequestLimitExceeded"
            | "EC2ThrottledException"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            // Route 53: a change of the same zone is still being made.
            | "PriorRequestNotComplete" => Self::Throttled,
            "UnauthorizedOperation"
            | "AccessDenied"
            | "AccessDeniedException"
            | "AuthFailure"
            | "Blocked"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "InvalidSecurity"
            | "MissingAuthenticationToken"
            | "OptInRequired"
            | "PendingVerification"
            | "SignatureDoesNotMatch"
            | "UnauthorizedException"
            | "UnrecognizedClientException" => Self::Denied,
            "RequestExpired" => Self::OutOfDate,
            "IncorrectInstanceState" | "IncorrectState" | "IncorrectSpotRequestState" => {
                Self::State
            }
            "InsufficientInstanceCapacity"
            | "InsufficientHostCapacity"
            | "InsufficientCapacity"
            | "InsufficientReservedInstanceCapacity"
            | "InstanceLimitExceeded"
            | "VcpuLimitExceeded" => Self::Capacity,
            "UnsupportedOperation" | "OperationNotPermitted" | "Unsupported" => Self::Unsupported,
            "RouteAlreadyExists" => Self::Exists,
            // ReplaceRoute answers this, not a NotFound code, where the table has no such route.
            "InvalidParameterValue" if text.contains("no route defined") => Self::NotFound,
            // Route 53 names each thing.
            "NoSuchHostedZone" | "NoSuchChange" => Self::NotFound,
            _ if code.ends_with(".NotFound") => Self::NotFound,
            _ => Self::of_status(status),
        }
    }

    /// The kind of an answer whose error code says nothing.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Denied,
            429 | 503 => Self::Throttled,
            // A broken answer, be it a success or a server error, does not tell what was done.
            200..=299 | 500..=599 => Self::Unknown,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for CloudFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no answer",
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::OutOfDate => "out of date",
            Self::NotFound => "not found",
            Self::Exists => "exists already",
            Self::State => "wrong state",
            Self::Capacity => "no capacity",
            Self::Unsupported => "unsupported",
            Self::Other => "failed",
        })
    }
}

/// A failed API call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("{call}: {kind}: {message}")]
pub struct CloudFault {
    /// What it means for us.
    pub kind: CloudFaultKind,
    /// The API action, such as `ReplaceRoute`.
    pub call: String,
    /// The API's own code and text.
    pub message: String,
}

/// The power state of an instance (`DescribeInstances`, code with the high byte masked).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// 0, starting.
    Pending,
    /// 16, running.
    Running,
    /// 32, on its way to termination.
    ShuttingDown,
    /// 48, gone for good.
    Terminated,
    /// 64, stopping.
    Stopping,
    /// 80, stopped.
    Stopped,
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        })
    }
}

impl InstanceState {
    /// The state with EC2's number, whose high byte is EC2's own business; none for one that
    /// natha does not know.
    #[must_use]
    pub const fn of_code(code: i32) -> Option<Self> {
        Some(match code & 0xff {
            0 => Self::Pending,
            16 => Self::Running,
            32 => Self::ShuttingDown,
            48 => Self::Terminated,
            64 => Self::Stopping,
            80 => Self::Stopped,
            _ => return None,
        })
    }
}

/// Who stopped an instance, from its `StateReason` code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopOrigin {
    /// `Client.UserInitiatedShutdown`: an API call, a person's or natha's own.
    User,
    /// `Client.InstanceInitiatedShutdown`: the guest shut itself down.
    Guest,
    /// `Server.*`: EC2 did it.
    Service,
    /// No reason given, or one natha does not know.
    Unknown,
}

impl StopOrigin {
    /// What the code of a `StateReason` tells.
    #[must_use]
    pub fn of_reason(code: Option<&str>) -> Self {
        match code {
            Some("Client.UserInitiatedShutdown" | "Client.UserInitiatedHibernate") => Self::User,
            Some("Client.InstanceInitiatedShutdown") => Self::Guest,
            Some(code) if code.starts_with("Server.") => Self::Service,
            _ => Self::Unknown,
        }
    }
}

/// State of one instance, as far as it matters to its peers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PowerReport {
    /// Its state; none where EC2 does not know the id (`InvalidInstanceID.NotFound`).
    pub state: Option<InstanceState>,
    /// Who stopped it, where it is stopping or stopped.
    pub stop_origin: StopOrigin,
    /// Whether EC2's system or instance status check says `impaired`.
    pub impaired: bool,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteTarget {
    /// A network interface.
    Interface(NetworkInterfaceId),
    /// An address: what a DNS record gives.
    Address(Ipv4Addr),
    /// Anything else, by its id: an internet gateway, a NAT gateway, a transit gateway.
    Other(String),
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(id) => f.write_str(id.as_str()),
            Self::Address(address) => write!(f, "{address}"),
            Self::Other(id) => f.write_str(id),
        }
    }
}

/// One route of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteEntry {
    /// Where it leads.
    pub target: RouteTarget,
    /// Whether EC2 says that it leads nowhere (`State` = `blackhole`).
    pub blackhole: bool,
}

impl RouteEntry {
    /// A target that works.
    #[must_use]
    pub const fn active(target: RouteTarget) -> Self {
        Self { target, blackhole: false }
    }
}

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTableInfo {
    /// The table.
    pub id: RouteTableId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its IPv4 routes.
    pub routes: BTreeMap<Ipv4Net, RouteEntry>,
    /// The subnets that are explicitly associated with it.
    pub subnets: Vec<SubnetId>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetInfo {
    /// The subnet.
    pub id: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its zone.
    pub zone: Zone,
    /// Its addresses.
    pub cidr: Ipv4Net,
}

/// A network interface as attached to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceInfo {
    /// The interface.
    pub id: NetworkInterfaceId,
    /// Its place on the instance; 0 is the primary one.
    pub device_index: u32,
    /// Its hardware address, lower case with colons.
    pub mac: String,
    /// Its primary private address.
    pub address: Ipv4Addr,
    /// The public address of that one.
    pub public: Option<Ipv4Addr>,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Whether EC2 drops packets that are not to or from its own addresses.
    pub source_dest_check: bool,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceInfo {
    /// The instance.
    pub id: InstanceId,
    /// Its power state.
    pub state: InstanceState,
    /// Its VPC; none once terminated.
    pub vpc: Option<VpcId>,
    /// Its zone.
    pub zone: Option<Zone>,
    /// Its interfaces, by device index.
    pub interfaces: Vec<InterfaceInfo>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// How a route is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteWriteVerb {
    /// `ReplaceRoute`: the route exists.
    Replace,
    /// `CreateRoute`: it does not.
    Create,
}

/// One route to be written. Always by interface, never by instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteWrite {
    /// Replace or create.
    pub verb: RouteWriteVerb,
    /// The table.
    pub table: RouteTableId,
    /// The destination.
    pub cidr: Ipv4Net,
    /// The new target.
    pub interface: NetworkInterfaceId,
}

#[cfg(test)]
mod tests {
    use super::CloudFaultKind as Kind;

    #[test]
    fn codes_have_their_kinds() {
        let cases = [
            ("RequestLimitExceeded", 503, Kind::Throttled),
            ("EC2ThrottledException", 503, Kind::Throttled),
            ("Unavailable", 503, Kind::Throttled),
            ("UnauthorizedOperation", 403, Kind::Denied),
            ("AuthFailure", 401, Kind::Denied),
            ("SomethingNew", 403, Kind::Denied),
            ("InvalidRouteTableID.NotFound", 400, Kind::NotFound),
            ("InvalidNetworkInterfaceID.NotFound", 400, Kind::NotFound),
            ("RouteAlreadyExists", 400, Kind::Exists),
            ("IncorrectInstanceState", 400, Kind::State),
            ("IncorrectSpotRequestState", 400, Kind::State),
            ("InsufficientInstanceCapacity", 500, Kind::Capacity),
            ("UnsupportedOperation", 400, Kind::Unsupported),
            ("OperationNotPermitted", 400, Kind::Unsupported),
            ("InternalError", 500, Kind::Unknown),
            ("InvalidParameterCombination", 400, Kind::Other),
            ("InvalidAllocationID.NotFound", 400, Kind::NotFound),
            ("Throttling", 400, Kind::Throttled),
            ("PriorRequestNotComplete", 400, Kind::Throttled),
            ("NoSuchHostedZone", 404, Kind::NotFound),
            ("NoSuchChange", 404, Kind::NotFound),
            ("InvalidChangeBatch", 400, Kind::Other),
            ("InvalidInput", 400, Kind::Other),
        ];
        for (code, status, kind) in cases {
            assert_eq!(Kind::of_error(code, "", status), kind, "{code}");
        }
    }

    #[test]
    fn an_absent_route_is_told_from_other_bad_parameters() {
        let absent = "There is no route defined for '0.0.0.0/0' in the route table.";
        assert_eq!(Kind::of_error("InvalidParameterValue", absent, 400), Kind::NotFound);
        assert_eq!(Kind::of_error("InvalidParameterValue", "bad CIDR", 400), Kind::Other);
    }
}
