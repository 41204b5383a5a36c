//! Keeps this host as `natha setup` left it. The kernel announces changes of the ruleset, of
//! interfaces, addresses and forwarding switches; natha then compares the host with its plan at
//! once and repairs what differs. A comparison at intervals finds what was not announced.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::FitnessBoard;
use crate::daemon::inbox::Notes;
use crate::daemon::looks::{Cause, LEAST, Looks, found_how};
use crate::kernel::forwarding::{
    ForwardingError, check_forwarding, check_plan, check_switches, reassert,
};
use crate::kernel::journal::JournalError;
use crate::kernel::sysctl;
use crate::plan::{Item, SysctlKey};
use crate::types::Fault;

/// Time between two reads of the sysctl `ip_forward`.
const EVERY: Duration = Duration::from_secs(5);
/// The whole plan is compared, which runs nft, with every n-th read of `ip_forward`.
const WHOLE_EVERY: u32 = 6;
/// How long a difference does not count while `natha setup` or `natha teardown` is running.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two comparisons of a host that is not a NAT.
const UPKEEP_EVERY: Duration = Duration::from_secs(30);

/// Keeps a host that is not a NAT as `natha setup` left it, if that was run. Drift alone does not
/// make the node unfit: the service check decides whether the service works.
pub(crate) async fn keep(state_dir: PathBuf, notes: Notes) {
    let mut looks = Looks::new(UPKEEP_EVERY, LEAST);
    loop {
        let cause = looks.next().await;
        let error = match check_plan(&state_dir).await {
            Ok(drifted) if drifted.is_empty() => continue,
            Ok(_) => match reassert(&state_dir).await {
                Ok(changed) => {
                    report_repair(&notes, &changed, cause).await;
                    continue;
                }
                Err(error) => Some(error),
            },
            Err(ForwardingError::NotSetUp) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = error.filter(|error| !is_being_changed(error)) {
            tracing::error!(%error, "cannot repair drift from the plan of `natha setup`");
        }
    }
}

/// Keeps a NAT as `natha setup` left it. If drift cannot be repaired and the host does not forward,
/// or if there is no plan for it, this node is unfit.
pub(crate) async fn watch_nat(state_dir: PathBuf, notes: Notes, board: FitnessBoard) {
    let mut looks = Looks::new(EVERY, LEAST);
    let mut keeper = Keeper::new(state_dir, notes);
    loop {
        let cause = looks.next().await;
        if let Some(forwards) = keeper.look(cause).await {
            board.set(Fault::Forwarding, !forwards).await;
        }
    }
}

/// The result of comparing this host with its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostCheck {
    /// This host forwards as planned.
    Works,
    /// It does not forward.
    Fails,
    /// It differs from the plan while `natha setup` or `natha teardown` is changing it.
    BeingChanged,
}

#[derive(Debug)]
struct Keeper {
    state_dir: PathBuf,
    notes: Notes,
    /// Reads of `ip_forward` until the whole plan is compared again.
    until_whole: u32,
    /// Since when `natha setup` or `natha teardown` has been changing the host.
    busy_since: Option<Instant>,
    /// Whether the error of the last comparison is in the log.
    logged: bool,
}

impl Keeper {
    const fn new(state_dir: PathBuf, notes: Notes) -> Self {
        Self { state_dir, notes, until_whole: 0, busy_since: None, logged: false }
    }

