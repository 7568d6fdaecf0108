//! The templates of the Helm chart, made from the kustomize base.
//!
//! In: `manifests/base`, the pod agent's overlay and components of `manifests/`. Out:
//! `charts/nftpol/templates` and `charts/nftpol/files`. The chart's values, schema,
//! notes and `Chart.yaml` are written by hand.
//! Never: a field in a template that the base does not have. What differs is in the
//! tables below, and each entry must be found, so that a changed base is noticed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The folder of the chart.
pub const CHART: &str = "charts/nftpol";

const BASE: &str = "manifests/base";
const MONITORING: &str = "manifests/components/monitoring";
const POD_AGENT: &str = "manifests/overlays/pod-namespaces";
const MULTI_NETWORK: &str = "manifests/components/multi-network";
const NODE_RANGES: &str = "manifests/components/node-ranges";

/// The first line of each template.
const HEAD: &str = "{{- /* Made by `cargo xtask chart` from manifests/. Do not edit. */ -}}\n";

/// What a file has, and what its template has instead.
type Changes = &'static [(&'static str, &'static str)];

const NAMESPACE: (&str, &str) = ("namespace: kube-system", "namespace: {{ .Release.Namespace }}");

const PULL_SECRETS: (&str, &str) = (
    "      serviceAccountName: nftpol\n",
    "      serviceAccountName: nftpol\n      {{- with .Values.imagePullSecrets }}\n      \
     imagePullSecrets: {{ toJson . }}\n      {{- end }}\n",
);
const IMAGE: (&str, &str) = (
    "          image: nftpol\n",
    "          image: \"{{ .Values.image.repository }}:{{ .Values.image.tag | default \
     .Chart.AppVersion }}\"\n",
);
const PULL_POLICY: (&str, &str) =
    ("imagePullPolicy: IfNotPresent", "imagePullPolicy: {{ .Values.image.pullPolicy }}");
const ENV: (&str, &str) = (
    "                  fieldPath: spec.nodeName\n",
    "                  fieldPath: spec.nodeName\n            {{- with .Values.env }}\n            \
     {{- toYaml . | nindent 12 }}\n            {{- end }}\n",
);

const DAEMONSET: Changes = &[
    NAMESPACE,
    PULL_SECRETS,
    IMAGE,
    PULL_POLICY,
    (
        "          args: [agent]\n",
        "          args:\n            - agent\n            {{- if .Values.monitoring.enabled }}\n            \
         - --metrics-address=0.0.0.0:9479\n            {{- end }}\n            \
         {{- if ne .Values.mode \"enforce\" }}\n            - --mode={{ .Values.mode \
         }}\n            {{- end }}\n            \
         {{- if .Values.verify }}\n            - --verify\n            {{- end }}\n            \
         {{- if ne .Values.unknownPods \"open\" }}\n            - --node-pod-cidrs\n            \
         - --unknown-pods={{ .Values.unknownPods }}\n            {{- end }}\n            \
         {{- range .Values.args }}\n            - {{ quote . }}\n            {{- end }}\n",
    ),
    ENV,
    (
        "              containerPort: 9478\n              protocol: TCP\n",
        "              containerPort: 9478\n              protocol: TCP\n            \
         {{- if .Values.monitoring.enabled }}\n            - name: metrics\n              \
         containerPort: 9479\n              protocol: TCP\n            {{- end }}\n",
    ),
    (
        "            requests:\n              cpu: 10m\n              memory: 32Mi\n",
        "            {{- toYaml .Values.resources | nindent 12 }}\n",
    ),
];

const POD_AGENTS_DAEMONSET: Changes = &[
    NAMESPACE,
    PULL_SECRETS,
    IMAGE,
    PULL_POLICY,
    (
        "          args: [pod-agent]\n",
        "          args:\n            - pod-agent\n            \
         {{- if ne .Values.mode \"enforce\" }}\n            - --mode={{ .Values.mode \
         }}\n            {{- end }}\n            \
         {{- if .Values.verify }}\n            - --verify\n            {{- end }}\n            \
         {{- if .Values.podAgent.multiNetworkPolicies }}\n            \
         - --multi-network-policies\n            {{- end }}\n            \
         {{- range .Values.podAgent.args }}\n            - {{ quote . }}\n            {{- end }}\n",
    ),
    ENV,
];

