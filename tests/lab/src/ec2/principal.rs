//! Who calls, with which keys, and what they may do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::filter::glob;
use super::model::Tags;

/// A caller of the API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Principal {
    /// The person who owns the account.
    Operator,
    /// The role of an instance, by the instance's id.
    Instance(String),
}

/// Keys that requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Access key id: `AKIA…` for long-lived keys, `ASIA…` for temporary ones.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Session token of temporary keys.
    pub session_token: Option<String>,
    /// When they end, as time since the lab began; none for never.
    pub expires: Option<Duration>,
}

/// What a caller may do; without a policy, everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// A call is allowed where one of these allows it.
    pub allow: Vec<Grant>,
}

/// One permission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Actions, with `*` and `?`, such as `Describe*`.
    pub actions: Vec<String>,
    /// The ids of the tables, instances or interfaces that it holds for; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<BTreeSet<String>>,
    /// Tags that each of them must have, as by the condition `aws:ResourceTag/KEY`.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Policy {
    /// Whether an action on these resources, with their tags, is allowed: each of them must be.
    pub(super) fn allows(&self, action: &str, resources: &[(String, Tags)]) -> bool {
        let on = |resource: Option<&(String, Tags)>| {
            self.allow.iter().any(|grant| {
                let action = grant.actions.iter().any(|pattern| glob(pattern, action));
                action && grant.covers(resource)
            })
        };
        if resources.is_empty() {
            return on(None);
        }
        resources.iter().all(|resource| on(Some(resource)))
    }
}

impl Grant {
    /// Whether it holds for a resource, or for an action on none.
    fn covers(&self, resource: Option<&(String, Tags)>) -> bool {
        let Some((id, tags)) = resource else {
            return self.resources.is_none() && self.tags.is_empty();
        };
        self.resources.as_ref().is_none_or(|scope| scope.contains(id))
            && self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }
}

/// All keys that are known, by access key id.
#[derive(Debug, Clone, Default)]
pub(super) struct Keyring {
    keys: BTreeMap<String, (Principal, Credentials)>,
}

impl Keyring {
    pub(super) fn insert(&mut self, principal: Principal, credentials: Credentials) {
        self.keys.insert(credentials.access_key_id.clone(), (principal, credentials));
    }

    pub(super) fn get(&self, access_key_id: &str) -> Option<&(Principal, Credentials)> {
        self.keys.get(access_key_id)
    }

    /// Keys of an instance that are valid for at least another `rest`.
    pub(super) fn valid_for(
        &self,
        instance: &str,
        now: Duration,
        rest: Duration,
    ) -> Option<&Credentials> {
        self.keys
            .values()
            .filter(|(owner, _)| matches!(owner, Principal::Instance(id) if id == instance))
            .map(|(_, credentials)| credentials)
            .find(|credentials| credentials.expires.is_some_and(|at| at >= now + rest))
    }

    /// Forgets keys that have been invalid for an hour.
    pub(super) fn prune(&mut self, now: Duration) {
        let hour = Duration::from_hours(1);
        self.keys.retain(|_, (_, keys)| keys.expires.is_none_or(|at| at + hour > now));
    }
}

/// Makes the keys of an instance: derived from the lab's seed, so that a run can be repeated.
pub(super) fn temporary(seed: u64, instance: &str, serial: u64, expires: Duration) -> Credentials {
    let part = |what: &str| digest(seed, &format!("{what} {instance} {serial}"));
    Credentials {
        access_key_id: format!("ASIA{}", part("id")[..16].to_uppercase()),
        secret_access_key: part("secret")[..40].to_owned(),
        session_token: Some(format!("IQoJb3JpZ2luX2VjE{}{}", part("token a"), part("token b"))),
        expires: Some(expires),
    }
}

fn digest(seed: u64, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&seed.to_be_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String never fails");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scoped_grant_does_not_reach_other_resources() {
        let policy = Policy {
            allow: vec![
                Grant { actions: vec!["Describe*".into()], ..Grant::default() },
                Grant {
                    actions: vec!["ReplaceRoute".into()],
                    resources: Some(["rtb-1".to_owned()].into()),
                    ..Grant::default()
                },
            ],
        };
        let some = |id: &str| (id.to_owned(), Tags::new());
        assert!(policy.allows("DescribeVpcs", &[]));
        assert!(policy.allows("ReplaceRoute", &[some("rtb-1")]));
        assert!(!policy.allows("ReplaceRoute", &[some("rtb-1"), some("rtb-2")]));
        assert!(!policy.allows("StopInstances", &[some("i-1")]));
    }

    #[test]
    fn a_grant_with_tags_holds_for_resources_that_have_them() {
        let tags = |value: &str| Tags::from([("natha:cluster".to_owned(), value.to_owned())]);
        let actions = vec!["StopInstances".into()];
        let policy = Policy { allow: vec![Grant { actions, resources: None, tags: tags("blue") }] };
        let stop = |resources: &[(String, Tags)]| policy.allows("StopInstances", resources);
        assert!(stop(&[("i-1".into(), tags("blue"))]));
        assert!(!stop(&[("i-1".into(), tags("red"))]));
        assert!(!stop(&[("i-1".into(), tags("blue")), ("i-2".into(), Tags::new())]));
        assert!(!stop(&[]));
    }

    #[test]
    fn keys_differ_between_instances_and_renewals() {
        let at = Duration::from_secs(1);
        let a = temporary(1, "i-a", 0, at);
        assert_ne!(a.secret_access_key, temporary(1, "i-b", 0, at).secret_access_key);
        assert_ne!(a.access_key_id, temporary(1, "i-a", 1, at).access_key_id);
        assert_eq!(a, temporary(1, "i-a", 0, at));
    }
}
