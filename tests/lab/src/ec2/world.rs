//! The simulated account over time: calls change it, time changes it, the past can be asked for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::actions::{self, Action, Run};
use super::console::Consoles;
use super::error::ApiError;
use super::faults::{Conduct, Faults};
use super::model::State;
use super::params::Params;
use super::principal::{self, Credentials, Keyring, Policy, Principal};
use super::service::Service;
use super::settings::WorldSettings;
use super::throttle::{self, Buckets};
use super::xml::XmlBody;
use super::{nat_gateways, network, power};
use crate::dataplane::Dataplane;

/// How far back the past is kept.
const MEMORY: Duration = Duration::from_mins(2);
/// How many moments of the past are kept at most.
const MOMENTS: usize = 4_096;
/// How many calls are kept in the history at most; the oldest are dropped first.
const HISTORY: usize = 200_000;

/// The simulated account. Pure: time is an argument, counted from the lab's beginning.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) settings: WorldSettings,
    pub(super) state: Arc<State>,
    /// What was true from when on, oldest first; the last one is `state`.
    past: VecDeque<(Duration, Arc<State>)>,
    faults: Faults,
    policies: BTreeMap<Principal, Policy>,
    /// What roles may do, by the name of their instance profile.
    roles: BTreeMap<String, Policy>,
    consoles: Consoles,
    keyring: Keyring,
    keys_made: u64,
    buckets: Buckets,
    history: Vec<CallRecord>,
    /// How many calls the history has dropped.
    dropped: usize,
    requests: u64,
}

/// One API call, for observers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// When it took effect or was refused, since the lab began.
    pub at: Duration,
    /// Who called.
    pub principal: Principal,
    /// The action.
    pub action: String,
    /// Its parameters in one line.
    pub params: String,
    /// The error code; none for success.
    pub error: Option<String>,
    /// Whether the caller was left without an answer.
    pub unanswered: bool,
    /// From when on packets meet its effect; none where it changed nothing.
    pub in_force: Option<Duration>,
}

/// What a call may look at besides the state.
pub(super) struct Ctx<'a> {
    pub(super) settings: &'a WorldSettings,
    pub(super) consoles: &'a Consoles,
    pub(super) now: Duration,
    pub(super) no_capacity: bool,
    pub(super) host_full: bool,
    pub(super) prior_request: bool,
}

impl World {
    /// An empty account.
    #[must_use]
    pub fn new(settings: WorldSettings) -> Self {
        let state = Arc::new(State { seed: settings.seed, ..State::default() });
        let mut keyring = Keyring::default();
        for keys in &settings.operators {
            keyring.insert(Principal::Operator, keys.clone());
        }
        Self {
            past: VecDeque::from([(Duration::ZERO, Arc::clone(&state))]),
            settings,
            state,
            faults: Faults::none(),
            policies: BTreeMap::new(),
            roles: BTreeMap::new(),
            consoles: Consoles::default(),
            keyring,
            keys_made: 0,
            buckets: Buckets::default(),
            history: Vec::new(),
            dropped: 0,
            requests: 0,
        }
    }

    /// What the account is like.
    #[must_use]
    pub fn settings(&self) -> &WorldSettings {
        &self.settings
    }

    /// How long things take; may be changed at any time.
    pub fn timings_mut(&mut self) -> &mut super::settings::Timings {
        &mut self.settings.timings
    }

    /// The faults that are switched on; may be changed at any time.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The faults that are switched on.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Limits what a caller may do; none lifts the limit.
    pub fn set_policy(&mut self, principal: Principal, policy: Option<Policy>) {
        match policy {
            Some(policy) => self.policies.insert(principal, policy),
            None => self.policies.remove(&principal),
        };
    }

    /// Limits what instances with this instance profile may do, unless they have a policy of their
    /// own.
    pub fn set_role_policy(&mut self, profile: &str, policy: Policy) {
        self.roles.insert(profile.to_owned(), policy);
    }

    /// Where GetConsoleOutput reads.
    pub fn set_consoles(&mut self, consoles: Consoles) {
        self.consoles = consoles;
    }

