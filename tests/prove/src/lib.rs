//! natha's decision core, checked: every schedule of a small world, and many of a large one.
//!
//! What runs here is the code that ships, `natha::failover` and `natha::flows`, compiled without
//! its host part.

pub mod bugs;
#[cfg(feature = "sim")]
pub mod flows;
pub mod model;
#[cfg(feature = "sim")]
pub mod sim;

/// As many threads as there are processors.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Seeds as people write them: the first one, and the one after the last.
#[cfg(feature = "sim")]
fn seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let ends = text.split_once("..").map(|(first, last)| (first.parse(), last.parse()));
    match ends {
        Some((Ok(first), Ok(last))) if first < last => Ok(first..last),
        _ => Err("it must be FIRST..LAST, such as 0..2000; LAST is left out".to_owned()),
    }
}
