//! `petiole_memory_*`.

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{bytes, counter};
use crate::memory::Pressure;
use crate::server::Shared;

pub(super) fn encode(
    out: &mut DescriptorEncoder<'_>,
    shared: &Shared,
) -> Result<(), std::fmt::Error> {
    let report = shared.memory.report();
    if let Some(rss) = report.rss {
        bytes(out, "memory_resident", "Resident set size.", rss)?;
    }
    if let Some((limit, _)) = report.limit {
        let help = "Limit of memory.limit, the control group or the machine.";
        bytes(out, "memory_limit", help, limit)?;
    }
    let parts = report.parts;
    let help = "Where resident memory is.";
    let mut family =
        out.encode_descriptor("memory_part", help, Some(&Unit::Bytes), MetricType::Gauge)?;
    for (part, bytes) in [
        ("cache", parts.cache),
        ("buffers", parts.buffers),
        ("other", parts.other),
    ] {
        signed(bytes).encode(family.encode_family(&[("part", part)])?)?;
    }
    let help = "How tight memory is: 1 for its state.";
    let mut family = out.encode_descriptor("memory_pressure", help, None, MetricType::Gauge)?;
    for state in Pressure::ALL {
        let is_now = signed(u64::from(state == report.pressure));
        is_now.encode(family.encode_family(&[("state", state.as_str())])?)?;
    }
    let help = "Times that a state of memory was entered.";
    let counter_type = MetricType::Counter;
    let mut family = out.encode_descriptor("memory_pressure_changes", help, None, counter_type)?;
    for (state, times) in Pressure::ALL.into_iter().zip(report.entered) {
        ConstCounter::new(times).encode(family.encode_family(&[("state", state.as_str())])?)?;
    }
    let help = "Objects alive, by kind.";
    let mut family = out.encode_descriptor("memory_objects", help, None, MetricType::Gauge)?;
    for object in &report.objects {
        let live = signed(object.live as u64);
        live.encode(family.encode_family(&[("kind", object.kind.as_str())])?)?;
    }
    let help = "Age of the oldest object alive, by kind.";
    let unit = Some(&Unit::Seconds);
    let mut family = out.encode_descriptor("memory_oldest", help, unit, MetricType::Gauge)?;
    for object in &report.objects {
        let age = ConstGauge::new(object.oldest.map_or(0.0, |age| age.as_secs_f64()));
        age.encode(family.encode_family(&[("kind", object.kind.as_str())])?)?;
    }
    let budget = report.budget;
    let help = "What large messages may have at one time.";
    bytes(out, "memory_budget", help, budget.total)?;
    let help = "What large messages have.";
    bytes(out, "memory_budget_used", help, budget.used)?;
    let help = "Large messages that waited for memory.";
    counter(out, "memory_budget_waits", help, budget.waited)?;
    let help = "Large messages refused for want of memory.";
    counter(out, "memory_budget_refusals", help, budget.refused)?;
    let help = "What grows steadily: 1 for each suspected leak.";
    let mut family = out.encode_descriptor("memory_leak", help, None, MetricType::Gauge)?;
    for kind in report.kinds() {
        let leaks = signed(u64::from(report.leaks.iter().any(|l| l.kind == kind)));
        leaks.encode(family.encode_family(&[("kind", kind)])?)?;
    }
    Ok(())
}

fn signed(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
