//! Rules between settings.

use std::time::Duration;

use super::group::GroupSetting;
use super::problem::{LocatedGroup, Problem};
use super::settings::Settings;

mod breach;
mod groups;

use self::breach::{Breach, show};

/// How long EC2's description of an instance may lag behind its state. EC2 gives no bound
/// ("eventual consistency", EC2 developer guide); users observe seconds.
const EC2_LAG: Duration = Duration::from_secs(5);

/// Time between two reads of EC2 while a peer is not well.
const READ_PACE: Duration = Duration::from_secs(2);

/// How long a response may take in normal operation.
const ANSWER: Duration = Duration::from_secs(1);

/// What `repair.after` and `repair.settle` prevent.
const STOPPED_TOO_SOON: &str =
    "a live but partitioned peer could be stopped before it can prove that it is alive";

/// The minimum of `repair.stagger` with which two nodes cannot stop each other.
///
/// The first node sends its stop at most `api.timeout` after its turn. The second node may have
/// begun to suspect one detection time and one interval earlier. It checks its own state with a
/// read that is up to `read_valid` old and that EC2 may serve `EC2_LAG` late. Only if its turn
/// comes after all of these is it certain to see that it is being stopped itself.
#[must_use]
pub fn least_stagger(settings: &Settings) -> Duration {
    let timing = &settings.timing;
    timing.detection() + timing.interval + settings.api.timeout + timing.read_valid + EC2_LAG
}

/// The minimum of `repair.settle` with which a live but partitioned peer can prove that it is alive
/// before it may be stopped.
///
/// The peer proves it by taking its own group back: 1 s after twice `read_valid`, counted from a
/// read, and it reads every 2 s. Its write may take `api.timeout` and become visible `EC2_LAG`
/// later, and this node reads every 2 s. The time counts from when this node has the routes, which
/// may be long after it lost the peer.
#[must_use]
pub fn least_settle(settings: &Settings) -> Duration {
    let reads = READ_PACE * 2;
    let acts = settings.timing.read_valid * 2 + Duration::from_secs(1) + settings.api.timeout;
    reads + acts + EC2_LAG
}

/// The minimum of `repair.after` for the same reason: the peer may lose this node one detection
/// time and one interval later than this node lost the peer.
#[must_use]
pub fn least_repair_after(settings: &Settings) -> Duration {
    let timing = &settings.timing;
    timing.detection() + timing.interval + least_settle(settings)
}

/// The problems of the groups, which are those of `settings`.
pub(super) fn group_problems(settings: &Settings, groups: &[LocatedGroup]) -> Vec<Problem> {
    groups::problems(settings, groups)
}

/// The broken rules between other settings, and between these and the groups.
pub(super) fn breaches(settings: &Settings, groups: &[LocatedGroup]) -> Vec<Breach> {
    let mut found = timing(settings);
    found.extend(repair_timing(settings));
    found.extend(membership(settings));
    found.extend(accepted(settings));
    found.extend(protected(settings));
    found.extend(rates(settings));
    found.extend(webhook(settings));
    found.extend(ports(settings));
    found.extend(relay_port(settings));
    found.extend(groups::accepted_too(settings, groups));
    found
}

/// Addresses in `host.accept` that cannot be virtual IPs.
fn accepted(settings: &Settings) -> Option<Breach> {
    let unfit = settings.host.accept.iter().find(|address| {
        address.is_loopback()
            || address.is_link_local()
            || address.is_multicast()
            || address.is_unspecified()
            || address.is_broadcast()
    })?;
    Some(Breach {
        keys: &["host.accept"],
        what: format!("{unfit} cannot be routed to a host"),
        remedy: "list virtual IPs, which are outside the VPC".to_owned(),
    })
}

/// Addresses that private hosts use, on a host that is closed to them.
fn protected(settings: &Settings) -> Option<Breach> {
    let host = &settings.host;
    let closes = host.protect && host.protect_except.is_empty() && settings.is_nat();
    let serves = !host.accept.is_empty() || settings.groups.iter().any(GroupSetting::has_addresses);
    (closes && serves).then(|| Breach {
        keys: &["host.protect", "host.protect_except"],
        what: "private hosts could not use the virtual and private IPs of this host".to_owned(),
        remedy: "set host.protect_except to the networks of the hosts that use them, or \
                 host.protect to false"
            .to_owned(),
    })
}

/// A least rate of replication above the greatest.
fn rates(settings: &Settings) -> Option<Breach> {
    let (min, max) = (settings.replicate.min_rate, settings.replicate.max_rate);
    (min > max).then(|| Breach {
        keys: &["replicate.min_rate", "replicate.max_rate"],
        what: "the rate that is always allowed is above the greatest".to_owned(),
        remedy: format!("set replicate.max_rate to at least {min}"),
    })
}

