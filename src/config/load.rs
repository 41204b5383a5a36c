//! All sources merged into valid settings.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::flags::{Flags, PairFlags};
use super::keys::all;
use super::layers::{Layer, LayerEntry, from_env, from_flags, from_tags, quoted};
use super::problem::{Origin, Problem, Problems};
use super::settings::{ClusterKey, Settings};
use super::{file, observe, rules};
use crate::types::{InstanceId, InstanceInfo};

/// The settings file that is read unless another is named.
const DEFAULT_FILE: &str = "/etc/natha/natha.toml";

/// The systemd credential with the cluster key.
const CREDENTIAL: &str = "natha.key";

/// The minimum length of the cluster key, in bytes: 128 bits.
const LEAST_KEY: usize = 16;

/// A setting's value as text, and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The value; empty where it is not set.
    pub value: String,
    /// The value as its source has it, for messages.
    pub written: String,
    /// Its origin.
    pub origin: Origin,
}

impl Given {
    /// A value that no file has.
    fn new(value: String, origin: Origin) -> Self {
        let written = quoted(&value);
        Self { value, written, origin }
    }
}

/// Valid settings, and the source of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// Every setting by name, the defaults included.
    pub given: BTreeMap<&'static str, Given>,
    /// The source of each group, in the order of [`Settings::groups`].
    pub group_origins: Vec<Origin>,
    /// What was ignored: tags that are no settings.
    pub warnings: Vec<Problem>,
}

/// What settings are made from.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    /// The flags of every command.
    pub flags: Flags,
    /// The flags that describe a cluster of two nodes.
    pub pair: PairFlags,
    /// This instance; none where it is not known yet.
    pub me: Option<InstanceId>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The settings file: its path and its text.
    pub file: Option<(PathBuf, String)>,
    /// This instance's tags; none where they are not known yet.
    pub tags: Option<&'a BTreeMap<String, String>>,
}

/// Reads the environment, the settings file and the cluster key, and merges them with the flags
/// and, where they are known already, this instance's tags.
///
/// # Errors
/// All problems at once.
pub fn load(flags: &Flags, tags: Option<&BTreeMap<String, String>>) -> Result<Resolved, Problems> {
    load_from(Sources { flags: flags.clone(), tags, ..Sources::default() })
}

/// The monitor's socket, for a command that needs no other setting. A settings file that is wrong
/// must not keep an operator from the monitor, which runs with the settings that it read before.
/// Without the file, the socket is that of the flags and the environment, or the default; the
/// problems of the file are returned with it.
///
/// # Errors
/// All problems at once, if the flags or the environment are wrong.
pub fn load_socket(flags: &Flags) -> Result<(PathBuf, Option<Problems>), Problems> {
    let problems = match load(flags, None) {
        Ok(resolved) => return Ok((resolved.settings.socket, None)),
        Err(problems) => problems,
    };
    match resolve(&Sources { flags: flags.clone(), env: environment(), ..Sources::default() }) {
        Ok(resolved) => Ok((resolved.settings.socket, Some(problems))),
        Err(_) => Err(problems),
    }
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Like [`load`], with the flags that describe a cluster of two nodes. `instance` is this instance,
/// where it is known already.
///
/// # Errors
/// All problems at once.
pub fn load_with_pair(
    flags: &Flags,
    pair: &PairFlags,
    instance: Option<&InstanceInfo>,
) -> Result<Resolved, Problems> {
    load_from(Sources {
        flags: flags.clone(),
        pair: pair.clone(),
        me: instance.map(|instance| instance.id.clone()),
        tags: instance.map(|instance| &instance.tags),
        ..Sources::default()
    })
}

/// Like [`load`], but a cluster key that cannot be used does not hide the other settings: for a
/// diagnosis. The problem with the key, if there is one, is returned beside them.
///
/// # Errors
/// All problems with the other settings at once.
pub fn load_despite_key(
    flags: &Flags,
    tags: Option<&BTreeMap<String, String>>,
) -> Result<(Resolved, Option<Problem>), Problems> {
    let sources = Sources { flags: flags.clone(), tags, ..Sources::default() };
    let (mut resolved, credentials) = load_keyless(sources)?;
    let problem = read_keys(&mut resolved, credentials.as_deref()).err();
    Ok((resolved, problem))
}

fn load_from(sources: Sources<'_>) -> Result<Resolved, Problems> {
    let (mut resolved, credentials) = load_keyless(sources)?;
    match read_keys(&mut resolved, credentials.as_deref()) {
        Ok(()) => Ok(resolved),
        Err(problem) => Err(Problems(vec![problem])),
    }
}

/// Reads everything but the keys; also returns the service manager's directory of credentials.
fn load_keyless(mut sources: Sources<'_>) -> Result<(Resolved, Option<PathBuf>), Problems> {
    sources.env = environment();
    let credentials = sources.env.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let file = read_file(&sources.flags, &sources.env);
    sources.file = file.map_err(|problem| Problems(vec![problem]))?;
    Ok((resolve(&sources)?, credentials))
}

/// Reads the keys that the settings name.
fn read_keys(resolved: &mut Resolved, credentials: Option<&Path>) -> Result<(), Problem> {
    resolved.settings.heartbeat.key = read_key(resolved, credentials)?;
    resolved.settings.heartbeat.second_key = read_second_key(resolved)?;
    unkeyed_replication(resolved).map_or(Ok(()), Err)
}

/// Replication without a cluster key: any host that can send in a member's name could then have
/// connections inserted.
fn unkeyed_replication(resolved: &Resolved) -> Option<Problem> {
    let is_open = resolved.settings.replicate.enabled && resolved.settings.heartbeat.key.is_none();
    is_open.then(|| {
        Problem::new(
            subject(resolved, "replicate.enabled"),
            "there is no cluster key, so a member could not tell other members from strangers",
            "set heartbeat.key_file on all nodes, or replicate.enabled = false",
        )
    })
}

/// The settings file. A named one must exist.
fn read_file(
    flags: &Flags,
    env: &BTreeMap<String, String>,
) -> Result<Option<(PathBuf, String)>, Problem> {
    let (path, origin) = match (&flags.config, env.get("NATHA_CONFIG")) {
        (Some(path), _) => (path.clone(), Origin::Flag("--config".to_owned())),
        (None, Some(path)) => (PathBuf::from(path), Origin::Env("NATHA_CONFIG".to_owned())),
        (None, None) => (PathBuf::from(DEFAULT_FILE), Origin::Default),
    };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == ErrorKind::NotFound && origin == Origin::Default => Ok(None),
        Err(error) => Err(Problem::new(
            format!("settings file {} ({origin})", path.display()),
            format!("cannot be read: {error}"),
            "create it, or name another file",
        )),
    }
}

