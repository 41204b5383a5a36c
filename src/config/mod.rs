//! From flags, environment, file and tags to validated [`Settings`].

mod check;
mod digest;
mod file;
mod flags;
mod group;
mod group_keys;
mod keys;
mod layers;
mod load;
mod observe;
mod problem;
mod reference;
mod settings;
mod spans;
mod values;

pub use check::{least_repair_after, least_settle, least_stagger};
pub use digest::settings_digest;
pub use flags::{Flags, PairFlags};
pub use group::{Check, GroupSetting, Home, Local, ResourceSetting, ServiceProbe};
pub use load::{DEFAULT_FILE, Given, Resolved, Sources, load, resolve};
pub use problem::{Origin, Problem, Problems};
pub use reference::{group_reference, reference};
pub use settings::{
    AcceptMode, Api, Failover, HandBack, Heartbeat, Host, Key, Notices, Pair, Probe, Record,
    Repair, Role, Settings, Uplink,
};
