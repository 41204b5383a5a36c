//! From flags, environment, file and tags to validated [`Settings`].

mod check;
mod digest;
mod discovery;
mod file;
mod flags;
mod keys;
mod layers;
mod load;
mod problem;
mod settings;
mod spans;
mod values;

pub use check::{least_repair_after, least_settle, least_stagger};
pub use digest::settings_digest;
pub use discovery::{
    CLUSTER_TAG, Discovered, HOME_TAG, INTERFACE_TAG, Wanted, Which, discover,
    forwarding_interface, wanted,
};
pub use flags::{Flags, PairFlags};
pub use load::{DEFAULT_FILE, Given, Resolved, Sources, load, reference, resolve};
pub use problem::{Origin, Problem, Problems};
pub use settings::{
    AcceptMode, Api, Check, Failover, GroupSetting, HandBack, Heartbeat, Home, Host, Key, Local,
    Notices, Pair, Probe, Record, Repair, ResourceSetting, Role, ServiceProbe, Settings, Uplink,
};
