//! `natha config`: shows the settings in force, each with its source, and checks them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::report::GroupRow;
use super::{needs_attention, print, render, source_dest};
use crate::cloud::{Identity, Imds};
use crate::config::{
    Flags, Given, Origin, Problem, Problems, Resolved, Settings, if_unset, load_despite_key,
};
use crate::doctor::shown_settings;
use crate::policy::unknown_region;
use crate::types::display_duration;

/// How long the instance metadata service may take. Off EC2 nothing answers.
const METADATA_LIMIT: Duration = Duration::from_secs(5);

const AFTER_HELP: &str = "\
Examples:
  natha config                     every setting, with the source of its value
  natha config --changed           only those that are not at their default
  natha config --no-tags --config natha.toml
                                   check a file elsewhere, in CI for example
  natha config --json | jq -r '.settings[\"heartbeat.interval\"].from'

Secrets are left out: the cluster key, and parts of URLs.

Exit codes:
  0  the settings are valid
  1  error: a setting is wrong, or a file cannot be read; see stderr
  2  wrong usage, also a wrong value of a flag
  3  the settings are valid, but the tags of this instance could not be read, or something is
     ignored";

/// Flags of `natha config`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Print the result as JSON, with all problems if the settings are wrong
    #[arg(long)]
    pub(crate) json: bool,

    /// Only settings that a source sets
    #[arg(long)]
    pub(crate) changed: bool,

    /// Do not read the tags of this instance, which need EC2
    #[arg(long)]
    pub(crate) no_tags: bool,
}

/// The settings, and what is to be said of them.
struct Found {
    resolved: Resolved,
    /// What does not make them wrong.
    notes: Vec<String>,
}

/// Prints the settings. Exit code 0: they are valid. 3: they are, but not all sources could be
/// read, or something is ignored.
///
/// # Errors
/// If the settings are wrong, with all problems.
pub(crate) async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    match find(args, flags).await {
        Ok(mut found) => {
            if args.changed {
                found.resolved.given.retain(|_, given| given.origin != Origin::Default);
            }
            print(&if args.json { to_json(&found)? } else { to_text(&found) })?;
            Ok(if found.notes.is_empty() { ExitCode::SUCCESS } else { needs_attention() })
        }
        Err(problems) if args.json => {
            print(&refusal(&problems)?)?;
            Ok(ExitCode::from(if problems.is_wrong_usage() { 2 } else { 1 }))
        }
        Err(problems) => Err(problems.into()),
    }
}

async fn find(args: &Args, flags: &Flags) -> Result<Found, Problems> {
    let local = valid(flags, None)?;
    let tags = if args.no_tags { None } else { Some(Box::pin(tags(&local.settings)).await) };
    let (resolved, unread) = match tags {
        Some(Ok(tags)) => (valid(flags, Some(&tags))?, None),
        Some(Err(why)) => (local, Some(why)),
        None => (local, None),
    };
    let mut notes: Vec<String> = resolved.warnings.iter().map(ToString::to_string).collect();
    let region = resolved.settings.api.region.as_deref();
    notes.extend(region.and_then(unknown_region).map(|problem| problem.to_string()));
    notes.extend(unread.map(|why| {
        format!(
            "the tags of this instance could not be read, so settings in them are missing: {why}"
        )
    }));
    Ok(Found { resolved, notes })
}

/// The settings; a key that the monitor would refuse makes them wrong.
fn valid(flags: &Flags, tags: Option<&BTreeMap<String, String>>) -> Result<Resolved, Problems> {
    match load_despite_key(flags, tags)? {
        (resolved, None) => Ok(resolved),
        (_, Some(problem)) => Err(Problems(vec![problem])),
    }
}

/// The tags of this instance, or why they are not known.
async fn tags(settings: &Settings) -> Result<BTreeMap<String, String>, String> {
    let Ok(identity) = timeout(METADATA_LIMIT, Imds::new().identity()).await else {
        let limit = display_duration(METADATA_LIMIT);
        return Err(format!("the instance metadata service does not answer within {limit}"));
    };
    let identity: Identity = identity.map_err(|fault| fault.what())?;
    source_dest::tags(&settings.api, &identity).await.map_err(|fault| fault.what)
}

