//! The route tables of the cluster: whether they are there, where they lead, how many there are.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::facts::{ClusterFacts, Facts, known};
use super::finding::{Judged, Outcome, counted, joined};
use crate::types::{
    Group, Member, NatGatewayId, Resource, Roster, RouteTableId, RouteTarget, display_duration,
};

/// EC2 grants this many changes of routes at once, and then so many a second (EC2 developer guide,
/// "Request throttling": the bucket of mutating actions).
const BURST: usize = 50;
const REFILL: usize = 5;

/// `tables-found`
pub(super) fn found(facts: &Facts) -> Judged {
    let roster = facts.roster()?;
    if !facts.settings.moves_default_routes() {
        return Ok(Outcome::not_needed("no group of the settings has a route table"));
    }
    let count = routes(roster).count();
    if count == 0 {
        return Ok(Outcome::failed(
            "no route table belongs to this cluster: natha covers nothing",
            "tag the private subnets' route tables with natha:cluster, or list them in groups",
        ));
    }
    let groups = counted(roster.groups.len(), "group");
    Ok(Outcome::passed(format!("{} in {groups}", counted(count, "route"))))
}

/// `table-homes`
pub(super) fn homes(facts: &Facts) -> Judged {
    let report = facts.report()?;
    let away = report.view.groups.iter().filter_map(|(name, group)| {
        let home = group.home.as_ref().filter(|_| group.goes_home)?;
        let holder = group.holder.as_ref().filter(|holder| *holder != home)?;
        let (holder, home) = (report.node_name(holder), report.node_name(home));
        Some(format!("group {name} is held by {holder}, but its home is {home}"))
    });
    let away = joined(away);
    if !away.is_empty() {
        return Ok(Outcome::warning(
            away,
            "natha hands a group back once its home has been well for hand_back.hold; `natha \
             handover GROUP` on its holder does it now",
        ));
    }
    let homeless = report.view.groups.iter().filter(|(_, group)| group.home.is_none());
    let homeless = joined(homeless.map(|(name, _)| name));
    Ok(Outcome::passed(match &*homeless {
        "" => "every group is at its home".to_owned(),
        names => format!("every group with a home is there; without a home: {names}"),
    }))
}

/// `table-targets`
pub(super) fn targets(facts: &Facts) -> Judged {
    let cluster = known(&facts.cluster)?;
    let (mut foreign, mut vacant) = (Vec::new(), Vec::new());
    let fallbacks = fallbacks_of(&cluster.roster);
    let is_fallback = |target: &str| fallbacks.iter().any(|id| id.as_str() == target);
    let mut fallen = Vec::new();
    for (id, cidr) in routes(&cluster.roster) {
        match lead(cluster, id, cidr) {
            Lead::Member => {}
            Lead::Foreign(target) if is_fallback(&target) => {
                fallen.push(format!("{cidr} of {id} is at the fallback {target}"));
            }
            Lead::Foreign(target) => foreign.push((id, cidr, target)),
            Lead::Vacant(how) => vacant.push(format!("{cidr} of {id} {how}")),
        }
    }
    if let Some((id, cidr, _)) = foreign.first() {
        let all =
            joined(foreign.iter().map(|(id, cidr, to)| format!("{cidr} of {id} points to {to}")));
        let what = format!("{all}, outside the cluster");
        let interface = cluster.roster.member(&cluster.me).map(|me| me.interface.as_str());
        let command = format!(
            "aws ec2 replace-route --route-table-id {id} --destination-cidr-block {cidr} \
             --network-interface-id {}",
            interface.unwrap_or("ID")
        );
        return Ok(if facts.settings.timing.adopt {
            Outcome::warning(what, "the monitor replaces it, because failover.adopt is set")
        } else {
            let adopt = if is_default(&cluster.roster, id, *cidr) {
                format!("`natha adopt --yes {id}`, which has a way back, or ")
            } else {
                String::new()
            };
            let remedy =
                format!("if natha is to hold it: {adopt}{command}, or failover.adopt = true");
            Outcome::failed(what, remedy)
        });
    }
    if !fallen.is_empty() {
        let remedy = "it returns once a node has been fit and proven for the hold of its group";
        return Ok(Outcome::warning(joined(fallen), remedy));
    }
    if vacant.is_empty() {
        return Ok(Outcome::passed("every route points to a member of the cluster"));
    }
    Ok(Outcome::warning(vacant.join(", "), "a running monitor points it to a fit member"))
}

/// `fallback-ready`
pub(super) fn fallbacks(facts: &Facts) -> Judged {
    let cluster = known(&facts.cluster)?;
    let wanted = fallbacks_of(&cluster.roster);
    if wanted.is_empty() {
        return Ok(Outcome::not_needed("no group has a fallback"));
    }
    let gateways = known(&facts.gateways)?;
    let vpc = cluster.tables.first().map(|table| table.vpc.as_str());
    let faults = wanted.iter().filter_map(|id| {
        let Some(gateway) = gateways.iter().find(|gateway| gateway.id == **id) else {
            return Some(format!("EC2 knows no {id}"));
        };
        if gateway.state != "available" {
            return Some(format!("{id} is {}", gateway.state));
        }
        if vpc.is_some() && gateway.vpc.as_deref() != vpc {
            return Some(format!("{id} is in another VPC"));
        }
        (!gateway.is_public).then(|| format!("{id} is private: it has no public address"))
    });
    let faults = joined(faults);
    if !faults.is_empty() {
        return Ok(Outcome::failed(
            faults,
            "name a public NAT gateway of this VPC that is available, or remove the fallback",
        ));
    }
    Ok(Outcome::passed(format!("available: {}", joined(wanted))))
}

