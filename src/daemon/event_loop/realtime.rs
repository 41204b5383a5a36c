//! Real-time priority and locked memory for the loop's thread, as far as the host allows.

use nix::sys::mman::{MlockAllFlags, mlockall};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Above ordinary processes and below the kernel's own threads, which start at 50.
const PRIORITY: u8 = 20;

/// `MCL_ONFAULT` (mlock(2)), which the `nix` crate lacks: pages are locked when first used. Without
/// it, every thread's whole stack would be made resident.
const ON_FAULT: i32 = 4;

/// Gives the calling thread real-time priority.
pub(crate) fn prioritise() -> Result<(), String> {
    let value = ThreadPriorityValue::try_from(PRIORITY)?;
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(value),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    )
    .map_err(|error| format!("no real-time priority: {error:?}"))
}

/// Keeps the process in memory: reading a page back from disk would delay a heartbeat.
pub(crate) fn stay_in_memory() -> Result<(), String> {
    let flags = MlockAllFlags::MCL_CURRENT
        | MlockAllFlags::MCL_FUTURE
        | MlockAllFlags::from_bits_retain(ON_FAULT);
    mlockall(flags).map_err(|error| format!("memory not locked: {error}"))
}
