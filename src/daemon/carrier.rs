//! Keeps on this host the addresses of the groups that this node holds, and of no others. It acts
//! at once when the loop publishes a change and when the kernel announces one, and every few
//! seconds in case an announcement was missed, in a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::alerts::Alert;
use super::inbox::Notes;
use super::looks::{Cause, LEAST, Looks, found_how};
use crate::config::{GroupSetting, Settings};
use crate::kernel::carry::CarryError;
use crate::kernel::{addresses, carry};
use crate::plan::{Primaries, parts_of};
use crate::types::GroupName;

/// Time between two rounds while nothing changes.
const EVERY: Duration = Duration::from_secs(5);
/// Time limit of one round, of which nft may take 10 s.
const LIMIT: Duration = Duration::from_secs(15);

/// Which groups this host must carry (true) and must not carry (false). It stays as it is for
/// groups that are missing here.
pub(super) type MustCarry = BTreeMap<GroupName, bool>;

#[derive(Debug)]
struct HostSide {
    settings: Settings,
    /// The primary address of the forwarding interface, which identifies the interface.
    address: Ipv4Addr,
    /// The primary addresses of all interfaces.
    primaries: BTreeSet<Ipv4Addr>,
    notes: Notes,
}

/// The running task, if there is one.
#[derive(Debug)]
pub(super) struct Carrier(Option<JoinHandle<()>>);

/// Starts the task on the current runtime, if a group has or had an address to carry. When the loop
/// drops the sender, the task applies the last value and ends. `address` is the primary address of
/// the forwarding interface, and `primaries` are those of all interfaces.
pub(super) fn start(
    settings: &Settings,
    address: Ipv4Addr,
    primaries: &BTreeSet<Ipv4Addr>,
    notes: &Notes,
) -> (Option<watch::Sender<MustCarry>>, Carrier) {
    let carries = |group: &GroupSetting| !parts_of(group, "").is_empty();
    if !settings.groups.iter().any(carries) && !carry::has_record(&settings.state_dir) {
        return (None, Carrier(None));
    }
    let (primaries, notes) = (primaries.clone(), notes.clone());
    let alert = Alert::new("local", &notes);
    let host = HostSide { settings: settings.clone(), address, primaries, notes };
    let (sender, must_carry) = watch::channel(MustCarry::new());
    let task = tokio::spawn(keep(host, must_carry, alert));
    (Some(sender), Carrier(Some(task)))
}

impl Carrier {
    /// Waits until the task has applied the last value. Call it after the loop has ended.
    pub(super) async fn finish(self) {
        let Some(task) = self.0 else { return };
        if timeout(LIMIT, task).await.is_err() {
            tracing::error!("addresses of groups that were handed over may still be on this host");
        }
    }
}

async fn keep(host: HostSide, mut must_carry: watch::Receiver<MustCarry>, mut alert: Alert) {
    let mut looks = Looks::new(EVERY, LEAST);
    // What the host was made to carry last, without an error.
    let mut applied = None;
    loop {
        let (last, cause) = tokio::select! {
            changed = must_carry.changed() => (changed.is_err(), None),
            cause = looks.next() => (false, Some(cause)),
        };
        let due = must_carry.borrow_and_update().clone();
        // What changes because of a new duty, or because an earlier round failed, is no drift.
        let cause = cause.filter(|_| applied.as_ref() == Some(&due));
        let (is_applied, text) = host.round(&due, cause).await;
        applied = is_applied.then_some(due);
        alert.set(text).await;
        if last {
            return;
        }
    }
}