/// Templates that exist where a value says so: folder, file, the template's name, the
/// condition, and what changes.
const CONDITIONAL: [(&str, &str, &str, &str, Changes); 3] = [
    (
        POD_AGENT,
        "daemonset.yaml",
        "pod-agent.yaml",
        ".Values.podAgent.enabled",
        POD_AGENTS_DAEMONSET,
    ),
    (
        MULTI_NETWORK,
        "rbac.yaml",
        "multi-network-rbac.yaml",
        ".Values.podAgent.multiNetworkPolicies",
        &[NAMESPACE],
    ),
    (
        NODE_RANGES,
        "rbac.yaml",
        "node-ranges-rbac.yaml",
        "ne .Values.unknownPods \"open\"",
        &[NAMESPACE],
    ),
];

/// Templates of the base, and what changes in them.
const TEMPLATES: [(&str, Changes); 3] = [
    ("serviceaccount.yaml", &[NAMESPACE]),
    ("rbac.yaml", &[NAMESPACE]),
    ("daemonset.yaml", DAEMONSET),
];

/// Templates that exist where monitoring is enabled.
const MONITORS: [&str; 2] = ["podmonitor.yaml", "alerts.yaml"];

const DASHBOARD: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: nftpol-dashboard
  namespace: {{ .Release.Namespace }}
  labels:
    app.kubernetes.io/name: nftpol
    grafana_dashboard: \"1\"
data:
  nftpol.json: {{ .Files.Get \"files/dashboard.json\" | quote }}
";

/// Writes the templates.
pub fn write(root: &Path) -> Result<()> {
    for (path, text) in files(root)? {
        let path = root.join(CHART).join(path);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// What is made: paths below the chart's folder.
pub fn files(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    let read = |folder: &str, name: &str| {
        let path = root.join(folder).join(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    let template = |name: &str| Path::new("templates").join(name);
    for (name, changes) in TEMPLATES {
        let text =
            changed(&read(BASE, name)?, changes).with_context(|| format!("{BASE}/{name}"))?;
        files.insert(template(name), format!("{HEAD}{text}"));
    }
    for (folder, name, made, condition, changes) in CONDITIONAL {
        let text =
            changed(&read(folder, name)?, changes).with_context(|| format!("{folder}/{name}"))?;
        files.insert(template(made), only_if(condition, &text));
    }
    for name in MONITORS {
        let text = changed(&escaped(&read(MONITORING, name)?), &[NAMESPACE])
            .with_context(|| format!("{MONITORING}/{name}"))?;
        files.insert(template(name), if_monitored(&text));
    }
    files.insert(template("dashboard.yaml"), if_monitored(DASHBOARD));
    files.insert("files/dashboard.json".into(), read(MONITORING, "dashboard.json")?);
    Ok(files)
}

fn if_monitored(text: &str) -> String {
    only_if(".Values.monitoring.enabled", text)
}

fn only_if(condition: &str, text: &str) -> String {
    format!("{HEAD}{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n")
}

/// Prometheus' own templates have the same braces as Helm's. Helm shall print them.
fn escaped(text: &str) -> String {
    let marked = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    marked.replace('\u{1}', "{{ \"{{\" }}").replace('\u{2}', "{{ \"}}\" }}")
}

/// The text with every change. Each must be there, once.
fn changed(text: &str, changes: Changes) -> Result<String> {
    let mut text = text.to_owned();
    for (from, to) in changes {
        let found = text.matches(from).count();
        ensure!(found == 1, "{found} times instead of once: {from:?}");
        text = text.replace(from, to);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