    /// Every call so far, oldest first.
    #[must_use]
    pub fn history(&self) -> &[CallRecord] {
        &self.history
    }

    /// The calls after the first `seen` of all that there ever were, as far as they are kept.
    #[must_use]
    pub fn history_after(&self, seen: usize) -> &[CallRecord] {
        self.history.get(seen.saturating_sub(self.dropped)..).unwrap_or_default()
    }

    /// What packets should meet now.
    #[must_use]
    pub fn dataplane(&self, now: Duration) -> Dataplane {
        let before = |lag| now.checked_sub(lag).map_or(&self.past[0].1, |then| self.at(then));
        let timings = self.settings.timings;
        let (then, elastic) = (before(timings.propagation()), before(timings.elastic()));
        network::dataplane(&self.state, then, elastic)
    }

    /// When something next changes by itself: a timed state ends, or a change reaches packets.
    #[must_use]
    pub fn next_change(&self, now: Duration) -> Option<Duration> {
        let timings = self.settings.timings;
        let timed = self.next_end();
        let reach = [timings.propagation(), timings.elastic()]
            .into_iter()
            .filter_map(|lag| self.past.iter().map(|(from, _)| *from + lag).find(|at| *at > now));
        timed.into_iter().chain(reach).min()
    }

    /// Lets time pass: timed states that end by `now` end, each at its own moment.
    pub fn advance(&mut self, now: Duration) {
        while let Some(at) = self.next_end().filter(|at| *at <= now) {
            let mut draft = (*self.state).clone();
            power::end_phases(&mut draft, &self.settings, at);
            nat_gateways::end_phases(&mut draft, at);
            self.commit(draft, at);
        }
        self.forget(now);
    }

    /// The next moment at which a timed state ends.
    fn next_end(&self) -> Option<Duration> {
        power::next(&self.state).into_iter().chain(nat_gateways::next(&self.state)).min()
    }

    /// Makes one call with whatever faults concern the state; see `conduct` for the others.
    ///
    /// # Errors
    /// What EC2 would answer.
    pub fn call(
        &mut self,
        principal: &Principal,
        action: &str,
        params: &Params,
        now: Duration,
    ) -> Result<XmlBody, ApiError> {
        let conduct = self.conduct(principal, action, params);
        self.perform(principal, action, params, &conduct, now)
    }

    /// What the next call of this caller will meet. Each call asks once: counted faults end.
    pub fn conduct(&mut self, principal: &Principal, action: &str, params: &Params) -> Conduct {
        self.faults.meet(principal, action, params)
    }

    /// Makes one call that meets `conduct`, of which delays and silence are the server's part.
    ///
    /// # Errors
    /// What EC2 would answer.
    pub fn perform(
        &mut self,
        principal: &Principal,
        action: &str,
        params: &Params,
        conduct: &Conduct,
        now: Duration,
    ) -> Result<XmlBody, ApiError> {
        self.recorded((principal, action, params), conduct, now, |world, action| match action.run {
            Run::Read(run) => world.read(run, params, conduct, now),
            Run::Write(run) => world.write(run, params, conduct, now),
        })
    }