    /// Looks at the host. Returns whether it forwards; none if nothing new is known of that.
    async fn look(&mut self, cause: Cause) -> Option<bool> {
        let off = forward_is_off();
        match cause {
            Cause::Round if !off && self.until_whole > 0 => {
                self.until_whole -= 1;
                return None;
            }
            Cause::News { changed, .. } if !changed.ruleset && !off => {
                let drifted = check_switches(&self.state_dir);
                if drifted.await.is_ok_and(|drifted| drifted.is_empty()) {
                    return None;
                }
            }
            _ => {}
        }
        self.until_whole = WHOLE_EVERY - 1;
        let now = Instant::now();
        let patient = now - self.busy_since.unwrap_or(now) < PATIENCE;
        let found = self.compare(cause, patient).await;
        if !matches!(found, Ok(HostCheck::BeingChanged)) {
            self.busy_since = None;
        }
        match found {
            Ok(HostCheck::BeingChanged) => {
                self.busy_since.get_or_insert(now);
                self.until_whole = 0;
                // Nothing is forwarded while the switch is off, whatever turned it off.
                off.then_some(false)
            }
            Ok(found) => {
                self.logged = false;
                Some(found == HostCheck::Works)
            }
            Err(error) => {
                self.until_whole = 0;
                if !self.logged {
                    tracing::warn!(%error, "cannot check forwarding");
                    self.logged = true;
                }
                // A host that is not set up may forward, but it does not translate. Of any other
                // host one thing is certain: nothing is forwarded while the switch is off.
                Some(!off && !matches!(error, ForwardingError::NotSetUp))
            }
        }
    }

    /// Repairs drift, then checks whether this host forwards as planned.
    ///
    /// A running `natha setup` changes the host before it writes its plan to the journal. That is
    /// not drift and must not make this node unfit: with `patient`, such differences are left
    /// alone.
    async fn compare(&self, cause: Cause, patient: bool) -> Result<HostCheck, ForwardingError> {
        let drifted = check_plan(&self.state_dir).await?;
        if drifted.is_empty() {
            return Ok(HostCheck::Works);
        }
        match reassert(&self.state_dir).await {
            Ok(changed) => report_repair(&self.notes, &changed, cause).await,
            Err(error) if patient && is_being_changed(&error) => {
                tracing::info!("this host is being changed: {error}; checking again within 5 s");
                return Ok(HostCheck::BeingChanged);
            }
            Err(error) => {
                for item in &drifted {
                    tracing::warn!("drift: {item}");
                }
                tracing::error!(%error, "cannot repair drift");
            }
        }
        let works = check_forwarding(&self.state_dir).await?.is_empty();
        Ok(if works { HostCheck::Works } else { HostCheck::Fails })
    }
}

fn forward_is_off() -> bool {
    let key = SysctlKey::new("net/ipv4/ip_forward");
    matches!(sysctl::read(&key), Ok(Some(reading)) if reading.value == 0)
}

fn is_being_changed(error: &ForwardingError) -> bool {
    matches!(error, ForwardingError::Journal(JournalError::Busy { .. }))
}

/// Reports a repair, as one event.
async fn report_repair(notes: &Notes, changed: &[Item], cause: Cause) {
    let Some(text) = describe_repair(changed, cause.age()) else { return };
    notes.drift(text, cause.age()).await;
}

/// What was found and is now as planned, and how it came to light; none if nothing was changed.
/// `age`: how long ago the kernel announced a change, if it did.
fn describe_repair(changed: &[Item], age: Option<Duration>) -> Option<String> {
    let found: Vec<String> = changed.iter().map(ToString::to_string).collect();
    let (count, found, how) = (found.len(), found.join("; "), found_how(age));
    (count > 0).then(|| format!("repaired {count} differences from the plan, {how}: {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ItemState, Subject};

    fn item(key: &str) -> Item {
        let subject = Subject::Sysctl(SysctlKey::new(key));
        let (found, wanted) = (Some("0".to_owned()), "1".to_owned());
        Item { subject, found, wanted, standing: ItemState::Differs }
    }

    #[test]
    fn a_repair_is_one_event_with_all_that_was_found_and_how_it_came_to_light() {
        let changed = ["net/ipv4/ip_forward", "net/ipv4/conf/ens5/forwarding"].map(item);
        let text = describe_repair(&changed, Some(Duration::from_millis(12))).unwrap();
        assert_eq!(
            text,
            "repaired 2 differences from the plan, 12 ms after the kernel announced a change: \
             net.ipv4.ip_forward is 0, should be 1; net.ipv4.conf.ens5.forwarding is 0, should be 1"
        );
        let text = describe_repair(&changed[..1], None).unwrap();
        assert!(text.contains("found by a regular check: net.ipv4.ip_forward is 0"), "{text}");
        assert_eq!(describe_repair(&[], None), None);
    }
}
