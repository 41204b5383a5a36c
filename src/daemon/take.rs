//! `natha take`: everything around one takeover on request, and what `natha release` shares with
//! it. Settings and cluster are the monitor's, and so is the host's side of the group.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::clock;
use super::local::{self, Duties};
use super::start::{self, Found};
use super::taking::{Fate, Pace, Step, Taking};
use crate::cloud::{Clouds, Imds};
use crate::config::{Flags, PairFlags, Settings, load};
use crate::plan::parts_of;
use crate::types::{GroupName, InstanceId, ResourceKind, Time};

/// A read is made of several pages or calls, each with the API's own time limit.
const CALL_LIMITS: u32 = 3;
/// How often a lock that another `natha take` has is tried.
const LOCK_EVERY: Duration = Duration::from_millis(20);
/// Time between two attempts to find the cluster.
const FIND_EVERY: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The group.
    pub group: GroupName,
    /// Take what leads out of the cluster, too.
    pub adopt: bool,
    /// Change nothing.
    pub dry_run: bool,
    /// When to give up.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The group.
    pub group: GroupName,
    /// This node.
    pub node: InstanceId,
    /// Each of its resources.
    pub resources: Vec<Step>,
    /// What was changed on this host, and what failed there.
    pub host: Vec<String>,
    /// Whether all of it is here now.
    pub all_here: bool,
    /// Whether a monitor runs on this host, whose business the host's side is then.
    pub monitor: bool,
}

/// Takes the group once.
///
/// # Errors
/// Where the settings are wrong, the cluster cannot be found in time, there is no such group, or a
/// resource cannot be read or must not be taken: nothing was changed then.
pub async fn take(flags: &Flags, request: &Request) -> anyhow::Result<Taken> {
    let deadline = Instant::now() + request.limit;
    let settings = load(flags, &PairFlags::default(), None)?.settings;
    // Before anything is read: keepalived starts its scripts side by side, and the later one has
    // to see what the earlier one did.
    let turn =
        if request.dry_run { None } else { Some(Turn::wait(&settings.state_dir, deadline).await?) };
    let socket = settings.socket.clone();
    let found = find(flags, settings, deadline).await?;
    let monitor = monitor_runs(&socket).await;
    let mut taking = taking(&found, &request.group, deadline)?;
    taking.adopt |= request.adopt;
    let steps = taking.survey().await?;
    let mut host = Vec::new();
    let resources = if request.dry_run {
        steps
    } else {
        let ours = !monitor && carries(&found.looker.settings, &request.group);
        if ours {
            host.extend(carry(&found, &request.group, true).await);
        }
        let steps = taking.carry_out(steps).await;
        if ours && !any_address_here(&steps) {
            // Nothing of it came, so that nothing of it may stay on the host.
            host.extend(carry(&found, &request.group, false).await);
        }
        turn.as_ref().map_or(Ok(()), Turn::stamp)?;
        steps
    };
    Ok(Taken {
        group: request.group.clone(),
        node: found.cluster.me.id.clone(),
        all_here: resources.iter().all(|step| matches!(step.fate, Fate::WasHere | Fate::Moved))
            && host.iter().all(|line| !line.starts_with(FAILED)),
        resources,
        host,
        monitor,
    })
}

/// How a line about the host begins that tells of a failure.
pub(super) const FAILED: &str = "failed: ";

/// Whether a monitor runs on this host. Nobody answers on the socket of one that has ended.
pub(super) async fn monitor_runs(socket: &Path) -> bool {
    UnixStream::connect(socket).await.is_ok()
}

