//! Jobs side by side: each is a simulation of its own, so that their order changes nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does every job on `threads` threads; the results are in the jobs' order.
///
/// # Panics
/// Where a job does.
pub fn side_by_side<J: Sync, R: Send>(
    jobs: &[J],
    threads: usize,
    run: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(jobs.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(place) else { return };
                    let result = run(job);
                    let mut results = results.lock().expect("no job panics with the lock held");
                    results.push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no job panics with the lock held");
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}
