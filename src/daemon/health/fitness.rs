//! Collects the faults of this host and reports every change to the loop.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::daemon::inbox::Notes;
use crate::failover::Input;
use crate::types::{Fault, Fitness};

/// Shared by all checks of this host.
#[derive(Debug, Clone)]
pub(crate) struct FitnessBoard {
    faults: Arc<Mutex<BTreeSet<Fault>>>,
    notes: Notes,
}

impl FitnessBoard {
    pub(crate) fn new(notes: Notes) -> Self {
        Self { faults: Arc::default(), notes }
    }

    /// Records whether a fault is present. The lock is held until the loop has the change, so that
    /// two checks cannot overtake each other.
    pub(crate) async fn set(&self, fault: Fault, present: bool) {
        let mut faults = self.faults.lock().await;
        let changed = if present { faults.insert(fault) } else { faults.remove(&fault) };
        if changed {
            let fitness = Fitness { faults: faults.clone(), ..Fitness::default() };
            self.notes.input(Input::Fitness { fitness }).await;
        }
    }
}
