//! Faults that can be switched on while the lab runs, for chosen calls of chosen callers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::filter::glob;
use super::params::Params;
use super::principal::Principal;

/// All faults that are switched on. A call meets every one that matches it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// In the order in which they were switched on.
    pub rules: Vec<FaultRule>,
}

/// One fault and whom it meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Whose calls; none for everyone's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// Which calls, with `*` and `?`, such as `Describe*`; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only calls one of whose parameters is this: the id of a table, an instance and so on. Of
    /// [`Fault::Omit`], what the answers lack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// How many more calls it meets; none for no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens to them.
    pub fault: Fault,
}

/// What can go wrong with a call. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum Fault {
    /// The call is delayed before it takes effect.
    LatencyBefore {
        /// By this long.
        ms: u64,
    },
    /// The call takes effect at once; its answer is delayed.
    LatencyAfter {
        /// By this long.
        ms: u64,
    },
    /// The connection is accepted and never answered; nothing is done.
    Hang,
    /// `RequestLimitExceeded`, always.
    Throttle,
    /// `UnauthorizedOperation`.
    Deny,
    /// `InternalError`, HTTP 500; nothing is done.
    ServerError,
    /// `Describe*` answers with what was true then.
    Stale {
        /// This long ago.
        ms: u64,
    },
    /// A list that is asked for with a filter and without ids lacks what the rule is about.
    Omit,
    /// The call takes effect, then the connection is closed without an answer.
    LostReply,
    /// `StartInstances` and `RunInstances` fail with `InsufficientInstanceCapacity`.
    NoCapacity,
    /// The same calls fail with `InsufficientCapacityOnHost`: a Dedicated Host is full.
    HostFull,
    /// `ChangeResourceRecordSets` fails with `PriorRequestNotComplete`.
    PriorRequest,
    /// The connection is reset; nothing is done.
    Unreachable,
}

/// What one call will meet, all matching faults together.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own, in any mixture")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Delay before it takes effect.
    pub before: Duration,
    /// Delay of the answer.
    pub after: Duration,
    /// Never answered.
    pub hang: bool,
    /// Reset.
    pub unreachable: bool,
    /// Done, but not answered.
    pub lost_reply: bool,
    /// Refused for its rate.
    pub throttle: bool,
    /// Refused for lack of permission.
    pub deny: bool,
    /// Refused with HTTP 500.
    pub server_error: bool,
    /// No room to start instances.
    pub no_capacity: bool,
    /// No room on the Dedicated Host.
    pub host_full: bool,
    /// Route 53 is still at work on another change.
    pub prior_request: bool,
    /// Age of what Describe calls see.
    pub stale: Duration,
    /// The ids that the answer lacks.
    pub omitted: BTreeSet<String>,
}

impl Faults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Switches one on.
    pub fn add(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    /// What a call meets; counts it against the rules that end after so many calls.
    pub(super) fn meet(&mut self, principal: &Principal, action: &str, params: &Params) -> Conduct {
        let mut conduct = Conduct::default();
        for rule in &mut self.rules {
            let whom = rule.principal.as_ref().is_none_or(|wanted| wanted == principal);
            let which = rule.action.as_ref().is_none_or(|pattern| glob(pattern, action));
            let what = match (rule.fault, &rule.about) {
                (Fault::Omit, about) => about.is_some() && params.is_filtered_list(),
                (_, about) => about.as_ref().is_none_or(|id| params.mention(id)),
            };
            if !whom || !which || !what || rule.times == Some(0) {
                continue;
            }
            rule.times = rule.times.map(|left| left - 1);
            conduct.take(rule.fault);
            if rule.fault == Fault::Omit {
                conduct.omitted.extend(rule.about.clone());
            }
        }
        self.rules.retain(|rule| rule.times != Some(0));
        conduct
    }
}

impl FaultRule {
    /// A fault for everyone's calls of one kind.
    #[must_use]
    pub fn on(action: &str, fault: Fault) -> Self {
        Self { principal: None, action: Some(action.to_owned()), about: None, times: None, fault }
    }

