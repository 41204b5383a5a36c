//! The checks of this host that run for as long as the monitor does.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::fitness::FitnessBoard;
use crate::cloud::Ec2;
use crate::config::Settings;
use crate::types::{Fault, NetworkInterfaceId};

/// Time between two looks at EC2's source/dest check.
const SOURCE_DEST_EVERY: Duration = Duration::from_mins(1);

/// Starts them on the current runtime.
pub(super) fn start(
    _settings: &Settings,
    ec2: &Ec2,
    interface: &NetworkInterfaceId,
    board: &FitnessBoard,
) {
    tokio::spawn(source_dest_check(ec2.clone(), interface.clone(), board.clone()));
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
