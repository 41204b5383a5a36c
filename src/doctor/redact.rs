//! The settings as they may be shown to others, and the last guard against a key that gets out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::{Given, GroupSetting, Heartbeat, ServiceProbe, Settings};

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// The setting whose value may be a secret as a whole but for its host.
const WEBHOOK: &str = "notify.webhook";

/// The settings by name, each with its source, and the groups. A key is only said to be there.
///
/// What is secret is known by its type: each field of [`Heartbeat`] is named here, so that a new
/// one must be decided on. Left out as well are user names, passwords and parameters of URLs, what
/// follows the host of the webhook, and the arguments of programs that check services.
#[must_use]
pub fn shown_settings(settings: &Settings, given: &BTreeMap<&'static str, Given>) -> Value {
    let Heartbeat { key, second_key, port: _, key_file: _, second_key_file: _, bind: _ } =
        &settings.heartbeat;
    let mut named = serde_json::Map::new();
    for (name, given) in given {
        let value = match &settings.notify.webhook {
            Some(url) if *name == WEBHOOK => format!("https://{}/{REDACTED}", url.host()),
            _ => without_credentials(&given.value),
        };
        named.insert(
            (*name).to_owned(),
            json!({ "value": value, "from": given.origin.to_string() }),
        );
    }
    let groups: Vec<GroupSetting> = settings.groups.iter().map(without_secrets).collect();
    json!({
        "settings": named,
        "groups": groups,
        "has_key": key.is_some(),
        "has_second_key": second_key.is_some(),
    })
}

/// A group without what may be secret in its service check: the parameters of a URL, and the
/// arguments of a program.
fn without_secrets(group: &GroupSetting) -> GroupSetting {
    let mut group = group.clone();
    if let Some(check) = &mut group.check {
        check.probe = match &check.probe {
            ServiceProbe::Http(address, path) => {
                ServiceProbe::Http(*address, without_credentials(path))
            }
            ServiceProbe::Exec(program, arguments) => {
                let arguments = arguments.iter().map(|_| REDACTED.to_owned()).collect();
                ServiceProbe::Exec(program.clone(), arguments)
            }
            ServiceProbe::Tcp(_) | ServiceProbe::Address => check.probe.clone(),
        };
    }
    group
}

/// A text without what may be secret in a URL: the user and password before `@`, and the parameters
/// after `?`. A text that starts with a slash counts as the path of one.
fn without_credentials(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if text.starts_with('/') => (String::new(), text),
        None => return text.to_owned(),
    };
    let (rest, parameters) = match rest.split_once('?') {
        Some((rest, _)) => (rest, format!("?{REDACTED}")),
        None => (rest, String::new()),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{REDACTED}@{host}"),
        None => authority.to_owned(),
    };
    format!("{scheme}{authority}{path}{parameters}")
}

/// The keys of this host, to be cut out of whatever is given away.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Vec<u8>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// The keys in these settings, as they are and as JSON writes them.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let Heartbeat { key, second_key, .. } = &settings.heartbeat;
        let mut all = Vec::new();
        for key in [key, second_key].into_iter().flatten() {
            let text = String::from_utf8_lossy(&key.0);
            let quoted = serde_json::to_string(&text).unwrap_or_default();
            all.push(quoted.trim_matches('"').as_bytes().to_vec());
            all.push(key.0.clone());
        }
        all.retain(|one| !one.is_empty());
        Self(all)
    }

    /// The bytes without the keys.
    #[must_use]
    pub fn cut_out(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.0.iter().fold(bytes, |bytes, secret| replaced(&bytes, secret))
    }
}

/// The bytes with every occurrence of `secret` replaced.
fn replaced(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        if let Some(beyond) = rest.strip_prefix(secret) {
            kept.extend_from_slice(REDACTED.as_bytes());
            rest = beyond;
        } else {
            kept.push(*first);
            rest = after;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClusterKey, Sources, resolve};

    const KEY: &[u8] = b"a \"quoted\" key of 26 bytes";

    fn has(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn settings_are_shown_with_their_source_and_without_a_key() {
        let text = "cluster = \"blue\"\nnotify.webhook = \"https://hooks.test/T0/s3cret\"\n\
                    api.endpoint = \"https://me:pass@ec2.test/x?token=abc\"\n\
                    [[group]]\nname = \"db\"\n[[group.resource]]\nkind = \"vip\"\n\
                    address = \"192.168.9.9\"\n[group.check]\n\
                    http = \"http://127.0.0.1/health?token=abc\"\n\
                    [[group]]\nname = \"web\"\n[[group.resource]]\nkind = \"private-ip\"\n\
                    address = \"10.0.0.9\"\n[group.check]\n\
                    exec = [\"/usr/bin/probe\", \"--token=abc\"]\n";
        let file = Some(("natha.toml".into(), text.to_owned()));
        let mut resolved = resolve(&Sources { file, ..Sources::default() }).unwrap();
        resolved.settings.heartbeat.key = Some(ClusterKey(KEY.to_vec()));
        let shown = shown_settings(&resolved.settings, &resolved.given);
        assert_eq!(shown["has_key"], true);
        assert_eq!(shown["has_second_key"], false);
        assert_eq!(shown["settings"]["cluster"]["value"], "blue");
        assert_eq!(shown["settings"]["cluster"]["from"], "natha.toml:1");
        assert_eq!(
            shown["settings"]["api.endpoint"]["value"],
            "https://[redacted]@ec2.test/x?[redacted]"
        );
        assert_eq!(shown["settings"][WEBHOOK]["value"], "https://hooks.test/[redacted]");
        let text = shown.to_string();
        for secret in ["token", "pass@", "quoted", "s3cret"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for part in ["192.168.9.9", "/health?[redacted]", "/usr/bin/probe"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in ["", "blue", "10m", "icmp:1.1.1.1", "/var/lib/natha", "a?b@c", "https://a/b"] {
            assert_eq!(without_credentials(text), text);
        }
    }

    #[test]
    fn a_key_is_cut_out_raw_and_as_json_wherever_it_is() {
        let mut settings = Settings::default();
        settings.heartbeat.key = Some(ClusterKey(KEY.to_vec()));
        settings.heartbeat.second_key = Some(ClusterKey(vec![0xff; 16]));
        let secrets = Secrets::of(&settings);
        let json = json!({ "error": String::from_utf8_lossy(KEY) }).to_string();
        let leak = [&b"before "[..], KEY, &[0xff; 16], json.as_bytes(), b" after"].concat();
        let cut = secrets.cut_out(leak);
        assert!(!has(&cut, KEY) && !has(&cut, &[0xff; 16]) && !has(&cut, b"quoted"));
        assert!(cut.starts_with(b"before [redacted][redacted]") && cut.ends_with(b" after"));
        assert_eq!(Secrets::default().cut_out(KEY.to_vec()), KEY);
        assert_eq!(format!("{secrets:?}"), "Secrets(4)");
    }
}
