//! The form of a metric: its name, labels, meaning and source.

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, as Prometheus has it.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// The unit of its values. `0 or 1` stands for no or yes.
    pub unit: &'static str,
    /// Where the value comes from.
    pub source: &'static str,
    /// What it means, in sentences.
    pub help: &'static str,
    /// Of a gauge: how old its value is, or how long it has not changed. An age has none itself.
    /// Each has some of the gauge's labels.
    pub ages: &'static [&'static Metric],
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It grows, and begins at 0 when its source starts again.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Measurements by size.
    Histogram,
}

impl Kind {
    /// Its name in Prometheus.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}
