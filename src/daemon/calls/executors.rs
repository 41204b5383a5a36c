//! Executes slow actions away from the loop, each with a time limit.
//!
//! Changes and reads have separate queues and limits, so that a flood of reads never delays a
//! change. Each action ends in exactly one note to the loop, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::stopped_peers::StoppedPeersFile;
use crate::cloud::{Clouds, Gate, Sent};
use crate::daemon::clock;
use crate::daemon::inbox::{Note, Notes};
use crate::failover::{ActionId, Outcome, Routes};
use crate::types::{
    Assignment, CloudFault, CloudFaultKind, InstanceId, Location, PowerReport, Resource,
    RouteTableId, RouteWrite, Time,
};

/// Changes that may wait. A cluster moves at most a few hundred tables at once.
const CHANGES_WAITING: usize = 1024;
/// Concurrent changes. EC2's token bucket for route writes holds fewer tokens than that.
const CHANGES_AT_ONCE: usize = 50;
/// Reads that may wait.
const READS_WAITING: usize = 256;
/// Concurrent reads.
const READS_AT_ONCE: usize = 16;
/// A read may take several calls, each with the API's time limit: its limit in units of that.
const READ_LIMITS: u32 = 3;
/// Writes of the stopped peers' file that may wait; each holds the whole content.
const KEEPING_WAITING: usize = 16;
/// The name of that write in counters and faults.
const KEEP: &str = "remember";
/// Time for the client's own work, in addition to the calls.
const SLACK: Duration = Duration::from_secs(1);

/// The calls behind the machine's actions. The only real implementation is [`Clouds`].
pub(crate) trait Cloud: Clone + Send + Sync + 'static {
    /// The routes of these tables; tables that do not exist are missing from the result.
    fn routes(
        &self,
        tables: &[RouteTableId],
    ) -> impl Future<Output = Result<BTreeMap<RouteTableId, Routes>, CloudFault>> + Send;

    /// Where these resources point, which must not be routes and must be of one kind.
    fn holders(
        &self,
        resources: &[Resource],
    ) -> impl Future<Output = Result<Vec<(Resource, Location)>, CloudFault>> + Send;

    /// The power state of a node.
    fn power(
        &self,
        node: &InstanceId,
    ) -> impl Future<Output = Result<PowerReport, CloudFault>> + Send;

    /// Sends one change through the gate.
    fn change(
        &self,
        change: &CloudChange,
        gate: &Gate,
    ) -> impl Future<Output = Result<Sent, CloudFault>> + Send;
}

