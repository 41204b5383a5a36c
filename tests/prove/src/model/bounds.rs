//! The settings of the machines in the model, and the bounds of the rules.
//!
//! The model's clock ticks in seconds, so the intervals are seconds where natha's defaults are
//! tenths. All that counts is how the times compare, and natha's own check of the settings holds
//! for these too: `settings` is what a user might have written.

use std::time::Duration;

use natha::config::{HandBack, Repair, Settings, Timing};
use natha::types::Time;

/// One tick of the model.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// When it always is: every state is moved to this moment.
pub(super) const NOW: Time = Time::from_millis(1_000_000_000);
/// Further back than this no rule of the machine looks, with these settings, but for those that
/// have patience before a repair.
pub(super) const NEAR: Duration = Duration::from_secs(20);
/// And further back than this not even those.
pub(super) const FAR: Duration = Duration::from_secs(64);

/// The time limit of an API call, in ticks.
pub(super) const LIMIT: u8 = 2;
/// How far reads lag behind EC2 while they do, in ticks.
pub(super) const LAG: u8 = 3;
/// How long EC2 takes to stop an instance, and to start one.
pub(super) const STOPPING: u8 = 2;
pub(super) const PENDING: u8 = 2;
/// How late heartbeats are on a slow link.
pub(super) const SLOW: u8 = 4;

/// The settings: as short as natha accepts them.
#[must_use]
pub fn settings() -> Settings {
    let seconds = Duration::from_secs;
    let mut settings = Settings::default();
    settings.api.timeout = TICK * u32::from(LIMIT);
    settings.timing = Timing {
        interval: TICK,
        lost_after: 3,
        daemon_grace: seconds(5),
        first_contact: seconds(6),
        read_valid: seconds(4),
        reread: seconds(4),
        repair: Repair {
            enabled: true,
            after: seconds(24),
            settle: seconds(20),
            stagger: seconds(15),
            max_per_hour: 3,
            patience: seconds(15),
        },
        hand_back: HandBack { enabled: true, hold: seconds(5), hold_max: seconds(10) },
        adopt: false,
        probe_interval: TICK * 4,
    };
    settings
}
