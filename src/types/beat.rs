//! What one node tells another in a heartbeat.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{GroupName, InstanceId};

/// A random number a monitor draws when it starts. It tells two runs on one host apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// A reason why a node cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// No probe of the internet is answered, though one was before.
    Uplink,
    /// `ip_forward` is off, or the nft table is missing or changed, or the forwarding interface
    /// or its address is gone.
    Forwarding,
    /// EC2's source/dest check is on, so the VPC drops forwarded packets.
    SourceDestCheck,
    /// Its own loop ran late: it was paused, suspended or starved.
    Late,
    /// AWS has announced that it is about to interrupt this instance.
    Departing,
    /// Packets of private hosts do not get out and back: the node's own probes are answered, those
    /// through its forward path are not.
    Transit,
}

impl Fault {
    /// Every fault, in the order of its bit in the heartbeat packet.
    pub const ALL: [Self; 6] = [
        Self::Uplink,
        Self::Forwarding,
        Self::SourceDestCheck,
        Self::Late,
        Self::Departing,
        Self::Transit,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uplink => "uplink lost",
            Self::Forwarding => "not forwarding",
            Self::SourceDestCheck => "source/dest check on",
            Self::Late => "running late",
            Self::Departing => "about to be interrupted by AWS",
            Self::Transit => "forwarding broken",
        })
    }
}

/// A kind of evidence that a node obtains by probes. It works, it fails (the node then has the
/// fault of that kind), or it is unproven: no probe has been answered since the node booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The node's own packets get out and back.
    Uplink,
    /// The packets of private hosts get out and back.
    Transit,
}

impl Evidence {
    /// Every kind, in the order of its bit in the heartbeat packet.
    pub const ALL: [Self; 2] = [Self::Uplink, Self::Transit];

    /// The fault of a node where this evidence fails.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::Uplink => Fault::Uplink,
            Self::Transit => Fault::Transit,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uplink => "uplink unproven",
            Self::Transit => "transit unproven",
        })
    }
}

/// Whether a node can serve: it is fit while it knows of no fault, and proven while it is fit and
/// has evidence of every kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Fitness {
    /// What is wrong; empty when fit.
    pub faults: BTreeSet<Fault>,
    /// The kinds of evidence that the node has not obtained since it booted. A fault of the same
    /// kind takes precedence.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unproven: BTreeSet<Evidence>,
}

impl Fitness {
    /// A fit node with evidence of every kind.
    #[must_use]
    pub fn fit() -> Self {
        Self::default()
    }

    /// A node with one fault.
    #[must_use]
    pub fn unfit(fault: Fault) -> Self {
        Self { faults: BTreeSet::from([fault]), ..Self::default() }
    }

    /// A fit node that lacks evidence of one kind.
    #[must_use]
    pub fn unproven(kind: Evidence) -> Self {
        Self { unproven: BTreeSet::from([kind]), ..Self::default() }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether an announced interruption is all that is wrong: the node still serves, and gives its
    /// groups away on its own.
    #[must_use]
    pub fn is_departing(&self) -> bool {
        self.faults.len() == 1 && self.faults.contains(&Fault::Departing)
    }

    /// Whether nothing is wrong and no evidence is missing.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.is_fit() && self.unproven.is_empty()
    }
}

impl fmt::Display for Fitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        if parts.is_empty() {
            parts.push("fit".to_owned());
        }
        let open = self.unproven.iter().filter(|kind| !self.faults.contains(&kind.fault()));
        parts.extend(open.map(ToString::to_string));
        f.write_str(&parts.join(", "))
    }
}

/// What the sender knows of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hears {
    /// The peer.
    pub node: InstanceId,
    /// The peer's session that the sender heard last: proof of a live two-way exchange.
    pub session: SessionId,
    /// Milliseconds since the sender heard it; 65,535 stands for that and any longer time.
    pub age_ms: u16,
    /// Whether the sender judges it failed. Counts towards the majority a repair needs.
    pub failed: bool,
    /// Whether the sender stopped it, or is about to, and will start it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

impl Hears {
    /// How long ago the sender heard it; none where that is more than a heartbeat can tell.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        (self.age_ms < u16::MAX).then(|| Duration::from_millis(u64::from(self.age_ms)))
    }
}

/// What the sender believes it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The group.
    pub group: GroupName,
    /// How often the group has moved, as far as the sender knows.
    pub generation: u32,
    /// Whom it is about to be given to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<InstanceId>,
}

/// The body of one heartbeat, authenticated, not replayed, from a known member.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Beat {
    /// Whether the sender can serve, and why not.
    pub fitness: Fitness,
    /// The sender is leaving on purpose: it has given its groups away, or is about to.
    pub leaving: bool,
    /// The sender's monitor ends and will be back: it keeps its groups meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarting: bool,
    /// An operator has latched the sender: the cluster leaves everything as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latched: bool,
    /// Digest of the settings that every node must share. Where it differs, nobody is stopped.
    pub settings_digest: u64,
    /// What the sender hears of the others.
    pub hears: Vec<Hears>,
    /// What the sender holds.
    pub holds: Vec<Claim>,
    /// Groups that it cannot serve, though it is fit: their service checks fail.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unfit_for: BTreeSet<GroupName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_takes_precedence_over_missing_evidence() {
        let mut fitness = Fitness::unproven(Evidence::Transit);
        assert_eq!(fitness.to_string(), "fit, transit unproven");
        assert!(fitness.is_fit() && !fitness.is_proven());
        fitness.faults.insert(Fault::Transit);
        assert_eq!(fitness.to_string(), "forwarding broken");
        assert!(!fitness.is_fit() && !fitness.is_proven());
        fitness.faults = BTreeSet::from([Fault::Uplink]);
        assert_eq!(fitness.to_string(), "uplink lost, transit unproven");
        assert!(Fitness::fit().is_proven());
    }

    #[test]
    fn a_node_departs_if_an_interruption_is_all_that_is_wrong() {
        let mut fitness = Fitness::unfit(Fault::Departing);
        fitness.unproven.insert(Evidence::Uplink);
        assert!(fitness.is_departing() && !fitness.is_fit());
        fitness.faults.insert(Fault::Uplink);
        assert!(!fitness.is_departing());
        assert!(!Fitness::fit().is_departing() && !Fitness::unfit(Fault::Late).is_departing());
    }

    /// Recordings and status reports from before this field existed have none.
    #[test]
    fn a_fitness_without_the_field_has_all_evidence() {
        let old = r#"{"faults":["uplink"]}"#;
        let fitness: Fitness = serde_json::from_str(old).unwrap();
        assert_eq!(fitness, Fitness::unfit(Fault::Uplink));
        assert_eq!(serde_json::to_string(&fitness).unwrap(), old);
        let new = serde_json::to_string(&Fitness::unproven(Evidence::Transit)).unwrap();
        assert_eq!(new, r#"{"faults":[],"unproven":["transit"]}"#);
    }
}
