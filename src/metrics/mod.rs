//! Metrics: the monitor's report and readings of its host, in Prometheus' text format and in
//! CloudWatch's embedded metric format. `docs/metrics.md` is the reference. Pure: readings in, text
//! out.

mod board;
mod catalogue;
mod declare;
mod embedded;
mod health;
mod host;
mod host_catalogue;
mod metric;
mod monitor;
mod page;
mod reference;
mod talkers;

use std::time::Duration;

pub use board::Board;
pub use embedded::Embedded;
pub use health::unready;
pub use host::{ConntrackReading, HostReading, LinkReading, Peak};
pub use metric::{Kind, Metric};
pub use page::{CONTENT_TYPE, Page};
pub use reference::reference;
pub use talkers::{HostUsage, ListingOfConnections, Talkers, TopTalkers, Totals};

use crate::status::Report;

/// What is known at one moment, each part with its age.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The report of the event loop.
    pub report: (&'a Report, Duration),
    /// The readings of the host.
    pub host: (&'a HostReading, Duration),
    /// The hosts with the most traffic; none while nothing is counted.
    pub talkers: Option<(&'a TopTalkers, Duration)>,
}

impl Moment<'_> {
    /// All metrics.
    #[must_use]
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        let (report, age) = self.report;
        page.put(&catalogue::REPORT_AGE, &[], age);
        monitor::add(&mut page, report);
        let (host, age) = self.host;
        host::add(&mut page, host, age);
        if let Some((talkers, age)) = self.talkers {
            host::add_talkers(&mut page, talkers, age);
        }
        page
    }
}

/// Every metric, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    catalogue::ALL.iter().chain(host_catalogue::ALL).copied()
}

#[cfg(test)]
mod tests;
