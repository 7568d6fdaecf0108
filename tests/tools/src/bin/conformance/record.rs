//! What is known about a run on one network, kept for later runs.
//!
//! A record is also a file beside the built programs. Records of different versions
//! never appear together, and each network has one record.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use kubebed::kubernetes::Kubernetes;
use kubebed::upstream::{Outcome, Spec, Verdict, cells::Cells};
use netbed::program;
use serde_json::{Value, json};

/// The files that contain the versions of networks, and the modules.
const FLANNEL: &str = include_str!("../../../../flannel/go.mod");
const FLANNEL_MODULE: &str = "github.com/flannel-io/flannel ";
const KUBE_ROUTER: &str = include_str!("../../../../kube-router/go.mod");
const KUBE_ROUTER_MODULE: &str = "github.com/cloudnativelabs/kube-router/v2 ";
/// Calico's releases are no versions of its module. A comment has the release.
const CALICO: &str = include_str!("../../../../calico/go.mod");
const CALICO_COMMENT: &str = "// Calico ";

/// The version of each component, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions(pub BTreeMap<String, String>);

/// A run on one network.
#[derive(Clone, Debug)]
pub struct Record {
    pub network: String,
    /// As `cargo xtask cluster up` takes them.
    pub options: String,
    /// In UTC, in the format of ISO 8601.
    pub date: String,
    pub versions: Versions,
    pub outcomes: Vec<Outcome>,
    /// The time for the specs alone, without the cluster.
    pub time: Duration,
}

impl Versions {
    pub fn of(kubernetes: &Kubernetes) -> Result<Self> {
        let nodes = kubernetes.kubectl(&["get", "nodes", "-o", "json"], "")?.success()?;
        let nodes: Value = serde_json::from_str(&nodes).context("read the nodes")?;
        let node = &nodes["items"][0]["status"]["nodeInfo"];
        let said = |key: &str| node[key].as_str().unwrap_or("unknown").to_owned();
        let required = |modules: &str, module: &str| {
            let mut lines = modules.lines();
            let line = lines.find_map(|line| line.split_once(module));
            let version = line.and_then(|(_, version)| version.split_whitespace().next());
            version.unwrap_or("unknown").to_owned()
        };
        // The builder follows the version.
        let linux = said("kernelVersion");
        let linux = linux.split('-').next().unwrap_or_default().to_owned();
        let plain = |text: String| text.trim_start_matches("containerd://").to_owned();
        let all = [
            ("nftpol", env!("CARGO_PKG_VERSION").to_owned()),
            ("Kubernetes and its e2e.test", said("kubeletVersion")),
            ("flannel", required(FLANNEL, FLANNEL_MODULE)),
            ("kube-router", required(KUBE_ROUTER, KUBE_ROUTER_MODULE)),
            ("Calico", required(CALICO, CALICO_COMMENT)),
            ("Linux", linux),
            ("containerd", plain(said("containerRuntimeVersion"))),
        ];
        Ok(Self(all.into_iter().map(|(name, version)| (name.to_owned(), version)).collect()))
    }

    /// Whether all components that both know have the same version.
    fn agree(&self, other: &Self) -> bool {
        let mut own = self.0.iter();
        own.all(|(name, version)| other.0.get(name).is_none_or(|one| one == version))
    }
}

impl Record {
    pub fn new(
        kubernetes: &Kubernetes,
        versions: Versions,
        outcomes: Vec<Outcome>,
        time: Duration,
    ) -> Result<Self> {
        let mut date = Command::new("date");
        date.args(["--utc", "+%F"]);
        let date = program::finish(date, "")?.success()?.trim().to_owned();
        let options = kubernetes.options();
        let network = options.network_name().to_owned();
        Ok(Self { network, options: options.to_string(), date, versions, outcomes, time })
    }

    pub fn failed(&self) -> usize {
        self.outcomes.iter().filter(|one| matches!(one.verdict, Verdict::Failed(_))).count()
    }

    /// The sum of the counts of all specs.
    pub fn cells(&self) -> Cells {
        let mut sum = Cells::default();
        self.outcomes.iter().for_each(|one| sum += &one.cells);
        sum
    }

