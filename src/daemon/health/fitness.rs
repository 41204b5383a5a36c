//! Collects the faults of this host and reports every change to the loop.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::daemon::inbox::Notes;
use crate::evidence::Proof;
use crate::failover::Input;
use crate::types::{Evidence, Fault, Fitness, Time};

/// Shared by all checks of this host.
#[derive(Debug, Clone)]
pub(crate) struct FitnessBoard {
    fitness: Arc<Mutex<Fitness>>,
    notes: Notes,
}

impl FitnessBoard {
    /// A board with `fitness`, which the loop knows already.
    pub(crate) fn new(notes: Notes, fitness: Fitness) -> Self {
        Self { fitness: Arc::new(Mutex::new(fitness)), notes }
    }

    /// Records whether a fault is present.
    pub(crate) async fn set(&self, fault: Fault, present: bool) {
        self.update(|fitness| put(&mut fitness.faults, fault, present)).await;
    }

    /// Records what is known about one kind of evidence.
    pub(crate) async fn prove(&self, evidence: Evidence, proof: Proof) {
        self.update(|fitness| {
            put(&mut fitness.faults, evidence.fault(), proof == Proof::Fails);
            put(&mut fitness.unproven, evidence, proof == Proof::Unproven);
        })
        .await;
    }

    /// Records that a probe of this kind was answered which was sent at `sent`.
    pub(crate) async fn answered(&self, evidence: Evidence, sent: Time) {
        self.notes.input(Input::Answered { evidence, sent }).await;
    }

    /// The lock is held until the loop has the change, so that two checks cannot overtake each
    /// other.
    async fn update(&self, change: impl FnOnce(&mut Fitness)) {
        let mut fitness = self.fitness.lock().await;
        let before = fitness.clone();
        change(&mut fitness);
        if *fitness != before {
            self.notes.input(Input::Fitness { fitness: fitness.clone() }).await;
        }
    }
}

fn put<T: Ord>(set: &mut BTreeSet<T>, item: T, present: bool) {
    if present {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}
