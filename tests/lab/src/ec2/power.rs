//! Starting, stopping, rebooting and terminating instances, and what time does to them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::error::{self, ApiError};
use super::model::{Instance, Phase, Public, State, find, find_mut};
use super::params::Params;
use super::settings::WorldSettings;
use super::world::Ctx;
use super::xml::XmlBody;

/// The next moment at which a timed state ends.
pub(super) fn next(state: &State) -> Option<Duration> {
    state.instances.values().filter_map(|instance| instance.until).min()
}

/// Ends the timed states that end at this moment.
pub(super) fn end_phases(state: &mut State, settings: &WorldSettings, at: Duration) {
    let due: Vec<String> = state
        .instances
        .values()
        .filter(|instance| instance.until.is_some_and(|until| until <= at))
        .map(|instance| instance.id.clone())
        .collect();
    for id in due {
        let Some(instance) = state.instances.get_mut(&id) else { continue };
        let next = match instance.phase {
            Phase::Pending => Phase::Running,
            Phase::Stopping => Phase::Stopped,
            Phase::ShuttingDown => Phase::Terminated,
            settled => settled,
        };
        instance.enter(next, at, None);
        if next == Phase::Running {
            instance.state_reason = None;
            instance.transition_reason = String::new();
        }
        match next {
            Phase::Running => give_public_address(state, settings, &id),
            Phase::Stopped => drop_public_address(state, &id),
            Phase::Terminated => dissolve(state, &id),
            _ => {}
        }
    }
}

pub(super) fn start(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let changes = each(state, params, |instance| {
        match instance.phase {
            Phase::Pending | Phase::Running => return Ok(()),
            Phase::Stopped => {}
            _ => {
                return Err(ApiError::state(format!(
                    "The instance '{}' is not in a state from which it can be started.",
                    instance.id
                )));
            }
        }
        room(ctx, &instance.kind, &instance.zone)?;
        instance.boot += 1;
        instance.guest_off = false;
        instance.launched = ctx.now;
        instance.state_reason = Some(("pending".to_owned(), "pending".to_owned()));
        instance.transition_reason = String::new();
        instance.enter(Phase::Pending, ctx.now, Some(ctx.settings.timings.start()));
        Ok(())
    })?;
    Ok(show_changes(&changes))
}

/// Whether there is room for one more instance. EC2 answers a zone without room with a *server*
/// error, which retries cannot help, and a full Dedicated Host with a client error.
pub(super) fn room(ctx: &Ctx<'_>, kind: &str, zone: &str) -> Result<(), ApiError> {
    if ctx.host_full {
        return Err(ApiError::client(
            "InsufficientCapacityOnHost",
            "Dedicated host h-0123456789abcdef0 has insufficient capacity to launch the instances \
             in this request.",
        ));
    }
    if !ctx.no_capacity {
        return Ok(());
    }
    Err(ApiError::new(
        500,
        "InsufficientInstanceCapacity",
        format!(
            "We currently do not have sufficient {kind} capacity in the Availability Zone you \
             requested ({zone}). Our system will be working on provisioning additional capacity."
        ),
    ))
}

pub(super) fn stop(state: &mut State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let force = params.flag("Force")?.unwrap_or(false);
    let skip = params.flag("SkipOsShutdown")?.unwrap_or(false);
    let hibernate = params.flag("Hibernate")?.unwrap_or(false);
    let changes = each(state, params, |instance| {
        let id = &instance.id;
        match instance.phase {
            Phase::Stopped => return Ok(()),
            Phase::Running | Phase::Stopping => {}
            // After a start, not after a launch.
            Phase::Pending if instance.boot > 1 => {}
            Phase::Pending => {
                return Err(ApiError::state(format!(
                    "Instance '{id}' cannot be stopped as it has never reached the 'running' state."
                )));
            }
            Phase::ShuttingDown | Phase::Terminated => {
                return Err(ApiError::state(format!(
                    "This instance '{id}' is not in a state from which it can be stopped."
                )));
            }
        }
        if hibernate {
            return Err(ApiError::client(
                "UnsupportedHibernationConfiguration",
                format!("The instance '{id}' is not configured for hibernation"),
            ));
        }
        if instance.stop_protection {
            return Err(ApiError::client(
                "OperationNotPermitted",
                format!(
                    "The instance '{id}' may not be stopped. Modify its 'disableApiStop' \
                     instance attribute and try again."
                ),
            ));
        }
        if instance.one_time_spot {
            return Err(ApiError::client(
                "UnsupportedOperation",
                format!(
                    "You can't stop the Spot Instance '{id}' because it is associated with a \
                     one-time Spot Instance request. You can only stop Spot Instances associated \
                     with persistent Spot Instance requests."
                ),
            ));
        }
        instance.stop(ctx, force, skip);
        Ok(())
    })?;
    Ok(show_changes(&changes))
}

