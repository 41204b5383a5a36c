//! The steps of the story: what must happen, and how that is seen.

use super::record::{Moment, What, called, led, powered, told};
use super::scene::{HEIR, VICTIM, ZONE};
use crate::daemon::shared::Power;

/// A step that shows in the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Its name, for programs and for people.
    pub(super) name: &'static str,
    /// What must happen.
    pub(super) expects: &'static str,
    /// When it had happened, in milliseconds since the lab began; none if it has not.
    pub(super) check: fn(&[Moment]) -> Option<f64>,
}

/// The victim stands still.
pub(super) const KILLED: Step = Step {
    name: "killed",
    expects: "nat-a's kernel panics",
    check: |record| first(record, |it| powered(VICTIM, Power::Panicked, 1, it)),
};

/// The heir notices.
pub(super) const NOTICED: Step = Step {
    name: "noticed",
    expects: "nat-b suspects nat-a",
    check: |record| {
        first(record, |it| told(HEIR, "verdict", VICTIM, it) && it.text.contains("suspected"))
    },
};

/// The victim's routes lead to the heir.
pub(super) const TAKEN_OVER: Step = Step {
    name: "taken-over",
    expects: "nat-b routes the packets of nat-a's private hosts to itself, and reads that back",
    check: |record| {
        let since = (KILLED.check)(record)?;
        let taken = first(since_ms(record, since), |it| led(ZONE, HEIR, it))?;
        first(record, |it| told(HEIR, "takeover-done", VICTIM, it) && in_zone(it))?;
        Some(taken)
    },
};

/// The victim was stopped.
pub(super) const STOPPED: Step = Step {
    name: "stopped",
    expects: "nat-b stops nat-a through EC2",
    check: |record| {
        first(record, |it| called("StopInstances", VICTIM, it))?;
        first(record, |it| powered(VICTIM, Power::Off, 1, it))
    },
};

/// The victim boots again.
pub(super) const STARTED: Step = Step {
    name: "started",
    expects: "nat-b starts nat-a through EC2",
    check: |record| {
        first(record, |it| called("StartInstances", VICTIM, it))?;
        first(record, |it| powered(VICTIM, Power::On, 2, it))
    },
};

/// The victim is a member again.
pub(super) const REJOINED: Step = Step {
    name: "rejoined",
    expects: "nat-a runs its user data, `natha setup` and `natha monitor`, and nat-b hears it",
    check: |record| first(record, |it| told(HEIR, "repair-done", VICTIM, it)),
};

/// Its routes lead to it again.
pub(super) const HANDED_BACK: Step = Step {
    name: "handed-back",
    expects: "nat-b hands nat-a's private hosts back, and reads that back",
    check: |record| {
        let since = (REJOINED.check)(record)?;
        let back = first(since_ms(record, since), |it| led(ZONE, VICTIM, it))?;
        first(since_ms(record, since), |it| told(HEIR, "hand-over-done", HEIR, it) && in_zone(it))?;
        Some(back)
    },
};

/// What must have happened once and no more, whoever asked for it.
pub(super) fn surplus(record: &[Moment]) -> Vec<String> {
    let calls = |wanted: &str| {
        let actions = record.iter().filter_map(|moment| match &moment.what {
            What::Call { action, .. } => Some(action),
            _ => None,
        });
        actions.filter(|action| *action == wanted).count()
    };
    let mut surplus = Vec::new();
    for action in ["StopInstances", "StartInstances"] {
        let count = calls(action);
        if count != 1 {
            surplus.push(format!("{action} was called {count} times instead of once"));
        }
    }
    surplus
}

fn first(record: &[Moment], is_it: impl Fn(&Moment) -> bool) -> Option<f64> {
    record.iter().find(|moment| is_it(moment)).map(|moment| moment.at_ms)
}

fn since_ms(record: &[Moment], since: f64) -> &[Moment] {
    &record[record.partition_point(|moment| moment.at_ms < since)..]
}

fn in_zone(moment: &Moment) -> bool {
    matches!(&moment.what, What::Told { group: Some(group), .. } if group == ZONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at_ms: f64, who: &str, what: What) -> Moment {
        Moment { at_ms, who: who.into(), what, text: "suspected".into(), took_ms: None }
    }

    fn event(at_ms: f64, kind: &str, about: &str) -> Moment {
        let (node, group) = (Some(about.to_owned()), Some(ZONE.to_owned()));
        moment(at_ms, HEIR, What::Told { event: kind.into(), node, group })
    }

    fn route(at_ms: f64, to: &str) -> Moment {
        moment(at_ms, "network", What::Route { zone: ZONE.into(), to: to.into() })
    }

    fn power(at_ms: f64, power: Power, boot: u64) -> Moment {
        moment(at_ms, "EC2", What::Power { host: VICTIM.into(), power, boot })
    }

    fn call(at_ms: f64, action: &str, error: Option<&str>) -> Moment {
        let error = error.map(str::to_owned);
        let about = vec![VICTIM.to_owned()];
        moment(at_ms, "EC2", What::Call { action: action.into(), about, error })
    }

    #[test]
    fn a_takeover_needs_the_packets_and_the_proof() {
        let mut record = vec![power(1.0, Power::Panicked, 1), route(2.0, HEIR)];
        assert_eq!((TAKEN_OVER.check)(&record), None);
        record.push(event(3.0, "takeover-done", VICTIM));
        assert_eq!((TAKEN_OVER.check)(&record), Some(2.0));
    }

    #[test]
    fn the_route_of_the_beginning_is_no_hand_back() {
        let mut record = vec![route(0.0, VICTIM), event(5.0, "repair-done", VICTIM)];
        record.push(event(6.0, "hand-over-done", HEIR));
        assert_eq!((HANDED_BACK.check)(&record), None);
        record.insert(2, route(5.5, VICTIM));
        assert_eq!((HANDED_BACK.check)(&record), Some(5.5));
    }

    #[test]
    fn a_refused_stop_is_no_stop() {
        let off = power(9.0, Power::Off, 1);
        let refused = call(8.0, "StopInstances", Some("UnauthorizedOperation"));
        assert_eq!((STOPPED.check)(&[refused, off.clone()]), None);
        assert_eq!((STOPPED.check)(&[call(8.0, "StopInstances", None), off]), Some(9.0));
    }

    #[test]
    fn a_second_stop_is_one_too_many() {
        let start = call(9.0, "StartInstances", None);
        let once = [call(8.0, "StopInstances", None), start];
        assert!(surplus(&once).is_empty());
        let twice = [once[0].clone(), once[0].clone(), once[1].clone()];
        assert_eq!(surplus(&twice).len(), 1);
    }
}
