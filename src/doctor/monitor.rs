//! The running monitor, and what it has proven.

use super::facts::{Facts, MonitorFacts, known};
use super::finding::{Judged, Outcome, joined};
use crate::types::{Evidence, Fault, Fitness, display_duration};

/// What to do about probes that are not answered.
const PROBES: &str = "check this node's public address, its subnet's route to the internet \
                      gateway, the outbound rules of its security groups, and uplink.targets";

/// `monitor-runs`
pub(super) fn runs(facts: &Facts) -> Judged {
    Ok(match known(&facts.monitor)? {
        MonitorFacts::Running(report) => {
            let uptime = display_duration(report.uptime);
            Outcome::passed(format!("it has run for {uptime}, with process id {}", report.pid))
        }
        MonitorFacts::Starting(why) => Outcome::failed(
            format!("it has not found its cluster yet: {why}"),
            "correct what it waits for; it goes on trying",
        ),
        MonitorFacts::Absent(why) => {
            Outcome::failed(why.clone(), "sudo systemctl enable --now natha-monitor")
        }
    })
}

/// `monitor-version`
pub(super) fn version(facts: &Facts) -> Judged {
    let (theirs, ours) = (&facts.report()?.version, &facts.version);
    if theirs == ours {
        return Ok(Outcome::passed(format!("the monitor and this program are natha {ours}")));
    }
    Ok(Outcome::warning(
        format!("the monitor is natha {theirs}, this program is natha {ours}"),
        "sudo systemctl restart natha-monitor, on one node after the other",
    ))
}

/// `node-fit`
pub(super) fn fit(facts: &Facts) -> Judged {
    let fitness = &facts.report()?.view.fitness;
    let faults: Vec<(Fault, &str)> =
        fitness.faults.iter().filter_map(|fault| Some((*fault, remedy(*fault)?))).collect();
    if faults.is_empty() {
        return Ok(Outcome::passed("the monitor knows of no other fault of this node"));
    }
    let remedies = joined(faults.iter().map(|(_, remedy)| remedy));
    let what = format!("this node is not fit: {}", joined(faults.iter().map(|(fault, _)| fault)));
    Ok(Outcome::failed(what, remedies))
}

/// What to do about a fault; none for a fault with a check of its own.
const fn remedy(fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::Uplink | Fault::Transit | Fault::SourceDestCheck => None,
        Fault::Forwarding => Some("sudo natha setup"),
        Fault::Late => Some(
            "find out what keeps the processors busy, or use an instance type without processor \
             credits",
        ),
        Fault::Departing => {
            Some("wait: AWS is about to interrupt this node, and it hands its groups over")
        }
    }
}

/// `uplink-proof`
pub(super) fn uplink(facts: &Facts) -> Judged {
    if facts.settings.uplink.targets.is_empty() {
        return Ok(Outcome::not_needed("the uplink is not probed: uplink.targets is empty"));
    }
    Ok(proof(&facts.report()?.view.fitness, Evidence::Uplink))
}

/// `transit-proof`
pub(super) fn transit(facts: &Facts) -> Judged {
    let settings = &facts.settings;
    let is_tested = settings.is_nat() && settings.host.transit_network.0.is_some();
    if !is_tested || settings.uplink.targets.is_empty() {
        return Ok(Outcome::not_needed("forwarding is not tested on this host"));
    }
    Ok(proof(&facts.report()?.view.fitness, Evidence::Transit))
}

fn proof(fitness: &Fitness, kind: Evidence) -> Outcome {
    let whose = match kind {
        Evidence::Uplink => "this node's own packets",
        Evidence::Transit => "packets of private hosts, as the monitor's probes imitate them,",
    };
    if fitness.faults.contains(&kind.fault()) {
        let remedy = match kind {
            Evidence::Uplink => PROBES,
            Evidence::Transit => {
                "see `other-firewalls` and `setup-done`; `nft list ruleset` shows all rules"
            }
        };
        return Outcome::failed(format!("{whose} do not get out and back any more"), remedy);
    }
    if fitness.unproven.contains(&kind) {
        let what = format!("no probe shows yet that {whose} get out and back");
        return Outcome::failed(what, PROBES);
    }
    Outcome::passed(format!("{whose} get out and back"))
}

/// `service-checks`
pub(super) fn service_checks(facts: &Facts) -> Judged {
    if facts.settings.groups.iter().all(|group| group.check.is_none()) {
        return Ok(Outcome::not_needed("no group of the settings has a service check"));
    }
    let failing = &facts.report()?.view.failing;
    if failing.is_empty() {
        return Ok(Outcome::passed("the service checks of this node succeed"));
    }
    Ok(Outcome::warning(
        format!("the service check fails here for {}", joined(failing)),
        "repair the service, or its check in the settings of the group",
    ))
}

