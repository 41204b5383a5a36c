//! Takeovers on request against a cloud that keeps what is written.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use super::*;
use crate::failover::Routes;
use crate::types::{CloudFaultKind, Egress, PowerReport, RouteTableId, RouteTarget, Traits};

const LIMIT: Duration = Duration::from_secs(20);
const PACE: Pace = Pace {
    read: Duration::from_millis(2),
    read_dns: Duration::from_millis(5),
    again_after: Duration::from_millis(20),
    seen_within: Duration::from_millis(200),
};
const INTERFACES: [&str; 2] = ["eni-00000001", "eni-00000002"];

#[derive(Default)]
struct State {
    tables: BTreeMap<RouteTableId, Routes>,
    seen: BTreeMap<Resource, Location>,
    /// Every change, in order.
    changes: Vec<String>,
    /// Changes to come that fail, by the call's name, and how.
    faults: Vec<(&'static str, CloudFaultKind)>,
    /// Reads that still show a change of this kind of call as on its way.
    settling: u32,
    /// The call that is accepted and never carried out.
    lost: Option<&'static str>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl Cloud for Fake {
    async fn routes(
        &self,
        tables: &[RouteTableId],
    ) -> Result<BTreeMap<RouteTableId, Routes>, CloudFault> {
        let state = self.0.lock().unwrap();
        let known = state.tables.iter().filter(|(id, _)| tables.contains(id));
        Ok(known.map(|(id, routes)| (id.clone(), routes.clone())).collect())
    }

    async fn holders(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(Resource, Location)>, CloudFault> {
        let mut state = self.0.lock().unwrap();
        if state.settling > 0 && state.changes.iter().any(|one| one.starts_with("Change")) {
            state.settling -= 1;
            return Ok(resources.iter().map(|one| (one.clone(), Location::Pending)).collect());
        }
        Ok(resources.iter().map(|one| (one.clone(), state.seen[one].clone())).collect())
    }

    async fn power(&self, _: &InstanceId) -> Result<PowerReport, CloudFault> {
        unreachable!("nobody's power matters to a takeover on request")
    }

    async fn change(&self, change: &CloudChange, _: &Gate) -> Result<Sent, CloudFault> {
        let mut state = self.0.lock().unwrap();
        let call = change.name();
        state.changes.push(call.to_owned());
        if let Some(at) = state.faults.iter().position(|(name, _)| *name == call) {
            let (_, kind) = state.faults.remove(at);
            let message = "as told".to_owned();
            return Err(CloudFault { kind, call: call.to_owned(), message });
        }
        if state.lost == Some(call) {
            return Ok(Sent::Accepted);
        }
        match change {
            CloudChange::Route(write) => {
                let target = write.via.target();
                let entry = RouteEntry { target, blackhole: false };
                state.tables.get_mut(&write.table).unwrap().0.insert(write.cidr, entry);
            }
            CloudChange::Assign(assignment) => {
                let target = match assignment.resource.kind() {
                    ResourceKind::Dns => RouteTarget::Address(assignment.address),
                    _ => RouteTarget::Interface(assignment.interface.clone()),
                };
                state.seen.insert(assignment.resource.clone(), Location::At(target));
            }
            CloudChange::Stop { .. } | CloudChange::Start { .. } => unreachable!("{change:?}"),
        }
        Ok(Sent::Accepted)
    }
}

fn member(place: u8) -> Member {
    Member {
        id: format!("i-0000000{place}").parse().unwrap(),
        interface: INTERFACES[usize::from(place) - 1].parse().unwrap(),
        address: Ipv4Addr::new(10, 0, 0, place),
        zone: None,
        name: (place == 2).then(|| "db-b".to_owned()),
        public: None,
        loses_public: false,
        landings: std::collections::BTreeMap::new(),
    }
}

fn at_peer() -> RouteTarget {
    RouteTarget::Interface(INTERFACES[1].parse().unwrap())
}

fn vip(table: &str) -> Resource {
    Resource::Vip { table: table.parse().unwrap(), address: Ipv4Addr::new(192, 168, 20, 11) }
}

fn private() -> Resource {
    Resource::PrivateIp { address: Ipv4Addr::new(10, 0, 0, 200) }
}

fn eip() -> Resource {
    let allocation = "eipalloc-00000001".parse().unwrap();
    Resource::Eip { allocation, address: Ipv4Addr::new(203, 0, 113, 7), on: None }
}

fn dns() -> Resource {
    let (zone, name) =
        ("Z0123456789ABCDEFGHIJ".parse().unwrap(), "db.example.org".parse().unwrap());
    Resource::Dns { zone, name, ttl: 60, public: false }
}

/// Two tables, and everything at the peer.
fn cloud() -> Fake {
    let fake = Fake::default();
    let mut state = fake.0.lock().unwrap();
    for table in ["rtb-00000001", "rtb-00000002"] {
        let cidr = vip(table).route().unwrap().1;
        let entry = RouteEntry { target: at_peer(), blackhole: false };
        state.tables.insert(table.parse().unwrap(), Routes([(cidr, entry)].into()));
    }
    for resource in [private(), eip()] {
        state.seen.insert(resource, Location::At(at_peer()));
    }
    state.seen.insert(dns(), Location::At(RouteTarget::Address(Ipv4Addr::new(10, 0, 0, 2))));
    drop(state);
    fake
}

struct Scene {
    cloud: Fake,
    roster: Roster,
    me: Member,
    adopt: bool,
    limit: Duration,
}

impl Scene {
    fn new(cloud: Fake) -> Self {
        let mut resources = vec![vip("rtb-00000001"), vip("rtb-00000002"), private(), eip(), dns()];
        resources.sort_by_key(Resource::kind);
        let group = Group {
            name: "db".parse().unwrap(),
            home: None,
            prefer: Vec::new(),
            resources,
            traits: Traits::default(),
            egress: Egress::default(),
            networks: Vec::new(),
        };
        let roster = Roster { members: vec![member(1), member(2)], groups: vec![group] };
        Self { cloud, roster, me: member(1), adopt: false, limit: LIMIT }
    }

    async fn survey(&self) -> anyhow::Result<Vec<TakeStep>> {
        self.taking().survey().await
    }

    async fn run(&self) -> Vec<TakeStep> {
        let taking = self.taking();
        let steps = taking.survey().await.unwrap();
        taking.carry_out(steps).await
    }

    fn taking(&self) -> TakeRun<'_, Fake> {
        TakeRun {
            cloud: &self.cloud,
            roster: &self.roster,
            me: &self.me,
            group: &self.roster.groups[0],
            adopt: self.adopt,
            call_limit: LIMIT,
            deadline: Instant::now() + self.limit,
            pace: PACE,
        }
    }

    fn changes(&self) -> Vec<String> {
        self.cloud.0.lock().unwrap().changes.clone()
    }

    fn set(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.cloud.0.lock().unwrap());
    }
}

