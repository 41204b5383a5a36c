//! The monitor: runs the decisions of [`crate::failover`] against the real world.
//!
//! One thread, the [event loop](event_loop), owns the machine and the peers' sockets. It waits for
//! nothing but its next deadline or the next arrival. Everything slow runs around it on a small
//! runtime and reaches it through one bounded inbox; it hands work over through bounded queues and
//! never waits for room in them.
//!
//! - `start`: reads the settings, finds the cluster, starts everything, and ends it.
//! - `event_loop`: the loop's thread, its recording, and what it logs.
//! - `peers`: heartbeats and ICMP echo.
//! - `calls`: the executors that call EC2 and Route 53.
//! - `discovery`: which members and groups the cluster has.
//! - `health`: whether this host can serve.
//! - `heard_peers`: which peers were heard, for the next run.
//! - `looks`: when to look at the host again: the kernel's news, and intervals.
//! - `carrier`: the addresses that this host must carry for its groups.
//! - `egress`: the translation to the egress IPs that are here.
//! - `egress_probes`: whether an egress IP has arrived.
//! - `published`: values that one task publishes for others.
//! - `relay`: the tunnel for copies of packets during planned moves.
//! - `resets`: which private hosts get a TCP reset for connections that were idle for too long.
//! - `flows`: the replication of connections.
//! - `exporter`: metrics and health by HTTP.
//! - `control_socket`: the socket for `natha status` and `natha handover`.
//! - `reload`: SIGHUP, which makes the monitor read its settings again.
//! - `history`: what is written down of it all, for `natha history`.
//! - `notices`: what people and programs get of it.
//! - `take`: one takeover or release without a monitor.
//! - `waiting`: what is logged while the cluster cannot be found.

mod alerts;
mod boot_memory;
mod calls;
mod carrier;
mod clock;
mod control_socket;
mod discovery;
mod egress;
mod egress_probes;
mod event_loop;
mod exporter;
mod flows;
mod health;
mod heard_peers;
mod history;
#[cfg(test)]
mod host_fixture;
mod inbox;
mod landings;
mod latch;
mod looks;
mod measure;
mod notices;
mod peers;
mod published;
mod relay;
mod reload;
mod resets;
mod single;
mod start;
mod take;
mod waiting;

pub(crate) use clock::wall_ms;
pub(crate) use discovery::{EgressOutlook, Outlook, outlook};
pub(crate) use health::allowances::parse as parse_allowances;
pub(crate) use history::files as history_files;
#[cfg(test)]
pub(crate) use measure::Change;
pub(crate) use measure::{
    Measurand, MeasureRequest, Plan, Sample, clean_up_when_stdin_ends, summaries,
};
pub(crate) use notices::ways;
pub(crate) use reload::run_again;
pub(crate) use start::{Ending, run};
pub(crate) use take::{
    AdoptReport, AdoptRequest, AdoptResult, AdoptStep, HostChange, ReleaseReport, StepResult,
    TakeReport, TakeRequest, TakeStep, adopt, release, retire, take,
};
