//! The checks of this host that run for as long as the monitor does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::fitness::FitnessBoard;
use crate::cloud::Ec2;
use crate::config::Settings;
use crate::kernel::forwarding::{ForwardingError, check_forwarding, reassert};
use crate::kernel::sysctl;
use crate::plan::SysctlKey;
use crate::types::{Fault, NetworkInterfaceId};

/// Time between two looks at EC2's source/dest check.
const SOURCE_DEST_EVERY: Duration = Duration::from_mins(1);
/// Time between two looks at `ip_forward`: one read of a file.
const FORWARD_EVERY: Duration = Duration::from_secs(5);
/// Every how many looks at `ip_forward` the whole plan is compared, which runs nft.
const WHOLE_EVERY: u32 = 6;

/// Starts them on the current runtime.
pub(super) fn start(
    settings: &Settings,
    ec2: &Ec2,
    interface: &NetworkInterfaceId,
    board: &FitnessBoard,
) {
    tokio::spawn(source_dest_check(ec2.clone(), interface.clone(), board.clone()));
    tokio::spawn(forwarding(settings.state_dir.clone(), board.clone()));
}

/// With EC2's source/dest check on, the VPC drops everything this node forwards. Where that
/// cannot be read, nothing is known to be wrong.
async fn source_dest_check(ec2: Ec2, interface: NetworkInterfaceId, board: FitnessBoard) {
    let mut rounds = interval(SOURCE_DEST_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        match ec2.source_dest_check(&interface).await {
            Ok(on) => board.set(Fault::SourceDestCheck, on).await,
            Err(error) => tracing::debug!(%error, "the source/dest check could not be read"),
        }
    }
}

/// Looks whether this host still forwards. What has drifted from the plan of `natha setup` is
/// made right again; what cannot be made right makes this node unfit.
async fn forwarding(state_dir: PathBuf, board: FitnessBoard) {
    let mut rounds = interval(FORWARD_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_whole = 0;
    let mut told = false;
    loop {
        rounds.tick().await;
        let off = forward_is_off();
        if !off && until_whole > 0 {
            until_whole -= 1;
            continue;
        }
        until_whole = WHOLE_EVERY - 1;
        match look(&state_dir).await {
            Ok(works) => board.set(Fault::Forwarding, !works).await,
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

/// Whether this host forwards as planned, after what has drifted was made right again.
async fn look(state_dir: &Path) -> Result<bool, ForwardingError> {
    let drifted = check_forwarding(state_dir).await?;
    if drifted.is_empty() {
        return Ok(true);
    }
    for item in &drifted {
        tracing::warn!("drift: {item}");
    }
    match reassert(state_dir).await {
        Ok(changed) => tracing::warn!("{} drifted things were made right again", changed.len()),
        Err(error) => tracing::error!(%error, "what has drifted could not be made right"),
    }
    Ok(check_forwarding(state_dir).await?.is_empty())
}
