//! The nodes' settings, and how long things may take under them.

use std::time::Duration;

/// How far what EC2 tells may lag behind what it does: natha's own assumption, the same for all
/// settings.
pub(super) const EC2_LAG: Duration = Duration::from_secs(5);
/// From power to a monitor that runs, on a busy machine too.
const BOOT: Duration = Duration::from_secs(10);
/// From `StopInstances` to `stopped` in the simulated EC2, and from `StartInstances` to power.
pub(super) const STOPPING: Duration = Duration::from_secs(3);
/// The same for a start.
pub(super) const STARTING: Duration = Duration::from_secs(2);
/// From a guest's last sign of life until its status check is `impaired`. On AWS it takes a minute
/// or two.
pub(super) const STATUS: Duration = Duration::from_mins(1);
/// How long every API call takes, on top of what its faults add.
pub(super) const LATENCY: Duration = Duration::from_millis(50);

/// Settings of the nodes and what follows from them. The times are those of the settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    /// The settings file.
    pub(super) config: String,
    /// `repair.after`.
    pub(super) after: Duration,
    /// `repair.stagger`.
    pub(super) stagger: Duration,
    /// `repair.settle`.
    pub(super) settle: Duration,
    /// `failover.read_valid`.
    pub(super) read_valid: Duration,
    /// `api.timeout`.
    pub(super) timeout: Duration,
    /// `failover.first_contact`.
    pub(super) first_contact: Duration,
    /// `hand_back.hold_max`.
    pub(super) hold_max: Duration,
    /// The longest storm.
    pub(super) storm: Duration,
    /// How long nothing is done to a cluster that is as it should be.
    pub(super) rest: Duration,
}

impl Pace {
    /// Timers about as short as settings may have them: a takeover, a repair and a hand-back fit
    /// into a minute.
    #[must_use]
    pub(super) fn quick() -> Self {
        let secs = Duration::from_secs;
        Self {
            config: "\
api.timeout = \"3s\"
failover.read_valid = \"3s\"

[repair]
after = \"20s\"
settle = \"19s\"
stagger = \"12s\"
max_per_hour = 60

[hand_back]
hold = \"3s\"
hold_max = \"5s\""
                .to_owned(),
            after: secs(20),
            stagger: secs(12),
            settle: secs(19),
            read_valid: secs(3),
            timeout: secs(3),
            first_contact: secs(30),
            hold_max: secs(5),
            storm: secs(45),
            rest: secs(12),
        }
    }

    /// natha's defaults. Three repairs an hour latch, and a home that flaps waits for half an hour.
    #[must_use]
    pub(super) fn default_settings() -> Self {
        let secs = Duration::from_secs;
        Self {
            config: String::new(),
            after: secs(60),
            stagger: secs(20),
            settle: secs(30),
            read_valid: secs(5),
            timeout: secs(5),
            first_contact: secs(30),
            hold_max: secs(30 * 60),
            storm: secs(90),
            rest: secs(30),
        }
    }

    /// How long a node must have been well before a stop of it is wrong, whatever was seen. A
    /// stop follows `repair.after` of silence; settings are refused in which that is shorter than
    /// what a living node needs to show itself by the routes. The stop was sent up to a time limit
    /// before it is applied.
    #[must_use]
    pub(super) fn surely_well(&self) -> Duration {
        self.after + self.timeout
    }

    /// How long a route must have led to a node before a stop of that node is wrong: the oldest
    /// read that a stop relies on, EC2's lag, and the time limit of the call.
    #[must_use]
    pub(super) fn surely_serving(&self) -> Duration {
        self.read_valid + EC2_LAG + self.timeout
    }

    /// How long two nodes must have been well and connected, and a route settled, before the
    /// other taking it is wrong: decisions of the disturbance before are over by then, and so are
    /// the writes they led to, repeated ones included.
    #[must_use]
    pub(super) fn surely_calm(&self) -> Duration {
        self.surely_serving() + self.timeout + Duration::from_secs(4)
    }

    /// The same, where a person has led the route to a node that is dead, or the node did it itself
    /// shortly before its death, when it was cut off. For all that its peers can tell, it is alive;
    /// until its status check says otherwise.
    pub(super) fn dead_end(&self) -> Duration {
        STATUS + self.served_again()
    }

    /// How long a private host may go unserved while the same node is well all the time. A
    /// monitor that has just started is patient with a peer that it never heard; then its API
    /// calls may have to be repeated.
    #[must_use]
    pub(super) fn served_again(&self) -> Duration {
        self.first_contact + self.timeout * 2 + EC2_LAG + Duration::from_secs(4)
    }

    /// After the last fault is mended: until every group is at home and every node runs. The last
    /// rank's repair, a boot, and a hand-back held up as long as it may be.
    #[must_use]
    pub(super) fn home_again(&self, nodes: usize) -> Duration {
        let ranks = u32::try_from(nodes).unwrap_or(u32::MAX);
        let repair = self.after + self.stagger * ranks + self.settle + STOPPING + STARTING + BOOT;
        repair + self.first_contact + self.hold_max + self.dead_end()
    }

    /// When a person helps, if natha has not repaired by itself what it may repair.
    #[must_use]
    pub(super) fn people_come(&self, nodes: usize) -> Duration {
        let ranks = u32::try_from(nodes).unwrap_or(u32::MAX);
        let repair = self.after + self.stagger * ranks + self.settle + STOPPING + STARTING + BOOT;
        repair + STATUS + Duration::from_secs(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_comes_before_the_time_is_up() {
        for pace in [Pace::quick(), Pace::default_settings()] {
            for nodes in [2, 3] {
                let rest = pace.home_again(nodes).saturating_sub(pace.people_come(nodes));
                assert!(rest > Duration::from_secs(30), "{rest:?}");
            }
        }
    }
}
