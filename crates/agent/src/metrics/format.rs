//! The text format of Prometheus, version 0.0.4, from OpenMetrics 1.0.
//!
//! In: the page in OpenMetrics. Out: the same series in the text format, in which the name
//! of a metric is that of its samples: a counter's ends in `_total`, an info is a gauge that
//! ends in `_info`, and there are no units (prometheus.io, "Exposition formats").

use std::collections::BTreeMap;

/// Writes the page anew.
pub(super) fn prometheus(openmetrics: &str) -> String {
    let kinds: BTreeMap<&str, &str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let suffix = |name: &str| match kinds.get(name).copied() {
        Some("counter") => "_total",
        Some("info") => "_info",
        _ => "",
    };
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        let kind = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '));
        match (help, kind) {
            (Some((name, help)), _) => {
                text += &format!("# HELP {name}{} {help}\n", suffix(name));
            }
            (_, Some((name, kind))) => {
                let shown = if kind == "info" { "gauge" } else { kind };
                text += &format!("# TYPE {name}{} {shown}\n", suffix(name));
            }
            _ if line.starts_with("# UNIT ") || line == "# EOF" => {}
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_names_of_their_samples() {
        let openmetrics = "# HELP a Some.\n# TYPE a counter\na_total{b=\"c\"} 1\n\
                           # HELP build The version.\n# TYPE build info\nbuild_info{v=\"1\"} 1\n\
                           # HELP t_seconds Time.\n# TYPE t_seconds histogram\n\
                           # UNIT t_seconds seconds\nt_seconds_sum 0.0\n# EOF\n";
        assert_eq!(
            prometheus(openmetrics),
            "# HELP a_total Some.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n\
             # HELP build_info The version.\n# TYPE build_info gauge\nbuild_info{v=\"1\"} 1\n\
             # HELP t_seconds Time.\n# TYPE t_seconds histogram\nt_seconds_sum 0.0\n"
        );
    }
}
