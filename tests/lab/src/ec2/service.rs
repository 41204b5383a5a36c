//! The services that the simulated account has, and how each of them refuses.

use super::error::ApiError;
use super::settings::WorldSettings;

/// A service with an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// EC2: the Query protocol, one endpoint for each Region.
    Ec2,
    /// Route 53: REST with XML, one endpoint for all.
    Route53,
}

impl Service {
    /// The service that a request's path belongs to.
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/2013-04-01/") { Self::Route53 } else { Self::Ec2 }
    }

    /// Its name in signatures and in the names of permissions.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Route53 => "route53",
        }
    }

    /// The Region that signatures for it are made for.
    pub(super) fn region(self, settings: &WorldSettings) -> &str {
        match self {
            Self::Ec2 => &settings.region,
            Self::Route53 => "us-east-1",
        }
    }

    /// What a caller over its rate gets.
    pub(super) fn throttled(self, settings: &WorldSettings, action: &str) -> ApiError {
        match self {
            Self::Ec2 => ApiError::throttled(&settings.account, action),
            Self::Route53 => ApiError::client("Throttling", "Rate exceeded"),
        }
    }

    /// What a failure of the service itself looks like.
    pub(super) fn failed(self) -> ApiError {
        match self {
            Self::Ec2 => ApiError::new(500, "InternalError", "An internal error has occurred"),
            Self::Route53 => ApiError::new(500, "InternalFailure", "Internal failure"),
        }
    }

    /// What a caller gets who may not do this.
    pub(super) fn denied(self, user: &str, action: &str) -> ApiError {
        let service = self.name();
        match self {
            Self::Ec2 => ApiError::new(
                403,
                "UnauthorizedOperation",
                format!(
                    "You are not authorized to perform this operation. User: {user} is not \
                     authorized to perform: {service}:{action} because no identity-based policy \
                     allows the {service}:{action} action"
                ),
            ),
            Self::Route53 => ApiError::new(
                403,
                "AccessDenied",
                format!(
                    "User: {user} is not authorized to perform: {service}:{action} because no \
                     identity-based policy allows the {service}:{action} action"
                ),
            ),
        }
    }

    /// What a signature for another service or Region gets.
    pub(super) fn out_of_scope(self) -> ApiError {
        let text = format!(
            "Credential should be scoped to a valid region and the service '{}'.",
            self.name()
        );
        match self {
            Self::Ec2 => ApiError::new(401, "AuthFailure", text),
            Self::Route53 => ApiError::new(403, "SignatureDoesNotMatch", text),
        }
    }

    /// How it words that a signature is not good, given EC2's words.
    pub(super) fn unsigned(self, error: ApiError) -> ApiError {
        match (self, error.code.as_str()) {
            (Self::Route53, "AuthFailure") => ApiError::new(
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            ),
            (Self::Route53, "RequestExpired") => ApiError::new(
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
            ),
            _ => error,
        }
    }
}
