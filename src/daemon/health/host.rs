//! The checks of this host that run for as long as the monitor does.

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

/// Time between two looks at EC2's source/dest check while it is on or not known.
const SOURCE_DEST_FAULTY_EVERY: Duration = Duration::from_secs(5);
/// How many of these looks are left out once it is off: three a minute are enough.
const SOURCE_DEST_SKIPPED: u32 = 3;
/// Time between two looks at `ip_forward`: one read of a file.
const FORWARD_EVERY: Duration = Duration::from_secs(5);
/// Every how many looks at `ip_forward` the whole plan is compared, which runs nft.
const WHOLE_EVERY: u32 = 6;

/// For how many looks in a row, 5 s apart, another run that is changing this host is waited for
/// before what is found counts.
const PATIENCE: u32 = 6;

/// Time between two looks at the plan of a host that is no NAT.
const UPKEEP_EVERY: Duration = Duration::from_secs(30);

/// Starts those that matter for what this node serves on the current runtime: a node that is no NAT
/// need not forward, and one that only takes packets to its own addresses needs no source/dest
/// check turned off.
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

/// With EC2's source/dest check on, the VPC drops everything this node forwards. It is turned off
/// again where `natha setup` is to see to it; where it stays on, this node is unfit. Where it
/// cannot be read, nothing is known to be wrong.
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
            Err(error) => tracing::debug!(%error, "the source/dest check could not be read"),
        }
    }
}

/// Turns the check off again. Says whether EC2 then shows it as off.
async fn turned_off(ec2: &Ec2, interface: &NetworkInterfaceId) -> bool {
    tracing::warn!("drift: the source/dest check of {interface} is on; turning it off");
    if let Err(error) = ec2.set_source_dest_check(interface, false).await {
        tracing::error!(%error, "the source/dest check could not be turned off");
        return false;
    }
    matches!(ec2.source_dest_check(interface).await, Ok(false))
}

/// Keeps a host that is no NAT as `natha setup` left it, where that was run. What has drifted there
/// is no reason to give a group away: whether the service works is for its check to tell.
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
            tracing::error!(%error, "this host cannot be kept as `natha setup` left it");
        }
    }
}

/// What a look at this host found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostCheck {
    /// It forwards as planned.
    Works,
    /// It does not.
    Fails,
    /// It is not as planned, while `natha setup` or `natha teardown` is changing it.
    BeingChanged,
}

/// Looks whether this host still forwards. What has drifted from the plan of `natha setup` is
/// made right again; what cannot be made right makes this node unfit.
async fn forwarding(state_dir: PathBuf, board: FitnessBoard) {
    let mut rounds = interval(FORWARD_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut until_whole, mut waited) = (0, 0);
    let mut told = false;
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
                // Nothing is forwarded then, whoever is at work.
                if off {
                    board.set(Fault::Forwarding, true).await;
                }
            }
            Ok(found) => {
                waited = 0;
                board.set(Fault::Forwarding, found == HostCheck::Fails).await;
            }
            Err(error) => {
                // Without a plan there is one thing that is certain: nothing is forwarded while
                // the kernel's switch is off.
                board.set(Fault::Forwarding, off).await;
                if !told {
                    tracing::warn!(%error, "forwarding cannot be checked");
                    told = true;
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

/// Whether this host forwards as planned, after what has drifted was made right again.
///
/// A setup under way has changed things before it writes its plan down: that is no drift, and no
/// reason to give this node's groups away. A patient look leaves it alone.
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
                tracing::warn!("{} drifted things were made right again", changed.len());
            }
        }
        Err(error) if patient && is_being_changed(&error) => {
            tracing::info!("this host is being changed: {error}; it is looked at again in 5 s");
            return Ok(HostCheck::BeingChanged);
        }
        Err(error) => {
            for item in &drifted {
                tracing::warn!("drift: {item}");
            }
            tracing::error!(%error, "what has drifted could not be made right");
        }
    }
    let works = check_forwarding(state_dir).await?.is_empty();
    Ok(if works { HostCheck::Works } else { HostCheck::Fails })
}
