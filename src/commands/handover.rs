//! `natha handover`: give a group to another node, on purpose and without a gap.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::control::Answer;
use super::{control, print, render, unwell};
use crate::failover::{Command, Event, EventKind, Level};
use crate::status::Report;
use crate::types::{GroupName, InstanceId, Time};

/// How long the hand-over is watched before the command gives up watching.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the monitor is asked.
const POLL: Duration = Duration::from_millis(100);

/// Flags of `natha handover`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The group to give away; this node must hold it
    #[arg(value_name = "GROUP")]
    pub group: GroupName,

    /// Who gets it, by instance id or name [default: the best fit peer]
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
}

/// Asks the monitor for a hand-over and watches it. 0 when the group is held elsewhere, 3 if
/// nothing comes of it or it is not after a minute.
///
/// # Errors
/// Where no monitor runs, or it refuses.
pub async fn run(args: &Args, socket: &Path) -> anyhow::Result<ExitCode> {
    let before = running(socket).await?;
    let to = args.to.as_deref().map(|text| find(&before, text)).transpose()?;
    let command = Command::HandOver { group: args.group.clone(), to: to.clone() };
    control::command(socket, &command).await?;
    watch(args, socket, &before, to.as_ref()).await
}

async fn running(socket: &Path) -> anyhow::Result<Box<Report>> {
    match control::status(socket).await? {
        Answer::Running(report) => Ok(report),
        Answer::Starting(starting) => bail!("the monitor is starting: {}", starting.starting),
    }
}

fn find(report: &Report, text: &str) -> anyhow::Result<InstanceId> {
    report.find_node(text).cloned().ok_or_else(|| {
        let known: Vec<String> = report
            .roster
            .members
            .iter()
            .map(|member| match &member.name {
                Some(name) => format!("{name} ({})", member.id),
                None => member.id.to_string(),
            })
            .collect();
        anyhow!("`{text}` names no node, or several; there are: {}", known.join(", "))
    })
}

async fn watch(
    args: &Args,
    socket: &Path,
    before: &Report,
    to: Option<&InstanceId>,
) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let mut shown = before.events.last().map_or(before.now, |event| event.at);
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while begun.elapsed() < PATIENCE {
        ticks.tick().await;
        let report = running(socket).await?;
        let news = news(args, &report, shown);
        for event in &news {
            print(&format!("{}\n", event.text))?;
        }
        shown = report.events.last().map_or(shown, |event| event.at.max(shown));
        if news.iter().any(|event| is_given_up(event)) {
            return Ok(unwell());
        }
        let Some(group) = report.view.groups.get(&args.group) else {
            bail!("group {} is gone from the cluster", args.group);
        };
        let arrived = match (&group.holder, to) {
            (Some(holder), Some(to)) => holder == to,
            (Some(holder), None) => *holder != report.view.me,
            (None, _) => false,
        };
        if let (true, Some(holder)) = (arrived && group.doing.is_none(), &group.holder) {
            let took = render::short(begun.elapsed());
            let name = report.node_name(holder);
            print(&format!("Group {} is held by {name} now, after {took}.\n", args.group))?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    let patience = render::short(PATIENCE);
    print(&format!(
        "Group {} has not moved within {patience}: `natha status` tells why.\n",
        args.group
    ))?;
    Ok(unwell())
}

/// What happened to the group since.
fn news<'a>(args: &Args, report: &'a Report, since: Time) -> Vec<&'a Event> {
    let news = report.events.iter().filter(|event| event.at > since);
    news.filter(|event| event.group.as_ref() == Some(&args.group)).collect()
}

/// Whether this says that nothing comes of a hand-over any more.
fn is_given_up(event: &Event) -> bool {
    event.kind == EventKind::HandOverDone && event.level > Level::Info
}
