//! The values of settings that are not set.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::metrics::Metrics;
use super::notify::HistorySettings;
use super::replicate::Replicate;
use super::settings::{
    AcceptMode, Api, Heartbeat, Host, Interruptions, Probe, Record, Settings, Timing,
    TransitNetwork, Uplink,
};

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: None,
            api: Api {
                region: None,
                endpoint: None,
                route53_endpoint: None,
                timeout: Duration::from_secs(5),
            },
            host: Host {
                nat: None,
                accept: Vec::new(),
                accept_mode: AcceptMode::Lo,
                uplink: None,
                sources: Vec::new(),
                transit_network: TransitNetwork::default(),
                clamp_mss: true,
                mss: 1460,
                flowtable: false,
                source_dest_check: true,
                conntrack_max: None,
                conntrack_alert: 90,
                accounting: false,
                // As a managed NAT gateway. RFC 5382, REQ-5: not less than 2 hours and 4 minutes.
                established_timeout: Duration::from_secs(350),
                reset_idle: true,
                protect: false,
                protect_except: Vec::new(),
            },
            heartbeat: Heartbeat {
                port: 6284,
                key: None,
                key_file: None,
                second_key: None,
                second_key_file: None,
                bind: None,
            },
            timing: Timing::default(),
            uplink: Uplink {
                targets: vec![
                    Probe::Icmp(Ipv4Addr::new(1, 1, 1, 1)),
                    Probe::Icmp(Ipv4Addr::new(8, 8, 8, 8)),
                    Probe::Tcp(SocketAddr::from(([1, 1, 1, 1], 443))),
                ],
                lost_after: 5,
            },
            interruptions: Interruptions { enabled: true, lead_time: Duration::from_mins(2) },
            replicate: Replicate::default(),
            metrics: Metrics::default(),
            groups: Vec::new(),
            members: Vec::new(),
            observe: false,
            socket: PathBuf::from("/run/natha/natha.sock"),
            state_dir: PathBuf::from("/var/lib/natha"),
            record: Record { file: None, max_mib: 256 },
            history: HistorySettings::default(),
            notify: Box::default(),
        }
    }
}
