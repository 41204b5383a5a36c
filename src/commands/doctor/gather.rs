//! Gathers the facts, all at the same time and each within a time limit.

use std::collections::BTreeMap;
use std::path::Path;

use super::aws::{self, Metadata, no_metadata};
use super::host;
use super::limit::within;
use crate::cloud::Imds;
use crate::commands::control::{self, MonitorStatus, NoMonitor};
use crate::commands::source_dest;
use crate::config::{
    ClusterKey, Flags, Given, Problem, Problems, Resolved, Settings, load_despite_key,
};
use crate::doctor::{Fact, Facts, Gap, MonitorFacts};

/// The facts, and what the archive needs beside them.
pub(super) struct Gathered {
    pub(super) facts: Facts,
    /// Every setting by name, with its source; empty if the settings are wrong.
    pub(super) given: BTreeMap<&'static str, Given>,
}

/// Reads everything that the checks need.
pub(super) async fn gather(flags: &Flags, pre: bool) -> Gathered {
    let local = Loaded::read(flags, None);
    // The settings of the host, which no tag can change, say where these two are.
    let (state_dir, socket) = (local.settings.state_dir.clone(), local.settings.socket.clone());
    let ((metadata, tags), monitor) = tokio::join!(identify(&local.settings), monitor(&socket));
    let read = match &tags {
        Ok(tags) => local.with_tags(flags, tags),
        Err(_) => local,
    };
    let Loaded { mut settings, given, mut problems, ignored, key_problem } = read;
    let asked = aws::Asked { settings: &settings, metadata: &metadata, monitor: &monitor, pre };
    let (cloud, found) =
        tokio::join!(Box::pin(aws::gather(&asked)), host::gather(&settings, &state_dir, pre));
    let has_key = matches!(&found.key, Ok(Some(_)));
    problems.extend(key_problem.filter(|problem| is_reported_apart(problem, has_key)));
    if settings.heartbeat.key.is_none() {
        settings.heartbeat.key = found.secret.map(ClusterKey);
    }
    let facts = Facts {
        pre,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings,
        problems,
        ignored,
        tags: tags.map(drop),
        key: found.key,
        metadata: metadata.map(|answer| answer.map(|identity| identity.instance)),
        instance: cloud.instance,
        permissions: cloud.permissions,
        interface_tag: cloud.interface_tag,
        plan: found.plan,
        drift: found.drift,
        firewalls: found.firewalls,
        misrouted: found.misrouted,
        refresh: found.refresh,
        source_dest: cloud.source_dest,
        uplink_route: cloud.uplink_route,
        links: found.links,
        conntrack: found.conntrack,
        memory: found.memory,
        nft: found.nft,
        flowtable: found.flowtable,
        timeouts: found.timeouts,
        tun: found.tun,
        conntrack_netlink: found.conntrack_netlink,
        vxlan: found.vxlan,
        dup: found.dup,
        monitor,
        cluster: cloud.cluster,
        gateways: cloud.gateways,
        security: cloud.security,
        clock: cloud.clock,
        units: found.units,
        free: found.free,
    };
    Gathered { facts, given }
}

/// Whether a problem with a key is no matter of the check `key-present`, which looks at the file of
/// the first key: the second key, or replication without any key.
fn is_reported_apart(problem: &Problem, has_key: bool) -> bool {
    let subject = &problem.subject;
    let is_of_first =
        subject.starts_with("heartbeat.key_file") || subject.starts_with("credential");
    !(is_of_first || has_key && subject.starts_with("replicate."))
}

/// The settings, as far as they are right.
struct Loaded {
    settings: Settings,
    given: BTreeMap<&'static str, Given>,
    problems: Vec<Problem>,
    ignored: Vec<Problem>,
    key_problem: Option<Problem>,
}

impl Loaded {
    fn read(flags: &Flags, tags: Option<&BTreeMap<String, String>>) -> Self {
        match load_despite_key(flags, tags) {
            Ok((Resolved { settings, given, warnings, .. }, key_problem)) => {
                Self { settings, given, problems: Vec::new(), ignored: warnings, key_problem }
            }
            Err(Problems(problems)) => Self {
                settings: Settings::default(),
                given: BTreeMap::new(),
                problems,
                ignored: Vec::new(),
                key_problem: None,
            },
        }
    }

    /// The same with the settings in tags. If these make them wrong, the others still count.
    fn with_tags(self, flags: &Flags, tags: &BTreeMap<String, String>) -> Self {
        let read = Self::read(flags, Some(tags));
        if read.problems.is_empty() {
            return read;
        }
        Self { problems: read.problems, ..self }
    }
}

/// This instance, and the settings in its tags.
async fn identify(settings: &Settings) -> (Metadata, Fact<BTreeMap<String, String>>) {
    let imds = Imds::new();
    let asked = async { Ok::<_, Gap>(imds.identity().await.map_err(|fault| fault.to_string())) };
    let metadata = within("the instance metadata service", asked).await;
    let tags = match &metadata {
        Ok(Ok(identity)) => {
            let tags = async {
                source_dest::tags(&settings.api, identity).await.map_err(|fault| fault.what)
            };
            within("EC2, asked for the tags of this instance,", Box::pin(tags)).await
        }
        _ => Err(no_metadata()),
    };
    (metadata, tags)
}

async fn monitor(socket: &Path) -> Fact<MonitorFacts> {
    match control::status(socket).await {
        Ok(MonitorStatus::Running(report)) => Ok(MonitorFacts::Running(report)),
        Ok(MonitorStatus::Starting(starting)) => Ok(MonitorFacts::Starting(starting.starting)),
        Err(error) if error.is::<NoMonitor>() => Ok(MonitorFacts::Absent(error.to_string())),
        Err(error) => Err(Gap::new(format!("{error:#}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_with_the_first_key_is_left_to_its_own_check() {
        let about = |subject: &str| Problem::new(subject, "is wrong", "mend it");
        for (subject, has_key, apart) in [
            ("heartbeat.key_file = \"/k\" (default)", false, false),
            ("credential natha.key", false, false),
            ("heartbeat.second_key_file = \"/k\" (default)", true, true),
            ("replicate.enabled = \"true\" (default)", false, true),
            ("replicate.enabled = \"true\" (default)", true, false),
        ] {
            assert_eq!(is_reported_apart(&about(subject), has_key), apart, "{subject}");
        }
    }
}