/// The NAT gateways that groups name as their fallbacks.
#[must_use]
pub fn fallbacks_of(roster: &Roster) -> BTreeSet<&NatGatewayId> {
    roster.groups.iter().filter_map(|group| group.traits.fallback.as_ref()).collect()
}

/// `resources-held`
pub(super) fn held(facts: &Facts) -> Judged {
    let report = facts.report()?;
    let mut others = report.roster.groups.iter().filter(|group| !is_of_routes(group)).peekable();
    if others.peek().is_none() {
        return Ok(Outcome::not_needed("the groups have nothing but routes"));
    }
    let loose = others.filter(|group| {
        let view = report.view.groups.get(&group.name);
        view.is_some_and(|view| view.read_age.is_some() && view.holder.is_none())
    });
    let loose = joined(loose.map(|group| &group.name));
    if loose.is_empty() {
        return Ok(Outcome::passed("each group's addresses and records are on one member"));
    }
    Ok(Outcome::failed(
        format!("not held by a single node: {loose}"),
        "`natha status` shows where each resource points; move by hand what is outside the \
         cluster, or by failover.adopt = true",
    ))
}

fn is_of_routes(group: &Group) -> bool {
    group.resources.iter().all(|resource| resource.route().is_some())
}

/// `table-count`
pub(super) fn count(facts: &Facts) -> Judged {
    let count = routes(facts.roster()?).count();
    if count <= BURST {
        let what = format!("{}: EC2 takes {BURST} changes at once", counted(count, "route"));
        return Ok(Outcome::passed(what));
    }
    let rest = (count - BURST).div_ceil(REFILL);
    let takes = Duration::from_secs(u64::try_from(rest).unwrap_or(u64::MAX));
    Ok(Outcome::warning(
        format!(
            "{count} routes: EC2 takes {BURST} changes at once and then {REFILL} a second, so a \
             node that takes all of them over needs about {}",
            display_duration(takes)
        ),
        "let several private subnets share a route table, or spread the tables over more homes",
    ))
}

/// The routes of all groups.
fn routes(roster: &Roster) -> impl Iterator<Item = (&RouteTableId, Ipv4Net)> {
    roster.groups.iter().flat_map(|group| &group.resources).filter_map(Resource::route)
}

/// Whether it is a default route, which `natha adopt` moves, and no route to a virtual IP.
fn is_default(roster: &Roster, id: &RouteTableId, to: Ipv4Net) -> bool {
    let mut all = roster.groups.iter().flat_map(|group| &group.resources);
    all.any(
        |one| matches!(one, Resource::DefaultRoute { table, cidr } if table == id && *cidr == to),
    )
}

