//! The lab's EC2 as the simulated nodes see it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use natha::failover::{ActionId, Outcome, Routes};
use natha::types::{
    Assignment, CloudFault, CloudFaultKind, InstanceId, InstanceState, PowerReport, Resource,
    RouteEntry, RouteTableId, RouteTarget, RouteVia as WrittenVia, RouteWrite, RouteWriteVerb,
    StopOrigin, Time,
};
use natha_lab::ec2::{
    ApiError, Conduct, Health, Params, Principal, RouteSeen, RouteVia, World, XmlBody,
};

use super::cluster::Sim;
use super::moved;
use super::names::everywhere;
use super::queue::{Answer, Call, What};

/// The time limit of a call.
pub const LIMIT: Duration = Duration::from_secs(5);

/// How the API treats one node. More can be staged with [`Sim::world_mut`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// As it should.
    Works,
    /// Every call is refused.
    Fails(CloudFaultKind),
    /// No call gets through, and none is answered.
    Hangs,
    /// Writes take effect and are answered with silence.
    LosesReplies,
    /// Writes take effect at any time within their limit, and are answered with silence.
    Delays,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Of a route.
    Route(RouteWrite),
    /// Of who holds something that is no route.
    Assign(Assignment),
    /// Of an instance's power.
    Stop(InstanceId),
    /// The same.
    Start(InstanceId),
}

/// A change that EC2 accepted.
#[derive(Debug, Clone)]
pub struct Done {
    /// When.
    pub at: Time,
    /// Whose call it was.
    pub by: usize,
    /// What it was.
    pub what: Mutation,
}

/// What a call asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Routes(Vec<RouteTableId>),
    Holders(Vec<Resource>),
    Power(InstanceId),
    Change(Mutation),
}

impl Ask {
    /// The call that decides over its outcome.
    fn action(&self) -> &'static str {
        match self {
            Self::Routes(_) => "DescribeRouteTables",
            Self::Holders(resources) => moved::listing(resources),
            Self::Power(_) => "DescribeInstances",
            Self::Change(mutation) => mutation.call().0,
        }
    }

    fn failed(&self, fault: CloudFault) -> Outcome {
        match self {
            Self::Routes(_) => Outcome::Routes { result: Err(fault) },
            Self::Holders(_) => Outcome::Holders { result: Err(fault) },
            Self::Power(_) => Outcome::Power { result: Err(fault) },
            Self::Change(_) => Outcome::Written { result: Err(fault) },
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(write) => {
                let RouteWrite { verb, table, cidr, via } = write;
                write!(f, "{verb:?} {cidr} of {table} by {}", via.target())
            }
            Self::Assign(Assignment { resource, interface, address, .. }) => {
                write!(f, "give {} {resource} to {interface}, {address}", resource.kind())
            }
            Self::Stop(node) => write!(f, "stop {node}"),
            Self::Start(node) => write!(f, "start {node}"),
        }
    }
}

impl Mutation {
    /// The call and its parameters.
    fn call(&self) -> (&'static str, Params) {
        match self {
            Self::Route(write) => {
                let action = match write.verb {
                    RouteWriteVerb::Replace => "ReplaceRoute",
                    RouteWriteVerb::Create => "CreateRoute",
                };
                let params = Params::new()
                    .with("RouteTableId", write.table.as_str())
                    .with("DestinationCidrBlock", write.cidr);
                let params = match &write.via {
                    WrittenVia::Interface(id) => params.with("NetworkInterfaceId", id.as_str()),
                    WrittenVia::NatGateway(id) => params.with("NatGatewayId", id.as_str()),
                };
                (action, params)
            }
            Self::Assign(assignment) => moved::request(assignment),
            Self::Stop(node) => {
                ("StopInstances", Params::new().with("InstanceId.1", node.as_str()))
            }
            Self::Start(node) => {
                ("StartInstances", Params::new().with("InstanceId.1", node.as_str()))
            }
        }
    }
}

impl Sim {
    /// The account, for faults of its own and for what people do to it.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Every stop that EC2 accepted.
    #[must_use]
    pub fn stops(&self) -> Vec<&Done> {
        self.done.iter().filter(|done| matches!(done.what, Mutation::Stop(_))).collect()
    }

    /// How many changes EC2 accepted since then.
    #[must_use]
    pub fn writes_since(&self, since: Time) -> usize {
        self.done.iter().filter(|done| done.at >= since).count()
    }

    /// Puts a route somewhere, as a person or a straggling request would. Whatever is no
    /// interface is the account's internet gateway.
    ///
    /// # Panics
    /// Where the account has no such table or interface.
    pub fn set_route(&mut self, table: &RouteTableId, target: Option<&RouteTarget>) {
        let via = target.map(|target| match target {
            RouteTarget::Interface(id) => RouteVia::Interface(id.to_string()),
            RouteTarget::Other(_) | RouteTarget::Address(_) => {
                RouteVia::Gateway(self.gateway.clone())
            }
        });
        let now = self.now.since_boot();
        let put = self.world.put_route(table.as_str(), everywhere(), via.as_ref(), now);
        put.expect("the table and the interface exist");
        self.refresh();
    }

