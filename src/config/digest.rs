//! A number that shows whether two nodes run with the same settings.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::group::GroupSetting;
use super::keys::all;
use super::settings::Settings;

/// Settings that may differ between the nodes of a cluster: they concern one host, or, like
/// `members`, list the other nodes. A name that ends with a dot stands for all settings under it.
const PER_HOST: [&str; 20] = [
    "cluster",
    "members",
    "socket",
    "state_dir",
    "api.region",
    "api.endpoint",
    "api.route53_endpoint",
    "api.sns_endpoint",
    "heartbeat.key_file",
    "heartbeat.second_key_file",
    "heartbeat.bind",
    // Each node tests whether copies reach its peers.
    "replicate.relay",
    "replicate.relay_port",
    "host.",
    "uplink.",
    "interruptions.",
    "metrics.",
    "record.",
    "history.",
    "notify.",
];

/// What all nodes must share, as it is hashed: JSON without white space, the settings by name, the
/// groups and everything in them sorted. Values are as the file would have them.
#[derive(Serialize)]
struct Shared {
    settings: BTreeMap<&'static str, String>,
    groups: Vec<GroupSetting>,
}

/// A digest over all timings, limits and groups: the first 8 bytes of a SHA-256, big endian. Two
/// nodes with different digests do not stop each other.
#[must_use]
pub fn settings_digest(settings: &Settings) -> u64 {
    let hash = Sha256::digest(canonical(settings).as_bytes());
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The text that is hashed.
fn canonical(settings: &Settings) -> String {
    let per_host = |name: &str| {
        PER_HOST
            .iter()
            .any(|own| if own.ends_with('.') { name.starts_with(own) } else { name == *own })
    };
    // Without replication its settings mean nothing.
    let counts = |name: &str| settings.replicate.enabled || !name.starts_with("replicate.");
    let shared = all().filter(|key| !per_host(key.name) && counts(key.name));
    let mut groups = settings.groups.clone();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    for group in &mut groups {
        group.tables.sort();
        for resource in &mut group.resources {
            resource.normalize();
        }
        group.resources.sort();
    }
    let settings = shared.map(|key| (key.name, key.get(settings))).collect();
    serde_json::to_string(&Shared { settings, groups }).expect("strings, numbers and lists")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Sources, resolve};

    #[test]
    fn what_is_about_one_host_does_not_count_and_what_is_shared_does() {
        let base = settings_digest(&Settings::default());
        let members = vec!["i-00000001".parse().unwrap()];
        let mut own = Settings { members, ..Settings::default() };
        own.api.region = Some("eu-west-1".to_owned());
        own.host.uplink = Some("ens5".to_owned());
        assert_eq!(settings_digest(&own), base);
        let mut shared = Settings::default();
        shared.timing.repair.stagger += Duration::from_secs(1);
        assert_ne!(settings_digest(&shared), base);
    }

    /// A change of this text changes the digest: nodes of both versions do not stop each other
    /// until all are upgraded. Mention it in the changelog.
    #[test]
    fn the_digest_of_a_sample_stays_the_same() {
        let text = "heartbeat.interval = \"50ms\"\n[[group]]\nname = \"db\"\n\
                    prefer = [\"i-0123abcd\", \"nat-b\"]\nhold = \"1m\"\nlocal = \"dnat:80\"\n\
                    [[group.resource]]\nkind = \"vip\"\naddress = \"192.168.9.9\"\n\
                    [[group.resource]]\nkind = \"dns\"\nzone = \"Z1\"\nname = \"a.b\"\n\
                    [group.check]\nhttp = \"http://127.0.0.1/a\"\n";
        let file = Some(("natha.toml".into(), text.to_owned()));
        let sources = Sources { file, ..Sources::default() };
        let settings = resolve(&sources).unwrap().settings;
        let wanted = [
            r#"{"settings":{"api.timeout":"5s","failover.adopt":"false","#,
            r#""failover.daemon_grace":"15s","failover.first_contact":"30s","#,
            r#""failover.read_valid":"5s","failover.reread":"10s","hand_back.enabled":"true","#,
            r#""hand_back.hold":"30s","hand_back.hold_max":"30m","heartbeat.interval":"50ms","#,
            r#""heartbeat.lost_after":"5","heartbeat.port":"6284","observe":"false","#,
            r#""repair.after":"1m","repair.enabled":"false","repair.max_per_hour":"3","#,
            r#""repair.patience":"5m","repair.settle":"30s","repair.stagger":"20s"},"#,
            r#""groups":[{"name":"db","home":"i-0123abcd","prefer":["nat-b"],"tables":[],"#,
            r#""cidr":"0.0.0.0/0","resource":[{"vip":{"address":"192.168.9.9","tables":[]}},"#,
            r#"{"dns":{"zone":"Z1","name":"a.b","ttl":60,"public":false}}],"local":"dnat:80","#,
            r#""check":{"probe":{"http":["127.0.0.1:80","/a"]},"interval":"1s","#,
            r#""timeout":"1s","fall":3,"rise":2},"hand_back":null,"hold":"1m"}]}"#,
        ];
        assert_eq!(canonical(&settings), wanted.concat());
        assert_eq!(settings_digest(&settings), 0x8864_513f_ee92_75f3);
    }

    #[test]
    fn replication_counts_once_it_is_on() {
        let with = |enabled, max_flows| {
            let mut settings = Settings::default();
            settings.replicate.enabled = enabled;
            settings.replicate.max_flows = max_flows;
            settings_digest(&settings)
        };
        assert_eq!(with(false, 1_000), with(false, 2_000));
        assert_ne!(with(false, 1_000), with(true, 1_000));
        assert_ne!(with(true, 1_000), with(true, 2_000));
    }

    #[test]
    fn groups_count_in_whatever_order_they_are_written() {
        let group = |name: &str, table: &str| {
            let tables = vec![table.parse().unwrap()];
            GroupSetting::of_tables(name.parse().unwrap(), None, tables, ipnet::Ipv4Net::default())
        };
        let (a, b) = (group("a", "rtb-00000001"), group("b", "rtb-00000002"));
        let with = |groups| settings_digest(&Settings { groups, ..Settings::default() });
        assert_eq!(with(vec![a.clone(), b.clone()]), with(vec![b, a.clone()]));
        assert_ne!(with(vec![a]), with(vec![]));
    }
}
