//! The classic text format of Prometheus, from OpenMetrics: what scrapers get that don't ask for
//! the newer one, and what `promtool check metrics` reads.
//!
//! The two differ little: in the classic one a counter's family carries the suffix of its samples,
//! and there are no units and no end mark.

/// What scrapers are told.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same metrics.
pub(super) fn text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Its family's name depends on the type, which comes next.
            help = rest.split_once(' ').map(|(_, help)| help);
            continue;
        }
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let help = help.take().unwrap_or_default();
            text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_carry_their_suffix_and_what_is_new_is_left_out() {
        let openmetrics = "# HELP a Hits.\n# TYPE a counter\na_total{x=\"y\"} 1\n# HELP b_bytes Size.\n\
                           # TYPE b_bytes gauge\n# UNIT b_bytes bytes\nb_bytes 2\n# EOF\n";
        let classic = "# HELP a_total Hits.\n# TYPE a_total counter\na_total{x=\"y\"} 1\n# HELP b_bytes Size.\n\
                       # TYPE b_bytes gauge\nb_bytes 2\n";
        assert_eq!(super::text(openmetrics), classic);
    }
}
