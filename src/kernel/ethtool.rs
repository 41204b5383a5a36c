//! What the driver of a network interface says of it: its statistics, as `ethtool -S` prints them,
//! and its receive ring.

use std::time::Duration;

use below_ethtool::{Ethtool, EthtoolReadable};

use super::run::{Program, RunError};

/// Time limit of the `ethtool` program, which asks the driver.
const LIMIT: Duration = Duration::from_secs(5);

/// The driver's counters by name; empty if the interface is missing, or its driver keeps none. It
/// needs no privilege. The driver may ask the device, which takes up to some milliseconds.
pub(crate) fn statistics(link: &str) -> Vec<(String, u64)> {
    match Ethtool::new(link).and_then(|socket| socket.stats()) {
        Ok(statistics) => statistics,
        // The crate's error does not say whether the driver has statistics at all.
        Err(error) => {
            tracing::trace!(link, %error, "no driver statistics");
            Vec::new()
        }
    }
}

/// A receive ring, in descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingSize {
    pub(crate) size: u32,
    pub(crate) most: u32,
}

/// The receive ring of an interface, by the `ethtool` program; none if what it prints has none.
///
/// # Errors
/// If the program is missing or fails, as for a driver without rings.
pub(crate) async fn receive_ring(link: &str) -> Result<Option<RingSize>, RunError> {
    let program = Program::find("ethtool", "ethtool")?;
    let printed = program.run(&["-g", link], b"", LIMIT).await?;
    Ok(parse_ring(&String::from_utf8_lossy(&printed)))
}

/// The first line `RX:` of `ethtool -g` is the largest size, the second the present one.
fn parse_ring(printed: &str) -> Option<RingSize> {
    let mut sizes = printed.lines().filter_map(|line| line.strip_prefix("RX:"));
    let mut next = || sizes.next()?.trim().parse().ok();
    let (most, size) = (next()?, next()?);
    Some(RingSize { size, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_missing_has_no_statistics() {
        assert_eq!(statistics("natha-missing0"), []);
    }

    #[test]
    fn a_ring_is_read_from_what_ethtool_prints() {
        let printed = "Ring parameters for ens5:\nPre-set maximums:\nRX:\t\t\t8192\n\
                       RX Mini:\t\tn/a\nRX Jumbo:\t\tn/a\nTX:\t\t\t1024\n\
                       Current hardware settings:\nRX:\t\t\t1024\nRX Mini:\t\tn/a\nTX:\t\t\t1024\n";
        assert_eq!(parse_ring(printed), Some(RingSize { size: 1024, most: 8192 }));
        assert_eq!(parse_ring("Ring parameters for lo:\nRX:\t\tn/a\nRX:\t\tn/a\n"), None);
        assert_eq!(parse_ring(""), None);
    }
}
