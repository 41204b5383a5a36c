//! The listings that natha's monitor asks for, answered in Rust instead of XML, and the set-up of
//! an account whose ids are known beforehand: for simulations that run thousands of hours.
//!
//! The calls are the same as on the wire: admitted, throttled, recorded, and as stale.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::error::{self, ApiError};
use super::faults::Conduct;
use super::model::{Phase, RouteTarget, State, Table, find, find_mut};
use super::params::Params;
use super::principal::Principal;
use super::setup::RouteVia;
use super::world::World;

/// A route as DescribeRouteTables tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSeen {
    /// Where it leads.
    pub via: RouteVia,
    /// Whether that is nowhere.
    pub blackhole: bool,
}

/// An instance as DescribeInstances tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSeen {
    /// Its state.
    pub phase: Phase,
    /// The code of its `StateReason`.
    pub reason: Option<String>,
}

/// The routes of some tables, by table and destination.
pub type TablesSeen = BTreeMap<String, BTreeMap<Ipv4Net, RouteSeen>>;

impl World {
    /// DescribeRouteTables with a filter on these ids: a table that does not exist is absent.
    ///
    /// # Errors
    /// As for the call.
    pub fn see_tables(
        &mut self,
        principal: &Principal,
        tables: &[String],
        conduct: &Conduct,
        now: Duration,
    ) -> Result<TablesSeen, ApiError> {
        let mut params = Params::new().with("Filter.1.Name", "route-table-id");
        for (n, table) in tables.iter().enumerate() {
            params = params.with(&format!("Filter.1.Value.{}", n + 1), table);
        }
        let call = (principal, "DescribeRouteTables", &params);
        self.recorded(call, conduct, now, |world, _| {
            let state = world.seen(conduct, now);
            let known = tables.iter().filter_map(|id| state.tables.get(id));
            Ok(known.map(|table| (table.id.clone(), routes(state, table))).collect())
        })
    }

    /// DescribeInstances with one id.
    ///
    /// # Errors
    /// As for the call.
    pub fn see_instance(
        &mut self,
        principal: &Principal,
        instance: &str,
        conduct: &Conduct,
        now: Duration,
    ) -> Result<InstanceSeen, ApiError> {
        let params = Params::new().with("InstanceId.1", instance);
        self.recorded((principal, "DescribeInstances", &params), conduct, now, |world, _| {
            let found = find(&world.seen(conduct, now).instances, &error::INSTANCE, instance)?;
            let reason = found.state_reason.as_ref().map(|(code, _)| code.clone());
            Ok(InstanceSeen { phase: found.phase, reason })
        })
    }

    /// Whether DescribeInstanceStatus with one id calls its host or its guest impaired.
    ///
    /// # Errors
    /// As for the call.
    pub fn see_impaired(
        &mut self,
        principal: &Principal,
        instance: &str,
        conduct: &Conduct,
        now: Duration,
    ) -> Result<bool, ApiError> {
        let params = Params::new().with("InstanceId.1", instance).with("IncludeAllInstances", true);
        self.recorded((principal, "DescribeInstanceStatus", &params), conduct, now, |world, _| {
            let found = find(&world.seen(conduct, now).instances, &error::INSTANCE, instance)?;
            let health = found.health_at(now, world.settings.timings);
            let impaired = health.system_impaired || health.instance_impaired;
            Ok(found.phase == Phase::Running && impaired)
        })
    }

    /// Sets a route as its owner would, outside the history, rates and faults; none deletes it.
    ///
    /// # Errors
    /// `InvalidRouteTableID.NotFound`.
    pub fn put_route(
        &mut self,
        table: &str,
        cidr: Ipv4Net,
        via: Option<&RouteVia>,
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            find_mut(&mut state.tables, &error::TABLE, table)?.routes.remove(&cidr);
            Ok(())
        })?;
        via.map_or(Ok(()), |via| self.create_route(table, cidr, via, now))
    }

    /// Gives a new instance and its primary interface other ids.
    ///
    /// # Errors
    /// `InvalidInstanceID.NotFound`.
    pub fn rename_instance(
        &mut self,
        from: &str,
        to: &str,
        interface: &str,
        now: Duration,
    ) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            let primary = state.primary_of(from);
            find(&state.instances, &error::INSTANCE, from)?;
            if let Some(mut instance) = state.instances.remove(from) {
                to.clone_into(&mut instance.id);
                state.instances.insert(to.to_owned(), instance);
            }
            if let Some(mut primary) = primary.and_then(|id| state.interfaces.remove(&id)) {
                interface.clone_into(&mut primary.id);
                if let Some(attachment) = &mut primary.attachment {
                    to.clone_into(&mut attachment.instance);
                }
                state.interfaces.insert(interface.to_owned(), primary);
            }
            Ok(())
        })
    }

    /// Gives a new table another id.
    ///
    /// # Errors
    /// `InvalidRouteTableID.NotFound`.
    pub fn rename_table(&mut self, from: &str, to: &str, now: Duration) -> Result<(), ApiError> {
        self.set_up(now, |state, _| {
            find(&state.tables, &error::TABLE, from)?;
            if let Some(mut table) = state.tables.remove(from) {
                to.clone_into(&mut table.id);
                state.tables.insert(to.to_owned(), table);
            }
            Ok(())
        })
    }
}