/// The cluster key, from the configured file or the service manager.
fn read_key(
    resolved: &Resolved,
    credentials: Option<&Path>,
) -> Result<Option<ClusterKey>, Problem> {
    let (path, subject) = match (&resolved.settings.heartbeat.key_file, credentials) {
        (Some(path), _) => (path.clone(), subject(resolved, "heartbeat.key_file")),
        (None, Some(directory)) if directory.join(CREDENTIAL).exists() => {
            (directory.join(CREDENTIAL), format!("credential {CREDENTIAL}"))
        }
        (None, _) => return Ok(None),
    };
    read_key_file(&path, &subject).map(Some)
}

/// The key that is accepted beside the cluster key.
fn read_second_key(resolved: &Resolved) -> Result<Option<ClusterKey>, Problem> {
    let heartbeat = &resolved.settings.heartbeat;
    let Some(path) = &heartbeat.second_key_file else { return Ok(None) };
    let subject = subject(resolved, "heartbeat.second_key_file");
    if heartbeat.key.is_none() {
        let what = "there is no first key, so nothing is accepted by a key";
        return Err(Problem::new(subject, what, "set heartbeat.key_file as well"));
    }
    read_key_file(path, &subject).map(Some)
}

/// The key in a file that `subject` names.
fn read_key_file(path: &Path, subject: &str) -> Result<ClusterKey, Problem> {
    let problem = |what: String, remedy: &str| Problem::new(subject.to_owned(), what, remedy);
    let unreadable = |error| problem(format!("cannot be read: {error}"), "create the key file");
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        let what = format!("every user of this host can access the key (mode {:o})", mode & 0o777);
        return Err(problem(what, "chmod 600 it"));
    }
    let mut key = fs::read(path).map_err(unreadable)?;
    // Editors end a file with a line break, which is not part of the key.
    while key.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        key.pop();
    }
    if key.len() < LEAST_KEY {
        let what = format!("the key has only {} bytes", key.len());
        return Err(problem(
            what,
            "generate one with `openssl rand -base64 32`; use the same on all nodes",
        ));
    }
    Ok(ClusterKey(key))
}