/// What is asked and done about a group.
///
/// # Errors
/// Where there is no such group.
pub(super) fn taking<'a>(
    found: &'a Found,
    name: &GroupName,
    deadline: Instant,
) -> anyhow::Result<Taking<'a, Clouds>> {
    let (roster, settings) = (&found.cluster.roster, &found.looker.settings);
    let group = roster.groups.iter().find(|group| group.name == *name);
    let group = group.ok_or_else(|| {
        let known: Vec<&str> = roster.groups.iter().map(|group| group.name.as_str()).collect();
        anyhow!("there is no group {name}; there are: {}", known.join(", "))
    })?;
    Ok(Taking {
        cloud: &found.looker.clouds,
        roster,
        me: &found.cluster.me,
        group,
        adopt: settings.failover.adopt,
        call_limit: settings.api.timeout * CALL_LIMITS,
        deadline,
        pace: Pace::default(),
    })
}

/// Whether this host has a part in the group.
pub(super) fn carries(settings: &Settings, group: &GroupName) -> bool {
    settings.groups.iter().any(|one| one.name == *group && !parts_of(one, "").is_empty())
}

fn any_address_here(steps: &[Step]) -> bool {
    steps.iter().any(|step| {
        matches!(step.kind, ResourceKind::Route | ResourceKind::PrivateIp)
            && matches!(step.fate, Fate::WasHere | Fate::Moved)
    })
}

/// Makes this host carry the group, or no longer. What was changed, and what failed, in words.
pub(super) async fn carry(found: &Found, group: &GroupName, held: bool) -> Vec<String> {
    let duties = Duties::from([(group.clone(), held)]);
    match local::carry(&found.looker.settings, found.cluster.me.address, &duties).await {
        Ok(outcome) => {
            let changes = outcome.changes.iter().map(ToString::to_string);
            let errors = outcome.errors.iter().map(|error| format!("{FAILED}{error}"));
            changes.chain(errors).collect()
        }
        Err(error) => vec![format!("{FAILED}{error:#}")],
    }
}

/// The turn of one run among those of this host that take or release.
pub(super) struct Turn(Flock<File>);

impl Turn {
    /// Waits for it.
    ///
    /// # Errors
    /// Where it does not come in time, or the state directory cannot be used.
    pub(super) async fn wait(directory: &Path, deadline: Instant) -> anyhow::Result<Self> {
        let shown = directory.display();
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {shown}: run this as root"))?;
        let path = directory.join("take.lock");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}: run this as root", path.display()))?;
        let mut rounds = interval(LOCK_EVERY);
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((_, errno)) if errno != Errno::EWOULDBLOCK => {
                    bail!("cannot lock {}: {errno}", path.display());
                }
                Err((same, _)) => file = same,
            }
            if timeout_at(deadline, rounds.tick()).await.is_err() {
                bail!("another `natha take` on this host has not ended in time: run this again");
            }
        }
    }

    /// Notes that something was taken until now.
    fn stamp(&self) -> anyhow::Result<()> {
        let text = clock::now().since_boot().as_millis().to_string();
        let written = self.0.set_len(0).and_then(|()| self.0.write_all_at(text.as_bytes(), 0));
        written.context("cannot write to take.lock in the state directory")
    }

    /// When something was last taken in this boot; none where that is not known. One of an earlier
    /// boot may be taken for one of this, and is as long ago at least.
    pub(super) fn last_taken(&self) -> Option<Time> {
        let mut text = [0; 24];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let taken = Time::from_millis(std::str::from_utf8(&text[..length]).ok()?.parse().ok()?);
        (taken <= clock::now()).then_some(taken)
    }
}

/// Finds the cluster as the monitor does. A single notification may be all that this run was
/// started for, so what may pass is waited for.
pub(super) async fn find(
    flags: &Flags,
    settings: Settings,
    deadline: Instant,
) -> anyhow::Result<Found> {
    let imds = Imds::new();
    let mut rounds = interval(FIND_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = "the instance metadata service does not answer".to_owned();
    loop {
        let attempt = async {
            rounds.tick().await;
            start::attempt(flags, &PairFlags::default(), &settings, &imds).await
        };
        match timeout_at(deadline, attempt).await {
            Ok(Ok(Ok(found))) => return Ok(found),
            Ok(Ok(Err(why))) => {
                tracing::warn!("cannot start yet: {why}");
                last = why;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => bail!("nothing was changed: {last}"),
        }
    }
}