fn to_text(found: &Found) -> String {
    let Found { resolved, notes } = found;
    let shown = shown_settings(&resolved.settings, &resolved.given);
    let mut table = render::table(&["SETTING", "VALUE", "FROM"]);
    for (name, given) in &resolved.given {
        let value = shown["settings"][*name]["value"].as_str().unwrap_or_default();
        let value = if value.is_empty() { "-" } else { value };
        let from = source(name, given);
        table.add_row([*name, value, from.as_str()]);
    }
    let mut text = String::new();
    render::push_table(&mut text, &table);
    if resolved.settings.groups.is_empty() {
        text.push_str("No groups are configured: natha finds them by tags.\n");
    } else {
        render::push_table(&mut text, &groups(resolved));
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for note in notes {
        let _ = writeln!(text, "\nwarning: {note}");
    }
    text
}

/// Where a value comes from. Of a setting without one, what applies instead.
fn source(name: &str, given: &Given) -> String {
    let unset = if_unset(name).filter(|_| given.value.is_empty());
    match unset {
        Some(words) => format!("{}: {words}", given.origin),
        None => given.origin.to_string(),
    }
}

fn groups(resolved: &Resolved) -> comfy_table::Table {
    let mut table = render::table(&["GROUP", "MOVES", "PREFERS", "FROM"]);
    for (group, origin) in resolved.settings.groups.iter().zip(&resolved.group_origins) {
        let GroupRow { name, moves, prefer } = GroupRow::from(group);
        let prefer = if prefer.is_empty() { "any".to_owned() } else { prefer.join(", ") };
        table.add_row([name, moves.join(", "), prefer, origin.to_string()]);
    }
    table
}

fn to_json(found: &Found) -> anyhow::Result<String> {
    let Found { resolved, notes } = found;
    let mut shown = shown_settings(&resolved.settings, &resolved.given);
    if let Value::Object(all) = &mut shown {
        all.insert("valid".to_owned(), json!(true));
        all.insert("warnings".to_owned(), json!(notes));
    }
    encoded(&shown)
}

/// The problems, as JSON has them.
fn refusal(Problems(problems): &Problems) -> anyhow::Result<String> {
    let shown = |problem: &Problem| {
        let Problem { subject, what, remedy, .. } = problem;
        json!({ "subject": subject, "what": what, "remedy": remedy })
    };
    let problems: Vec<Value> = problems.iter().map(shown).collect();
    encoded(&json!({ "valid": false, "problems": problems }))
}

fn encoded(value: &Value) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value).context("cannot encode the settings as JSON")?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, resolve};

    fn found(text: &str) -> Found {
        let file = Some(("natha.toml".into(), text.to_owned()));
        let tags = BTreeMap::from([("natha:hand_back.hold".to_owned(), "9s".to_owned())]);
        let env = BTreeMap::from([("NATHA_HEARTBEAT_PORT".to_owned(), "7000".to_owned())]);
        let flags = Flags { set: vec!["heartbeat.lost_after=4".to_owned()], ..Flags::default() };
        let sources = Sources { flags, env, file, tags: Some(&tags), ..Sources::default() };
        Found { resolved: resolve(&sources).unwrap(), notes: vec!["a note".to_owned()] }
    }

    /// The line of a setting, without the space between its cells.
    fn line(text: &str, name: &str) -> String {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_setting_has_its_source_and_no_secret_is_shown() {
        let text = "cluster = \"blue\"\nnotify.webhook = \"https://hooks.test/s3cret\"\n";
        let text = to_text(&found(text));
        for (name, wanted) in [
            ("cluster", "cluster blue natha.toml:1"),
            ("notify.webhook", "notify.webhook https://hooks.test/[redacted] natha.toml:2"),
            ("heartbeat.port", "heartbeat.port 7000 environment NATHA_HEARTBEAT_PORT"),
            ("heartbeat.lost_after", "heartbeat.lost_after 4 flag --set"),
            ("hand_back.hold", "hand_back.hold 9s instance tag natha:hand_back.hold"),
            ("api.timeout", "api.timeout 5s default"),
            ("host.uplink", "host.uplink - default: the interface with the default route"),
            ("host.accept", "host.accept - default"),
        ] {
            assert_eq!(line(&text, name), wanted);
        }
        assert!(text.ends_with("finds them by tags.\n\nwarning: a note\n"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn each_group_has_the_line_of_its_table() {
        let text = "cluster = \"blue\"\n[[group]]\nname = \"db\"\ntables = [\"rtb-0123abcd\"]\n\
                    home = \"db-a\"\n";
        let text = to_text(&found(text));
        assert_eq!(line(&text, "db"), "db route rtb-0123abcd db-a natha.toml:2");
    }

    #[test]
    fn json_has_the_sources_or_the_problems() {
        let shown = to_json(&found("cluster = \"blue\"")).unwrap();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["valid"], true);
        assert_eq!(
            shown["settings"]["cluster"],
            json!({ "value": "blue", "from": "natha.toml:1" })
        );
        assert_eq!(shown["warnings"], json!(["a note"]));
        let problem = Problem::new("heartbeat.port = 0 (x:1)", "is too small", "it may be: 1 to 9");
        let shown: Value =
            serde_json::from_str(&refusal(&Problems(vec![problem])).unwrap()).unwrap();
        assert_eq!(shown["valid"], false);
        assert_eq!(shown["problems"][0]["remedy"], "it may be: 1 to 9");
    }
}
