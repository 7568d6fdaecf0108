//! Ginkgo's report of a run, as JSON (`types.Report`, Ginkgo 2).
//!
//! In: the file. Out: the specs that were chosen, or how one of them ended.
//! Never: the thousands that were not chosen, which it has as skipped.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::cells::Cells;
use super::{GROUP, Outcome, Spec, Verdict};

/// How much of a spec's log a failure shows, in lines.
const TAIL: usize = 25;

/// The specs that a dry run chose.
pub(super) fn specs(report: &Path) -> Result<Vec<Spec>> {
    let chosen = entries(report)?;
    Ok(chosen.iter().filter(|entry| entry["State"] == "passed").filter_map(spec).collect())
}

/// What became of this one; `None` when the report does not say.
pub(super) fn outcome(report: &Path, wanted: &Spec) -> Result<Option<Outcome>> {
    let entries = entries(report)?;
    let name = format!("{GROUP}{}", wanted.name);
    let Some(entry) = entries.iter().find(|entry| text(entry) == name) else { return Ok(None) };
    let log = entry["CapturedGinkgoWriterOutput"].as_str().unwrap_or_default();
    let message = entry["Failure"]["Message"].as_str().unwrap_or_default().trim();
    let verdict = match entry["State"].as_str() {
        Some("passed") => Verdict::Passed,
        // Not chosen, or it looked at the cluster and gave up.
        Some("skipped" | "pending") => Verdict::NotRun(message.to_owned()),
        state => {
            let last: Vec<&str> = log.trim_end().lines().rev().take(TAIL).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            let state = state.unwrap_or("no state");
            Verdict::Failed(format!("{state}: {message}\n{}", last.join("\n")))
        }
    };
    Ok(Some(Outcome {
        spec: wanted.clone(),
        verdict,
        time: Duration::from_nanos(entry["RunTime"].as_u64().unwrap_or_default()),
        cells: Cells::read(log),
    }))
}

fn entries(report: &Path) -> Result<Vec<Value>> {
    let file = File::open(report).with_context(|| format!("open {}", report.display()))?;
    let mut read: Value =
        serde_json::from_reader(BufReader::new(file)).context("read Ginkgo's report")?;
    let Value::Array(entries) = read[0]["SpecReports"].take() else { return Ok(Vec::new()) };
    Ok(entries)
}

/// One entry, unless it is of the suite's own set-up.
fn spec(entry: &Value) -> Option<Spec> {
    (entry["LeafNodeType"] == "It").then_some(())?;
    let suite = entry["ContainerHierarchyTexts"][0].as_str()?;
    let outer = entry["ContainerHierarchyLabels"].as_array().into_iter().flatten();
    let labels = outer.chain([&entry["LeafNodeLabels"]]).filter_map(Value::as_array).flatten();
    Some(Spec {
        suite: suite.strip_prefix(GROUP).unwrap_or(suite).to_owned(),
        name: text(entry).strip_prefix(GROUP)?.to_owned(),
        labels: labels.filter_map(Value::as_str).map(str::to_owned).collect(),
        serial: entry["IsSerial"] == true,
    })
}

/// The texts that Ginkgo's own focus sees.
fn text(entry: &Value) -> String {
    let containers = entry["ContainerHierarchyTexts"].as_array().into_iter().flatten();
    let texts = containers.chain([&entry["LeafNodeText"]]).filter_map(Value::as_str);
    texts.collect::<Vec<_>>().join(" ")
}
