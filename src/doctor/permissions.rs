//! The permissions of the node's role, compared with `natha policy`.

use super::facts::{Facts, InterfaceTag, Permission, PermissionResult, known};
use super::finding::{Gap, Judged, Outcome, counted, joined};
use crate::types::{Resource, printable};

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

/// `interface-tag`
pub(super) fn interface_tag(facts: &Facts) -> Judged {
    let mut resources = facts.roster()?.groups.iter().flat_map(|group| &group.resources);
    if !resources.any(is_on_interface) {
        return Ok(Outcome::not_needed("no group has an address that an interface must receive"));
    }
    let InterfaceTag { interface, cluster, found } = known(&facts.interface_tag)?;
    let Some(cluster) = cluster else {
        return Ok(Outcome::not_needed("neither the settings nor a tag names the cluster"));
    };
    if found.as_ref() == Some(cluster) {
        let what = format!("{interface} has the tag natha:cluster = {}", printable(cluster));
        return Ok(Outcome::passed(what));
    }
    // The action was tried with this interface. Its policy is not the one of `natha policy`.
    let is_allowed = |one: &Permission| {
        one.action == "ec2:AssociateAddress" && one.result == PermissionResult::Allowed
    };
    if facts.permissions.as_ref().is_ok_and(|all| all.iter().any(is_allowed)) {
        return Ok(Outcome::not_needed("the role may associate addresses without the tag"));
    }
    let what = match found {
        Some(other) => {
            format!("{interface} has the tag natha:cluster = {}, another one", printable(other))
        }
        None => format!("{interface} has no tag natha:cluster"),
    };
    let remedy = format!(
        "aws ec2 create-tags --resources {interface} --tags 'Key=natha:cluster,Value={}'",
        printable(cluster)
    );
    Ok(Outcome::failed(format!("{what}: no address of a group can move to it"), remedy))
}

/// Whether EC2 moves it to an interface, for which the role needs a permission on the interface.
fn is_on_interface(resource: &Resource) -> bool {
    match resource {
        Resource::PrivateIp { .. } | Resource::Eip { .. } | Resource::EgressIp { .. } => true,
        Resource::DefaultRoute { .. } | Resource::Vip { .. } | Resource::Dns { .. } => false,
    }
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
    use crate::doctor::samples;

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

    /// A cluster with an egress IP, and the tag of node 1's interface.
    fn tagged(cluster: Option<&str>, found: Option<&str>) -> Facts {
        let mut cluster_facts = samples::cluster(Vec::new());
        let allocation = "eipalloc-00000001".parse().unwrap();
        let egress = Resource::EgressIp { allocation, address: [203, 0, 113, 1].into() };
        cluster_facts.roster.groups[0].resources.push(egress);
        let interface_tag = InterfaceTag {
            interface: "eni-00000001".parse().unwrap(),
            cluster: cluster.map(str::to_owned),
            found: found.map(str::to_owned),
        };
        Facts { cluster: Ok(cluster_facts), interface_tag: Ok(interface_tag), ..Facts::default() }
    }

    #[test]
    fn an_interface_without_the_cluster_s_tag_fails_with_the_command() {
        for (cluster, found, state, part) in [
            (Some("blue"), Some("blue"), State::Passed, "eni-00000001 has the tag"),
            (Some("blue"), None, State::Failed, "eni-00000001 has no tag natha:cluster: no addr"),
            (Some("blue"), Some("red"), State::Failed, "natha:cluster = red, another one: no"),
            (None, None, State::NotNeeded, "neither the settings"),
        ] {
            let outcome = interface_tag(&tagged(cluster, found)).unwrap();
            assert_eq!(outcome.state, state, "{outcome:?}");
            assert!(outcome.what.contains(part), "{outcome:?}");
            let command = "aws ec2 create-tags --resources eni-00000001 --tags \
                           'Key=natha:cluster,Value=blue'";
            let remedy = (state == State::Failed).then(|| command.to_owned());
            assert_eq!(outcome.remedy, remedy);
        }
    }

    #[test]
    fn the_tag_is_not_needed_without_addresses_or_with_a_policy_that_does_not_ask_for_it() {
        let routes = Facts { cluster: Ok(samples::cluster(Vec::new())), ..Facts::default() };
        assert_eq!(interface_tag(&routes).unwrap().state, State::NotNeeded);
        for (result, state) in [
            (PermissionResult::Allowed, State::NotNeeded),
            (denied(), State::Failed),
            (PermissionResult::Unclear("throttled".to_owned()), State::Failed),
        ] {
            let permissions = facts(&[("ec2:AssociateAddress", true, result)]).permissions;
            let untagged = Facts { permissions, ..tagged(Some("blue"), None) };
            assert_eq!(interface_tag(&untagged).unwrap().state, state);
        }
        let unread = Facts { interface_tag: Err(Gap::new("slow")), ..tagged(None, None) };
        assert_eq!(interface_tag(&unread), Err(Gap::new("slow")));
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