fn fates(steps: &[TakeStep]) -> Vec<StepResult> {
    steps.iter().map(|step| step.result).collect()
}

const ALL: [&str; 5] = [
    "ReplaceRoute",
    "ReplaceRoute",
    "AssignPrivateIpAddresses",
    "AssociateAddress",
    "ChangeResourceRecordSets",
];

#[tokio::test]
async fn everything_moves_kind_by_kind_and_a_second_run_changes_nothing() {
    let scene = Scene::new(cloud());
    let steps = scene.run().await;
    assert_eq!(scene.changes(), ALL);
    assert_eq!(fates(&steps), [StepResult::Moved; 5]);
    assert!(steps.iter().all(|step| step.took.is_some()), "{steps:#?}");
    assert_eq!(steps[2].before, "db-b (i-00000002)");
    assert_eq!(steps[2].reason, "db-b (i-00000002) held it");

    let again = scene.run().await;
    assert_eq!(fates(&again), [StepResult::WasHere; 5]);
    assert_eq!(scene.changes().len(), ALL.len());
}

#[tokio::test]
async fn only_what_is_not_here_is_written() {
    let scene = Scene::new(cloud());
    let here = Location::At(RouteTarget::Interface(scene.me.interface.clone()));
    scene.set(|state| drop(state.seen.insert(eip(), here)));
    let steps = scene.run().await;
    assert_eq!(scene.changes(), [ALL[0], ALL[1], ALL[2], ALL[4]]);
    assert_eq!(steps[3].result, StepResult::WasHere);
}

#[tokio::test]
async fn a_survey_changes_nothing() {
    let scene = Scene::new(cloud());
    assert_eq!(fates(&scene.survey().await.unwrap()), [StepResult::WouldMove; 5]);
    assert!(scene.changes().is_empty());
}

#[tokio::test]
async fn a_missing_route_is_created_and_a_blackhole_replaced() {
    let scene = Scene::new(cloud());
    scene.set(|state| {
        state.tables.values_mut().next().unwrap().0.clear();
        for routes in state.tables.values_mut() {
            for entry in routes.0.values_mut() {
                let gone = RouteTarget::Interface("eni-0000dead".parse().unwrap());
                *entry = RouteEntry { target: gone, blackhole: true };
            }
        }
    });
    let steps = scene.run().await;
    assert_eq!(fates(&steps), [StepResult::Moved; 5]);
    assert_eq!(scene.changes()[..2], ["CreateRoute", "ReplaceRoute"]);
    assert_eq!(steps[0].reason, "it had no target");
}

