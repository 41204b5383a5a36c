//! What goes into the archive for a bug report. Each file is text, without the cluster key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::OFlag;
use serde_json::{Value, json};

use super::limit::within;
use crate::config::Given;
use crate::daemon::history_files;
use crate::doctor::{Diagnosis, Fact, Facts, Gap, MonitorFacts, Secrets, shown_settings};
use crate::kernel::nft::Nft;
use crate::kernel::{links, sysctl};
use crate::plan::SysctlKey;

/// Sysctls that are of interest beside those of the plan.
const SYSCTLS: [&str; 6] = [
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_buckets",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
];

/// Numbers that a recording has after its name if the file existed.
const NUMBERS: std::ops::RangeInclusive<u32> = 1..=9;

/// The most of each file of the history, in bytes: the end of it.
const HISTORY_MAX: u64 = 2 * 1024 * 1024;

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// What it is, for the list of contents.
    pub(super) about: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// Everything that goes into the archive.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) parts: Vec<Part>,
    /// The monitor's last recording.
    pub(super) recording: Option<PathBuf>,
}

/// Gathers the contents. What cannot be read is replaced by the reason.
pub(super) async fn gather(
    facts: &Facts,
    given: &BTreeMap<&'static str, Given>,
    diagnosis: &Diagnosis,
) -> Contents {
    let (tables, network) = tokio::join!(tables(), network());
    let text = |found: Fact<String>| found.unwrap_or_else(|gap| format!("{gap}\n"));
    let parts = [
        ("doctor.json", "what natha doctor found", json_of(diagnosis)),
        ("status.json", "what natha status shows", status(facts)),
        ("settings.json", "the settings, without secrets", settings(facts, given)),
        ("plan.json", "what natha setup planned", plan(facts)),
        ("versions.txt", "versions of natha, the kernel and nft", versions(facts)),
        ("nft.txt", "natha's nft tables", text(tables)),
        ("sysctls.txt", "sysctls of the network", sysctls(facts)),
        ("network.json", "interfaces, addresses and routes", text(network)),
    ];
    let secrets = Secrets::of(&facts.settings);
    let part = |(name, about, text): (&'static str, &'static str, String)| Part {
        name,
        about,
        bytes: secrets.cut_out(text.into_bytes()),
    };
    let recording = facts.settings.record.file.as_deref().and_then(last_recording);
    let parts = parts.into_iter().chain(history(&facts.settings.state_dir));
    Contents { parts: parts.map(part).collect(), recording }
}

fn json_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string()) + "\n"
}

fn status(facts: &Facts) -> String {
    json_of(&match &facts.monitor {
        Ok(MonitorFacts::Running(report)) => return json_of(report),
        Ok(MonitorFacts::Starting(why)) => json!({ "starting": why }),
        Ok(MonitorFacts::Absent(why)) => json!({ "error": why }),
        Err(gap) => json!({ "error": gap.to_string() }),
    })
}

fn settings(facts: &Facts, given: &BTreeMap<&'static str, Given>) -> String {
    let mut shown = shown_settings(&facts.settings, given);
    let problems: Vec<String> = facts.problems.iter().map(ToString::to_string).collect();
    if let Value::Object(all) = &mut shown {
        all.insert("problems".to_owned(), json!(problems));
    }
    json_of(&shown)
}

fn plan(facts: &Facts) -> String {
    match &facts.plan {
        Ok(plan) => json_of(plan),
        Err(gap) => json_of(&json!({ "error": gap.to_string() })),
    }
}

fn versions(facts: &Facts) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
    let system = read("/etc/os-release");
    let name = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let monitor = match &facts.monitor {
        Ok(MonitorFacts::Running(report)) => report.version.as_str(),
        _ => "none is running",
    };
    let nft = match &facts.nft {
        Ok(Ok(version)) => version.clone(),
        Ok(Err(why)) => why.clone(),
        Err(gap) => gap.to_string(),
    };
    let kind = facts.instance.as_ref().ok().and_then(|one| one.instance_type.clone());
    format!(
        "natha: {}\nmonitor: {monitor}\nkernel: {}\nsystem: {}\nnft: {nft}\ninstance type: {}\n",
        facts.version,
        read("/proc/sys/kernel/osrelease").trim(),
        name.unwrap_or("unknown").trim_matches('"'),
        kind.as_deref().unwrap_or("unknown"),
    )
}

/// The files of the history that are there.
fn history(state_dir: &Path) -> Vec<(&'static str, &'static str, String)> {
    let names = ["history.1.jsonl", "history.jsonl"];
    let abouts = ["the history before that, or the end of it", "the history, or the end of it"];
    let files = names.into_iter().zip(abouts).zip(history_files(state_dir));
    let read = |((name, about), path): ((_, _), PathBuf)| match last_lines(&path, HISTORY_MAX) {
        Ok(text) => Some((name, about, text)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some((name, about, format!("{error}\n"))),
    };
    files.filter_map(read).collect()
}

/// The last lines of a file that is no link, in at most so many bytes.
fn last_lines(path: &Path, most: u64) -> io::Result<String> {
    let no_link = OFlag::O_NOFOLLOW.bits();
    let mut file = OpenOptions::new().read(true).custom_flags(no_link).open(path)?;
    let cut = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(cut))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match text.split_once('\n') {
        // The cut has probably torn the first line.
        Some((_, whole)) if cut > 0 => whole.to_owned(),
        _ => text.into_owned(),
    })
}