    /// Stores the record. It replaces an earlier record of this network.
    pub fn keep(&self) -> Result<()> {
        let folder = folder()?;
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.network));
        let text = self.to_json().to_string();
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// All stored records of these versions, by network. A record can be older than the
    /// knowledge of a component.
    pub fn kept(versions: &Versions) -> Result<Vec<Self>> {
        let folder = folder()?;
        let mut records = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let record = serde_json::from_str(&text).ok().and_then(|value| from_json(&value));
            records.push(record.with_context(|| format!("{} is not a record", path.display()))?);
        }
        records.retain(|record: &Self| record.versions.agree(versions));
        records.iter_mut().for_each(|record| record.versions = versions.clone());
        records.sort_by(|one, other| one.network.cmp(&other.network));
        Ok(records)
    }

    fn to_json(&self) -> Value {
        let outcomes = self.outcomes.iter().map(|one| {
            let (verdict, why) = match &one.verdict {
                Verdict::Passed => ("passed", ""),
                Verdict::Failed(why) => ("failed", why.as_str()),
                Verdict::NotRun(why) => ("not run", why.as_str()),
            };
            let Cells { pairs, wrong, wrong_for_long, .. } = one.cells;
            let Cells { first_tries, later_tries, itself, itself_refused, .. } = one.cells;
            json!({
                "suite": one.spec.suite,
                "name": one.spec.name,
                "verdict": verdict,
                "why": why,
                "milliseconds": u64::try_from(one.time.as_millis()).unwrap_or(u64::MAX),
                "cells": [pairs, wrong, wrong_for_long, first_tries, later_tries, itself, itself_refused],
            })
        });
        json!({
            "network": self.network,
            "options": self.options,
            "date": self.date,
            "versions": self.versions.0,
            "milliseconds": u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX),
            "outcomes": outcomes.collect::<Vec<_>>(),
        })
    }
}

fn from_json(value: &Value) -> Option<Record> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let versions = value["versions"].as_object()?.iter();
    let versions = versions.map(|(name, version)| Some((name.clone(), version.as_str()?.into())));
    Some(Record {
        network: text("network")?,
        options: text("options")?,
        date: text("date")?,
        versions: Versions(versions.collect::<Option<_>>()?),
        outcomes: value["outcomes"].as_array()?.iter().map(outcome).collect::<Option<_>>()?,
        time: Duration::from_millis(value["milliseconds"].as_u64()?),
    })
}

fn outcome(value: &Value) -> Option<Outcome> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let cell = |index: usize| usize::try_from(value["cells"][index].as_u64()?).ok();
    let verdict = match value["verdict"].as_str()? {
        "passed" => Verdict::Passed,
        "failed" => Verdict::Failed(text("why")?),
        _ => Verdict::NotRun(text("why")?),
    };
    let spec = Spec { suite: text("suite")?, name: text("name")?, labels: vec![], serial: false };
    Some(Outcome {
        spec,
        verdict,
        time: Duration::from_millis(value["milliseconds"].as_u64()?),
        cells: Cells {
            pairs: cell(0)?,
            wrong: cell(1)?,
            wrong_for_long: cell(2)?,
            first_tries: cell(3)?,
            later_tries: cell(4)?,
            itself: cell(5)?,
            itself_refused: cell(6)?,
            shown: Vec::new(),
        },
    })
}

/// `target/conformance`.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let target = program.ancestors().nth(2).context("this program is in no target folder")?;
    Ok(target.join("conformance"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(all: &[(&str, &str)]) -> Versions {
        Versions(all.iter().map(|(name, version)| ((*name).into(), (*version).into())).collect())
    }

    #[test]
    fn an_older_record_knows_fewer_components_but_no_other_version() {
        let now = versions(&[("Calico", "v3.28.5"), ("Linux", "6.18")]);
        assert!(versions(&[("Linux", "6.18")]).agree(&now));
        assert!(!versions(&[("Linux", "6.17")]).agree(&now));
    }

    #[test]
    fn calicos_release_is_in_a_comment() {
        assert!(CALICO.starts_with(&format!("{CALICO_COMMENT}v3.")));
    }
}