/// Merges what is already read: flags over environment over file over tags over defaults.
///
/// # Errors
/// All problems at once.
pub fn resolve(sources: &Sources<'_>) -> Result<Resolved, Problems> {
    let mut layer = from_flags(&sources.flags);
    layer.extend(from_env(&sources.env));
    if let Some((path, text)) = &sources.file {
        layer.extend(file::read(path, text));
    }
    if let Some(tags) = sources.tags {
        layer.extend(from_tags(tags));
    }
    let Layer { entries, mut groups, mut problems, warnings } = layer;
    let mut settings = Settings::default();
    let mut given: BTreeMap<&'static str, Given> = BTreeMap::new();
    // The first entry for a key is the one of the highest precedence.
    for entry in entries {
        if given.contains_key(entry.key.name) {
            continue;
        }
        if entry.text.contains(char::is_control) {
            // Shown as it is, it would control the terminal.
            let subject = format!("{} = {:?} ({})", entry.key.name, entry.text, entry.origin);
            let problem = Problem::new(subject, "contains a control character", "remove it");
            problems.push(problem.of(&entry.origin));
        } else if let Err(fault) = entry.key.set(&mut settings, &entry.text) {
            let subject = describe(entry.key.name, &entry.written, &entry.origin);
            let (what, remedy) = entry.key.range.explain(&fault);
            problems.push(Problem::new(subject, what, remedy).of(&entry.origin));
        }
        let LayerEntry { text: value, written, origin, .. } = entry;
        given.insert(entry.key.name, Given { value, written, origin });
    }
    if let Some(pair) = sources.pair.pair() {
        settings.members = vec![pair.peer.clone()];
        let origin = Origin::Flag("--peer".to_owned());
        match pair.groups(sources.me.as_ref()) {
            Ok(of_pair) => groups = of_pair.into(),
            Err(problem) => problems.push(problem.of(&origin)),
        }
        given.insert("members", Given::new(pair.peer.to_string(), origin));
    }
    settings.groups = groups.iter().map(|group| group.setting.clone()).collect();
    problems.extend(against_observe(&settings, &given));
    observe::fill(&mut settings, |name| given.contains_key(name));
    for (group, filled) in groups.iter_mut().zip(&settings.groups) {
        group.setting.clone_from(filled);
    }
    for key in all() {
        let value = || Given::new(key.get(&settings), Origin::Default);
        given.entry(key.name).or_insert_with(value);
    }
    problems.extend(endpoint_problems(&settings, &given));
    problems.extend(rules::group_problems(&settings, &groups));
    let group_origins = groups.iter().map(|group| group.origin.clone()).collect();
    let resolved = Resolved { settings, given, group_origins, warnings };
    problems.extend(rules::breaches(&resolved.settings, &groups).into_iter().map(|breach| {
        let subjects: Vec<String> = breach.keys.iter().map(|key| subject(&resolved, key)).collect();
        let subject = if subjects.is_empty() { "groups".to_owned() } else { subjects.join(", ") };
        let mut given = breach.keys.iter().filter_map(|key| resolved.given.get(key));
        let of_flag = given.any(|given| matches!(given.origin, Origin::Flag(_)));
        Problem { of_flag, ..Problem::new(subject, breach.what, breach.remedy) }
    }));
    if problems.is_empty() { Ok(resolved) } else { Err(Problems(problems)) }
}

/// A setting with its value and origin.
fn subject(resolved: &Resolved, name: &str) -> String {
    match resolved.given.get(name) {
        Some(given) => describe(name, &given.written, &given.origin),
        None => name.to_owned(),
    }
}

fn describe(name: &str, written: &str, origin: &Origin) -> String {
    format!("{name} = {written} ({origin})")
}

/// Settings that contradict `observe`.
fn against_observe(settings: &Settings, given: &BTreeMap<&str, Given>) -> Vec<Problem> {
    let timing = &settings.timing;
    let both = [
        ("repair.enabled", timing.repair.enabled, "no peer is stopped"),
        ("hand_back.enabled", timing.hand_back.enabled, "no group is handed back"),
    ];
    let against = both.into_iter().filter(|(name, on, _)| *on && given.contains_key(name));
    let against = against.filter(|_| settings.observe).map(|(name, _, what)| {
        let given = &given[name];
        let subject = describe(name, &given.written, &given.origin);
        let what = format!("natha only follows (`observe` is set): {what}");
        Problem::new(subject, what, "remove one of the two settings").of(&given.origin)
    });
    against.collect()
}

/// An endpoint without a scheme would fail at the first call, with a misleading error.
fn endpoint_problems(settings: &Settings, given: &BTreeMap<&str, Given>) -> Vec<Problem> {
    let api = &settings.api;
    let endpoints = [
        ("api.endpoint", &api.endpoint),
        ("api.route53_endpoint", &api.route53_endpoint),
        ("api.sns_endpoint", &settings.notify.sns_endpoint),
    ];
    endpoints
        .into_iter()
        .filter_map(|(name, endpoint)| Some((name, endpoint.as_ref()?)))
        .filter(|(_, endpoint)| {
            !endpoint.starts_with("http://") && !endpoint.starts_with("https://")
        })
        .map(|(name, endpoint)| {
            let Given { written, origin, .. } = &given[name];
            let remedy = format!("write https://{endpoint}");
            Problem::new(describe(name, written, origin), "is not a URL", remedy).of(origin)
        })
        .collect()
}

#[cfg(test)]
mod tests;