#[derive(Debug, Clone)]
pub(crate) enum CloudChange {
    Route(RouteWrite),
    /// Assigns a resource that is not a route to a member.
    Assign(Assignment),
    Stop {
        node: InstanceId,
        force: bool,
    },
    Start {
        node: InstanceId,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum CloudRead {
    Routes(Vec<RouteTableId>),
    /// Where resources of one kind point that are not routes.
    Holders(Vec<Resource>),
    Power(InstanceId),
}

/// A change, and the time after which it must not be sent.
type ChangeJob = (ActionId, CloudChange, Time);
type ReadJob = (ActionId, CloudRead);

/// The stopped peers to save.
type KeepJob = (ActionId, BTreeSet<InstanceId>);

/// The loop's end of the queues. Handing over never waits.
#[derive(Debug, Clone)]
pub(crate) struct Executors {
    changes: mpsc::Sender<ChangeJob>,
    reads: mpsc::Sender<ReadJob>,
    keeping: mpsc::Sender<KeepJob>,
}

impl Executors {
    /// Starts the executors on the current runtime. `limit` is the API's time limit for one call.
    pub(crate) fn start<C: Cloud>(
        cloud: &C,
        stopped_peers: StoppedPeersFile,
        notes: &Notes,
        limit: Duration,
    ) -> Self {
        let (changes, mut changes_queue) = mpsc::channel::<ChangeJob>(CHANGES_WAITING);
        let (reads, mut reads_queue) = mpsc::channel::<ReadJob>(READS_WAITING);
        let (for_changes, for_reads) = (cloud.clone(), cloud.clone());
        let (notes_of_changes, notes_of_reads) = (notes.clone(), notes.clone());
        tokio::spawn(async move {
            let slots = Arc::new(Semaphore::new(CHANGES_AT_ONCE));
            while let Some((id, change, not_after)) = changes_queue.recv().await {
                let Ok(slot) = slots.clone().acquire_owned().await else { return };
                let (cloud, notes) = (for_changes.clone(), notes_of_changes.clone());
                tokio::spawn(async move {
                    let begun = clock::now();
                    let outcome = run_change(&cloud, &change, not_after, limit + SLACK).await;
                    drop(slot);
                    let took = clock::now().since(begun);
                    notes.send(Note::Done { id, call: change.name(), took, outcome }).await;
                });
            }
        });
        tokio::spawn(async move {
            let slots = Arc::new(Semaphore::new(READS_AT_ONCE));
            while let Some((id, read)) = reads_queue.recv().await {
                let Ok(slot) = slots.clone().acquire_owned().await else { return };
                let (cloud, notes) = (for_reads.clone(), notes_of_reads.clone());
                tokio::spawn(async move {
                    let begun = clock::now();
                    let outcome = run_read(&cloud, &read, limit * READ_LIMITS + SLACK).await;
                    drop(slot);
                    let took = clock::now().since(begun);
                    notes.send(Note::Done { id, call: read.name(), took, outcome }).await;
                });
            }
        });
        let keeping = start_keeping(stopped_peers, notes.clone());
        Self { changes, reads, keeping }
    }

    /// Queues a change. The error is its outcome if the queue is full.
    pub(crate) fn change(
        &self,
        id: ActionId,
        change: CloudChange,
        not_after: Time,
    ) -> Result<(), Outcome> {
        let call = change.name();
        let sent = self.changes.try_send((id, change, not_after));
        sent.map_err(|_| Outcome::Written { result: Err(overloaded(call)) })
    }

    /// Queues a write of the stopped peers' file. The error is its outcome if the queue is full.
    pub(crate) fn keep(&self, id: ActionId, stopped: BTreeSet<InstanceId>) -> Result<(), Outcome> {
        let sent = self.keeping.try_send((id, stopped));
        sent.map_err(|_| Outcome::Written { result: Err(overloaded(KEEP)) })
    }

    /// Queues a read. The error is its outcome if the queue is full.
    pub(crate) fn read(&self, id: ActionId, read: CloudRead) -> Result<(), Outcome> {
        self.reads.try_send((id, read)).map_err(|refused| {
            let (_, read) = refused.into_inner();
            read.failed(overloaded(read.name()))
        })
    }
}

impl CloudChange {
    /// The API call's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Route(write) => match write.verb {
                crate::types::RouteWriteVerb::Replace => "ReplaceRoute",
                crate::types::RouteWriteVerb::Create => "CreateRoute",
            },
            Self::Assign(assignment) => assignment.resource.kind().write_call(),
            Self::Stop { .. } => "StopInstances",
            Self::Start { .. } => "StartInstances",
        }
    }
}

impl CloudRead {
    /// The API call's name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Routes(_) => "DescribeRouteTables",
            // A read of nothing makes no call; its name is never shown.
            Self::Holders(resources) => {
                resources.first().map_or("DescribeAddresses", |one| one.kind().read_call())
            }
            Self::Power(_) => "DescribeInstances",
        }
    }

    /// The outcome of this read if it failed.
    fn failed(&self, fault: CloudFault) -> Outcome {
        match self {
            Self::Routes(_) => Outcome::Routes { result: Err(fault) },
            Self::Holders(_) => Outcome::Holders { result: Err(fault) },
            Self::Power(_) => Outcome::Power { result: Err(fault) },
        }
    }
}