impl HostSide {
    /// One round, by a change of `due` or, if there is a cause, against drift. Returns whether the
    /// host carries what follows from `due`, and the alert's text if anything is wrong.
    async fn round(&self, due: &MustCarry, cause: Option<Cause>) -> (bool, Option<String>) {
        let (is_applied, error) = match timeout(LIMIT, self.reconcile(due, cause)).await {
            Ok(Ok(errors)) if errors.is_empty() => return (true, None),
            Ok(Ok(errors)) => {
                // natha leaves a stray address alone.
                let is_applied = errors.iter().all(|e| matches!(e, CarryError::Stray { .. }));
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                (is_applied, texts.join("; "))
            }
            Ok(Err(error)) => (false, format!("{error:#}")),
            Err(_) => (false, format!("no result within {}", humantime::format_duration(LIMIT))),
        };
        let text = format!("cannot carry or remove addresses of groups on this host: {error}");
        (is_applied, Some(text))
    }

    async fn reconcile(
        &self,
        due: &MustCarry,
        cause: Option<Cause>,
    ) -> anyhow::Result<Vec<CarryError>> {
        let outcome = carry(&self.settings, self.address, &self.primaries, due).await?;
        for change in &outcome.changes {
            let Some(cause) = cause else {
                tracing::info!("{change}");
                continue;
            };
            let age = cause.age();
            self.notes.drift(format!("{change}, {}", found_how(age)), age).await;
        }
        Ok(outcome.errors)
    }
}

/// Makes the host carry what follows from `due`, once. `address` is the primary address of the
/// forwarding interface, and `primaries` are those of all interfaces: each identifies its
/// interface.
pub(super) async fn carry(
    settings: &Settings,
    address: Ipv4Addr,
    primaries: &BTreeSet<Ipv4Addr>,
    due: &MustCarry,
) -> anyhow::Result<carry::CarryOutcome> {
    let own = addresses::read().await?;
    let by_link: Primaries = own
        .iter()
        .filter(|own| primaries.contains(&own.address))
        .map(|own| (own.link.clone(), own.address))
        .collect();
    let link = own.into_iter().find(|own| own.address == address);
    let link = link.ok_or_else(|| anyhow!("no interface has {address}"))?.link;
    Ok(carry::reconcile(&settings.state_dir, &settings.groups, due, &link, &by_link).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Local, ResourceSetting};
    use crate::daemon::inbox::{self, Note};

    #[test]
    fn what_a_regular_check_finds_missing_is_an_event_and_a_new_duty_is_none() {
        let in_own_network = async || {
            let flags = nix::sched::CloneFlags::CLONE_NEWNET;
            nix::sched::unshare(flags).expect("run the tests as root");
            let state = tempfile::tempdir().unwrap();
            addresses::add("lo", Ipv4Addr::LOCALHOST).await.unwrap();
            let (name, vip): (GroupName, _) = ("g".parse().unwrap(), Ipv4Addr::new(10, 0, 9, 9));
            let plain =
                GroupSetting::of_tables(name.clone(), None, vec![], ipnet::Ipv4Net::default());
            let resources = vec![ResourceSetting::Vip { address: vip, tables: vec![] }];
            let settings = Settings {
                groups: vec![GroupSetting { resources, local: Local::Lo, ..plain }],
                state_dir: state.path().to_owned(),
                ..Settings::default()
            };
            let (notes, mut inbox) = inbox::channel().unwrap();
            let primaries = BTreeSet::new();
            let host = HostSide { settings, address: Ipv4Addr::LOCALHOST, primaries, notes };
            let due = [(name, true)].into();
            assert_eq!(host.round(&due, None).await, (true, None));
            assert!(inbox.take().is_none());
            assert!(addresses::remove("lo", vip).await.unwrap());
            assert_eq!(host.round(&due, Some(Cause::Round)).await, (true, None));
            let Some(Note::Event(event)) = inbox.take() else { panic!("no event") };
            assert_eq!(event.text, "10.0.9.9 on lo added, found by a regular check");
            assert_eq!(host.round(&due, Some(Cause::Round)).await, (true, None));
            assert!(inbox.take().is_none(), "nothing is left to repair");
        };
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(in_own_network());
    }
}