    /// Admits one call, lets `run` carry it out, and notes it in the history.
    pub(super) fn recorded<T>(
        &mut self,
        (principal, action, params): (&Principal, &str, &Params),
        conduct: &Conduct,
        now: Duration,
        run: impl FnOnce(&mut Self, &'static Action) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.advance(now);
        let before = Arc::clone(&self.state);
        let outcome = self
            .admit(principal, action, params, conduct, now)
            .and_then(|action| run(self, action));
        let changed = !Arc::ptr_eq(&before, &self.state);
        if self.history.len() >= HISTORY {
            self.history.drain(..HISTORY / 10);
            self.dropped += HISTORY / 10;
        }
        self.history.push(CallRecord {
            at: now,
            principal: principal.clone(),
            action: action.to_owned(),
            params: params.summary(),
            error: outcome.as_ref().err().map(|error| error.code.clone()),
            unanswered: conduct.lost_reply,
            in_force: changed.then(|| now + self.settings.timings.effect_of(action)),
        });
        outcome
    }

    /// Makes what is true now have been true from the beginning: no change of it is on its way to
    /// packets or listings any more. For the end of a set-up.
    pub fn settle(&mut self) {
        self.past = VecDeque::from([(Duration::ZERO, Arc::clone(&self.state))]);
    }

    /// The guest of an instance has shut itself down.
    pub fn guest_shut_down(&mut self, instance: &str, now: Duration) {
        self.advance(now);
        let mut draft = (*self.state).clone();
        power::guest_shut_down(&mut draft, &self.settings, instance, now);
        self.commit(draft, now);
    }

    /// The guest of an instance has rebooted itself: EC2 goes on to call it `running`.
    pub fn guest_reboots(&mut self, instance: &str, now: Duration) {
        self.advance(now);
        let mut draft = (*self.state).clone();
        power::guest_reboots(&mut draft, instance);
        self.commit(draft, now);
    }

    /// The keys of an instance's role, valid for at least five more minutes; for IMDS.
    pub fn credentials_for(&mut self, instance: &str, now: Duration) -> Option<Credentials> {
        if !self.state.instances.contains_key(instance) {
            return None;
        }
        self.keyring.prune(now);
        let life = self.settings.timings.credentials();
        let rest = Duration::from_mins(5).min(life / 2);
        if let Some(keys) = self.keyring.valid_for(instance, now, rest) {
            return Some(keys.clone());
        }
        self.keys_made += 1;
        let keys = principal::temporary(self.settings.seed, instance, self.keys_made, now + life);
        self.keyring.insert(Principal::Instance(instance.to_owned()), keys.clone());
        Some(keys)
    }

    /// The owner of an access key.
    pub(super) fn key(&self, access_key_id: &str) -> Option<&(Principal, Credentials)> {
        self.keyring.get(access_key_id)
    }

    /// An id for the next answer.
    pub(super) fn request_id(&mut self) -> String {
        self.requests += 1;
        let (a, b) = (self.settings.seed, self.requests);
        format!("{:08x}-{:04x}-4000-8000-{b:012x}", a & 0xffff_ffff, (a >> 32) & 0xffff)
    }

    /// A change made by the lab itself and not by a call.
    pub(super) fn set_up<T>(
        &mut self,
        now: Duration,
        change: impl FnOnce(&mut State, &Ctx<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.advance(now);
        let mut draft = (*self.state).clone();
        let ctx = self.ctx(now);
        let made = change(&mut draft, &ctx)?;
        self.commit(draft, now);
        Ok(made)
    }

    fn admit(
        &mut self,
        principal: &Principal,
        name: &str,
        params: &Params,
        conduct: &Conduct,
        now: Duration,
    ) -> Result<&'static Action, ApiError> {
        let action = actions::find(name)?;
        if conduct.server_error {
            return Err(action.service.failed());
        }
        if conduct.throttle || (self.settings.buckets && !self.within_rate(action, params, now)) {
            return Err(action.service.throttled(&self.settings, name));
        }
        let resources = action.resources(params, &self.state);
        let policy = self.policies.get(principal).or_else(|| self.role_policy(principal));
        if conduct.deny || policy.is_some_and(|policy| !policy.allows(name, &resources)) {
            return Err(self.denial(principal, action));
        }
        action.check(params)?;
        Ok(action)
    }

    fn role_policy(&self, principal: &Principal) -> Option<&Policy> {
        let Principal::Instance(id) = principal else { return None };
        self.roles.get(self.state.instances.get(id)?.profile.as_ref()?)
    }

    fn ctx(&self, now: Duration) -> Ctx<'_> {
        let (settings, consoles) = (&self.settings, &self.consoles);
        Ctx { settings, consoles, now, no_capacity: false, host_full: false, prior_request: false }
    }