/// Saves one after the other, so that the latest content is the one that stays.
fn start_keeping(stopped_peers: StoppedPeersFile, notes: Notes) -> mpsc::Sender<KeepJob> {
    let (keeping, mut queue) = mpsc::channel::<KeepJob>(KEEPING_WAITING);
    tokio::spawn(async move {
        while let Some((id, stopped)) = queue.recv().await {
            let (stopped_peers, begun) = (stopped_peers.clone(), clock::now());
            let saved = tokio::task::spawn_blocking(move || stopped_peers.save(&stopped)).await;
            let saved = saved.map_err(anyhow::Error::new).flatten();
            let result = saved.map_err(|error| CloudFault {
                kind: CloudFaultKind::Other,
                call: KEEP.to_owned(),
                message: format!("{error:#}"),
            });
            let (took, outcome) = (clock::now().since(begun), Outcome::Written { result });
            notes.send(Note::Done { id, call: KEEP, took, outcome }).await;
        }
    });
    keeping
}

async fn run_change<C: Cloud>(
    cloud: &C,
    change: &CloudChange,
    not_after: Time,
    limit: Duration,
) -> Outcome {
    let in_time = move |waited| clock::now() <= not_after + waited;
    if !in_time(Duration::ZERO) {
        return Outcome::Expired;
    }
    let gate = Gate::new(in_time);
    match within(limit, change.name(), cloud.change(change, &gate)).await {
        Ok(Sent::Accepted) => Outcome::Written { result: Ok(()) },
        Ok(Sent::Expired) => Outcome::Expired,
        Err(fault) => Outcome::Written { result: Err(fault) },
    }
}

async fn run_read<C: Cloud>(cloud: &C, read: &CloudRead, limit: Duration) -> Outcome {
    let work = async {
        match read {
            CloudRead::Routes(tables) => Outcome::Routes { result: cloud.routes(tables).await },
            CloudRead::Holders(resources) => {
                Outcome::Holders { result: cloud.holders(resources).await }
            }
            CloudRead::Power(node) => Outcome::Power { result: cloud.power(node).await },
        }
    };
    match timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => read.failed(overdue(read.name(), limit)),
    }
}

/// Awaits a call for at most `limit`. The outcome of one that takes longer is unknown.
pub(crate) async fn within<T>(
    limit: Duration,
    call: &str,
    answer: impl Future<Output = Result<T, CloudFault>>,
) -> Result<T, CloudFault> {
    timeout(limit, answer).await.unwrap_or_else(|_| Err(overdue(call, limit)))
}

fn overloaded(call: &str) -> CloudFault {
    CloudFault {
        kind: CloudFaultKind::Unreachable,
        call: call.to_owned(),
        message: "too many calls are waiting already; nothing was sent".to_owned(),
    }
}

fn overdue(call: &str, limit: Duration) -> CloudFault {
    CloudFault {
        kind: CloudFaultKind::Unknown,
        call: call.to_owned(),
        message: format!("no answer within {}", humantime::format_duration(limit)),
    }
}

impl Cloud for Clouds {
    async fn routes(
        &self,
        tables: &[RouteTableId],
    ) -> Result<BTreeMap<RouteTableId, Routes>, CloudFault> {
        let found = self.ec2().route_tables(tables).await?;
        Ok(found.into_iter().map(|table| (table.id, Routes(table.routes))).collect())
    }

    async fn holders(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(Resource, Location)>, CloudFault> {
        Self::holders(self, resources).await
    }

    async fn power(&self, node: &InstanceId) -> Result<PowerReport, CloudFault> {
        self.ec2().power(node).await
    }

    async fn change(&self, change: &CloudChange, gate: &Gate) -> Result<Sent, CloudFault> {
        match change {
            CloudChange::Route(write) => self.ec2().write_route(write, gate).await,
            CloudChange::Assign(assignment) => self.assign(assignment, gate).await,
            CloudChange::Stop { node, force } => self.ec2().stop(node, *force, gate).await,
            CloudChange::Start { node } => self.ec2().start(node, gate).await,
        }
    }
}

#[cfg(test)]
#[path = "executors_tests.rs"]
mod tests;