fn routes(state: &State, table: &Table) -> BTreeMap<Ipv4Net, RouteSeen> {
    let seen = table.routes.iter().map(|(cidr, route)| {
        let via = match &route.target {
            RouteTarget::Local => RouteVia::Local,
            RouteTarget::Gateway(id) => RouteVia::Gateway(id.clone()),
            RouteTarget::Interface(id) => RouteVia::Interface(id.clone()),
            RouteTarget::NatGateway(id) => RouteVia::NatGateway(id.clone()),
            RouteTarget::Beyond(id) => RouteVia::Beyond(id.clone()),
        };
        (*cidr, RouteSeen { via, blackhole: state.is_blackhole(&table.vpc, &route.target) })
    });
    seen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::{InstanceSpec, WorldSettings};

    const AT: Duration = Duration::from_mins(1);
    const ID: &str = "i-00000001";
    const ENI: &str = "eni-00000001";
    const TABLE: &str = "rtb-00000001";

    fn world() -> World {
        let mut world = World::new(WorldSettings::default());
        let start = Duration::ZERO;
        let vpc = world.create_vpc("10.0.0.0/16".parse().unwrap(), start).unwrap();
        let block = "10.0.0.0/24".parse().unwrap();
        let subnet = world.create_subnet(&vpc, block, "eu-central-1a", start).unwrap();
        let node = world.run_instance(&InstanceSpec::new("node", &subnet), start).unwrap();
        world.rename_instance(&node, ID, ENI, start).unwrap();
        let table = world.create_table(&vpc, &[], &[], start).unwrap();
        world.rename_table(&table, TABLE, start).unwrap();
        let via = RouteVia::Interface(ENI.to_owned());
        world.put_route(TABLE, everywhere(), Some(&via), start).unwrap();
        world
    }

    fn everywhere() -> Ipv4Net {
        "0.0.0.0/0".parse().unwrap()
    }

    #[test]
    fn a_stop_is_seen_in_the_state_its_reason_and_the_route() {
        let (mut world, owner) = (world(), Principal::Operator);
        let fine = Conduct::default();
        let seen = world.see_instance(&owner, ID, &fine, AT).unwrap();
        assert_eq!(seen, InstanceSeen { phase: Phase::Running, reason: None });
        let params = Params::new().with("InstanceId.1", ID);
        world.perform(&owner, "StopInstances", &params, &fine, AT).unwrap();
        let later = AT * 2;
        let seen = world.see_instance(&owner, ID, &fine, later).unwrap();
        assert_eq!(seen.phase, Phase::Stopped);
        assert_eq!(seen.reason.as_deref(), Some("Client.UserInitiatedShutdown"));
        let tables = [TABLE.to_owned(), "rtb-00000002".to_owned()];
        let seen = world.see_tables(&owner, &tables, &fine, later).unwrap();
        assert!(seen[TABLE][&everywhere()].blackhole);
        assert_eq!(seen.len(), 1, "a table that does not exist is absent");
        let stale = Conduct { stale: AT, ..fine.clone() };
        let seen = world.see_tables(&owner, &tables, &stale, later).unwrap();
        assert!(!seen[TABLE][&everywhere()].blackhole, "a minute ago it was not");
    }

    #[test]
    fn typed_calls_are_recorded_and_refused_like_all_others() {
        let (mut world, owner) = (world(), Principal::Operator);
        let throttled = Conduct { throttle: true, ..Conduct::default() };
        let refused = world.see_tables(&owner, &[TABLE.to_owned()], &throttled, AT);
        assert_eq!(refused.unwrap_err().code, "RequestLimitExceeded");
        let unknown = world.see_impaired(&owner, "i-00000009", &Conduct::default(), AT);
        assert_eq!(unknown.unwrap_err().code, "InvalidInstanceID.NotFound");
        assert_eq!(world.history().len(), 2);
        assert_eq!(world.history()[1].action, "DescribeInstanceStatus");
    }
}