/// natha's tables, as `nft list table` prints them.
async fn tables() -> Fact<String> {
    let listed = async { Nft::find()?.printed().await };
    let tables = within("nft", listed).await?;
    if tables.is_empty() {
        return Err(Gap::new("natha has no nft table on this host"));
    }
    Ok(tables.into_iter().map(|(_, text)| text).collect())
}

/// The sysctls of the plan and a few others, one a line.
fn sysctls(facts: &Facts) -> String {
    let planned = facts.plan.iter().flatten().flat_map(|plan| &plan.sysctls);
    let planned: BTreeSet<SysctlKey> = planned.map(|one| one.key.clone()).collect();
    let all: BTreeSet<SysctlKey> = SYSCTLS.map(SysctlKey::new).into_iter().chain(planned).collect();
    let mut out = String::new();
    for key in all {
        let value = match sysctl::read(&key) {
            Ok(Some(reading)) => reading.value.to_string(),
            Ok(None) => "absent".to_owned(),
            Err(error) => error.to_string(),
        };
        let _ = writeln!(out, "{key} = {value}");
    }
    out
}

/// Interfaces, addresses and routes, as rtnetlink has them.
async fn network() -> Fact<String> {
    let (found, routes) = within("the kernel", links::read()).await?;
    let found: Vec<Value> = found
        .iter()
        .map(|link| {
            json!({
                "name": link.name,
                "mac": link.mac,
                "mtu": links::mtu(&link.name),
                "driver": links::driver(&link.name),
                "addresses": link.addresses,
            })
        })
        .collect();
    let routes: Vec<Value> = routes
        .iter()
        .map(|route| json!({ "to": route.destination, "metric": route.metric, "link": route.link }))
        .collect();
    Ok(json_of(&json!({ "links": found, "routes": routes })))
}

/// The newest recording: the file of the settings, or one with a number after its name.
fn last_recording(file: &Path) -> Option<PathBuf> {
    let numbered = NUMBERS.map(|number| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    let all = std::iter::once(file.to_owned()).chain(numbered);
    let written = all.filter_map(|path| Some((changed(&path)?, path)));
    written.max().map(|(_, path)| path)
}

fn changed(path: &Path) -> Option<SystemTime> {
    let metadata = fs::metadata(path).ok()?;
    if metadata.is_file() { metadata.modified().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{ClusterKey, Sources, resolve};
    use crate::doctor::Selection;

    const KEY: &str = "correct horse battery staple";

    #[tokio::test]
    async fn no_part_has_the_key_even_if_an_error_quotes_it() {
        let mut resolved = resolve(&Sources::default()).unwrap();
        resolved.settings.heartbeat.key = Some(ClusterKey(KEY.as_bytes().to_vec()));
        let facts = Facts {
            settings: resolved.settings,
            monitor: Ok(MonitorFacts::Starting(format!("cannot parse {KEY}"))),
            ..Facts::default()
        };
        let diagnosis = Diagnosis::of(&facts, &Selection::default());
        let contents = gather(&facts, &resolved.given, &diagnosis).await;
        assert_eq!(contents.parts.len(), 8);
        for part in &contents.parts {
            let text = String::from_utf8(part.bytes.clone()).unwrap();
            assert!(!text.contains(KEY), "{}: {text}", part.name);
            assert!(!text.is_empty(), "{}", part.name);
        }
        let text = |name: &str| {
            let part = contents.parts.iter().find(|part| part.name == name).unwrap();
            String::from_utf8(part.bytes.clone()).unwrap()
        };
        assert!(text("settings.json").contains("\"has_key\": true"));
        assert!(text("doctor.json").contains("cannot parse [redacted]"));
    }

    #[test]
    fn the_archive_has_the_end_of_each_history_in_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let all =
            |directory: &Path| history(directory).into_iter().map(|(name, ..)| name).collect();
        let names: Vec<&str> = all(directory.path());
        assert!(names.is_empty(), "{names:?}");
        let [older, newer] = history_files(directory.path());
        fs::write(&older, "one\ntwo\nthree\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &newer).unwrap();
        for (most, wanted) in [(100, "one\ntwo\nthree\n"), (9, "three\n"), (2, "")] {
            assert_eq!(last_lines(&older, most).unwrap(), wanted, "{most}");
        }
        let found = history(directory.path());
        let texts: Vec<&str> = found.iter().map(|(_, _, text)| text.as_str()).collect();
        assert_eq!(texts[0], "one\ntwo\nthree\n");
        assert!(texts.len() == 2 && !texts[1].contains("root"), "{}", texts[1]);
    }

    #[test]
    fn the_newest_recording_is_taken_whatever_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("run.jsonl.gz");
        assert_eq!(last_recording(&file), None);
        let second = directory.path().join("run.jsonl.gz.2");
        for (path, seconds) in [(&file, 10), (&second, 20)] {
            let written = fs::File::create(path).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            written.set_modified(time).unwrap();
        }
        assert_eq!(last_recording(&file), Some(second));
    }
}
