//! The permissions of the node's role, compared with `natha policy`.

use super::facts::{Facts, Permission, PermissionResult, known};
use super::finding::{Gap, Judged, Outcome, counted, joined};

const REMEDY: &str = "replace the policy of the instance's role by what `natha policy` prints for \
                      this cluster";

/// `role-allows`
pub(super) fn allows(facts: &Facts) -> Judged {
    let wanted: Vec<&Permission> =
        known(&facts.permissions)?.iter().filter(|one| one.is_wanted).collect();
    let denied: Vec<String> = wanted.iter().filter_map(|one| denial(one)).collect();
    if !denied.is_empty() {
        let what = format!("the role does not allow {}", denied.join(", "));
        return Ok(Outcome::failed(what, REMEDY));
    }
    let unclear: Vec<String> = wanted.iter().filter_map(|one| unclear(one)).collect();
    if !unclear.is_empty() {
        return Err(Gap::new(unclear.join("; ")));
    }
    let tested = wanted.iter().filter(|one| one.result == PermissionResult::Allowed).count();
    let untested = wanted.iter().filter_map(|one| match one.result {
        PermissionResult::Untestable(why) => Some(format!("{} ({why})", one.action)),
        _ => None,
    });
    let untested = joined(untested);
    let what = format!("tried and allowed: {}", counted(tested, "action"));
    Ok(Outcome::passed(match &*untested {
        "" => what,
        untested => format!("{what}; not tried: {untested}"),
    }))
}

/// `role-excess`
pub(super) fn excess(facts: &Facts) -> Judged {
    let others = known(&facts.permissions)?.iter().filter(|one| !one.is_wanted);
    let (allowed, refused): (Vec<&Permission>, Vec<&Permission>) = others
        .filter(|one| matches!(one.result, PermissionResult::Allowed | PermissionResult::Denied(_)))
        .partition(|one| one.result == PermissionResult::Allowed);
    if allowed.is_empty() {
        let count = counted(refused.len(), "action");
        return Ok(Outcome::passed(format!("the role refuses {count} that natha does not need")));
    }
    let allowed = joined(allowed.iter().map(|one| &one.action));
    let what = format!("the role allows {allowed}, which natha does not need with these settings");
    Ok(Outcome::warning(what, REMEDY))
}

fn denial(one: &Permission) -> Option<String> {
    match &one.result {
        PermissionResult::Denied(text) => Some(format!("{} ({text})", one.action)),
        _ => None,
    }
}

fn unclear(one: &Permission) -> Option<String> {
    match &one.result {
        PermissionResult::Unclear(text) => Some(format!("{}: {text}", one.action)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn facts(all: &[(&str, bool, PermissionResult)]) -> Facts {
        let one = |(action, is_wanted, result): &(&str, bool, PermissionResult)| Permission {
            action: (*action).to_owned(),
            is_wanted: *is_wanted,
            result: result.clone(),
        };
        Facts { permissions: Ok(all.iter().map(one).collect()), ..Facts::default() }
    }

    fn denied() -> PermissionResult {
        PermissionResult::Denied("no policy allows it".to_owned())
    }

    #[test]
    fn a_denied_action_is_named_and_counts_more_than_one_that_is_unclear() {
        let unclear = PermissionResult::Unclear("throttled".to_owned());
        let mixed = [
            ("ec2:ReplaceRoute", true, denied()),
            ("ec2:StopInstances", true, unclear),
            ("ec2:DescribeInstances", true, PermissionResult::Allowed),
        ];
        let outcome = allows(&facts(&mixed)).unwrap();
        assert_eq!(outcome.state, State::Failed);
        assert_eq!(outcome.what, "the role does not allow ec2:ReplaceRoute (no policy allows it)");
        assert_eq!(allows(&facts(&mixed[1..])), Err(Gap::new("ec2:StopInstances: throttled")));
        let outcome = allows(&facts(&mixed[2..])).unwrap();
        assert_eq!(outcome.what, "tried and allowed: 1 action");
    }

    #[test]
    fn what_cannot_be_tried_is_named_and_does_not_fail() {
        let untestable = PermissionResult::Untestable("EC2 has no dry run of it");
        let outcome = allows(&facts(&[("ec2:Assign", true, untestable)])).unwrap();
        assert_eq!(outcome.state, State::Passed);
        assert!(outcome.what.ends_with("not tried: ec2:Assign (EC2 has no dry run of it)"));
    }

    #[test]
    fn an_action_beyond_the_policy_is_a_warning() {
        let beyond = [
            ("ec2:StopInstances", false, PermissionResult::Allowed),
            ("ec2:AssociateAddress", false, denied()),
        ];
        let outcome = excess(&facts(&beyond)).unwrap();
        assert_eq!(outcome.state, State::Warning);
        assert!(outcome.what.contains("ec2:StopInstances,"), "{}", outcome.what);
        assert_eq!(excess(&facts(&beyond[1..])).unwrap().state, State::Passed);
        assert_eq!(allows(&facts(&beyond)).unwrap().state, State::Passed);
    }
}
