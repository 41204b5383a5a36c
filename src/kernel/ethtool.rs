//! The statistics that the driver of a network interface keeps, as `ethtool -S` prints them.

use below_ethtool::{Ethtool, EthtoolReadable};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_missing_has_no_statistics() {
        assert_eq!(statistics("natha-missing0"), []);
    }
}
