//! Reads Ginkgo's report of a run, which is JSON (`types.Report`, Ginkgo 2).
//!
//! Returns the chosen specs, or how one of them ended. Ginkgo also lists thousands
//! of others as skipped. Those are ignored.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cells::Cells;
use super::{GROUP, Outcome, Spec, Verdict};

/// How much of a spec's log a failure shows, in lines.
const TAIL: usize = 25;

/// The specs that a dry run chose.
pub(super) fn specs(report: &Path) -> Result<Vec<Spec>> {
    let (entries, _) = read(report)?;
    Ok(entries.iter().filter(|entry| entry["State"] == "passed").filter_map(spec).collect())
}

/// The result of this spec. `None` when the report does not have it.
pub(super) fn outcome(report: &Path, wanted: &Spec) -> Result<Option<Outcome>> {
    let (entries, all_well) = read(report)?;
    let name = format!("{GROUP}{}", wanted.name);
    let Some(entry) = entries.iter().find(|entry| text(entry) == name) else { return Ok(None) };
    let verdict = match entry["State"].as_str() {
        Some("passed") if all_well => Verdict::Passed,
        // It checked the cluster and gave up.
        Some("skipped" | "pending") if all_well => Verdict::NotRun(message(entry).to_owned()),
        // If the suite's own set-up fails, nothing runs.
        _ => Verdict::Failed(failures(&entries)),
    };
    Ok(Some(Outcome {
        spec: wanted.clone(),
        verdict,
        time: Duration::from_nanos(entry["RunTime"].as_u64().unwrap_or_default()),
        cells: Cells::read(log(entry)),
    }))
}

/// The entries of the report, and whether the whole suite succeeded.
fn read(report: &Path) -> Result<(Vec<Value>, bool)> {
    let file = File::open(report).with_context(|| format!("open {}", report.display()))?;
    let mut read: Value =
        serde_json::from_reader(BufReader::new(file)).context("read Ginkgo's report")?;
    let all_well = read[0]["SuiteSucceeded"] == true;
    let Value::Array(entries) = read[0]["SpecReports"].take() else { bail!("an empty report") };
    Ok((entries, all_well))
}

/// The reason, with the last lines of the log, of each failure.
fn failures(entries: &[Value]) -> String {
    let fine = |entry: &&Value| {
        ["passed", "skipped", "pending"].map(Value::from).contains(&entry["State"])
    };
    let failed = entries.iter().filter(|entry| !fine(entry));
    let said = failed.map(|entry| {
        let lines: Vec<&str> = log(entry).trim_end().lines().collect();
        let last = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        let state = entry["State"].as_str().unwrap_or("without a state");
        format!("{state}: {}\n{last}", message(entry))
    });
    said.collect::<Vec<_>>().join("\n")
}

fn log(entry: &Value) -> &str {
    entry["CapturedGinkgoWriterOutput"].as_str().unwrap_or_default()
}

fn message(entry: &Value) -> &str {
    entry["Failure"]["Message"].as_str().unwrap_or_default().trim()
}

/// One entry, unless it belongs to the suite's own set-up.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use samples::scratch::Folder;

    /// The report of a run of one spec with this state.
    fn verdict(state: &str, message: &str, suite: bool) -> Result<Verdict> {
        let folder = Folder::new("report")?;
        let path = folder.path().join("report.json");
        let entry = json!({
            "ContainerHierarchyTexts": ["[sig-network] Netpol", "client"],
            "LeafNodeType": "It",
            "LeafNodeText": "should deny",
            "State": state,
            "RunTime": 1_500_000_000u64,
            "Failure": {"Message": message},
            "CapturedGinkgoWriterOutput": "before\nlast words\n",
        });
        let setup = json!({
            "LeafNodeType": "SynchronizedBeforeSuite",
            "State": if suite || state == "failed" { "passed" } else { "failed" },
            "Failure": {"Message": "no nodes"},
        });
        let report = json!([{"SuiteSucceeded": suite, "SpecReports": [setup, entry]}]);
        std::fs::write(&path, report.to_string())?;
        let wanted = spec(&entry).context("no spec")?;
        assert_eq!(wanted.name, "Netpol client should deny");
        let outcome = outcome(&path, &wanted)?.context("no outcome")?;
        assert_eq!(outcome.time, Duration::from_millis(1500));
        Ok(outcome.verdict)
    }

    #[test]
    fn a_failure_has_its_last_words() -> Result<()> {
        assert_eq!(verdict("passed", "", true)?, Verdict::Passed);
        let Verdict::Failed(why) = verdict("failed", "Had 3 wrong results", false)? else {
            bail!("not failed")
        };
        assert_eq!(why, "failed: Had 3 wrong results\nbefore\nlast words");
        Ok(())
    }

    #[test]
    fn a_spec_that_gives_up_is_not_one_that_the_suite_never_began() -> Result<()> {
        let wanted = Verdict::NotRun("needs three nodes".to_owned());
        assert_eq!(verdict("skipped", "needs three nodes", true)?, wanted);
        for state in ["skipped", "passed"] {
            let Verdict::Failed(why) = verdict(state, "", false)? else { bail!("not failed") };
            assert!(why.starts_with("failed: no nodes"), "{why}");
        }
        Ok(())
    }
}
