//! The other members of the cluster.

use std::time::Duration;

use super::facts::{Fact, Facts, MonitorFacts, known};
use super::finding::{Gap, Judged, Outcome, counted, joined};
use super::security_groups::{self, Missing};
use super::settings::{described, remedies};
use crate::failover::{PeerView, Verdict};
use crate::status::{HeirReport, Report};
use crate::types::InstanceId;

/// How old the last echo reply of a peer may be. natha asks once a second.
const ECHO_AGE: Duration = Duration::from_secs(10);

/// `members-found`
pub(super) fn found(facts: &Facts) -> Judged {
    let members = &facts.roster()?.members;
    if members.len() < 2 {
        return Ok(Outcome::warning(
            "this node is the only member of its cluster",
            "launch another node with the same tag natha:cluster, or list it in `members`",
        ));
    }
    let names = members.iter().map(|one| one.name.clone().unwrap_or_else(|| one.id.to_string()));
    Ok(Outcome::passed(format!("{}: {}", counted(members.len(), "member"), joined(names))))
}

/// `cluster-sound`
pub(super) fn sound(facts: &Facts) -> Judged {
    let cluster = known(&facts.cluster)?;
    if !cluster.findings.is_empty() {
        let what = described(&cluster.findings);
        return Ok(Outcome::failed(what, remedies(&cluster.findings)));
    }
    if !cluster.warnings.is_empty() {
        let what = described(&cluster.warnings);
        return Ok(Outcome::warning(what, remedies(&cluster.warnings)));
    }
    Ok(Outcome::passed("the tags and settings make a cluster without contradictions"))
}

/// `members-heard`
pub(super) fn heard(facts: &Facts) -> Judged {
    let report = facts.report()?;
    if report.view.peers.is_empty() {
        return Ok(Outcome::not_needed("this node has no peer"));
    }
    let deaf = report.view.peers.iter().filter_map(|(id, peer)| {
        let name = report.node_name(id);
        match peer.verdict {
            _ if !is_heard(peer) => Some(format!("{name} is not heard ({})", peer.verdict.name())),
            _ if !peer.hears_me => Some(format!("{name} does not hear this node")),
            Verdict::Alive => None,
            other => Some(format!("{name} is {}", other.name())),
        }
    });
    let deaf = joined(deaf);
    if deaf.is_empty() {
        let count = counted(report.view.peers.len(), "peer");
        return Ok(Outcome::passed(format!("heartbeats go both ways with {count}")));
    }
    Ok(Outcome::failed(
        deaf,
        format!(
            "see `security-groups`; heartbeats are UDP to port {}. On the other node, `natha \
             doctor` says whether its monitor runs",
            facts.settings.heartbeat.port
        ),
    ))
}

/// `members-echo`
pub(super) fn echo(facts: &Facts) -> Judged {
    let report = facts.report()?;
    if report.view.peers.is_empty() {
        return Ok(Outcome::not_needed("this node has no peer"));
    }
    let heard = report.view.peers.iter().filter(|(_, peer)| is_heard(peer));
    let silent =
        joined(heard.filter(|(_, peer)| !has_echo(peer)).map(|(id, _)| report.node_name(id)));
    if silent.is_empty() {
        return Ok(Outcome::passed("every peer that is heard answers ICMP echo"));
    }
    Ok(Outcome::warning(
        format!("no answer to ICMP echo from {silent}"),
        "let the nodes' security groups and host firewalls pass ICMP between the nodes",
    ))
}

/// Whether its heartbeats arrive.
fn is_heard(peer: &PeerView) -> bool {
    match peer.verdict {
        Verdict::Alive | Verdict::Sick => true,
        Verdict::Leaving => peer.heartbeat_age.is_some(),
        Verdict::Suspected
        | Verdict::DaemonDown
        | Verdict::Unreachable
        | Verdict::Partitioned
        | Verdict::Down
        | Verdict::Gone
        | Verdict::Unmet => false,
    }
}

fn has_echo(peer: &PeerView) -> bool {
    peer.echo_age.is_some_and(|age| age <= ECHO_AGE)
}

