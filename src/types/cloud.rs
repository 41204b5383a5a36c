//! EC2's and Route 53's data in natha's own types. AWS types stay within the `cloud` layer.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{
    AllocationId, InstanceId, NatGatewayId, NetworkInterfaceId, RouteTableId, SubnetId, VpcId, Zone,
};

/// The kinds of API failure that natha treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudFaultKind {
    /// No usable reply: a timeout, a connection lost after sending, a server error or a broken
    /// reply. The request may or may not have been applied.
    Unknown,
    /// The API could not be reached. Nothing was applied.
    Unreachable,
    /// Request rate exceeded (`RequestLimitExceeded`, `EC2ThrottledException`, HTTP 503).
    Throttled,
    /// Denied by IAM, or the credentials are missing or expired.
    Denied,
    /// `RequestExpired`: the request's wall clock time was too far from EC2's, or its credentials
    /// had expired. Nothing was applied. The SDK learns EC2's time from the reply and gets new
    /// credentials, so the next attempt may succeed.
    OutOfDate,
    /// The resource does not exist (`*.NotFound`, or no such route).
    NotFound,
    /// The resource to create already exists (`RouteAlreadyExists`), or the private IP is in use.
    Exists,
    /// The instance is in the wrong state for this call (`IncorrectInstanceState`).
    State,
    /// EC2 has no capacity to start the instance now (`InsufficientInstanceCapacity`).
    Capacity,
    /// Never possible for this instance or request (`UnsupportedOperation`, stop protection, more
    /// private addresses than the instance type allows).
    Unsupported,
    /// Any other error; see the message.
    Other,
}

impl CloudFaultKind {
    /// The kind of an error reply of EC2 or Route 53 (EC2 API reference, "Error codes";
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
            // Route 53: another change of the same zone is still pending.
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
            | "InsufficientCapacityOnHost"
            | "InsufficientCapacity"
            | "InsufficientReservedInstanceCapacity"
            | "InstanceLimitExceeded"
            | "VcpuLimitExceeded" => Self::Capacity,
            "UnsupportedOperation"
            | "OperationNotPermitted"
            | "Unsupported"
            | "PrivateIpAddressLimitExceeded" => Self::Unsupported,
            "RouteAlreadyExists" => Self::Exists,
            // ReplaceRoute returns this, not a NotFound code, if the table has no such route.
            "InvalidParameterValue" if text.contains("no route defined") => Self::NotFound,
            // Route 53 has a code per kind of resource.
            "NoSuchHostedZone" | "NoSuchChange" => Self::NotFound,
            // AssignPrivateIpAddresses without `AllowReassignment`: another interface has it.
            "InvalidParameterValue" if text.contains("move is not allowed") => Self::Exists,
            _ if code.ends_with(".NotFound") => Self::NotFound,
            _ => Self::of_status(status),
        }
    }

    /// The kind of an error reply whose code is unknown.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Denied,
            429 | 503 => Self::Throttled,
            // A broken success reply or a server error does not show whether the request was
            // applied.
            200..=299 | 500..=599 => Self::Unknown,
            _ => Self::Other,
        }
    }

    /// Whether the same call would fail in the same way again, until an operator acts.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Denied | Self::Unsupported | Self::Other)
    }
}

impl fmt::Display for CloudFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "outcome unknown",
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
    /// How natha treats the failure.
    pub kind: CloudFaultKind,
    /// The API action, such as `ReplaceRoute`.
    pub call: String,
    /// The API's error code and text.
    pub message: String,
}

/// The state of an instance (`DescribeInstances`, code with the high byte masked).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Code 0: starting.
    Pending,
    /// Code 16.
    Running,
    /// Code 32: being terminated.
    ShuttingDown,
    /// Code 48: cannot be started again.
    Terminated,
    /// Code 64.
    Stopping,
    /// Code 80: can be started again.
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
    /// The state with EC2's code, whose high byte is internal to EC2; `None` for an unknown code.
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

/// Who or what stopped an instance, from its `StateReason` code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopOrigin {
    /// `Client.UserInitiatedShutdown`: an API call, by a person or by natha.
    User,
    /// `Client.InstanceInitiatedShutdown`: the guest shut itself down.
    Guest,
    /// `Server.*`: EC2 stopped it; or `Client.InternalError`: EC2 gave up a start, because the
    /// caller may not use the key of a volume, for example.
    Service,
    /// No reason, or an unknown one.
    Unknown,
}

impl StopOrigin {
    /// The origin for a `StateReason` code.
    #[must_use]
    pub fn of_reason(code: Option<&str>) -> Self {
        match code {
            Some("Client.UserInitiatedShutdown" | "Client.UserInitiatedHibernate") => Self::User,
            Some("Client.InstanceInitiatedShutdown") => Self::Guest,
            Some(code) if code == "Client.InternalError" || code.starts_with("Server.") => {
                Self::Service
            }
            _ => Self::Unknown,
        }
    }
}

/// The state of one instance, as its peers see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PowerReport {
    /// `None` if EC2 does not know the id (`InvalidInstanceID.NotFound`).
    pub state: Option<InstanceState>,
    /// Who stopped the instance; meaningful while it is stopping or stopped.
    pub stop_origin: StopOrigin,
    /// Whether EC2's system or instance status check reports `impaired`.
    pub impaired: bool,
    /// EC2's reason for the state, as `code: message` (`StateReason`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The target of a route, or the value of a DNS record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteTarget {
    /// A network interface, in the cluster or outside it.
    Interface(NetworkInterfaceId),
    /// An address, from a DNS record.
    Address(Ipv4Addr),
    /// The id of any other target, such as an internet gateway, a NAT gateway or a transit gateway.
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
    /// What the route points to.
    pub target: RouteTarget,
    /// Whether EC2 reports the route's state as `blackhole`.
    pub blackhole: bool,
}

