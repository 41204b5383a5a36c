//! `natha handover`: a planned move of a group to another node, without interruption.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::time::Instant;

use super::{control, needs_attention, polls, print};
use crate::failover::{Command, Event, EventKind};
use crate::status::Report;
use crate::types::{GroupName, InstanceId, Time, display_duration};

/// How long the command waits for the hand-over. The hand-over itself may still complete later.
const PATIENCE: Duration = Duration::from_mins(1);
/// Time between two reads of the monitor's status.
const POLL: Duration = Duration::from_millis(100);

/// Flags of `natha handover`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The group to hand over; this node must hold it
    #[arg(value_name = "GROUP")]
    pub(crate) group: GroupName,

    /// The receiving node, by instance id or name [default: the best available peer]
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<String>,
}

/// Asks the monitor for a hand-over and waits for it. Exit code 0: another node holds the group. 3:
/// the hand-over failed, or has not completed within a minute.
///
/// # Errors
/// If no monitor is running, or it refuses.
pub(crate) async fn run(args: &Args, socket: &Path) -> anyhow::Result<ExitCode> {
    let before = control::running(socket).await?;
    let to = args.to.as_deref().map(|text| find(&before, text)).transpose()?;
    if let Some(refusal) = elsewhere(&before, &args.group, to.as_ref()) {
        bail!("{refusal}");
    }
    let command = Command::HandOver { group: args.group.clone(), to: to.clone() };
    control::command(socket, &command).await?;
    watch(args, socket, &before, to.as_ref()).await
}

/// Why this node cannot hand a group over that another node holds, with the command for that node.
fn elsewhere(report: &Report, group: &GroupName, to: Option<&InstanceId>) -> Option<String> {
    let holder = report.view.groups.get(group)?.holder.as_ref()?;
    if *holder == report.view.me {
        return None;
    }
    let name = report.node_name(holder);
    if to == Some(holder) {
        return Some(format!("group {group} is already held by {name}"));
    }
    let member = report.roster.member(holder)?;
    let (id, address) = (&member.id, member.address);
    let to = to.map(|node| format!(" --to {node}")).unwrap_or_default();
    let command = format!("natha handover {group}{to}");
    Some(format!(
        "group {group} is held by {name} ({id}, {address}), and only its holder can hand it over: \
         run `sudo {command}` there"
    ))
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
        anyhow!("no single node is called `{text}`; the nodes are {}", known.join(", "))
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
    let mut ticks = polls(POLL);
    while begun.elapsed() < PATIENCE {
        ticks.tick().await;
        let report = control::running(socket).await?;
        let news = news(args, &report, shown);
        for event in &news {
            print(&format!("{}\n", event.text))?;
        }
        shown = report.events.last().map_or(shown, |event| event.at.max(shown));
        if news.iter().any(|event| is_given_up(event)) {
            return Ok(needs_attention());
        }
        let Some(group) = report.view.groups.get(&args.group) else {
            bail!("group {} no longer exists", args.group);
        };
        let arrived = match (&group.holder, to) {
            (Some(holder), Some(to)) => holder == to,
            (Some(holder), None) => *holder != report.view.me,
            (None, _) => false,
        };
        if let (true, Some(holder)) = (arrived && group.doing.is_none(), &group.holder) {
            let took = display_duration(begun.elapsed());
            let name = report.node_name(holder);
            print(&format!("Group {} is now held by {name}, after {took}.\n", args.group))?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    let patience = display_duration(PATIENCE);
    print(&format!(
        "Group {} has not moved within {patience}: see `natha status` for the reason.\n",
        args.group
    ))?;
    Ok(needs_attention())
}

/// The group's events after `since`.
fn news<'a>(args: &Args, report: &'a Report, since: Time) -> Vec<&'a Event> {
    let news = report.events.iter().filter(|event| event.at > since);
    news.filter(|event| event.group.as_ref() == Some(&args.group)).collect()
}

/// Whether this event reports that the hand-over was abandoned.
fn is_given_up(event: &Event) -> bool {
    event.kind == EventKind::HandOverDropped
}

#[cfg(test)]
mod tests {
    use super::super::render::tests::{B, id, well};
    use super::*;

    #[test]
    fn a_group_of_another_node_comes_with_the_command_for_that_node() {
        let report = well();
        let [mine, other] = ["eu-west-1a", "eu-west-1b"].map(|name| name.parse().unwrap());
        assert_eq!(elsewhere(&report, &mine, None), None);
        assert_eq!(elsewhere(&report, &"unknown".parse().unwrap(), None), None);
        let text = elsewhere(&report, &other, None).unwrap();
        for part in ["nat-b (i-0bbbbbbbbbbbbbbbb, 10.0.1.10)", "`sudo natha handover eu-west-1b`"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
        let me = report.view.me.clone();
        let text = elsewhere(&report, &other, Some(&me)).unwrap();
        assert!(text.contains(&format!("`sudo natha handover eu-west-1b --to {me}`")), "{text}");
        let text = elsewhere(&report, &other, Some(&id(B))).unwrap();
        assert!(text.ends_with("already held by nat-b"), "{text}");
    }
}