/// Copies of packets on the UDP port of the heartbeats.
fn relay_port(settings: &Settings) -> Option<Breach> {
    let (replicate, port) = (&settings.replicate, settings.heartbeat.port);
    let is_shared = replicate.enabled && replicate.relay && replicate.relay_port == port;
    is_shared.then(|| Breach {
        keys: &["replicate.relay_port", "heartbeat.port"],
        what: format!("heartbeats and copies of packets cannot share UDP port {port}"),
        remedy: "set replicate.relay_port to another port".to_owned(),
    })
}

/// Settings of a webhook that there is not.
fn webhook(settings: &Settings) -> Option<Breach> {
    let notify = &settings.notify;
    let given = [
        (&["notify.webhook_header_file", "notify.webhook"], &notify.webhook_header_file),
        (&["notify.webhook_ca", "notify.webhook"], &notify.webhook_ca),
    ];
    let (keys, _) = given.into_iter().find(|(_, path)| path.is_some())?;
    notify.webhook.is_none().then(|| Breach {
        keys,
        what: "there is no webhook that it could be for".to_owned(),
        remedy: "set notify.webhook, or remove it".to_owned(),
    })
}

/// Metrics on the TCP port of the replication. On the loopback address they are not in its way.
fn ports(settings: &Settings) -> Option<Breach> {
    let replicate = settings.replicate.port.unwrap_or(settings.heartbeat.port);
    let listen = settings.metrics.listen.0.filter(|_| settings.replicate.enabled)?;
    (listen.port() == replicate && !listen.ip().is_loopback()).then(|| Breach {
        keys: &["metrics.listen", "replicate.port"],
        what: format!("metrics and replicated connections cannot share TCP port {replicate}"),
        remedy: "set metrics.listen to another port, or to `off`".to_owned(),
    })
}

fn timing(settings: &Settings) -> Vec<Breach> {
    let timing = &settings.timing;
    let detection = timing.detection();
    let mut found = Vec::new();
    if timing.first_contact <= detection {
        found.push(Breach {
            keys: &["failover.first_contact", "heartbeat.interval", "heartbeat.lost_after"],
            what: format!("the first contact ends before a peer can be lost ({})", show(detection)),
            remedy: format!("set failover.first_contact above {}", show(detection)),
        });
    }
    if timing.read_valid < settings.api.timeout {
        found.push(Breach {
            keys: &["failover.read_valid", "api.timeout"],
            what: "a read may be too old when it arrives".to_owned(),
            remedy: format!("set failover.read_valid to at least {}", show(settings.api.timeout)),
        });
    }
    let least = READ_PACE + ANSWER;
    if timing.repair.enabled && timing.read_valid < least {
        found.push(Breach {
            keys: &["failover.read_valid", "repair.enabled"],
            what:
                "reads would be too old for a repair: natha reads every 2 s, and a read takes time"
                    .to_owned(),
            remedy: format!("set failover.read_valid to at least {}", show(least)),
        });
    }
    if timing.hand_back.hold > timing.hand_back.hold_max {
        found.push(Breach {
            keys: &["hand_back.hold", "hand_back.hold_max"],
            what: "the upper limit of the hold is below the hold itself".to_owned(),
            remedy: "raise hand_back.hold_max".to_owned(),
        });
    }
    found
}

fn repair_timing(settings: &Settings) -> Vec<Breach> {
    let timing = &settings.timing;
    let repair = &timing.repair;
    if !repair.enabled {
        return Vec::new();
    }
    let mut found = Vec::new();
    let least = least_repair_after(settings);
    if repair.after < least {
        found.push(Breach {
            keys: &[
                "repair.after",
                "heartbeat.interval",
                "heartbeat.lost_after",
                "api.timeout",
                "failover.read_valid",
            ],
            what: STOPPED_TOO_SOON.to_owned(),
            remedy: format!("set repair.after to at least {}", show(least)),
        });
    }
    let least = least_settle(settings);
    if repair.settle < least {
        found.push(Breach {
            keys: &["repair.settle", "api.timeout", "failover.read_valid"],
            what: STOPPED_TOO_SOON.to_owned(),
            remedy: format!("set repair.settle to at least {}", show(least)),
        });
    }
    let least = least_stagger(settings);
    if repair.stagger < least {
        found.push(Breach {
            keys: &[
                "repair.stagger",
                "heartbeat.interval",
                "heartbeat.lost_after",
                "api.timeout",
                "failover.read_valid",
            ],
            what: "two partitioned nodes could stop each other".to_owned(),
            remedy: format!("set repair.stagger to at least {}", show(least)),
        });
    }
    found
}

fn membership(settings: &Settings) -> Vec<Breach> {
    let mut found = Vec::new();
    if settings.members.len() > 16 {
        found.push(Breach {
            keys: &["members"],
            what: format!("{} members are too many", settings.members.len()),
            remedy: "list at most 16".to_owned(),
        });
    }
    if settings.observe && settings.groups.is_empty() {
        found.push(Breach {
            keys: &["observe"],
            what: "there is no group whose address natha could follow".to_owned(),
            remedy: "write the groups as [[group]] in the settings file".to_owned(),
        });
    }
    found
}
