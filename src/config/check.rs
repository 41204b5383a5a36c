//! What must hold between settings.

use std::time::Duration;

use super::layers::Placed;
use super::problem::Problem;
use super::settings::Settings;

mod groups;

/// How far EC2's description of an instance may lag behind what it does. EC2 promises nothing
/// ("eventual consistency", EC2 developer guide); seconds are what its users see.
const EC2_LAG: Duration = Duration::from_secs(5);

/// How often EC2 is asked while a peer is not well.
const READ_PACE: Duration = Duration::from_secs(2);

/// What an answer may take when all is well.
const ANSWER: Duration = Duration::from_secs(1);

/// A rule that is broken: the settings it is about, and what to do.
pub(super) struct Breach {
    pub(super) keys: &'static [&'static str],
    pub(super) what: String,
    pub(super) remedy: String,
}

/// The shortest stagger with which two nodes cannot stop each other.
///
/// The first one sends its stop at the latest `api.timeout` after its turn. The second one began
/// to suspect up to one detection and one interval earlier, and looks at its own state with a
/// read that is up to `read_valid` old and that EC2 may give `EC2_LAG` late. Only where its
/// turn comes after all of this does it surely see that it is itself being stopped.
#[must_use]
pub fn least_stagger(settings: &Settings) -> Duration {
    let failover = &settings.failover;
    failover.detection() + failover.interval + settings.api.timeout + failover.read_valid + EC2_LAG
}

/// The shortest `repair.settle` with which a peer that lives, but neither hears nor is heard, shows
/// that it lives before it may be stopped.
///
/// It shows it by taking its own group back. It does so 1 s after twice `read_valid`, counted from
/// a read, and it reads every 2 s. Its write may take `api.timeout` and be seen `EC2_LAG` late, and
/// this node reads every 2 s. The time counts from when this node has the routes: it may get them
/// long after it lost the peer.
#[must_use]
pub fn least_settle(settings: &Settings) -> Duration {
    let reads = READ_PACE * 2;
    let acts = settings.failover.read_valid * 2 + Duration::from_secs(1) + settings.api.timeout;
    reads + acts + EC2_LAG
}

/// The shortest `repair.after` for the same: the peer may have lost this node up to one detection
/// and one interval later.
#[must_use]
pub fn least_repair_after(settings: &Settings) -> Duration {
    let failover = &settings.failover;
    failover.detection() + failover.interval + least_settle(settings)
}

/// Everything that is wrong with the groups of `settings`, which are these.
pub(super) fn group_problems(settings: &Settings, groups: &[Placed]) -> Vec<Problem> {
    groups::problems(settings, groups)
}

/// Every rule between other settings, and between these and the groups, that is broken.
pub(super) fn breaches(settings: &Settings, groups: &[Placed]) -> Vec<Breach> {
    let mut found = timing(settings);
    found.extend(repair_timing(settings));
    found.extend(membership(settings));
    found.extend(accepted(settings));
    found.extend(groups::accepted_too(settings, groups));
    found
}

/// What no host can answer on for others.
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
        what: format!("{unfit} is no address that packets are routed to"),
        remedy: "name virtual IPs, which are outside the VPC".to_owned(),
    })
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn timing(settings: &Settings) -> Vec<Breach> {
    let failover = &settings.failover;
    let detection = failover.detection();
    let mut found = Vec::new();
    if failover.first_contact <= detection {
        found.push(Breach {
            keys: &["failover.first_contact", "heartbeat.interval", "heartbeat.lost_after"],
            what: format!("first contact is over before a peer can be lost ({})", show(detection)),
            remedy: format!("set failover.first_contact above {}", show(detection)),
        });
    }
    if failover.read_valid < settings.api.timeout {
        found.push(Breach {
            keys: &["failover.read_valid", "api.timeout"],
            what: "a read may be too old to be used by the time it arrives".to_owned(),
            remedy: format!("set failover.read_valid to at least {}", show(settings.api.timeout)),
        });
    }
    let least = READ_PACE + ANSWER;
    if failover.repair.enabled && failover.read_valid < least {
        found.push(Breach {
            keys: &["failover.read_valid", "repair.enabled"],
            what: "reads would be too old for a repair: there is one every 2 s, and it takes time"
                .to_owned(),
            remedy: format!("set failover.read_valid to at least {}", show(least)),
        });
    }
    if failover.hand_back.hold > failover.hand_back.hold_max {
        found.push(Breach {
            keys: &["hand_back.hold", "hand_back.hold_max"],
            what: "the longest hold is shorter than the first one".to_owned(),
            remedy: "raise hand_back.hold_max".to_owned(),
        });
    }
    found
}

fn repair_timing(settings: &Settings) -> Vec<Breach> {
    let failover = &settings.failover;
    let repair = &failover.repair;
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
            what: "a peer that lives, cut off, could be stopped before it can show it".to_owned(),
            remedy: format!("set repair.after to at least {}", show(least)),
        });
    }
    let least = least_settle(settings);
    if repair.settle < least {
        found.push(Breach {
            keys: &["repair.settle", "api.timeout", "failover.read_valid"],
            what: "a peer that lives, cut off, could be stopped before it can show it".to_owned(),
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
            what: "two nodes that are cut off from each other could stop each other".to_owned(),
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
            what: format!("{} nodes are too many", settings.members.len()),
            remedy: "list 16 at most".to_owned(),
        });
    }
    if settings.observe && settings.groups.is_empty() {
        found.push(Breach {
            keys: &["observe"],
            what: "there is no group whose address could be followed".to_owned(),
            remedy: "write the groups as [[group]] in the settings file".to_owned(),
        });
    }
    if let Some(pair) = &settings.pair
        && pair.peer_table == pair.my_table
    {
        found.push(Breach {
            keys: &[],
            what: format!("--peer-table and --my-table are both {}", pair.my_table),
            remedy: "give each node its own table".to_owned(),
        });
    }
    found
}