pub(super) fn terminate(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let changes = each(state, params, |instance| {
        if matches!(instance.phase, Phase::ShuttingDown | Phase::Terminated) {
            return Ok(());
        }
        // A protection from stops protects from terminations, too.
        let protected = [
            (instance.termination_protection, "disableApiTermination"),
            (instance.stop_protection, "disableApiStop"),
        ];
        if let Some((_, attribute)) = protected.into_iter().find(|(is_on, _)| *is_on) {
            return Err(ApiError::client(
                "OperationNotPermitted",
                format!(
                    "The instance '{}' may not be terminated. Modify its '{attribute}' instance \
                     attribute and try again.",
                    instance.id
                ),
            ));
        }
        instance.blame_user(ctx);
        instance.enter(Phase::ShuttingDown, ctx.now, Some(ctx.settings.timings.terminate()));
        Ok(())
    })?;
    Ok(show_changes(&changes))
}

pub(super) fn reboot(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    each(state, params, |instance| {
        if instance.phase != Phase::Running {
            return Err(ApiError::state(format!(
                "This instance '{}' is not in a state from which it can be rebooted.",
                instance.id
            )));
        }
        instance.boot += 1;
        Ok(())
    })?;
    Ok(XmlBody::yes())
}

/// The guest halted: EC2 notices, and stops the instance.
pub(super) fn guest_shut_down(
    state: &mut State,
    settings: &WorldSettings,
    id: &str,
    now: Duration,
) {
    let Some(instance) = state.instances.get_mut(id) else { return };
    instance.guest_off = true;
    if instance.phase != Phase::Running {
        return;
    }
    let message = "Client.InstanceInitiatedShutdown: Instance initiated shutdown";
    instance.state_reason =
        Some(("Client.InstanceInitiatedShutdown".to_owned(), message.to_owned()));
    instance.transition_reason = String::new();
    instance.enter(Phase::Stopping, now, Some(settings.timings.force()));
}

/// The guest reboots. One that EC2 is stopping does not come up again.
pub(super) fn guest_reboots(state: &mut State, id: &str) {
    let Some(instance) = state.instances.get_mut(id) else { return };
    if instance.phase == Phase::Running {
        instance.boot += 1;
    } else {
        instance.guest_off = true;
    }
}

/// EC2 stops an instance on its own account.
pub(super) fn stop_by_service(instance: &mut Instance, ctx: &Ctx<'_>) {
    if instance.phase != Phase::Running {
        return;
    }
    let message = "Server.ScheduledStop: Stopped due to a scheduled retirement";
    instance.state_reason = Some(("Server.ScheduledStop".to_owned(), message.to_owned()));
    instance.transition_reason =
        format!("Server.ScheduledStop ({})", ctx.settings.reason_stamp(ctx.now));
    instance.enter(Phase::Stopping, ctx.now, Some(ctx.settings.timings.stop()));
}

/// One instance's states before and after a call.
struct Change {
    id: String,
    before: Phase,
    after: Phase,
}

/// Does something to every named instance; the first failure fails the call.
fn each(
    state: &mut State,
    params: &Params,
    mut act: impl FnMut(&mut Instance) -> Result<(), ApiError>,
) -> Result<Vec<Change>, ApiError> {
    let ids = params.list("InstanceId");
    if ids.is_empty() {
        return Err(ApiError::combination("No instances specified"));
    }
    super::model::named(&state.instances, &error::INSTANCE, &ids)?;
    let mut changes = Vec::new();
    for id in ids {
        let before = find(&state.instances, &error::INSTANCE, &id)?.phase;
        let instance = find_mut(&mut state.instances, &error::INSTANCE, &id)?;
        act(instance)?;
        changes.push(Change { before, after: instance.phase, id });
    }
    Ok(changes)
}

fn show_changes(changes: &[Change]) -> XmlBody {
    let mut body = XmlBody::new();
    body.list("instancesSet", changes, |x, change| {
        x.put("instanceId", &change.id);
        x.nest("currentState", |x| show_phase(x, change.after));
        x.nest("previousState", |x| show_phase(x, change.before));
    });
    body
}