    /// A fault for all calls.
    #[must_use]
    pub fn everywhere(fault: Fault) -> Self {
        Self { principal: None, action: None, about: None, times: None, fault }
    }

    /// Only for one caller.
    #[must_use]
    pub fn by(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    /// Only calls that name this id.
    #[must_use]
    pub fn about(mut self, id: &str) -> Self {
        self.about = Some(id.to_owned());
        self
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

impl Conduct {
    fn take(&mut self, fault: Fault) {
        match fault {
            Fault::LatencyBefore { ms } => self.before += Duration::from_millis(ms),
            Fault::LatencyAfter { ms } => self.after += Duration::from_millis(ms),
            Fault::Hang => self.hang = true,
            Fault::Throttle => self.throttle = true,
            Fault::Deny => self.deny = true,
            Fault::ServerError => self.server_error = true,
            Fault::Stale { ms } => self.stale = self.stale.max(Duration::from_millis(ms)),
            // Whom it is about, the rule says.
            Fault::Omit => {}
            Fault::LostReply => self.lost_reply = true,
            Fault::NoCapacity => self.no_capacity = true,
            Fault::HostFull => self.host_full = true,
            Fault::PriorRequest => self.prior_request = true,
            Fault::Unreachable => self.unreachable = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_only_its_caller_and_its_calls() {
        let alice = Principal::Instance("i-a".into());
        let mut faults = Faults::none();
        faults.add(FaultRule::on("Describe*", Fault::Hang).by(alice.clone()));
        assert!(faults.meet(&alice, "DescribeVpcs", &Params::new()).hang);
        assert!(!faults.meet(&alice, "ReplaceRoute", &Params::new()).hang);
        assert!(!faults.meet(&Principal::Operator, "DescribeVpcs", &Params::new()).hang);
    }

    #[test]
    fn a_fault_about_one_thing_meets_only_calls_that_name_it() {
        let mut faults = Faults::none();
        faults.add(FaultRule::everywhere(Fault::Hang).about("i-1"));
        let naming = |id| Params::new().with("InstanceId.1", "i-0").with("InstanceId.2", id);
        assert!(faults.meet(&Principal::Operator, "X", &naming("i-1")).hang);
        assert!(!faults.meet(&Principal::Operator, "X", &naming("i-12")).hang);
    }

    #[test]
    fn only_a_filtered_list_lacks_what_it_omits() {
        let mut faults = Faults::none();
        faults.add(FaultRule::on("DescribeInstances", Fault::Omit).about("i-1").times(1));
        let by_id = Params::new().with("InstanceId.1", "i-1").with("Filter.1.Name", "vpc-id");
        let met = |faults: &mut Faults, params| {
            faults.meet(&Principal::Operator, "DescribeInstances", params).omitted
        };
        assert_eq!(met(&mut faults, &by_id), BTreeSet::new());
        let all = Params::new();
        assert_eq!(met(&mut faults, &all), BTreeSet::new());
        let filtered = Params::new().with("Filter.1.Name", "vpc-id");
        assert_eq!(met(&mut faults, &filtered), BTreeSet::from(["i-1".to_owned()]));
        assert_eq!(met(&mut faults, &filtered), BTreeSet::new(), "it met its one call");
    }

    #[test]
    fn a_counted_fault_ends_and_delays_add_up() {
        let mut faults = Faults::none();
        faults.add(FaultRule::everywhere(Fault::LatencyAfter { ms: 5 }));
        faults.add(FaultRule::everywhere(Fault::LatencyAfter { ms: 7 }).times(1));
        let none = Params::new();
        let first = faults.meet(&Principal::Operator, "X", &none).after;
        let second = faults.meet(&Principal::Operator, "X", &none).after;
        assert_eq!((first.as_millis(), second.as_millis()), (12, 5));
        assert_eq!(faults.rules.len(), 1);
    }

    #[test]
    fn faults_survive_a_round_trip_through_json() {
        let text =
            r#"{"rules":[{"action":"Describe*","times":3,"fault":{"kind":"stale","ms":9}}]}"#;
        let faults: Faults = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&faults).unwrap(), text);
    }
}