/// Where a route leads.
enum Lead {
    Member,
    Foreign(String),
    Vacant(&'static str),
}

fn lead(cluster: &ClusterFacts, id: &RouteTableId, cidr: Ipv4Net) -> Lead {
    let Some(table) = cluster.tables.iter().find(|table| table.id == *id) else {
        return Lead::Vacant("was not found");
    };
    let Some(route) = table.routes.get(&cidr) else { return Lead::Vacant("does not exist") };
    let leads_to = |member: &Member| match &route.target {
        RouteTarget::Interface(interface) => member.interface == *interface,
        RouteTarget::Address(_) | RouteTarget::Other(_) => false,
    };
    if cluster.roster.members.iter().any(leads_to) {
        return Lead::Member;
    }
    if route.blackhole {
        return Lead::Vacant("points to something that is gone (blackhole)");
    }
    Lead::Foreign(route.target.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::samples::{cluster, interface, node, report, running, table};
    use crate::types::NatGatewayInfo;

    fn leading(to: Option<RouteTarget>) -> Facts {
        let tables = vec![table(1, Some(interface(1))), table(2, to)];
        Facts { cluster: Ok(cluster(tables)), ..Facts::default() }
    }

    #[test]
    fn a_foreign_target_fails_by_name_unless_natha_is_to_replace_it() {
        let gateway = || Some(RouteTarget::Other("nat-0123abcd".to_owned()));
        let mut facts = leading(gateway());
        let outcome = targets(&facts).unwrap();
        assert_eq!(outcome.state, State::Failed);
        let what = "0.0.0.0/0 of rtb-00000002 points to nat-0123abcd, outside the cluster";
        assert_eq!(outcome.what, what);
        let remedy = outcome.remedy.unwrap();
        let adopt =
            "if natha is to hold it: `natha adopt --yes rtb-00000002`, which has a way back";
        assert!(remedy.starts_with(adopt), "{remedy}");
        assert!(remedy.contains("--route-table-id rtb-00000002"), "{remedy}");
        assert!(remedy.contains("--network-interface-id eni-00000001"), "{remedy}");
        facts.settings.timing.adopt = true;
        assert_eq!(targets(&facts).unwrap().state, State::Warning);
    }

    #[test]
    fn a_fallback_must_be_a_public_gateway_of_the_vpc_that_is_available() {
        let mut facts = leading(Some(RouteTarget::Other("nat-0123abcd".to_owned())));
        assert_eq!(fallbacks(&facts).unwrap().state, State::NotNeeded);
        let id: NatGatewayId = "nat-0123abcd".parse().unwrap();
        if let Ok(cluster) = &mut facts.cluster {
            cluster.roster.groups[1].traits.fallback = Some(id.clone());
        }
        assert_eq!(targets(&facts).unwrap().state, State::Warning, "it is there now");
        assert!(fallbacks(&facts).is_err(), "EC2 did not say");
        let gateway = NatGatewayInfo {
            id,
            vpc: Some("vpc-00000001".to_owned()),
            state: "available".to_owned(),
            is_public: true,
        };
        let mut judge = |gateway: Option<NatGatewayInfo>| {
            facts.gateways = Ok(gateway.into_iter().collect());
            fallbacks(&facts).unwrap()
        };
        assert_eq!(judge(Some(gateway.clone())).state, State::Passed);
        let gone = NatGatewayInfo { state: "deleted".to_owned(), ..gateway.clone() };
        let elsewhere = NatGatewayInfo { vpc: Some("vpc-2".to_owned()), ..gateway.clone() };
        let private = NatGatewayInfo { is_public: false, ..gateway };
        for (gateway, wanted) in [
            (None, "EC2 knows no nat-0123abcd"),
            (Some(gone), "nat-0123abcd is deleted"),
            (Some(elsewhere), "nat-0123abcd is in another VPC"),
            (Some(private), "nat-0123abcd is private: it has no public address"),
        ] {
            let outcome = judge(gateway);
            assert_eq!((outcome.state, &*outcome.what), (State::Failed, wanted));
        }
    }

    #[test]
    fn a_vacant_route_is_a_warning_and_one_to_any_member_is_well() {
        assert_eq!(targets(&leading(None)).unwrap().state, State::Warning);
        assert_eq!(targets(&leading(Some(interface(1)))).unwrap().state, State::Passed);
        let mut gone = cluster(vec![table(1, Some(interface(1))), table(2, Some(interface(9)))]);
        let entry = gone.tables[1].routes.values_mut().next().unwrap();
        entry.blackhole = true;
        let outcome = targets(&Facts { cluster: Ok(gone), ..Facts::default() }).unwrap();
        assert!(outcome.what.contains("blackhole"), "{}", outcome.what);
    }

    #[test]
    fn a_group_away_from_its_home_is_a_warning() {
        let mut away = report();
        assert_eq!(homes(&running(away.clone())).unwrap().state, State::Passed);
        away.view.groups.values_mut().next().unwrap().holder = Some(node(2));
        let outcome = homes(&running(away.clone())).unwrap();
        assert_eq!(outcome.what, "group zone-1 is held by nat-b, but its home is nat-a");
        away.view.groups.values_mut().next().unwrap().goes_home = false;
        assert_eq!(homes(&running(away)).unwrap().state, State::Passed);
    }

    #[test]
    fn a_group_with_addresses_must_be_held_by_one_node() {
        let mut split = report();
        assert_eq!(held(&running(split.clone())).unwrap().state, State::NotNeeded);
        let address = Resource::PrivateIp { address: [10, 0, 0, 99].into() };
        split.roster.groups[0].resources.push(address);
        assert_eq!(held(&running(split.clone())).unwrap().state, State::Passed);
        split.view.groups.values_mut().next().unwrap().holder = None;
        let outcome = held(&running(split)).unwrap();
        assert_eq!(outcome.what, "not held by a single node: zone-1");
    }

    #[test]
    fn a_cluster_without_tables_covers_nothing() {
        let mut facts = leading(None);
        assert_eq!(found(&facts).unwrap().what, "2 routes in 2 groups");
        if let Ok(cluster) = &mut facts.cluster {
            cluster.roster.groups.clear();
        }
        assert_eq!(found(&facts).unwrap().state, State::Failed);
    }

    #[test]
    fn more_tables_than_ec2_takes_at_once_are_a_warning_with_the_time() {
        let with = |tables: usize| {
            let mut cluster = cluster(Vec::new());
            let route = |n: usize| Resource::DefaultRoute {
                table: format!("rtb-{n:08x}").parse().unwrap(),
                cidr: Ipv4Net::default(),
            };
            cluster.roster.groups.truncate(1);
            cluster.roster.groups[0].resources = (0..tables).map(route).collect();
            count(&Facts { cluster: Ok(cluster), ..Facts::default() }).unwrap()
        };
        assert_eq!(with(50).state, State::Passed);
        let outcome = with(200);
        assert_eq!(outcome.state, State::Warning);
        assert!(outcome.what.ends_with("needs about 30 s"), "{}", outcome.what);
    }
}
