//! What the simulated account and Region are like.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::principal::Credentials;

/// The Region whose DNS names do not have its name.
const FIRST_REGION: &str = "us-east-1";

/// The image of every instance that a lab starts with.
pub(super) const IMAGE: &str = "ami-0123456789abcdef0";

/// What the simulated account and Region are like.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldSettings {
    /// Region, such as `eu-central-1`. Its zones are this and `a`, `b`, `c`.
    pub region: String,
    /// Account id, twelve digits.
    pub account: String,
    /// Keys of the account's owner; there may be several.
    pub operators: Vec<Credentials>,
    /// How long things take.
    pub timings: Timings,
    /// Whether calls over EC2's documented rates are refused.
    pub buckets: bool,
    /// Where ids and temporary keys come from.
    pub seed: u64,
    /// Wall clock at which the lab began: for time stamps and for the age of signatures.
    pub epoch: SystemTime,
    /// Where public addresses come from.
    pub public_pool: Ipv4Net,
    /// The images that instances can be launched from. All are of Amazon Linux, whose instances
    /// require tokens for their metadata.
    pub images: BTreeSet<String>,
}

/// How long things take in the simulated EC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timings {
    /// `pending` before `running`; the guest's own boot comes after it. Milliseconds.
    pub start_ms: u64,
    /// `stopping` before `stopped`, where the guest is asked to shut down. Milliseconds.
    pub stop_ms: u64,
    /// The same with `Force` or `SkipOsShutdown`. Milliseconds.
    pub force_ms: u64,
    /// `shutting-down` before `terminated`. Milliseconds.
    pub terminate_ms: u64,
    /// `pending` before `available` of a NAT gateway, and `deleting` before `deleted`.
    /// Milliseconds.
    pub nat_gateway_ms: u64,
    /// From `running` until the status checks are no longer `initializing`. Milliseconds.
    pub status_ms: u64,
    /// From a guest's last sign of life until its status check is `impaired`. Milliseconds.
    pub status_fail_ms: u64,
    /// From a successful call until packets meet its effect: routes, source/destination check,
    /// security groups. Milliseconds.
    pub propagation_ms: u64,
    /// From a successful call until packets meet the new place of an Elastic IP; none:
    /// `propagation_ms`. Milliseconds.
    pub elastic_ms: Option<u64>,
    /// How old the answers of Describe calls may be, each by itself. Milliseconds.
    pub read_lag_ms: u64,
    /// How long temporary keys are valid. Milliseconds.
    pub credentials_ms: u64,
    /// From a change of a record until every name server has it: `PENDING`. Milliseconds.
    pub dns_sync_ms: u64,
    /// How long Route 53 works on a change of a zone and takes no other one. Milliseconds.
    pub dns_busy_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            start_ms: 2_000,
            stop_ms: 3_000,
            force_ms: 1_000,
            terminate_ms: 2_000,
            nat_gateway_ms: 1_000,
            status_ms: 2_000,
            // One check a minute, and the second one that fails in a row counts.
            status_fail_ms: 120_000,
            propagation_ms: 0,
            elastic_ms: None,
            read_lag_ms: 0,
            credentials_ms: 6 * 3_600_000,
            dns_sync_ms: 2_000,
            dns_busy_ms: 0,
        }
    }
}

impl Default for WorldSettings {
    fn default() -> Self {
        Self {
            region: "eu-central-1".to_owned(),
            account: "123456789012".to_owned(),
            operators: vec![Credentials {
                access_key_id: "AKIALABOPERATOR00001".to_owned(),
                secret_access_key: "lab/operator/secret/key/of/40/characters".to_owned(),
                session_token: None,
                expires: None,
            }],
            timings: Timings::default(),
            buckets: true,
            seed: 1,
            epoch: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
            public_pool: "198.51.100.0/24".parse().expect("the text is a valid block"),
            images: BTreeSet::from([IMAGE.to_owned()]),
        }
    }
}

impl WorldSettings {
    /// A moment of the lab as EC2 writes time stamps: whole seconds, and a fraction that is none.
    pub(super) fn stamp(&self, at: Duration) -> String {
        let text = humantime::format_rfc3339_seconds(self.epoch + at).to_string();
        format!("{}.000Z", text.trim_end_matches('Z'))
    }

    /// A moment of the lab as EC2 writes it into reasons: `2026-01-02 03:04:05 GMT`.
    pub(super) fn reason_stamp(&self, at: Duration) -> String {
        let text = humantime::format_rfc3339_seconds(self.epoch + at).to_string();
        format!("{} GMT", text.replace('T', " ").trim_end_matches('Z'))
    }

    /// The DNS name of a private address. The first Region has names of its own.
    pub(crate) fn private_name(&self, address: Ipv4Addr) -> String {
        let dashed = address.to_string().replace('.', "-");
        match self.region.as_str() {
            FIRST_REGION => format!("ip-{dashed}.ec2.internal"),
            region => format!("ip-{dashed}.{region}.compute.internal"),
        }
    }

    /// The DNS name of a public address.
    pub(crate) fn public_name(&self, address: Ipv4Addr) -> String {
        let dashed = address.to_string().replace('.', "-");
        match self.region.as_str() {
            FIRST_REGION => format!("ec2-{dashed}.compute-1.amazonaws.com"),
            region => format!("ec2-{dashed}.{region}.compute.amazonaws.com"),
        }
    }

    /// Whether a zone exists in the Region.
    pub(super) fn has_zone(&self, zone: &str) -> bool {
        zone.strip_prefix(&self.region).is_some_and(|letter| matches!(letter, "a" | "b" | "c"))
    }

    /// The zone's id, such as `lab1-az1`.
    pub(super) fn zone_id(zone: &str) -> String {
        let number = zone.bytes().last().map_or(1, |b| b.wrapping_sub(b'a') + 1);
        format!("lab1-az{number}")
    }
}

impl Timings {
    pub(super) fn start(self) -> Duration {
        Duration::from_millis(self.start_ms)
    }

    pub(super) fn stop(self) -> Duration {
        Duration::from_millis(self.stop_ms)
    }

    pub(super) fn force(self) -> Duration {
        Duration::from_millis(self.force_ms)
    }

    pub(super) fn terminate(self) -> Duration {
        Duration::from_millis(self.terminate_ms)
    }

    pub(super) fn nat_gateway(self) -> Duration {
        Duration::from_millis(self.nat_gateway_ms)
    }

    pub(super) fn status(self) -> Duration {
        Duration::from_millis(self.status_ms)
    }

    pub(super) fn status_fail(self) -> Duration {
        Duration::from_millis(self.status_fail_ms)
    }

    pub(super) fn propagation(self) -> Duration {
        Duration::from_millis(self.propagation_ms)
    }

    pub(super) fn elastic(self) -> Duration {
        Duration::from_millis(self.elastic_ms.unwrap_or(self.propagation_ms))
    }

    /// From this call until packets meet what it changed.
    pub(super) fn effect_of(self, action: &str) -> Duration {
        match action {
            "AssociateAddress" | "DisassociateAddress" => self.elastic(),
            _ => self.propagation(),
        }
    }

    pub(super) fn read_lag(self) -> Duration {
        Duration::from_millis(self.read_lag_ms)
    }

    pub(super) fn credentials(self) -> Duration {
        Duration::from_millis(self.credentials_ms)
    }

    pub(super) fn dns_sync(self) -> Duration {
        Duration::from_millis(self.dns_sync_ms)
    }

    pub(super) fn dns_busy(self) -> Duration {
        Duration::from_millis(self.dns_busy_ms)
    }
}