/// Writes a state's number and word.
pub(super) fn show_phase(x: &mut XmlBody, phase: Phase) {
    x.put("code", phase.code());
    x.put("name", phase.name());
}

impl Instance {
    fn enter(&mut self, phase: Phase, now: Duration, lasting: Option<Duration>) {
        self.phase = phase;
        self.since = now;
        self.until = lasting.map(|lasting| now + lasting);
        if matches!(phase, Phase::Stopped | Phase::Terminated) {
            self.guest_off = true;
        }
    }

    fn blame_user(&mut self, ctx: &Ctx<'_>) {
        let message = "Client.UserInitiatedShutdown: User initiated shutdown";
        self.state_reason = Some(("Client.UserInitiatedShutdown".to_owned(), message.to_owned()));
        self.transition_reason = format!("User initiated ({})", ctx.settings.reason_stamp(ctx.now));
    }

    fn stop(&mut self, ctx: &Ctx<'_>, force: bool, skip: bool) {
        let timings = ctx.settings.timings;
        let lasting = if force || skip { timings.force() } else { timings.stop() };
        if matches!(self.phase, Phase::Running | Phase::Pending) {
            // Nothing runs yet that could shut down.
            self.guest_off |= self.phase == Phase::Pending;
            self.blame_user(ctx);
            self.enter(Phase::Stopping, ctx.now, Some(lasting));
        } else if force || skip {
            // A second, forced stop shortens the first one.
            let sooner = ctx.now + lasting;
            self.until = self.until.map(|until| until.min(sooner));
        }
        self.guest_off |= skip;
    }
}

/// A public address of EC2's own is given at every start, and it is another one each time. An
/// instance that has an Elastic one, also on a secondary private address, or that has several
/// interfaces, gets none (EC2 user guide, "Public IPv4 addresses").
pub(super) fn give_public_address(state: &mut State, settings: &WorldSettings, id: &str) {
    let attached = state.interfaces.values().filter_map(|interface| interface.attachment.as_ref());
    let is_single = attached.filter(|attachment| attachment.instance == id).count() == 1;
    let is_auto = state.instances.get(id).is_some_and(|instance| instance.auto_public);
    let wants = is_auto && is_single;
    let Some(primary) = state.primary_of(id).filter(|_| wants) else { return };
    let taken = |i: &super::model::Interface| !i.public.is_empty();
    if state.interfaces.get(&primary).is_none_or(taken) {
        return;
    }
    let Some(address) = next_public(state, settings) else { return };
    if let Some(interface) = state.interfaces.get_mut(&primary) {
        let private = interface.address();
        interface.public.entry(private).or_insert(Public { address, elastic: None });
    }
}

/// The next free address of the pool; the pool is used again from its beginning once it is through.
/// None where all are in use.
pub(super) fn next_public(state: &mut State, settings: &WorldSettings) -> Option<Ipv4Addr> {
    let lent = state.interfaces.values().flat_map(|i| i.public.values()).map(|p| p.address);
    let used: BTreeSet<Ipv4Addr> =
        state.allocations.values().map(|a| a.address).chain(lent).collect();
    let count = u32::try_from(settings.public_pool.hosts().count()).unwrap_or(u32::MAX).max(1);
    let first = u32::from(settings.public_pool.network());
    for _ in 0..count {
        state.public_given = state.public_given.wrapping_add(1);
        let address = Ipv4Addr::from(first + 1 + state.public_given.wrapping_add(9) % count);
        if !used.contains(&address) {
            return Some(address);
        }
    }
    None
}

fn drop_public_address(state: &mut State, id: &str) {
    let mine = |attachment: &super::model::Attachment| attachment.instance == id;
    for interface in state.interfaces.values_mut() {
        if interface.attachment.as_ref().is_some_and(mine) {
            interface.public.retain(|_, public| public.elastic.is_some());
        }
    }
}

/// Takes a terminated instance's interfaces away; those that outlive it become free.
fn dissolve(state: &mut State, id: &str) {
    drop_public_address(state, id);
    let mine =
        |i: &super::model::Interface| i.attachment.as_ref().is_some_and(|a| a.instance == id);
    let ends = |i: &super::model::Interface| {
        mine(i) && i.attachment.as_ref().is_some_and(|a| a.delete_on_termination)
    };
    state.interfaces.retain(|_, interface| !ends(interface));
    for interface in state.interfaces.values_mut().filter(|i| mine(i)) {
        interface.attachment = None;
    }
}
