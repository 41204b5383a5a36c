//! The priority of the loop's thread, and locked memory, as far as the host allows.

use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};
use thread_priority::{
    Error, NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority,
    ThreadPriorityValue, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Above ordinary processes and below the kernel's own threads, which start at 50.
const PRIORITY: u8 = 20;

/// `MCL_ONFAULT` (mlock(2)), which the `nix` crate lacks: pages are locked when first used. Without
/// it, every thread's whole stack would be made resident.
const ON_FAULT: i32 = 4;

/// Gives the calling thread real-time priority, or the nice value -20 if the kernel refuses that.
/// A kernel with `CONFIG_RT_GROUP_SCHED`, such as Amazon Linux's, refuses it even to root in a
/// control group without a share of real time, and control groups of version 2 cannot have one.
///
/// # Errors
/// If the thread has no real-time priority: the reason, and what it has instead.
pub(crate) fn prioritise() -> Result<(), String> {
    real_time().map_err(|refused| instead(&refused, lowest_nice()))
}

fn real_time() -> Result<(), String> {
    let priority = ThreadPriority::Crossplatform(ThreadPriorityValue::try_from(PRIORITY)?);
    set(priority, ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo))
}

/// The nice value of this thread alone (setpriority(2), "C library/kernel differences").
fn lowest_nice() -> Result<(), String> {
    set(ThreadPriority::Max, ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other))
}

fn set(priority: ThreadPriority, policy: ThreadSchedulePolicy) -> Result<(), String> {
    let done = set_thread_priority_and_policy(thread_native_id(), priority, policy);
    done.map_err(|error| match error {
        Error::OS(code) => io::Error::from_raw_os_error(code).to_string(),
        other => other.to_string(),
    })
}

/// What the log says of a thread without real-time priority.
fn instead(refused: &str, nice: Result<(), String>) -> String {
    match nice {
        Ok(()) => format!("no real-time priority ({refused}): the event loop runs at nice -20"),
        Err(error) => format!(
            "no real-time priority ({refused}), and no nice value of -20 ({error}): on a busy \
             host, the event loop may run late"
        ),
    }
}

/// Keeps the process in memory: reading a page back from disk would delay a heartbeat.
pub(crate) fn stay_in_memory() -> Result<(), String> {
    let flags = MlockAllFlags::MCL_CURRENT
        | MlockAllFlags::MCL_FUTURE
        | MlockAllFlags::from_bits_retain(ON_FAULT);
    mlockall(flags).map_err(|error| format!("memory not locked: {error}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    /// The nice value of the calling thread (proc(5), `/proc/pid/stat`).
    fn nice() -> String {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(16).unwrap().to_owned()
    }

    #[test]
    fn a_nice_value_is_that_of_one_thread() {
        let before = nice();
        // The highest one, which every process may give itself.
        let highest = || {
            let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
            set(ThreadPriority::Min, policy).map(|()| nice())
        };
        assert_eq!(thread::spawn(highest).join().unwrap(), Ok("19".to_owned()));
        assert_eq!(nice(), before);
    }

    #[test]
    fn a_refusal_of_real_time_says_what_the_thread_has_instead() {
        let refused = "Operation not permitted";
        for (nice, end) in [
            (Ok(()), "(Operation not permitted): the event loop runs at nice -20"),
            (Err("Permission denied".to_owned()), "the event loop may run late"),
        ] {
            let text = instead(refused, nice);
            assert!(text.starts_with("no real-time priority") && text.ends_with(end), "{text}");
        }
    }
}