/// `security-groups`
pub(super) fn security(facts: &Facts) -> Judged {
    // What arrives is admitted, and no rule has to be read.
    let report = facts.report();
    if let Ok(report) = report
        && all_arrive(report)
    {
        return Ok(Outcome::passed("heartbeats and echo of every peer arrive, both ways"));
    }
    let me = match (&facts.cluster, report) {
        (Ok(cluster), _) => &cluster.me,
        (Err(_), Ok(report)) => &report.view.me,
        (Err(gap), Err(_)) => return Err(gap.clone()),
    };
    let security = known(&facts.security)?;
    let missing = security_groups::missing(security, me, &facts.settings)?;
    let Some(first) = missing.first() else {
        return Ok(Outcome::passed(
            "the rules admit heartbeats and echo between this node and every other",
        ));
    };
    let name = |id: &InstanceId| {
        facts.roster().map_or_else(|_| id.to_string(), |roster| roster.node_name(id))
    };
    let what = joined(missing.iter().map(|one: &Missing| one.describe(&name)));
    Ok(Outcome::failed(what, first.command()))
}

/// Whether the rules of the security groups must be read: something does not arrive, or no monitor
/// says whether it does.
#[must_use]
pub fn needs_security_groups(monitor: &Fact<MonitorFacts>) -> bool {
    !matches!(monitor, Ok(MonitorFacts::Running(report)) if all_arrive(report))
}

fn all_arrive(report: &Report) -> bool {
    let mut peers = report.view.peers.values();
    let mut heirs = report.flows.heirs.values();
    let is_reached = |heir: &HeirReport| heir.is_connected() && heir.copies != Some(false);
    peers.all(|peer| is_heard(peer) && peer.hears_me && has_echo(peer)) && heirs.all(is_reached)
}

/// `same-key`
pub(super) fn same_key(facts: &Facts) -> Judged {
    let report = facts.report()?;
    if report.view.peers.is_empty() {
        return Ok(Outcome::not_needed("this node has no peer"));
    }
    Ok(match report.of_keys() {
        None => Outcome::passed("no peer is unheard because its heartbeats fail authentication"),
        Some(what) => Outcome::failed(
            what,
            "compare the key files of the nodes (sha256sum), then restart the monitors",
        ),
    })
}

/// `same-settings`
pub(super) fn same_settings(facts: &Facts) -> Judged {
    let report = facts.report()?;
    let heard: Vec<(&InstanceId, &PeerView)> =
        report.view.peers.iter().filter(|(_, peer)| peer.heartbeat_age.is_some()).collect();
    if report.view.peers.is_empty() {
        return Ok(Outcome::not_needed("this node has no peer"));
    }
    if heard.is_empty() {
        return Err(Gap::new("no peer was heard yet"));
    }
    let differ = heard.iter().filter(|(_, peer)| peer.settings_differ);
    let differ = joined(differ.map(|(id, _)| report.node_name(id)));
    if differ.is_empty() {
        return Ok(Outcome::passed("every peer that was heard has the settings of this node"));
    }
    Ok(Outcome::failed(
        format!("{differ}: other settings than this node"),
        "give all nodes the same settings, and the same version of natha; the settings that may \
         differ are in config.md",
    ))
}

/// `same-version`
pub(super) fn same_version(facts: &Facts) -> Judged {
    let report = facts.report()?;
    if report.view.peers.is_empty() {
        return Ok(Outcome::not_needed("this node has no peer"));
    }
    let unknown = || Gap::new("the monitor is of an earlier build than this program: restart it");
    let versions = report.peer_versions().ok_or_else(unknown)?;
    if versions.is_empty() {
        return Err(Gap::new("no peer was heard yet"));
    }
    let own = report.own_version();
    let others = versions.iter().filter(|(_, version)| **version != Some(own.as_str()));
    let others = joined(others.map(|(id, version)| {
        let version = version.unwrap_or("of an earlier build");
        format!("{} runs natha {version}", report.node_name(id))
    }));
    if others.is_empty() {
        return Ok(Outcome::passed(format!("every peer that was heard runs natha {own}")));
    }
    Ok(Outcome::warning(
        format!("this node runs natha {own}, but {others}"),
        "finish the upgrade: install the same version on all nodes, one after the other",
    ))
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
