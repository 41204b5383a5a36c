//! Errors as EC2 words them.

/// A refused call: what EC2 answers instead of a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({status}): {message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// EC2's error code, such as `RouteAlreadyExists`.
    pub code: String,
    /// EC2's text.
    pub message: String,
}

impl ApiError {
    /// An error with its own status.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// A client error, HTTP 400: most of EC2's errors.
    pub fn client(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// `InvalidParameterValue`.
    pub fn value(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterValue", message)
    }

    /// `MissingParameter`. EC2 writes the parameter with a small first letter.
    #[must_use]
    pub fn missing(parameter: &str) -> Self {
        let name = lower_first(parameter);
        let message = format!("The request must contain the parameter {name}");
        Self::client("MissingParameter", message)
    }

    /// `InvalidParameterCombination`.
    pub fn combination(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterCombination", message)
    }

    /// `Invalid…ID.NotFound` for a resource that does not exist.
    pub(super) fn not_found(kind: &Kind, id: &str) -> Self {
        // EC2 leaves this word out for a security group.
        let word = if kind.code == GROUP.code { "" } else { " ID" };
        let message = format!("The {}{word} '{id}' does not exist", kind.word);
        Self::client(&format!("{}.NotFound", kind.code), message)
    }

    /// `DependencyViolation` of a resource that others need.
    pub(super) fn depended_upon(kind: &Kind, id: &str) -> Self {
        let message = format!("The {} '{id}' has dependencies and cannot be deleted.", kind.word);
        Self::client("DependencyViolation", message)
    }

    /// `IncorrectInstanceState`.
    pub fn state(message: impl Into<String>) -> Self {
        Self::client("IncorrectInstanceState", message)
    }

    /// What DryRun answers where the call would have been allowed.
    #[must_use]
    pub fn dry_run() -> Self {
        let message = "Request would have succeeded, but DryRun flag is set.";
        Self::new(412, "DryRunOperation", message)
    }

    /// What a caller over its rate gets. HTTP 503: see botocore's retry table.
    #[must_use]
    pub fn throttled(account: &str, action: &str) -> Self {
        let message = format!(
            "Request limit exceeded. Account {account} has been throttled on ec2:{action} because \
             it exceeded its request rate limit."
        );
        Self::new(503, "RequestLimitExceeded", message)
    }

    /// Whether the request itself is at fault, so that DryRun reports it too.
    pub(super) fn is_bad_request(&self) -> bool {
        self.code.starts_with("Invalid") || self.code.starts_with("Missing")
    }
}

/// A name of the request as EC2's texts have it.
pub(super) fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// How EC2 names a kind of resource.
#[derive(Debug)]
pub(super) struct Kind {
    /// Start of the error code, such as `InvalidRouteTableID`.
    pub(super) code: &'static str,
    /// The word in the message.
    pub(super) word: &'static str,
    /// Start of the ids.
    pub(super) prefix: &'static str,
}

/// Virtual private clouds.
pub(super) const VPC: Kind = Kind { code: "InvalidVpcID", word: "vpc", prefix: "vpc" };
/// Subnets.
pub(super) const SUBNET: Kind = Kind { code: "InvalidSubnetID", word: "subnet", prefix: "subnet" };
/// Route tables.
pub(super) const TABLE: Kind =
    Kind { code: "InvalidRouteTableID", word: "routeTable", prefix: "rtb" };
/// What a route table is associated with a subnet by.
pub(super) const TABLE_ASSOCIATION: Kind =
    Kind { code: "InvalidAssociationID", word: "association", prefix: "rtbassoc" };
/// Images.
pub(super) const IMAGE: Kind = Kind { code: "InvalidAMIID", word: "image", prefix: "ami" };
/// Internet gateways.
pub(super) const GATEWAY: Kind =
    Kind { code: "InvalidInternetGatewayID", word: "internetGateway", prefix: "igw" };
/// NAT gateways, as targets of routes.
pub(super) const NAT_GATEWAY: Kind =
    Kind { code: "InvalidNatGatewayID", word: "natGateway", prefix: "nat" };
/// Security groups.
pub(super) const GROUP: Kind = Kind { code: "InvalidGroup", word: "security group", prefix: "sg" };
/// Network interfaces.
pub(super) const INTERFACE: Kind =
    Kind { code: "InvalidNetworkInterfaceID", word: "networkInterface", prefix: "eni" };
/// Elastic IP addresses.
pub(super) const ALLOCATION: Kind =
    Kind { code: "InvalidAllocationID", word: "allocation", prefix: "eipalloc" };
/// What they are associated by.
pub(super) const ASSOCIATION: Kind =
    Kind { code: "InvalidAssociationID", word: "association", prefix: "eipassoc" };
/// Instances.
pub(super) const INSTANCE: Kind = Kind { code: "InvalidInstanceID", word: "instance", prefix: "i" };
