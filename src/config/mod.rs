//! From flags, environment, file and tags to validated [`Settings`].

mod defaults;
mod digest;
mod file;
mod flags;
mod group;
mod group_keys;
mod group_modes;
mod key;
mod keys;
mod layers;
mod load;
mod metrics;
mod notify;
mod observe;
mod problem;
mod reading;
mod reference;
mod replicate;
mod rules;
mod settings;
mod spans;
mod values;

pub use digest::settings_digest;
pub use flags::{Flags, PairFlags};
pub use group::{GroupSetting, Home, ResourceSetting, ServiceCheck, ServiceProbe};
pub use group_modes::{EgressMode, Local};
pub use load::{
    Given, Resolved, Sources, load, load_despite_key, load_socket, load_with_pair, resolve,
};
pub use metrics::{Listen, Metrics};
pub use notify::{HistorySettings, Notify, TopicArn, WebhookUrl};
pub(crate) use problem::nearest;
pub use problem::{Origin, Problem, Problems};
pub use reference::{group_reference, if_unset, reference};
pub use replicate::Replicate;
pub use rules::{least_repair_after, least_settle, least_stagger};
pub use settings::{
    AcceptMode, Api, ClusterKey, HandBack, Heartbeat, Host, Interruptions, Probe, Record, Repair,
    Role, Settings, Timing, TransitNetwork, Uplink,
};
