//! Checks of this host: EC2's source/dest check, and the host's configuration against the plan of
//! `natha setup`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::FitnessBoard;
use crate::cloud::Ec2;
use crate::config::Settings;
use crate::kernel::forwarding::{ForwardingError, check_forwarding, check_plan, reassert};
use crate::kernel::journal::JournalError;
use crate::kernel::sysctl;
use crate::plan::SysctlKey;
use crate::types::{Fault, NetworkInterfaceId};

/// Time between two reads of EC2's source/dest check while it is on or unknown.
const SOURCE_DEST_FAULTY_EVERY: Duration = Duration::from_secs(5);
/// How many of these reads are skipped after one that shows it off: three reads a minute suffice.
const SOURCE_DEST_SKIPPED: u32 = 3;
/// Time between two reads of the sysctl `ip_forward`.
const FORWARD_EVERY: Duration = Duration::from_secs(5);
/// The whole plan is compared, which runs nft, with every n-th read of `ip_forward`.
const WHOLE_EVERY: u32 = 6;

/// How many checks in a row, 5 s apart, wait for a running `natha setup` or `natha teardown` before
/// a difference from the plan counts.
const PATIENCE: u32 = 6;

/// Time between two checks of a host that is not a NAT.
const UPKEEP_EVERY: Duration = Duration::from_secs(30);

/// Starts, on the current runtime, the checks that matter for what this node serves. A node that is
/// not a NAT need not forward. A node that only receives packets to its own addresses does not need
/// the source/dest check off.
pub(crate) fn start(
    settings: &Settings,
    ec2: &Ec2,
    interface: &NetworkInterfaceId,
    board: &FitnessBoard,
) {
    let is_ours = settings.host.source_dest_check;
    if settings.takes_foreign_packets() {
        tokio::spawn(source_dest_check(ec2.clone(), interface.clone(), is_ours, board.clone()));
    }
    if settings.is_nat() {
        tokio::spawn(forwarding(settings.state_dir.clone(), board.clone()));
    } else if settings.role().vips {
        tokio::spawn(upkeep(settings.state_dir.clone()));
    }
}

/// With EC2's source/dest check on, the VPC drops everything that this node forwards. If natha
/// manages the check (`is_ours`), it is turned off again; while it is on, this node is unfit. A
/// failed read changes nothing.
async fn source_dest_check(
    ec2: Ec2,
    interface: NetworkInterfaceId,
    is_ours: bool,
    board: FitnessBoard,
) {
    let mut rounds = interval(SOURCE_DEST_FAULTY_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut skip = 0;
    loop {
        rounds.tick().await;
        if skip > 0 {
            skip -= 1;
            continue;
        }
        match ec2.source_dest_check(&interface).await {
            Ok(on) => {
                let on = on && !(is_ours && turned_off(&ec2, &interface).await);
                board.set(Fault::SourceDestCheck, on).await;
                skip = if on { 0 } else { SOURCE_DEST_SKIPPED };
            }
            Err(error) => tracing::debug!(%error, "cannot read the source/dest check"),
        }
    }
}

/// Turns the check off again. Returns whether EC2 then shows it as off.
async fn turned_off(ec2: &Ec2, interface: &NetworkInterfaceId) -> bool {
    tracing::warn!("drift: the source/dest check of {interface} is on; turning it off");
    if let Err(error) = ec2.set_source_dest_check(interface, false).await {
        tracing::error!(%error, "cannot turn off the source/dest check");
        return false;
    }
    matches!(ec2.source_dest_check(interface).await, Ok(false))
}

/// Keeps a host that is not a NAT as `natha setup` left it, if that was run. Drift alone does not
/// make the node unfit: the service check decides whether the service works.
async fn upkeep(state_dir: PathBuf) {
    let mut rounds = interval(UPKEEP_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let error = match check_plan(&state_dir).await {
            Ok(drifted) if drifted.is_empty() => continue,
            Ok(drifted) => {
                for item in &drifted {
                    tracing::warn!("drift: {item}");
                }
                reassert(&state_dir).await.err()
            }
            Err(ForwardingError::NotSetUp) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = error.filter(|error| !is_being_changed(error)) {
            tracing::error!(%error, "cannot repair drift from the plan of `natha setup`");
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

/// Checks whether this host still forwards. Drift from the plan of `natha setup` is repaired; if
/// that fails and the host does not forward, this node is unfit.
async fn forwarding(state_dir: PathBuf, board: FitnessBoard) {
    let mut rounds = interval(FORWARD_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut until_whole, mut waited) = (0, 0);
    let mut logged = false;
    loop {
        rounds.tick().await;
        let off = forward_is_off();
        if !off && until_whole > 0 {
            until_whole -= 1;
            continue;
        }
        until_whole = WHOLE_EVERY - 1;
        match look(&state_dir, waited < PATIENCE).await {
            Ok(HostCheck::BeingChanged) => {
                (until_whole, waited) = (0, waited + 1);
                // Nothing is forwarded while the switch is off, whatever turned it off.
                if off {
                    board.set(Fault::Forwarding, true).await;
                }
            }
            Ok(found) => {
                waited = 0;
                board.set(Fault::Forwarding, found == HostCheck::Fails).await;
            }
            Err(error) => {
                // Without a plan, one thing is still certain: nothing is forwarded while the
                // kernel's switch is off.
                board.set(Fault::Forwarding, off).await;
                if !logged {
                    tracing::warn!(%error, "cannot check forwarding");
                    logged = true;
                }
            }
        }
    }
}

fn forward_is_off() -> bool {
    let key = SysctlKey::new("net/ipv4/ip_forward");
    matches!(sysctl::read(&key), Ok(Some(reading)) if reading.value == 0)
}

fn is_being_changed(error: &ForwardingError) -> bool {
    matches!(error, ForwardingError::Journal(JournalError::Busy { .. }))
}

/// Repairs drift, then checks whether this host forwards as planned.
///
/// A running `natha setup` changes the host before it writes its plan to the journal. That is not
/// drift and must not make this node unfit: with `patient`, such differences are left alone.
async fn look(state_dir: &Path, patient: bool) -> Result<HostCheck, ForwardingError> {
    let drifted = check_plan(state_dir).await?;
    if drifted.is_empty() {
        return Ok(HostCheck::Works);
    }
    match reassert(state_dir).await {
        Ok(changed) => {
            for item in &changed {
                tracing::warn!("drift: {item}");
            }
            if !changed.is_empty() {
                tracing::warn!("repaired {} differences from the plan", changed.len());
            }
        }
        Err(error) if patient && is_being_changed(&error) => {
            tracing::info!("this host is being changed: {error}; checking again in 5 s");
            return Ok(HostCheck::BeingChanged);
        }
        Err(error) => {
            for item in &drifted {
                tracing::warn!("drift: {item}");
            }
            tracing::error!(%error, "cannot repair drift");
        }
    }
    let works = check_forwarding(state_dir).await?.is_empty();
    Ok(if works { HostCheck::Works } else { HostCheck::Fails })
}
