//! Tables of cases for the checks of the other members.

use super::*;
use crate::config::Problem;
use crate::doctor::facts::{ClusterFacts, SecurityFacts};
use crate::doctor::finding::State;
use crate::doctor::samples::{cluster, node, report, running};

/// Node 1's monitor, after this was changed in what it knows of node 2.
fn with(change: impl FnOnce(&mut PeerView)) -> Facts {
    let mut report = report();
    change(report.view.peers.get_mut(&node(2)).unwrap());
    running(report)
}

#[test]
fn a_cluster_of_one_is_a_warning_whoever_tells_of_it() {
    let facts = running(report());
    assert_eq!(found(&facts).unwrap().what, "2 members: nat-a, nat-b");
    let mut alone = cluster(Vec::new());
    alone.roster.members.truncate(1);
    let facts = Facts { cluster: Ok(alone), ..facts };
    assert_eq!(found(&facts).unwrap().state, State::Warning);
    assert!(found(&Facts::default()).is_err());
}

#[test]
fn what_discovery_finds_counts_more_than_what_it_warns_of() {
    let problem = |what: &str| vec![Problem::new("table rtb-1", what, "mend it")];
    for (findings, warnings, state, what) in [
        (problem("is refused"), problem("is odd"), State::Failed, "table rtb-1 is refused"),
        (Vec::new(), problem("is odd"), State::Warning, "table rtb-1 is odd"),
        (Vec::new(), Vec::new(), State::Passed, "the tags and settings"),
    ] {
        let cluster = ClusterFacts { warnings, findings, ..cluster(Vec::new()) };
        let outcome = sound(&Facts { cluster: Ok(cluster), ..Facts::default() }).unwrap();
        assert_eq!(outcome.state, state);
        assert!(outcome.what.starts_with(what), "{}", outcome.what);
    }
}

#[test]
fn a_peer_that_is_not_heard_or_does_not_hear_fails_by_name() {
    for (facts, state, what) in [
        (with(|_| ()), State::Passed, "heartbeats go both ways with 1 peer"),
        (with(|peer| peer.verdict = Verdict::Unmet), State::Failed, "nat-b is not heard (unmet)"),
        (with(|peer| peer.verdict = Verdict::Down), State::Failed, "nat-b is not heard (down)"),
        (with(|peer| peer.hears_me = false), State::Failed, "nat-b does not hear this node"),
        (with(|peer| peer.verdict = Verdict::Sick), State::Failed, "nat-b is sick"),
    ] {
        let outcome = heard(&facts).unwrap();
        assert_eq!((outcome.state, &*outcome.what), (state, what));
    }
    let mut alone = report();
    alone.view.peers.clear();
    let alone = running(alone);
    for judge in [heard, echo, same_key, same_settings, same_version] {
        assert_eq!(judge(&alone).unwrap().state, State::NotNeeded);
        assert!(judge(&Facts::default()).is_err());
    }
}

#[test]
fn a_peer_without_echo_is_a_warning_only_while_it_is_heard() {
    for (facts, state) in [
        (with(|_| ()), State::Passed),
        (with(|peer| peer.echo_age = None), State::Warning),
        (with(|peer| peer.echo_age = Some(ECHO_AGE * 2)), State::Warning),
        (
            with(|peer| {
                peer.echo_age = None;
                peer.verdict = Verdict::Unmet;
            }),
            State::Passed,
        ),
    ] {
        assert_eq!(echo(&facts).unwrap().state, state);
    }
}

#[test]
fn security_groups_are_read_only_if_something_does_not_arrive() {
    assert_eq!(security(&with(|_| ())).unwrap().state, State::Passed);
    assert!(!needs_security_groups(&with(|_| ()).monitor));
    let deaf = with(|peer| peer.verdict = Verdict::Unmet);
    assert!(needs_security_groups(&deaf.monitor));
    let replicating = |state: &str| {
        let mut report = report();
        let heir = HeirReport { state: state.to_owned(), ..HeirReport::default() };
        report.flows.heirs.insert(node(2), heir);
        needs_security_groups(&running(report).monitor)
    };
    assert!(replicating("connecting") && !replicating("live") && !replicating("resync"));
    let copying = |copies| {
        let mut report = report();
        let heir = HeirReport { state: "live".to_owned(), copies, ..HeirReport::default() };
        report.flows.heirs.insert(node(2), heir);
        needs_security_groups(&running(report).monitor)
    };
    assert!(copying(Some(false)) && !copying(Some(true)) && !copying(None));
    assert!(needs_security_groups(&Facts::default().monitor));
    assert_eq!(security(&deaf), Err(Gap::new("it was not read")));
    let unknown = Facts { security: Ok(SecurityFacts::default()), ..deaf };
    assert!(security(&unknown).unwrap_err().to_string().contains("i-00000001"));
}

#[test]
fn heartbeats_that_fail_authentication_count_while_a_peer_is_unheard() {
    let with_rejected = |verdict| {
        let mut report = report();
        report.view.peers.get_mut(&node(2)).unwrap().verdict = verdict;
        report.counters.peers.count_rejected("bad-tag", 7);
        same_key(&running(report)).unwrap()
    };
    assert_eq!(with_rejected(Verdict::Alive).state, State::Passed);
    let outcome = with_rejected(Verdict::Unmet);
    assert_eq!(outcome.state, State::Failed);
    assert!(outcome.what.starts_with("7 heartbeats failed"), "{}", outcome.what);
}

#[test]
fn other_settings_fail_by_name_and_an_unheard_peer_is_a_gap() {
    assert_eq!(same_settings(&with(|_| ())).unwrap().state, State::Passed);
    let outcome = same_settings(&with(|peer| peer.settings_differ = true)).unwrap();
    assert_eq!(outcome.what, "nat-b: other settings than this node");
    let unheard = with(|peer| peer.heartbeat_age = None);
    assert_eq!(same_settings(&unheard), Err(Gap::new("no peer was heard yet")));
}

#[test]
fn another_version_is_a_warning_by_name_and_an_unknown_one_a_gap() {
    let of_peer = |versions: &[&str]| {
        let mut report = report();
        let of_node = |version: &&str| (node(2), (*version).to_owned());
        report.versions = Some(versions.iter().map(of_node).collect());
        same_version(&running(report))
    };
    assert_eq!(of_peer(&["0.1.0"]).unwrap().state, State::Passed);
    for (versions, what) in [
        (&["0.2.0"][..], "this node runs natha 0.1.0, but nat-b runs natha 0.2.0"),
        (&[][..], "this node runs natha 0.1.0, but nat-b runs natha of an earlier build"),
    ] {
        let outcome = of_peer(versions).unwrap();
        assert_eq!((outcome.state, &*outcome.what), (State::Warning, what));
    }
    assert!(same_version(&running(report())).unwrap_err().to_string().contains("restart it"));
    let mut unheard = report();
    unheard.versions = Some(std::collections::BTreeMap::new());
    unheard.view.peers.get_mut(&node(2)).unwrap().heartbeat_age = None;
    assert_eq!(same_version(&running(unheard)), Err(Gap::new("no peer was heard yet")));
}
