//! SIGHUP: the monitor reads its settings again.
//!
//! It first does what a start does before the first heartbeat: it reads all sources of the
//! settings, asks EC2, and finds the cluster. Only if that succeeds and the settings differ, it
//! ends as for a restart and runs its program again in the same process. It carries no state over:
//! a monitor that starts continues from the routes as they are and moves nothing. So the machine
//! needs no states for a reload, and every setting of the monitor takes effect.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::execve;

use super::alerts::Alert;
use super::discovery::{self, Membership};
use super::event_loop::{notify, notify_all};
use super::inbox::Notes;
use crate::cloud::Imds;
use crate::config::{Flags, Given, PairFlags, Settings, load_with_pair};
use crate::failover::{EventKind, Level};

/// The variable in which a program leaves for the next one what has changed.
const CHANGED: &str = "NATHA_INTERNAL_CHANGED";
/// What Linux appends to the path of a running program whose file was replaced.
const REPLACED: &str = " (deleted)";

/// Reads the settings again when asked to.
pub(super) struct Reload<'a> {
    flags: &'a Flags,
    pair: &'a PairFlags,
    found: &'a Membership,
    alert: Alert,
    notes: Notes,
}

impl<'a> Reload<'a> {
    /// `found` is what the monitor runs with.
    pub(super) fn new(
        flags: &'a Flags,
        pair: &'a PairFlags,
        found: &'a Membership,
        notes: &Notes,
    ) -> Self {
        Self { flags, pair, found, alert: Alert::new("reload", notes), notes: notes.clone() }
    }

    /// Reads the settings and tries them out. Returns what has changed, if anything has. An alert
    /// stands while they are refused, and the service manager hears that nothing has changed.
    pub(super) async fn changes(&mut self) -> Option<String> {
        use sd_notify::NotifyState;
        let now = NotifyState::monotonic_usec_now();
        notify_all(&[NotifyState::Reloading, now.unwrap_or(NotifyState::MonotonicUsec(0))]);
        let (level, text) = match self.read().await {
            Ok(Some(changed)) => return Some(changed),
            Ok(None) => {
                self.alert.set(None).await;
                (Level::Info, "the settings were read again; nothing has changed".to_owned())
            }
            Err(why) => {
                self.alert.set(Some(refusal(&why))).await;
                (Level::Warning, format!("the settings were read again and refused: {why}"))
            }
        };
        self.notes.event(level, EventKind::Settings, text, None).await;
        notify(&NotifyState::Ready);
        None
    }

    /// What has changed, if anything has, or why the settings cannot be used.
    async fn read(&self) -> Result<Option<String>, String> {
        let Self { flags, pair, found, .. } = self;
        let local = load_with_pair(flags, pair, None).map_err(|problems| problems.to_string())?;
        let attempt = discovery::attempt(flags, pair, &local.settings, &Imds::new()).await;
        let next = attempt.map_err(|error| format!("{error:#}"))?.map_err(|why| why.to_string())?;
        let known = |found: &'a Membership| (&found.discovery.settings, &found.given);
        Ok(difference(known(found), (&next.discovery.settings, &next.given)))
    }
}

/// Settings, and the source of each by name.
type Known<'a> = (&'a Settings, &'a BTreeMap<&'static str, Given>);

/// What differs between two settings, in a sentence.
fn difference((old, old_given): Known<'_>, (new, new_given): Known<'_>) -> Option<String> {
    if old == new {
        return None;
    }
    let value = |given: &BTreeMap<&'static str, Given>, name: &str| {
        given.get(name).map(|given| given.value.clone())
    };
    let names: BTreeSet<&str> = old_given.keys().chain(new_given.keys()).copied().collect();
    let differs = |name: &&str| value(old_given, name) != value(new_given, name);
    let mut changed: Vec<&str> = names.into_iter().filter(differs).collect();
    if old.groups != new.groups {
        changed.push("the groups");
    }
    let keys = |settings: &Settings| {
        (settings.heartbeat.key.clone(), settings.heartbeat.second_key.clone())
    };
    if keys(old) != keys(new) {
        changed.push("the cluster key");
    }
    let mut text = format!("settings read again, changed: {}", changed.join(", "));
    if old.host != new.host || old.role() != new.role() {
        text.push_str(". Run `natha setup` for those that concern this host's rules");
    }
    Some(text)
}