impl RouteEntry {
    /// An entry that is not a blackhole.
    #[must_use]
    pub const fn active(target: RouteTarget) -> Self {
        Self { target, blackhole: false }
    }
}

/// A VPC route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTableInfo {
    /// Id of the table.
    pub id: RouteTableId,
    /// VPC of the table.
    pub vpc: VpcId,
    /// IPv4 routes by destination.
    pub routes: BTreeMap<Ipv4Net, RouteEntry>,
    /// Subnets with an explicit association.
    pub subnets: Vec<SubnetId>,
    /// Whether it is its VPC's main table, which serves the subnets without an association.
    #[serde(default)]
    pub main: bool,
    /// Tags of the table.
    pub tags: BTreeMap<String, String>,
}

/// A subnet of a VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetInfo {
    /// Id of the subnet.
    pub id: SubnetId,
    /// VPC of the subnet.
    pub vpc: VpcId,
    /// Availability zone.
    pub zone: Zone,
    /// IPv4 block.
    pub cidr: Ipv4Net,
}

/// A network interface attached to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceInfo {
    /// Id of the interface.
    pub id: NetworkInterfaceId,
    /// 0 is the primary interface.
    pub device_index: u32,
    /// MAC address, lower case with colons.
    pub mac: String,
    /// Primary private address.
    pub address: Ipv4Addr,
    /// Secondary private addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondary: Vec<Ipv4Addr>,
    /// Public address of the primary private address.
    pub public: Option<Ipv4Addr>,
    /// Subnet of the interface.
    pub subnet: SubnetId,
    /// Whether EC2 drops packets that are neither from nor to the interface's own addresses.
    pub source_dest_check: bool,
}

/// An EC2 instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceInfo {
    /// Id of the instance.
    pub id: InstanceId,
    /// Running, stopped and so on.
    pub state: InstanceState,
    /// `None` once it shuts down.
    pub vpc: Option<VpcId>,
    /// Availability zone.
    pub zone: Option<Zone>,
    /// Interfaces ordered by device index.
    pub interfaces: Vec<InterfaceInfo>,
    /// Whether a stop and a start would leave it without the public address that it has: EC2
    /// assigned that address, and assigns none at the start of an instance with several interfaces.
    pub loses_public: bool,
    /// Tags of the instance.
    pub tags: BTreeMap<String, String>,
}

/// An Elastic IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticIpInfo {
    /// Its allocation id.
    pub id: AllocationId,
    /// The public address.
    pub address: Ipv4Addr,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The API call that writes a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteWriteVerb {
    /// `ReplaceRoute`, for an existing route.
    Replace,
    /// `CreateRoute`, for a missing route.
    Create,
}

/// Where a route is pointed: to a node's interface, never to an instance, or to a fallback.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteVia {
    /// A network interface.
    Interface(NetworkInterfaceId),
    /// A NAT gateway.
    NatGateway(NatGatewayId),
}

impl RouteVia {
    /// The interface, if it is one.
    #[must_use]
    pub const fn interface(&self) -> Option<&NetworkInterfaceId> {
        match self {
            Self::Interface(interface) => Some(interface),
            Self::NatGateway(_) => None,
        }
    }

    /// The target of the route once it is written.
    #[must_use]
    pub fn target(&self) -> RouteTarget {
        match self {
            Self::Interface(interface) => RouteTarget::Interface(interface.clone()),
            Self::NatGateway(gateway) => RouteTarget::Other(gateway.to_string()),
        }
    }
}

/// A route to write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteWrite {
    /// The call to use.
    pub verb: RouteWriteVerb,
    /// The table to write to.
    pub table: RouteTableId,
    /// Destination of the route.
    pub cidr: Ipv4Net,
    /// Target of the route.
    #[serde(flatten)]
    pub via: RouteVia,
}

#[cfg(test)]
mod tests {
    use super::{CloudFaultKind as Kind, StopOrigin};

    #[test]
    fn who_stopped_an_instance_follows_from_ec2_s_code() {
        for (code, origin) in [
            (Some("Client.UserInitiatedShutdown"), StopOrigin::User),
            (Some("Client.UserInitiatedHibernate"), StopOrigin::User),
            (Some("Client.InstanceInitiatedShutdown"), StopOrigin::Guest),
            (Some("Server.ScheduledStop"), StopOrigin::Service),
            (Some("Client.InternalError"), StopOrigin::Service),
            (Some("Client.SomethingNew"), StopOrigin::Unknown),
            (None, StopOrigin::Unknown),
        ] {
            assert_eq!(StopOrigin::of_reason(code), origin, "{code:?}");
        }
    }

    #[test]
    fn error_codes_map_to_kinds() {
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
            ("InsufficientCapacityOnHost", 400, Kind::Capacity),
            ("PrivateIpAddressLimitExceeded", 400, Kind::Unsupported),
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
    fn a_missing_route_differs_from_other_invalid_parameters() {
        let absent = "There is no route defined for '0.0.0.0/0' in the route table.";
        assert_eq!(Kind::of_error("InvalidParameterValue", absent, 400), Kind::NotFound);
        assert_eq!(Kind::of_error("InvalidParameterValue", "bad CIDR", 400), Kind::Other);
        let used = "[10.0.0.9] assigned, but move is not allowed.";
        assert_eq!(Kind::of_error("InvalidParameterValue", used, 400), Kind::Exists);
    }
}
