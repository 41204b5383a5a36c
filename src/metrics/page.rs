//! A page of metrics: the values of one moment, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::metric::{Kind, Metric};
use crate::status::Histogram;

/// The content type of a page.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The values of one moment.
#[derive(Debug, Default)]
pub struct Page(BTreeMap<&'static str, Family>);

/// A metric and its values.
#[derive(Debug)]
struct Family {
    metric: &'static Metric,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Count(u64),
    Number(f64),
    Measurements(Histogram),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Count(u64::from(is_so))
    }
}

/// In seconds.
impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Number(duration.as_secs_f64())
    }
}

impl From<&Histogram> for Value {
    fn from(measurements: &Histogram) -> Self {
        Self::Measurements(measurements.clone())
    }
}

impl Page {
    /// Adds a value. `labels` are the values of the metric's labels, in order.
    pub(super) fn put(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        value: impl Into<Value>,
    ) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let labels = metric.labels.iter().zip(labels);
        let labels = labels.map(|(name, value)| (*name, (*value).to_owned())).collect();
        let family = self.0.entry(metric.name);
        let family = family.or_insert_with(|| Family { metric, samples: Vec::new() });
        family.samples.push(Sample { labels, value: value.into() });
    }

    /// Adds a value where there is one.
    pub(super) fn put_if(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        value: Option<impl Into<Value>>,
    ) {
        if let Some(value) = value {
            self.put(metric, labels, value);
        }
    }

    /// The names of the metrics that have a value.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// The page in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// If a value cannot be written, which no value of natha's is.
    pub fn into_text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, samples } in self.0.values() {
            // The encoder appends it again.
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut described = encoder.encode_descriptor(name, metric.help, None, kind)?;
            for sample in samples {
                sample.value.encode(metric.kind, described.encode_family(&sample.labels)?)?;
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, kind: Kind, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match (self, kind) {
            (Self::Count(count), Kind::Counter) => {
                encoder.encode_counter::<NoLabelSet, _, u64>(count, None)
            }
            (Self::Number(number), Kind::Counter) => {
                encoder.encode_counter::<NoLabelSet, _, u64>(number, None)
            }
            (Self::Count(count), _) => encoder.encode_gauge(count),
            (Self::Number(number), _) => encoder.encode_gauge(number),
            (Self::Measurements(measured), _) => {
                let buckets = measured.buckets().map(|(end, count)| (end.as_secs_f64(), count));
                let buckets: Vec<(f64, u64)> = buckets.collect();
                let (sum, count) = (measured.sum().as_secs_f64(), measured.count());
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str]) -> Metric {
        Metric { name, kind, labels, unit: "", source: "", help: "What it means.", ages: &[] }
    }

    static CALLS: Metric = metric("a_calls_total", Kind::Counter, &["call", "result"]);
    static AGE: Metric = metric("b_age_seconds", Kind::Gauge, &[]);
    static TOOK: Metric = metric("c_took_seconds", Kind::Histogram, &["call"]);

    #[test]
    fn a_page_has_each_metric_once_with_all_its_values() {
        let mut page = Page::default();
        let mut took = Histogram::default();
        took.observe(Duration::from_millis(1));
        took.observe(Duration::from_hours(1));
        page.put(&CALLS, &["Stop", "ok"], 7_u64);
        page.put(&AGE, &[], Duration::from_millis(1_500));
        page.put(&CALLS, &["a\"b\\c\nd", "ok"], true);
        page.put(&TOOK, &["Stop"], &took);
        page.put_if(&AGE, &[], None::<u64>);
        let text = page.into_text().unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("_bucket")).collect();
        assert_eq!(
            lines,
            [
                "# HELP a_calls_total What it means.",
                "# TYPE a_calls_total counter",
                "a_calls_total{call=\"Stop\",result=\"ok\"} 7",
                "a_calls_total{call=\"a\\\"b\\\\c\\nd\",result=\"ok\"} 1",
                "# HELP b_age_seconds What it means.",
                "# TYPE b_age_seconds gauge",
                "b_age_seconds 1.5",
                "# HELP c_took_seconds What it means.",
                "# TYPE c_took_seconds histogram",
                "c_took_seconds_sum{call=\"Stop\"} 3600.001",
                "c_took_seconds_count{call=\"Stop\"} 2",
            ]
        );
        let bucket = |end: &str| {
            let start = format!("c_took_seconds_bucket{{call=\"Stop\",le=\"{end}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
        };
        assert_eq!(bucket("0.001").as_deref(), Some("1"));
        assert_eq!(bucket("600").as_deref(), Some("1"), "buckets are cumulative");
        assert_eq!(bucket("+Inf").as_deref(), Some("2"));
    }
}
