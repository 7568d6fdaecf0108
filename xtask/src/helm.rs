//! Renders the chart with the real Helm.
//!
//! In: `charts/nftpol`. Out: `tests/fixtures/helm`, the rendered objects, which the suite's
//! test `install` compares with kustomize's and gives to a real API server.
//! Never: a file in the repository without `--write`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::Cargo;
use crate::chart::{self, CHART};
use crate::kube;

/// Where the rendered objects are.
const RENDERED: &str = "tests/fixtures/helm";

/// A name, and the values that are set.
const FORMS: [(&str, &[&str]); 8] = [
    ("default", &[]),
    ("monitoring", &["monitoring.enabled=true"]),
    ("verify", &["verify=true"]),
    ("audit", &["mode=audit"]),
    ("unknown-pods", &["unknownPods=selected"]),
    ("pod-agent", &["podAgent.enabled=true"]),
    ("multi-network", &["podAgent.enabled=true", "podAgent.multiNetworkPolicies=true"]),
    (
        "mirror",
        &[
            "image.repository=registry.example.org/mirror/nftpol",
            "image.tag=9.9",
            "imagePullSecrets[0].name=mirror",
            "args={--no-log}",
            "env[0].name=KUBERNETES_SERVICE_HOST,env[0].value=localhost",
        ],
    ),
];

/// Values that the schema must refuse, and what Helm says then.
const REFUSED: [&str; 7] = [
    "imagee.tag=1",
    "verify=maybe",
    "mode=off",
    "unknownPods=shut",
    "args={agent}",
    "image.pullPolicy=Sometimes",
    // Without the pod agent nothing enforces them.
    "podAgent.multiNetworkPolicies=true",
];
const REFUSAL: &str = "values don't meet the specifications of the schema";

/// Helm built from its module alone takes the cluster for one of version 1.20.
const TEMPLATE: [&str; 7] =
    ["template", "nftpol", CHART, "--namespace", "kube-system", "--kube-version", "1.36.0"];

/// Lints the chart, and compares or writes what it renders to.
pub fn run(args: &[String]) -> Result<()> {
    let write = match args {
        [] => false,
        [flag] if flag == "--write" => true,
        [other, ..] => bail!("`helm` takes --write or nothing, not `{other}`"),
    };
    let cargo = Cargo::default();
    kube::build(&cargo, &kube::HELM)?;
    let root = cargo.workspace_folder()?;
    let helm = Helm { program: cargo.target_folder()?.join("kube/helm"), root: root.clone() };
    helm.run(&["lint", "--strict", CHART])?;
    for value in REFUSED {
        let error = helm.run(&[&TEMPLATE[..], &["--set", value]].concat());
        let error = format!("{:#}", error.err().with_context(|| format!("it takes {value}"))?);
        ensure!(error.contains(REFUSAL), "{value}: {error}");
    }
    for (name, values) in FORMS {
        let mut words = TEMPLATE.to_vec();
        words.extend(values.iter().flat_map(|value| ["--set", value]));
        let text = format!("{}\n{}", head(&root)?, helm.run(&words)?);
        let path = root.join(RENDERED).join(format!("{name}.yaml"));
        if write {
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        } else {
            let there = fs::read_to_string(&path).unwrap_or_default();
            ensure!(there == text, "{} differs: cargo xtask helm --write", path.display());
        }
    }
    eprintln!("helm: the chart is well; {} forms rendered", FORMS.len());
    Ok(())
}

struct Helm {
    program: std::path::PathBuf,
    root: std::path::PathBuf,
}

impl Helm {
    fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        let output = command.current_dir(&self.root).args(words).output().context("run helm")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "helm {}: {said}{text}", words.join(" "));
        Ok(text)
    }
}

/// The first line of a rendered form: of which chart it is.
fn head(root: &Path) -> Result<String> {
    let mut texts = vec![];
    for name in ["Chart.yaml", "values.yaml", "values.schema.json"] {
        texts.push(fs::read_to_string(root.join(CHART).join(name)).context(name)?);
    }
    texts.extend(chart::files(root)?.into_values());
    let digest = texts
        .iter()
        .flat_map(|text| text.bytes().chain([0]))
        .fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    Ok(format!("# Rendered by `cargo xtask helm --write` from the chart {digest:016x}."))
}

/// FNV-1a of 64 bits (RFC 9923, section 5).
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Without Helm: a chart that changed after it was rendered is noticed.
    #[test]
    fn the_rendered_forms_are_of_this_chart() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let head = head(&root)?;
        for (name, _) in FORMS {
            let text = fs::read_to_string(root.join(RENDERED).join(format!("{name}.yaml")))?;
            assert_eq!(text.lines().next(), Some(head.as_str()), "cargo xtask helm --write");
        }
        Ok(())
    }
}
