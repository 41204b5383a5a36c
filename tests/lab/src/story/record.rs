//! What happened, from every source in one order.

use serde::Serialize;

use crate::daemon::shared::Power;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// When, in milliseconds since the lab began.
    pub at_ms: f64,
    /// Who did it or says so: a host, `EC2`, `network` or `demo`.
    pub who: String,
    /// What, for programs.
    #[serde(flatten)]
    pub what: What,
    /// What and why, for people.
    pub text: String,
    /// How long it took, where something ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
}

/// What happened, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum What {
    /// An instance's power changed.
    Power {
        /// Whose.
        host: String,
        /// How it is now.
        power: Power,
        /// Counts its boots.
        boot: u64,
    },
    /// Packets of a zone's private subnet follow another route.
    Route {
        /// The zone.
        zone: String,
        /// A host's name, `internet` or `nowhere`.
        to: String,
    },
    /// A call that changes something, made by an instance.
    Call {
        /// The action.
        action: String,
        /// The names of what it is about.
        about: Vec<String>,
        /// The error code; none for success.
        error: Option<String>,
    },
    /// What natha on a node tells of itself.
    Told {
        /// The event's kind.
        event: String,
        /// The node it is about.
        node: Option<String>,
        /// The group it is about.
        group: Option<String>,
    },
}

/// Where natha says that an event of this kind happened to `node`.
pub(super) fn told(who: &str, kind: &str, about: &str, moment: &Moment) -> bool {
    matches!(&moment.what, What::Told { event, node, .. }
        if moment.who == who && event == kind && node.as_deref() == Some(about))
}

/// Whether it is a successful call of this action about `on`.
pub(super) fn called(wanted: &str, on: &str, moment: &Moment) -> bool {
    matches!(&moment.what, What::Call { action, about, error: None }
        if action == wanted && about.iter().any(|one| one == on))
}

/// Whether packets of the zone follow a route to `host` from now on.
pub(super) fn led(wanted: &str, host: &str, moment: &Moment) -> bool {
    matches!(&moment.what, What::Route { zone, to } if zone == wanted && to == host)
}

/// Whether an instance's power became this, in this boot.
pub(super) fn powered(name: &str, wanted: Power, nth: u64, moment: &Moment) -> bool {
    matches!(&moment.what, What::Power { host, power, boot }
        if host == name && *power == wanted && *boot == nth)
}
