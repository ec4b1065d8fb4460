//! `petiole_request_duration_seconds`: by command and outcome.

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::server::{BOUNDS_US, Durations};

pub(super) fn encode(
    out: &mut DescriptorEncoder<'_>,
    durations: &Durations,
) -> Result<(), std::fmt::Error> {
    let help =
        "Time from a whole request to its answer, by command and by where the answer came from.";
    let unit = Some(&Unit::Seconds);
    let mut family =
        out.encode_descriptor("request_duration", help, unit, MetricType::Histogram)?;
    let bounds = BOUNDS_US.iter().map(|&us| us as f64 / 1e6);
    for (command, outcome, series) in durations.series() {
        let bounds = bounds.clone().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(series.buckets).collect();
        let labels = [("command", command), ("outcome", outcome.as_str())];
        family
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(
                series.sum_us as f64 / 1e6,
                series.count(),
                &buckets,
                None,
            )?;
    }
    Ok(())
}
