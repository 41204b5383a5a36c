//! Starts the checks of this host, and keeps EC2's source/dest checks off.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{FitnessBoard, drift, other_chains};
use crate::cloud::Ec2;
use crate::config::Settings;
use crate::daemon::clock;
use crate::daemon::inbox::Notes;
use crate::kernel::journal;
use crate::types::{CloudFaultKind, Fault, NetworkInterfaceId};

/// Time between two reads of EC2's source/dest check while it is on or unknown.
const SOURCE_DEST_FAULTY_EVERY: Duration = Duration::from_secs(5);
/// How many of these reads are skipped after one that shows it off: three reads a minute suffice.
const SOURCE_DEST_SKIPPED: u32 = 3;
/// Starts, on the current runtime, the checks that matter for what this node serves. A node that is
/// not a NAT need not forward. A node that only receives packets to its own addresses does not need
/// the source/dest check off.
pub(crate) fn start(
    settings: &Settings,
    ec2: &Ec2,
    interface: &NetworkInterfaceId,
    notes: &Notes,
    board: &FitnessBoard,
) {
    if settings.takes_foreign_packets() {
        let checks = SourceDest {
            ec2: ec2.clone(),
            primary: interface.clone(),
            state_dir: settings.state_dir.clone(),
            is_ours: settings.host.source_dest_check,
            notes: notes.clone(),
        };
        tokio::spawn(checks.watch(board.clone()));
    }
    if settings.is_nat() {
        tokio::spawn(drift::watch_nat(settings.state_dir.clone(), notes.clone(), board.clone()));
        tokio::spawn(other_chains::watch(settings.state_dir.clone()));
    } else if settings.role().vips {
        tokio::spawn(drift::keep(settings.state_dir.clone(), notes.clone()));
    }
}

/// With EC2's source/dest check on, the VPC drops everything that this node forwards.
struct SourceDest {
    ec2: Ec2,
    /// The interface that the cluster's routes lead to.
    primary: NetworkInterfaceId,
    state_dir: PathBuf,
    /// Whether natha manages the check and turns it off again.
    is_ours: bool,
    notes: Notes,
}

impl SourceDest {
    /// While the check of one interface is on, this node is unfit. A failed read changes nothing.
    async fn watch(self, board: FitnessBoard) {
        let mut rounds = interval(SOURCE_DEST_FAULTY_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut skip = 0;
        loop {
            rounds.tick().await;
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if let Some(on) = self.any_on().await {
                board.set(Fault::SourceDestCheck, on).await;
                skip = if on { 0 } else { SOURCE_DEST_SKIPPED };
            }
        }
    }

    /// Whether a check is on and cannot be turned off; none if a read failed and the others show
    /// theirs as off.
    async fn any_on(&self) -> Option<bool> {
        let mut found = Some(false);
        for interface in forwarding_interfaces(&self.primary, &self.state_dir) {
            match self.ec2.source_dest_check(&interface).await {
                Ok(true) if !(self.is_ours && self.turned_off(&interface).await) => {
                    return Some(true);
                }
                Ok(_) => {}
                // It was detached since `natha setup`.
                Err(error)
                    if error.kind == CloudFaultKind::NotFound && interface != self.primary => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot read the source/dest check of {interface}");
                    found = None;
                }
            }
        }
        found
    }

    /// Turns the check off again. Returns whether EC2 then shows it as off.
    async fn turned_off(&self, interface: &NetworkInterfaceId) -> bool {
        let begun = clock::now();
        if let Err(error) = self.ec2.set_source_dest_check(interface, false).await {
            tracing::error!(%error, "drift: cannot turn off the source/dest check of {interface}");
            return false;
        }
        let off = matches!(self.ec2.source_dest_check(interface).await, Ok(false));
        if off {
            let text = format!("the source/dest check of {interface} was on; it is off again");
            self.notes.drift(text, Some(clock::now().since(begun))).await;
        }
        off
    }
}

/// The interface that routes lead to, and those that `natha setup` found to forward with it.
fn forwarding_interfaces(
    primary: &NetworkInterfaceId,
    state_dir: &Path,
) -> BTreeSet<NetworkInterfaceId> {
    // Without a plan, `drift` reports the fault.
    let plan = journal::last_plan(state_dir).ok().flatten();
    let planned = plan.into_iter().flat_map(|plan| plan.unchecked).map(|one| one.interface);
    planned.chain([primary.clone()]).collect()
}
