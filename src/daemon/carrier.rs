//! Keeps on this host the addresses of the groups that this node holds, and of no others. It acts
//! at once when the loop publishes a change and when the kernel announces one, and every few
//! seconds in case an announcement was missed, in a task of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::alerts::Alert;
use super::inbox::Notes;
use super::looks::{Cause, LEAST, Looks};
use crate::config::{GroupSetting, Settings};
use crate::kernel::{addresses, carry};
use crate::plan::parts_of;
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
    /// The first address of the forwarding interface, which identifies the interface.
    address: Ipv4Addr,
    notes: Notes,
}

/// The running task, if there is one.
#[derive(Debug)]
pub(super) struct Carrier(Option<JoinHandle<()>>);

/// Starts the task on the current runtime, if a group has or had an address to carry. When the loop
/// drops the sender, the task applies the last value and ends.
pub(super) fn start(
    settings: &Settings,
    address: Ipv4Addr,
    notes: &Notes,
) -> (Option<watch::Sender<MustCarry>>, Carrier) {
    let carries = |group: &GroupSetting| !parts_of(group, "").is_empty();
    if !settings.groups.iter().any(carries) && !carry::has_record(&settings.state_dir) {
        return (None, Carrier(None));
    }
    let host = HostSide { settings: settings.clone(), address, notes: notes.clone() };
    let (sender, must_carry) = watch::channel(MustCarry::new());
    let task = tokio::spawn(keep(host, must_carry, Alert::new("local", notes)));
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
    loop {
        let (last, cause) = tokio::select! {
            changed = must_carry.changed() => (changed.is_err(), None),
            cause = looks.next() => (false, Some(cause)),
        };
        // What changes because of a new duty is no drift.
        let cause = cause.filter(|_| must_carry.has_changed().is_ok_and(|changed| !changed));
        let due = must_carry.borrow_and_update().clone();
        alert.set(host.round(&due, cause).await).await;
        if last {
            return;
        }
    }
}

impl HostSide {
    /// One round, by a change of `due` or, if there is a cause, against drift. Returns the alert's
    /// text if anything failed.
    async fn round(&self, due: &MustCarry, cause: Option<Cause>) -> Option<String> {
        let error = match timeout(LIMIT, self.reconcile(due, cause)).await {
            Ok(Ok(errors)) if errors.is_empty() => return None,
            Ok(Ok(errors)) => errors.join("; "),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no result within {}", humantime::format_duration(LIMIT)),
        };
        Some(format!("cannot carry or remove addresses of groups on this host: {error}"))
    }

    async fn reconcile(
        &self,
        due: &MustCarry,
        cause: Option<Cause>,
    ) -> anyhow::Result<Vec<String>> {
        let outcome = carry(&self.settings, self.address, due).await?;
        for change in &outcome.changes {
            let Some(age) = cause.and_then(Cause::age) else {
                tracing::info!("{change}");
                continue;
            };
            let text =
                format!("{change}, {} ms after the kernel announced a change", age.as_millis());
            self.notes.drift(text, Some(age)).await;
        }
        Ok(outcome.errors.iter().map(ToString::to_string).collect())
    }
}

/// Makes the host carry what follows from `due`, once. `address` is the first address of the
/// forwarding interface, which identifies the interface.
pub(super) async fn carry(
    settings: &Settings,
    address: Ipv4Addr,
    due: &MustCarry,
) -> anyhow::Result<carry::CarryOutcome> {
    let own = addresses::read().await?;
    let link = own.into_iter().find(|own| own.address == address);
    let link = link.ok_or_else(|| anyhow!("no interface has {address}"))?.link;
    Ok(carry::reconcile(&settings.state_dir, &settings.groups, due, &link).await?)
}