/// The alert about settings that cannot be used.
fn refusal(why: &str) -> String {
    format!(
        "the changed settings are refused, and the earlier ones stay in force: {why}. Mend this, \
         then run `systemctl reload natha-monitor`"
    )
}

/// Reports what has changed since the program ran before, if that is why it runs.
pub(super) async fn report_last(notes: &Notes) {
    if let Ok(changed) = std::env::var(CHANGED) {
        notes.event(Level::Info, EventKind::Settings, changed, None).await;
    }
}

/// Replaces this program by a new run of it, in the same process and with the same arguments.
/// Returns only if that fails. If a new version was installed meanwhile, the new one runs.
pub(crate) fn run_again(changed: &str) -> anyhow::Error {
    let run = || -> anyhow::Result<()> {
        let running = std::env::current_exe().context("cannot find the program's file")?;
        let path = running.to_string_lossy();
        let path = CString::new(path.strip_suffix(REPLACED).unwrap_or(&path).as_bytes())?;
        let text = |text: OsString| CString::new(text.as_bytes());
        let arguments = std::env::args_os().map(text).collect::<Result<Vec<_>, _>>()?;
        let kept = std::env::vars_os().filter(|(name, _)| name != CHANGED);
        let variables = kept.chain([(CHANGED.into(), changed.into())]).map(|(name, value)| {
            let mut variable = name;
            variable.push("=");
            variable.push(value);
            text(variable)
        });
        let variables = variables.collect::<Result<Vec<_>, _>>()?;
        // A SIGHUP before the new run listens for it would end the process. It waits instead.
        hang_up().thread_block()?;
        execve(&path, &arguments, &variables)?;
        Ok(())
    };
    match run() {
        Ok(()) => anyhow::anyhow!("the program was run again, and returned"),
        Err(error) => error.context("cannot run the program again with the new settings"),
    }
}

/// Lets SIGHUP arrive again after [`run_again`]. Call once something listens for it.
pub(super) fn unblock_hang_up() {
    if let Err(error) = hang_up().thread_unblock() {
        tracing::warn!(%error, "SIGHUP may not arrive");
    }
}

fn hang_up() -> SigSet {
    SigSet::from_iter([Signal::SIGHUP])
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{ClusterKey, Resolved, Sources, resolve};

    fn settings(text: &str) -> Resolved {
        let file = Some((PathBuf::from("natha.toml"), text.to_owned()));
        resolve(&Sources { file, ..Sources::default() }).unwrap()
    }

    fn changes(old: &Resolved, new: &Resolved) -> Option<String> {
        difference((&old.settings, &old.given), (&new.settings, &new.given))
    }

    #[test]
    fn what_has_changed_is_named() {
        let old = settings("[hand_back]\nhold = \"30s\"\n");
        assert_eq!(changes(&old, &old), None);
        // The same value from another source is no change.
        assert_eq!(changes(&old, &settings("")), None);
        let new = settings("[hand_back]\nhold = \"9s\"\n[repair]\nenabled = false\n");
        let text = changes(&old, &new).unwrap();
        assert!(text.ends_with("changed: hand_back.hold, repair.enabled"), "{text}");
    }

    #[test]
    fn groups_and_the_content_of_a_key_file_count() {
        let old = settings("");
        let mut new = settings("[[group]]\nname = \"nat\"\ntables = [\"rtb-0123abcd\"]\n");
        new.settings.heartbeat.key = Some(ClusterKey(vec![1; 16]));
        let text = changes(&old, &new).unwrap();
        assert!(text.contains("the groups, the cluster key"), "{text}");
    }

    #[test]
    fn what_the_rules_of_the_host_need_is_left_to_setup() {
        let text = changes(&settings(""), &settings("[host]\nmss = 1400\n")).unwrap();
        assert!(text.contains("host.mss. Run `natha setup`"), "{text}");
        let text = changes(&settings(""), &settings("[hand_back]\nhold = \"9s\"\n")).unwrap();
        assert!(!text.contains("setup"), "{text}");
    }
}
