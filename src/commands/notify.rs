//! `natha notify`: tests the notices to people and programs.

use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use super::{needs_attention, print_result};
use crate::cloud::{Ec2, Imds};
use crate::config::{Flags, Settings, load};
use crate::daemon::{wall_ms, ways};
use crate::notify::{Book, Sender};

const AFTER_HELP: &str = "\
Examples:
  natha notify test                send a test notice over each way that is set

Each way is tried once; the monitor would retry a failure. To test the permissions
of the monitor too, run this as its user:
  runuser -u natha -- natha notify test

Exit codes:
  0  all were delivered
  1  no way is set, or the settings are wrong
  2  wrong usage
  3  one was not delivered; the reason is shown";

/// Flags of `natha notify`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    /// What to do
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What `natha notify` does.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum What {
    /// Send a test notice over each way that is set
    Test(TestArgs),
}

/// Flags of `natha notify test`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TestArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How one way went.
#[derive(Debug, Serialize)]
struct Attempt {
    way: &'static str,
    target: String,
    delivered: bool,
    /// Why it was not.
    why: Option<String>,
    /// Whether the monitor would try again.
    again: bool,
}

/// Sends a test notice. Exit code 0: all were delivered. 3: one was not.
///
/// # Errors
/// If no way is set, or the settings are wrong.
pub(crate) async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let What::Test(args) = &args.what;
    let (settings, sender) = known(flags).await?;
    let ways = ways(&settings);
    if ways.is_empty() {
        bail!("no notices are sent: set notify.hook, notify.webhook or notify.sns_topic");
    }
    let notice = Book::test(&sender, wall_ms());
    let mut attempts = Vec::new();
    for way in ways {
        let sent = way.send(&notice).await;
        let (why, again) = sent.err().map_or((None, false), |error| (Some(error.why), error.again));
        let (name, target) = (way.name(), way.target());
        attempts.push(Attempt { way: name, target, delivered: why.is_none(), why, again });
    }
    print_result(args.json, &attempts, |attempts| to_text(attempts))?;
    let all = attempts.iter().all(|attempt| attempt.delivered);
    Ok(if all { ExitCode::SUCCESS } else { needs_attention() })
}

/// The settings as the monitor has them, this instance's tags included, and this node. If EC2 does
/// not answer, the test does without the tags and says so.
async fn known(flags: &Flags) -> anyhow::Result<(Settings, Sender)> {
    let local = load(flags, None)?.settings;
    let identity = Imds::new().identity().await?;
    let me = identity.instance;
    let found = match Ec2::connect(&local.api, Some(&identity.region)).await {
        Ok(ec2) => ec2.instance(&me).await,
        Err(fault) => Err(fault),
    };
    let (settings, name) = match found {
        Ok(Some(instance)) => {
            let name = instance.tags.get("Name").filter(|name| !name.is_empty()).cloned();
            (load(flags, Some(&instance.tags))?.settings, name)
        }
        Ok(None) => (local, None),
        Err(fault) => {
            tracing::warn!("settings in tags are not known: {fault}");
            (local, None)
        }
    };
    let names = name.into_iter().map(|name| (me.clone(), name)).collect();
    let cluster = settings.cluster.clone().unwrap_or_default();
    Ok((settings, Sender { me, cluster, names }))
}

fn to_text(attempts: &[Attempt]) -> String {
    let line = |one: &Attempt| match &one.why {
        None => format!("{}: delivered to {}\n", one.way, one.target),
        Some(why) => {
            let next = if one.again { "the monitor would try again" } else { "this is final" };
            format!("{}: not delivered to {}: {why} ({next})\n", one.way, one.target)
        }
    };
    attempts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_names_each_way_and_what_is_wrong() {
        let attempt = |why: Option<&str>, again| Attempt {
            way: "webhook",
            target: "a.example".to_owned(),
            delivered: why.is_none(),
            why: why.map(str::to_owned),
            again,
        };
        let text = to_text(&[attempt(None, false), attempt(Some("HTTP status 403"), false)]);
        assert_eq!(
            text,
            "webhook: delivered to a.example\n\
             webhook: not delivered to a.example: HTTP status 403 (this is final)\n"
        );
        assert!(to_text(&[attempt(Some("no reply"), true)]).contains("try again"));
    }
}