    /// A person stops node `n`.
    ///
    /// # Panics
    /// Where its state does not allow that.
    pub fn stop_by_user(&mut self, n: usize) {
        self.by_user(n, "StopInstances");
    }

    /// A person starts node `n`.
    ///
    /// # Panics
    /// Where its state does not allow that.
    pub fn start_by_user(&mut self, n: usize) {
        self.by_user(n, "StartInstances");
    }

    /// A person terminates node `n`.
    ///
    /// # Panics
    /// Where its state does not allow that.
    pub fn terminate(&mut self, n: usize) {
        self.by_user(n, "TerminateInstances");
    }

    fn by_user(&mut self, n: usize, action: &str) {
        let params = Params::new().with("InstanceId.1", self.ids[n].as_str());
        let now = self.now.since_boot();
        let conduct = Conduct::default();
        let answer = self.world.perform(&Principal::Operator, action, &params, &conduct, now);
        answer.expect("the instance's state allows it");
        self.refresh();
    }

    /// EC2 stops node `n`.
    ///
    /// # Panics
    /// Never: the account has the instance.
    pub fn stop_by_service(&mut self, n: usize) {
        let now = self.now.since_boot();
        let stopped = self.world.stop_by_service(self.ids[n].as_str(), now);
        stopped.expect("the account has the instance");
        self.refresh();
    }

    /// EC2's status checks call node `n` impaired, or not.
    ///
    /// # Panics
    /// Never: the account has the instance.
    pub fn impair(&mut self, n: usize, is_impaired: bool) {
        let health = Health { instance_impaired: is_impaired, ..Health::default() };
        let set = self.world.set_health(self.ids[n].as_str(), health, self.now.since_boot());
        set.expect("the account has the instance");
    }

    /// Sends a call on its way. Nobody waits for it longer than its limit.
    pub(super) fn ask(&mut self, by: usize, id: ActionId, ask: Ask) {
        let session = self.nodes[by].session;
        self.nodes[by].awaited.insert(id);
        self.reads += usize::from(!matches!(ask, Ask::Change(_)));
        let silence = ask.failed(fault(CloudFaultKind::Unknown, ask.action(), "no answer in time"));
        self.schedule(
            LIMIT,
            What::Outcome(Answer { by, session, id, outcome: silence, change: None }),
        );
        match ask {
            Ask::Change(stop @ Mutation::Stop(_)) if self.hold_stops => {
                self.held.push((by, stop));
            }
            ask => {
                let call = Call { by, session, id, ask };
                self.schedule(self.latency / 2, What::Call(call, None));
            }
        }
    }

    /// What a call meets: what is staged in the account, and how the node is treated.
    fn conduct(&mut self, by: usize, action: &str) -> Conduct {
        // No fault that is staged here is about one thing alone, so nothing of the call is told.
        let mut conduct = self.world.conduct(&self.principals[by], action, &Params::new());
        let is_read = ["Describe", "List"].iter().any(|verb| action.starts_with(verb));
        if is_read {
            conduct.stale = conduct.stale.max(self.noise.up_to(self.read_lag));
        }
        match self.nodes[by].api {
            Api::Hangs => conduct.hang = true,
            Api::Fails(CloudFaultKind::Throttled) => conduct.throttle = true,
            Api::Fails(CloudFaultKind::Denied) => conduct.deny = true,
            Api::Fails(_) => conduct.unreachable = true,
            Api::LosesReplies => conduct.lost_reply |= !is_read,
            Api::Delays if !is_read => {
                let most = LIMIT.saturating_sub(self.latency / 2 + Duration::from_millis(1));
                conduct.before += self.noise.up_to(most);
                conduct.after += LIMIT;
            }
            Api::Works | Api::Delays => {}
        }
        conduct
    }

    /// A call reaches EC2.
    pub(super) fn reach_ec2(&mut self, call: Call, held_up: Option<Conduct>) {
        let action = call.ask.action();
        let is_new = held_up.is_none();
        let conduct = held_up.unwrap_or_else(|| self.conduct(call.by, action));
        if is_new && !conduct.before.is_zero() {
            return self.schedule(conduct.before, What::Call(call, Some(conduct)));
        }
        if conduct.hang {
            return;
        }
        let Call { by, session, id, ask } = call;
        let mut change = None;
        let outcome = if conduct.unreachable {
            let kind = match self.nodes[by].api {
                Api::Fails(kind) => kind,
                _ => CloudFaultKind::Unreachable,
            };
            ask.failed(fault(kind, action, "staged"))
        } else {
            let outcome = self.carry_out(by, &ask, &conduct, &mut change);
            if conduct.lost_reply {
                change = None;
                ask.failed(fault(CloudFaultKind::Unknown, action, "the connection broke"))
            } else {
                outcome
            }
        };
        let back = self.latency / 2 + conduct.after;
        self.schedule(back, What::Outcome(Answer { by, session, id, outcome, change }));
    }

