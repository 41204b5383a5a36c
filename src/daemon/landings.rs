//! Has EC2 assign the landing addresses that this node lacks. Each node sees to its own interface.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::Clouds;
use crate::types::{CloudFault, CloudFaultKind, NetworkInterfaceId};

/// Time between two calls. EC2's answers may lack what it has just assigned, and a call whose
/// outcome is unknown may have been applied: one that follows at once would assign too many.
const AGAIN: Duration = Duration::from_mins(1);

/// When this node last asked for landing addresses.
#[derive(Debug, Default)]
pub(super) struct Landings {
    asked: Option<Instant>,
}

impl Landings {
    /// Asks EC2 for the `count` landing addresses that this node's interface lacks. Returns whether
    /// EC2 has assigned them, which a new discovery then finds.
    pub(super) async fn assign(
        &mut self,
        clouds: &Clouds,
        count: usize,
        interface: &NetworkInterfaceId,
    ) -> bool {
        let is_due = self.asked.is_none_or(|asked| asked.elapsed() >= AGAIN);
        if count == 0 || !is_due {
            return false;
        }
        self.asked = Some(Instant::now());
        match clouds.ec2().add_private_ips(count, interface).await {
            Ok(()) => {
                tracing::info!("EC2 assigned {count} landing addresses to {interface}");
                true
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    "cannot have landing addresses assigned; natha tries again in a minute. {}",
                    remedy(&error)
                );
                false
            }
        }
    }
}

/// What an operator can do about a refusal of landing addresses.
fn remedy(error: &CloudFault) -> &'static str {
    match error.kind {
        CloudFaultKind::Denied => "Allow the node's role what `natha policy` prints",
        CloudFaultKind::Unsupported => {
            "The instance type allows no more private addresses on an interface: use a larger \
             type, or fewer egress IPs (docs/costs.md has the numbers)"
        }
        CloudFaultKind::Unknown
        | CloudFaultKind::Unreachable
        | CloudFaultKind::Throttled
        | CloudFaultKind::OutOfDate => "If it fails again and again, EC2's answer says why",
        CloudFaultKind::NotFound
        | CloudFaultKind::Exists
        | CloudFaultKind::State
        | CloudFaultKind::Capacity
        | CloudFaultKind::Other => "Correct what EC2 reports",
    }
}