/// `takes-part`
pub(super) fn takes_part(facts: &Facts) -> Judged {
    if facts.report()?.drained {
        return Ok(Outcome::warning(
            "this node was drained: it takes nothing over",
            "sudo natha undrain, once the work on this node is done",
        ));
    }
    Ok(Outcome::passed("this node takes over what its peers lose"))
}

/// `monitor-alerts`
pub(super) fn alerts(facts: &Facts) -> Judged {
    let alerts = &facts.report()?.alerts;
    if alerts.is_empty() {
        return Ok(Outcome::passed("the monitor raises no alert about this host"));
    }
    Ok(Outcome::warning(alerts.join("; "), "each text says what to do; see also `natha status`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, resolve};
    use crate::doctor::finding::{Gap, State};
    use crate::doctor::samples::{report, running};

    #[test]
    fn a_monitor_that_does_not_run_or_waits_fails() {
        for (monitor, state) in [
            (MonitorFacts::Absent("no reply".to_owned()), State::Failed),
            (MonitorFacts::Starting("no tag".to_owned()), State::Failed),
            (MonitorFacts::Running(Box::new(report())), State::Passed),
        ] {
            let facts = Facts { monitor: Ok(monitor), ..Facts::default() };
            assert_eq!(runs(&facts).unwrap().state, state);
            assert_eq!(alerts(&facts).is_ok(), state == State::Passed);
        }
    }

    #[test]
    fn a_monitor_from_before_an_upgrade_is_a_warning() {
        let facts = |version: &str| Facts { version: version.to_owned(), ..running(report()) };
        assert_eq!(version(&facts("0.1.0")).unwrap().state, State::Passed);
        let outcome = version(&facts("0.2.0")).unwrap();
        assert_eq!(outcome.what, "the monitor is natha 0.1.0, this program is natha 0.2.0");
    }

    #[test]
    fn each_fault_has_one_check_that_fails() {
        for fault in Fault::ALL {
            let mut sick = report();
            sick.view.fitness = Fitness::unfit(fault);
            let facts = running(sick);
            let failed = [fit, uplink, transit]
                .into_iter()
                .filter(|judge| judge(&facts).unwrap().state == State::Failed);
            // Of the source/dest check, `source-dest-check` says more.
            assert_eq!(failed.count(), usize::from(fault != Fault::SourceDestCheck), "{fault}");
        }
    }

    #[test]
    fn what_is_unproven_fails_unless_it_is_not_tested() {
        for kind in Evidence::ALL {
            let judge = match kind {
                Evidence::Uplink => uplink,
                Evidence::Transit => transit,
            };
            let mut open = report();
            assert_eq!(judge(&running(open.clone())).unwrap().state, State::Passed);
            open.view.fitness = Fitness::unproven(kind);
            let mut facts = running(open);
            assert_eq!(judge(&facts).unwrap().state, State::Failed);
            facts.settings.uplink.targets.clear();
            assert_eq!(judge(&facts).unwrap().state, State::NotNeeded);
        }
    }

    #[test]
    fn a_service_check_that_fails_is_a_warning_where_there_is_one() {
        let mut failing = report();
        failing.view.failing.insert("zone-1".parse().unwrap());
        let mut facts = running(failing);
        assert_eq!(service_checks(&facts).unwrap().state, State::NotNeeded);
        let text = "[[group]]\nname = \"db\"\n[[group.resource]]\nkind = \"vip\"\n\
                    address = \"192.168.9.9\"\n[group.check]\nhttp = \"http://127.0.0.1/a\"\n";
        let file = Some(("natha.toml".into(), text.to_owned()));
        facts.settings = resolve(&Sources { file, ..Sources::default() }).unwrap().settings;
        let outcome = service_checks(&facts).unwrap();
        assert_eq!(
            (outcome.state, &*outcome.what),
            (State::Warning, "the service check fails here for zone-1")
        );
    }

    #[test]
    fn a_drained_node_takes_no_part() {
        let mut drained = report();
        assert_eq!(takes_part(&running(drained.clone())).unwrap().state, State::Passed);
        drained.drained = true;
        assert_eq!(takes_part(&running(drained)).unwrap().state, State::Warning);
    }

    #[test]
    fn alerts_are_told_in_their_own_words() {
        let mut loud = report();
        loud.alerts = vec!["the disk is full".to_owned()];
        let outcome = alerts(&running(loud)).unwrap();
        assert_eq!((outcome.state, &*outcome.what), (State::Warning, "the disk is full"));
        let absent = Facts { monitor: Ok(MonitorFacts::Absent(String::new())), ..Facts::default() };
        assert_eq!(alerts(&absent), Err(Gap::new("no monitor is running on this host")));
    }
}
