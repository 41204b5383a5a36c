//! EC2's token buckets, per account and Region. Numbers: "Throttling for the Amazon EC2 API".

use std::collections::BTreeMap;
use std::time::Duration;

/// Size and refill of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) burst: f64,
    /// Tokens per second.
    pub(super) refill: f64,
}

const fn size(burst: f64, refill: f64) -> Size {
    Size { burst, refill }
}

/// Route 53's one bucket for all calls of an account: five requests a second (Route 53 guide,
/// quotas).
pub(super) const ROUTE53: Size = size(5.0, 5.0);

/// The request bucket of a call.
pub(super) fn requests(action: &str, unbounded: bool) -> Size {
    match action {
        "DescribeInstances" | "DescribeInstanceStatus" | "DescribeNetworkInterfaces"
            if unbounded =>
        {
            size(50.0, 10.0)
        }
        "StartInstances" | "RunInstances" => size(5.0, 2.0),
        "ModifyNetworkInterfaceAttribute"
        | "CreateNetworkInterface"
        | "AttachNetworkInterface"
        | "AssignPrivateIpAddresses"
        | "UnassignPrivateIpAddresses"
        | "TerminateInstances" => size(100.0, 5.0),
        "CreateTags" | "DeleteTags" => size(100.0, 10.0),
        describe if describe.starts_with("Describe") => size(100.0, 20.0),
        _ => size(50.0, 5.0),
    }
}

/// The bucket of instances of a call, for those that have one.
pub(super) fn resources(action: &str) -> Option<Size> {
    match action {
        "StartInstances" | "RunInstances" => Some(size(1000.0, 2.0)),
        "StopInstances" | "TerminateInstances" => Some(size(1000.0, 20.0)),
        _ => None,
    }
}

/// All buckets of the account.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets {
    levels: BTreeMap<String, Level>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Duration,
}

impl Buckets {
    /// Takes `count` tokens, or none and says no.
    pub(super) fn take(&mut self, name: &str, size: Size, count: f64, now: Duration) -> bool {
        let level =
            self.levels.entry(name.to_owned()).or_insert(Level { tokens: size.burst, at: now });
        let grown = now.saturating_sub(level.at).as_secs_f64() * size.refill;
        level.tokens = (level.tokens + grown).min(size.burst);
        level.at = now;
        let enough = level.tokens >= count;
        if enough {
            level.tokens -= count;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_served_then_only_the_refill() {
        let (mut buckets, size) = (Buckets::default(), requests("ReplaceRoute", false));
        let served = |buckets: &mut Buckets, at: Duration| {
            (0..200).filter(|_| buckets.take("ReplaceRoute", size, 1.0, at)).count()
        };
        assert_eq!(served(&mut buckets, Duration::ZERO), 50);
        assert_eq!(served(&mut buckets, Duration::from_secs(2)), 10);
    }

    #[test]
    fn unbounded_listings_have_the_smaller_bucket() {
        assert_eq!(requests("DescribeInstances", true), size(50.0, 10.0));
        assert_eq!(requests("DescribeInstances", false), size(100.0, 20.0));
        assert_eq!(requests("DescribeRouteTables", true), size(100.0, 20.0));
    }
}