#[tokio::test]
async fn what_points_outside_the_cluster_is_refused_before_anything_is_changed_unless_adopted() {
    let mut scene = Scene::new(cloud());
    let foreign = RouteTarget::Interface("eni-0000f00d".parse().unwrap());
    scene.set(|state| drop(state.seen.insert(eip(), Location::At(foreign))));
    let error = scene.survey().await.unwrap_err().to_string();
    for part in ["nothing was changed", "203.0.113.7", "eni-0000f00d", "--adopt"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(scene.changes().is_empty());
    scene.adopt = true;
    let steps = scene.run().await;
    assert_eq!(fates(&steps), [StepResult::Moved; 5]);
    assert_eq!(steps[3].reason, "adopted from eni-0000f00d");
}

#[tokio::test]
async fn what_does_not_exist_is_named_and_all_of_it_at_once() {
    let scene = Scene::new(cloud());
    scene.set(|state| {
        state.tables.remove(&"rtb-00000002".parse().unwrap());
        state.seen.insert(eip(), Location::Absent);
    });
    let error = scene.survey().await.unwrap_err().to_string();
    assert!(error.contains("rtb-00000002") && error.contains("203.0.113.7"), "{error}");
}

#[tokio::test]
async fn what_comes_here_are_addresses_and_no_others() {
    let scene = Scene::new(cloud());
    let here = async || scene.taking().addresses_here().await.unwrap();
    assert_eq!(here().await, []);
    scene.set(|state| state.faults.push(("AssignPrivateIpAddresses", CloudFaultKind::Denied)));
    scene.run().await;
    assert_eq!(here().await, [vip("rtb-00000001"), vip("rtb-00000002")]);
    // A change that is not everywhere yet may come here still.
    scene.set(|state| drop(state.seen.insert(private(), Location::Pending)));
    assert_eq!(here().await.last(), Some(&private()));
    scene.set(|state| state.tables.clear());
    assert_eq!(here().await, [private()]);
}

#[tokio::test]
async fn what_is_denied_stays_where_it_is_told_and_the_rest_moves() {
    let scene = Scene::new(cloud());
    scene.set(|state| state.faults.push(("AssociateAddress", CloudFaultKind::Denied)));
    let begun = Instant::now();
    let steps = scene.run().await;
    assert_eq!(steps[3].result, StepResult::NotHere);
    assert!(steps[3].reason.contains("denied: as told"), "{steps:#?}");
    assert_eq!(steps[4].result, StepResult::Moved);
    assert_eq!(scene.changes(), ALL, "a denial is not asked for twice");
    assert!(begun.elapsed() < LIMIT / 2, "and nothing is waited for");
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let scene = Scene::new(cloud());
    for kind in [CloudFaultKind::Throttled, CloudFaultKind::Unknown] {
        scene.set(|state| state.faults.push(("AssignPrivateIpAddresses", kind)));
    }
    let steps = scene.run().await;
    assert_eq!(fates(&steps), [StepResult::Moved; 5]);
    assert_eq!(scene.changes().iter().filter(|one| *one == ALL[2]).count(), 3);
    let took = steps[2].took.unwrap();
    assert!(took >= PACE.again_after * 2, "a second between two of them: {took:?}");
}

#[tokio::test]
async fn a_record_counts_when_route_53_has_it_everywhere() {
    let scene = Scene::new(cloud());
    scene.set(|state| state.settling = 7);
    let steps = scene.run().await;
    assert_eq!(steps[4].result, StepResult::Moved);
    assert!(steps[4].took.unwrap() >= PACE.read_dns * 7, "{steps:#?}");
    assert_eq!(scene.changes(), ALL, "a change that is on its way is not made again");
}

#[tokio::test]
async fn a_change_that_is_never_seen_is_made_again_and_then_given_up() {
    let mut scene = Scene::new(cloud());
    scene.limit = PACE.seen_within * 3 / 2;
    scene.set(|state| state.lost = Some("AssociateAddress"));
    let steps = scene.run().await;
    assert_eq!(steps[3].result, StepResult::NotHere);
    assert!(steps[3].reason.contains("still points to i-00000002"), "{steps:#?}");
    assert_eq!(scene.changes().iter().filter(|one| *one == ALL[3]).count(), 2);
}

#[tokio::test]
async fn a_public_record_needs_a_public_address() {
    let mut scene = Scene::new(cloud());
    let Resource::Dns { zone, name, ttl, .. } = dns() else { unreachable!() };
    let public = Resource::Dns { zone, name, ttl, public: true };
    scene.set(|state| drop(state.seen.insert(public.clone(), Location::Vacant)));
    scene.roster.groups[0].resources = vec![public];
    let error = scene.survey().await.unwrap_err().to_string();
    assert!(error.contains("db.example.org") && error.contains("no public address"), "{error}");
    scene.me.public = Some(Ipv4Addr::new(198, 51, 100, 9));
    assert_eq!(fates(&scene.run().await), [StepResult::Moved]);
}
