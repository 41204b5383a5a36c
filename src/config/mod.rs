//! From flags, environment, file and tags to validated [`Settings`].

mod settings;

pub use settings::{
    Api, Failover, GroupSetting, HandBack, Heartbeat, Home, Host, Key, Probe, Repair, Settings,
    Uplink,
};