    fn within_rate(&mut self, action: &Action, params: &Params, now: Duration) -> bool {
        if action.service == Service::Route53 {
            return self.buckets.take("Route 53", throttle::ROUTE53, 1.0, now);
        }
        let action = action.name;
        let bounded = params.names().any(|name| {
            name == "MaxResults" || name.starts_with("Filter.") || name.contains("Id.")
        });
        let size = throttle::requests(action, !bounded);
        let shared = size == throttle::requests(action, false);
        let bucket = if shared { action.to_owned() } else { format!("{action} (all)") };
        if !self.buckets.take(&bucket, size, 1.0, now) {
            return false;
        }
        let Some(size) = throttle::resources(action) else { return true };
        let count = u32::try_from(params.list("InstanceId").len().max(1)).unwrap_or(u32::MAX);
        self.buckets.take(&format!("{action} (instances)"), size, f64::from(count), now)
    }

    fn denial(&self, principal: &Principal, action: &Action) -> ApiError {
        let account = &self.settings.account;
        let user = match principal {
            Principal::Operator => format!("arn:aws:iam::{account}:user/operator"),
            Principal::Instance(id) => {
                format!("arn:aws:sts::{account}:assumed-role/natha/{id}")
            }
        };
        action.service.denied(&user, action.name)
    }

    fn read(
        &self,
        run: actions::Read,
        params: &Params,
        conduct: &Conduct,
        now: Duration,
    ) -> Result<XmlBody, ApiError> {
        let seen = self.seen(conduct, now);
        let ctx = self.ctx(now);
        let body = if conduct.omitted.is_empty() {
            run(seen, &ctx, params)?
        } else {
            let mut rest = State::clone(seen);
            rest.instances.retain(|id, _| !conduct.omitted.contains(id));
            rest.tables.retain(|id, _| !conduct.omitted.contains(id));
            rest.subnets.retain(|id, _| !conduct.omitted.contains(id));
            rest.interfaces.retain(|id, _| !conduct.omitted.contains(id));
            rest.allocations.retain(|id, _| !conduct.omitted.contains(id));
            run(&rest, &ctx, params)?
        };
        if params.flag("DryRun")? == Some(true) { Err(ApiError::dry_run()) } else { Ok(body) }
    }

    /// What a listing sees, which may be some time ago.
    pub(super) fn seen(&self, conduct: &Conduct, now: Duration) -> &Arc<State> {
        let lag = self.draw_lag().max(conduct.stale);
        now.checked_sub(lag).map_or(&self.past[0].1, |then| self.at(then))
    }

    /// How far this call lags behind: each call by itself, since EC2's answers are not monotonic.
    fn draw_lag(&self) -> Duration {
        let most = self.settings.timings.read_lag().as_micros();
        let call = self.settings.seed.wrapping_add((self.dropped + self.history.len()) as u64);
        let mixed = (call ^ call >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let share = u128::from(mixed >> 32);
        Duration::from_micros(u64::try_from((most * share) >> 32).unwrap_or(u64::MAX))
    }

    fn write(
        &mut self,
        run: actions::Write,
        params: &Params,
        conduct: &Conduct,
        now: Duration,
    ) -> Result<XmlBody, ApiError> {
        let dry = params.flag("DryRun")? == Some(true);
        let mut draft = (*self.state).clone();
        let Conduct { no_capacity, host_full, prior_request, .. } = *conduct;
        let ctx = Ctx { no_capacity, host_full, prior_request, ..self.ctx(now) };
        let outcome = run(&mut draft, &ctx, params);
        if dry {
            return match outcome {
                Err(error) if error.is_bad_request() => Err(error),
                _ => Err(ApiError::dry_run()),
            };
        }
        let body = outcome?;
        self.commit(draft, now);
        Ok(body)
    }

    fn commit(&mut self, draft: State, now: Duration) {
        if draft == *self.state {
            return;
        }
        self.state = Arc::new(draft);
        self.past.push_back((now, Arc::clone(&self.state)));
    }

    /// What was true at some moment.
    fn at(&self, then: Duration) -> &Arc<State> {
        let found = self.past.iter().rev().find(|(from, _)| *from <= then);
        &found.unwrap_or(&self.past[0]).1
    }

    fn forget(&mut self, now: Duration) {
        let horizon = now.saturating_sub(MEMORY);
        let old = |world: &Self| world.past.get(1).is_some_and(|(from, _)| *from <= horizon);
        while old(self) || self.past.len() > MOMENTS {
            self.past.pop_front();
        }
    }
}
