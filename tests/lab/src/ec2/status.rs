//! DescribeInstanceStatus.

use std::time::Duration;

use super::error::{self, ApiError};
use super::filter::{self, Filtered, PageSize};
use super::model::{Health, Instance, Phase, State, Tags, named};
use super::params::Params;
use super::power;
use super::settings::Timings;
use super::world::Ctx;
use super::xml::XmlBody;

/// An instance with the results of its checks.
struct Shown<'a> {
    instance: &'a Instance,
    system: &'static str,
    guest: &'static str,
    ebs: &'static str,
}

pub(super) fn describe(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let ids = params.list("InstanceId");
    let filters = params.filters();
    filter::check::<Shown<'_>>(&filters)?;
    let all = params.flag("IncludeAllInstances")?.unwrap_or(false);
    let found = named(&state.instances, &error::INSTANCE, &ids)?
        .into_iter()
        .filter(|instance| all || instance.phase == Phase::Running)
        .map(|instance| judge(instance, ctx))
        .filter(|shown| filter::matches(shown, &filters))
        .collect();
    let size = PageSize { most: 1000, default: None };
    let page = filter::page(found, |s: &Shown<'_>| &s.instance.id, !ids.is_empty(), size, params)?;
    let mut body = XmlBody::new();
    body.list("instanceStatusSet", &page.items, |x, shown| {
        x.put("instanceId", &shown.instance.id);
        x.put("availabilityZone", &shown.instance.zone);
        x.nest("instanceState", |x| power::show_phase(x, shown.instance.phase));
        show_check(x, "systemStatus", shown.system);
        show_check(x, "instanceStatus", shown.guest);
        show_check(x, "attachedEbsStatus", shown.ebs);
    });
    body.maybe("nextToken", page.next);
    Ok(body)
}

fn judge<'a>(instance: &'a Instance, ctx: &Ctx<'_>) -> Shown<'a> {
    let young = ctx.now.saturating_sub(instance.since) < ctx.settings.timings.status();
    let check = |impaired: bool| match instance.phase {
        Phase::Running if impaired => "impaired",
        Phase::Running if young => "initializing",
        Phase::Running => "ok",
        _ => "not-applicable",
    };
    let health = instance.health_at(ctx.now, ctx.settings.timings);
    Shown {
        instance,
        system: check(health.system_impaired),
        guest: check(health.instance_impaired),
        ebs: check(health.ebs_impaired),
    }
}

impl Instance {
    /// The results of its status checks: a guest that has not answered for long fails its own.
    pub(super) fn health_at(&self, now: Duration, timings: Timings) -> Health {
        let silent = self.unreachable.is_some_and(|since| since + timings.status_fail() <= now);
        Health { instance_impaired: self.health.instance_impaired || silent, ..self.health }
    }
}

fn show_check(x: &mut XmlBody, name: &str, status: &str) {
    x.nest(name, |x| {
        x.put("status", status);
        let result = match status {
            "ok" => "passed",
            "impaired" => "failed",
            "initializing" => "initializing",
            _ => return,
        };
        x.list("details", ["reachability"], |x, check| {
            x.put("name", check);
            x.put("status", result);
        });
    });
}

impl Filtered for Shown<'_> {
    const NAMES: &'static [&'static str] = &[
        "attached-ebs-status.status",
        "availability-zone",
        "instance-state-code",
        "instance-state-name",
        "instance-status.reachability",
        "instance-status.status",
        "system-status.reachability",
        "system-status.status",
    ];

    fn tags(&self) -> &Tags {
        &self.instance.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        let reach = |status: &str| match status {
            "ok" => "passed".to_owned(),
            "impaired" => "failed".to_owned(),
            other => other.to_owned(),
        };
        vec![match name {
            "attached-ebs-status.status" => self.ebs.to_owned(),
            "availability-zone" => self.instance.zone.clone(),
            "instance-state-code" => self.instance.phase.code().to_string(),
            "instance-state-name" => self.instance.phase.name().to_owned(),
            "instance-status.reachability" => reach(self.guest),
            "instance-status.status" => self.guest.to_owned(),
            "system-status.reachability" => reach(self.system),
            _ => self.system.to_owned(),
        }]
    }
}