    /// Carries a call out; `change` becomes the record that it changes, with the change's id.
    fn carry_out(
        &mut self,
        by: usize,
        ask: &Ask,
        conduct: &Conduct,
        change: &mut Option<(Resource, String)>,
    ) -> Outcome {
        match ask {
            Ask::Routes(tables) => {
                let ids: Vec<String> = tables.iter().map(ToString::to_string).collect();
                let now = self.now.since_boot();
                let seen = self.see_all("DescribeRouteTables", &ids, |sim, ids, _| {
                    sim.world.see_tables(&sim.principals[by], ids, conduct, now)
                });
                let result = seen.map(|seen| {
                    let told = tables.iter().filter_map(|id| Some((id, seen.get(id.as_str())?)));
                    told.map(|(id, routes)| (id.clone(), listed(routes))).collect()
                });
                Outcome::Routes { result }
            }
            Ask::Holders(resources) => {
                let result = self.see_holders(by, resources, conduct);
                Outcome::Holders { result }
            }
            Ask::Power(node) => {
                let result = self.look_at(by, node, conduct);
                Outcome::Power { result }
            }
            Ask::Change(mutation) => {
                let answer = self.perform(by, mutation.clone(), conduct);
                if let (Ok(body), Mutation::Assign(assignment)) = (&answer, mutation) {
                    *change = moved::change(assignment, body);
                }
                Outcome::Written { result: answer.map(drop) }
            }
        }
    }

    /// The calls behind the state of an instance, as natha makes them: one that runs has status
    /// checks too.
    fn look_at(
        &mut self,
        by: usize,
        node: &InstanceId,
        conduct: &Conduct,
    ) -> Result<PowerReport, CloudFault> {
        self.calls += 1;
        let (now, caller) = (self.now.since_boot(), &self.principals[by]);
        let seen = self.world.see_instance(caller, node.as_str(), conduct, now);
        match seen.map_err(|error| refusal("DescribeInstances", &error)) {
            Ok(seen) => {
                let state = InstanceState::of_code(i32::from(seen.phase.code()));
                let runs = state == Some(InstanceState::Running);
                self.calls += u64::from(runs);
                let impaired = runs
                    && self
                        .world
                        .see_impaired(&self.principals[by], node.as_str(), conduct, now)
                        .unwrap_or(false);
                Ok(PowerReport {
                    state,
                    stop_origin: StopOrigin::of_reason(seen.reason.as_deref()),
                    impaired,
                    reason: seen.reason,
                })
            }
            Err(fault) if fault.kind == CloudFaultKind::NotFound => Ok(PowerReport {
                state: None,
                stop_origin: StopOrigin::Unknown,
                impaired: false,
                reason: None,
            }),
            Err(fault) => Err(fault),
        }
    }

    /// A change takes effect now, whatever the node's API is like.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub fn commit(&mut self, by: usize, mutation: Mutation) -> Result<(), CloudFault> {
        self.perform(by, mutation, &Conduct::default()).map(drop)
    }

    fn perform(
        &mut self,
        by: usize,
        mutation: Mutation,
        conduct: &Conduct,
    ) -> Result<XmlBody, CloudFault> {
        let (action, params) = mutation.call();
        let now = self.now.since_boot();
        let refused = conduct.throttle || conduct.deny || conduct.server_error;
        if self.strict && !refused {
            self.check_applied(by, &mutation);
        }
        self.calls += 1;
        let answer = self.world.perform(&self.principals[by], action, &params, conduct, now);
        let body = answer.map_err(|error| refusal(action, &error))?;
        self.done.push(Done { at: self.now, by, what: mutation });
        self.refresh();
        Ok(body)
    }
}

/// A table's routes; the VPC's own are not natha's.
fn listed(routes: &BTreeMap<ipnet::Ipv4Net, RouteSeen>) -> Routes {
    let entry = |seen: &RouteSeen| {
        let target = match &seen.via {
            RouteVia::Local => RouteTarget::Other("local".to_owned()),
            RouteVia::Gateway(id) | RouteVia::NatGateway(id) | RouteVia::Beyond(id) => {
                RouteTarget::Other(id.clone())
            }
            RouteVia::Interface(id) => moved::interface_named(id),
        };
        RouteEntry { target, blackhole: seen.blackhole }
    };
    Routes(routes.iter().map(|(cidr, seen)| (*cidr, entry(seen))).collect())
}

pub(super) fn refusal(call: &str, error: &ApiError) -> CloudFault {
    let kind = CloudFaultKind::of_error(&error.code, &error.message, error.status);
    fault(kind, call, &error.to_string())
}

pub(super) fn fault(kind: CloudFaultKind, call: &str, message: &str) -> CloudFault {
    CloudFault { kind, call: call.to_owned(), message: message.to_owned() }
}
