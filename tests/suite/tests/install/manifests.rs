//! `manifests/` and the chart, as an API server accepts them and as users customise them.
//!
//! The chart's objects are those that the real Helm rendered (`cargo xtask helm --write`).
//! `xtask` tests that they are of the chart as it is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kubebed::apiserver::ApiServer;
use kubebed::world::manifests;
use netbed::net::Namespace;
use samples::fixtures;
use samples::scratch::Folder;
use serde_json::{Deserializer, Value};

/// What a user writes to customise the manifests. `base` is `manifests/base`.
const OVERLAY: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: guard
resources: [../base]
images:
- name: nftpol
  newName: registry.example.org/mirror/nftpol
  newTag: '9.9'
patches:
- target: {kind: DaemonSet}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --no-log}
";

#[test]
fn the_server_takes_the_manifests_and_drops_nothing() -> Result<()> {
    let namespace = Namespace::new("mf")?;
    let server = ApiServer::start(&namespace, "127.0.0.1".parse()?)?;
    let folder = manifests();
    let ours = built(&server, &folder)?;
    let text = kustomize(&server, &folder)?;
    let theirs = dry_run(&server, &["-k", &folder.display().to_string()], "strict", "")?;
    assert_eq!(lost(&ours, &theirs), Vec::<String>::new());
    println!("{} objects, {} values, none lost", ours.len(), ours.iter().map(count).sum::<usize>());
    every_form(&server).context("the overlays and the chart")?;
    a_planted_field_is_found(&server, &text).context("a field that does not exist")?;
    people_can_change_it(&server, &namespace).context("a kustomization over it")
}

/// The overlays with the objects of the chart that equal theirs, by the values that were set.
const FORMS: [(&str, Option<&str>); 17] = [
    ("base", Some("default")),
    ("overlays/k3s", Some("default")),
    ("overlays/kubeadm-flannel", Some("default")),
    ("overlays/monitoring", Some("monitoring")),
    ("overlays/monitoring-token", None),
    ("overlays/verify", Some("verify")),
    ("overlays/audit", Some("audit")),
    ("overlays/unknown-pods", Some("unknown-pods")),
    ("overlays/talos", None),
    ("overlays/pod-namespaces", Some("pod-agent")),
    ("overlays/multi-network", Some("multi-network")),
    ("overlays/uninstall", None),
    ("overlays/boot", None),
    ("overlays/boot-remove", None),
    ("overlays/cni", None),
    ("overlays/cni-agent", None),
    ("overlays/cni-remove", None),
];

fn every_form(server: &ApiServer) -> Result<()> {
    // What the Prometheus Operator brings.
    server.apply(&fixtures::read("install/prometheus-operator.yaml")?)?;
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    server.kubectl(&wait, "")?.success()?;
    let folders = fs::read_dir(manifests().join("overlays"))?.count();
    ensure!(FORMS.len() == folders + 1, "an overlay without a line here");
    for (folder, chart) in FORMS {
        let folder = manifests().join(folder);
        let ours = built(server, &folder).with_context(|| folder.display().to_string())?;
        let path = folder.display().to_string();
        let theirs = dry_run(server, &["-k", &path], "strict", "").context(path)?;
        assert_eq!(lost(&ours, &theirs), Vec::<String>::new(), "{}", folder.display());
        if let Some(chart) = chart {
            assert_eq!(rendered(server, chart)?, sorted(ours), "the chart, {chart}");
        }
    }
    for overlay in ["overlays/cni", "overlays/cni-agent"] {
        answers_the_plugin(server, overlay)?;
    }
    let mirror = rendered(server, "mirror")?;
    let set = mirror.iter().find(|object| object["kind"] == "DaemonSet").context("none")?;
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry.example.org/mirror/nftpol:9.9");
    assert_eq!(pod["containers"][0]["args"], serde_json::json!(["agent", "--no-log"]));
    assert_eq!(pod["containers"][0]["env"][1]["value"], "localhost");
    assert_eq!(pod["imagePullSecrets"][0]["name"], "mirror");
    Ok(())
}

/// The agent is told to answer the plugin in a way that one of an earlier version takes, too: it
/// ends at an argument that it does not know.
fn answers_the_plugin(server: &ApiServer, overlay: &str) -> Result<()> {
    let objects = built(server, &manifests().join(overlay))?;
    let set = objects.iter().find(|object| object["kind"] == "DaemonSet").context("none")?;
    let agent = &set["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(agent["name"], "nftpol", "{overlay}");
    assert_eq!(agent["args"], serde_json::json!(["agent"]), "{overlay}");
    assert_eq!(agent["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "spec.nodeName");
    let told = serde_json::json!({"name": "NFTPOL_CNI_PLUGIN", "value": "true"});
    assert_eq!(agent["env"][1], told, "{overlay}");
    Ok(())
}

/// The objects of the chart, once the server has accepted them.
fn rendered(server: &ApiServer, name: &str) -> Result<Vec<Value>> {
    let text = fixtures::read(&format!("helm/{name}.yaml"))?;
    let ours = objects(server, &text)?;
    let theirs = dry_run(server, &["-f", "-"], "strict", &text)?;
    assert_eq!(lost(&ours, &theirs), Vec::<String>::new(), "{name}");
    Ok(sorted(ours))
}

fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    for object in &mut objects {
        // A folded scalar may end with a line break in one of two equal texts.
        object["metadata"]["annotations"].take();
    }
    objects
}

/// The check above can fail, in both of its halves.
fn a_planted_field_is_found(server: &ApiServer, text: &str) -> Result<()> {
    let misspelt = text.replacen("readOnlyRootFilesystem", "readOnlyRootFileSystem", 1);
    ensure!(misspelt != text, "nothing to misspell");
    let field = "spec.template.spec.containers[0].securityContext.readOnlyRootFileSystem";
    let refused = dry_run(server, &["-f", "-"], "strict", &misspelt);
    let said = format!("{:#}", refused.err().context("it is taken")?);
    ensure!(said.contains(&format!("unknown field \\\"{field}\\\"")), "{said}");
    let theirs = dry_run(server, &["-f", "-"], "ignore", &misspelt)?;
    let lost = lost(&objects(server, &misspelt)?, &theirs);
    assert_eq!(lost, [format!("DaemonSet.{field}")]);
    Ok(())
}

fn people_can_change_it(server: &ApiServer, at: &Namespace) -> Result<()> {
    let scratch = Folder::new("kustomize")?;
    let (base, overlay) = (scratch.path().join("base"), scratch.path().join("overlay"));
    fs::create_dir(&base)?;
    fs::create_dir(&overlay)?;
    for file in fs::read_dir(manifests().join("base"))?.flatten() {
        fs::copy(file.path(), base.join(file.file_name()))?;
    }
    fs::write(overlay.join("kustomization.yaml"), OVERLAY)?;
    let ours = built(server, &overlay)?;
    let one = |kind: &str| {
        let mut found = ours.iter().filter(|object| object["kind"] == kind);
        found.next().with_context(|| format!("no {kind} of {}", at.name()))
    };
    let container = &one("DaemonSet")?["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.org/mirror/nftpol:9.9");
    assert_eq!(container["args"], serde_json::json!(["agent", "--no-log"]));
    assert_eq!(one("DaemonSet")?["metadata"]["namespace"], "guard");
    assert_eq!(one("ServiceAccount")?["metadata"]["namespace"], "guard");
    // Without this the agent would have no rights in that namespace.
    assert_eq!(one("ClusterRoleBinding")?["subjects"][0]["namespace"], "guard");
    server.kubectl(&["create", "namespace", "guard"], "")?.success()?;
    let theirs = dry_run(server, &["-k", &overlay.display().to_string()], "strict", "")?;
    assert_eq!(lost(&ours, &theirs), Vec::<String>::new());
    Ok(())
}

fn kustomize(server: &ApiServer, folder: &Path) -> Result<String> {
    server.kubectl(&["kustomize", &folder.display().to_string()], "")?.success()
}

/// The objects of a kustomization, as written.
fn built(server: &ApiServer, folder: &Path) -> Result<Vec<Value>> {
    objects(server, &kustomize(server, folder)?)
}

/// YAML as JSON. kubectl keeps the fields that it does not know.
fn objects(server: &ApiServer, yaml: &str) -> Result<Vec<Value>> {
    let arguments = ["create", "--dry-run=client", "--validate=ignore", "-o", "json", "-f", "-"];
    read(&server.kubectl(&arguments, yaml)?.success()?)
}

/// What the server would store.
fn dry_run(server: &ApiServer, of: &[&str], validate: &str, yaml: &str) -> Result<Vec<Value>> {
    let validate = format!("--validate={validate}");
    let arguments = [&["apply", "--dry-run=server", &validate, "-o", "json"], of].concat();
    read(&server.kubectl(&arguments, yaml)?.success()?)
}

/// Reads objects one after another, or out of a List.
fn read(json: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for value in Deserializer::from_str(json).into_iter::<Value>() {
        let mut value = value.context("kubectl's JSON")?;
        match value.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => objects.extend(items),
            _ => objects.push(value),
        }
    }
    ensure!(!objects.is_empty(), "no objects");
    Ok(objects)
}

/// The paths of our values that are missing in the server's objects.
fn lost(ours: &[Value], theirs: &[Value]) -> Vec<String> {
    let mut paths = Vec::new();
    for object in ours {
        let same = |other: &&Value| {
            ["/kind", "/metadata/name"]
                .iter()
                .all(|path| other.pointer(path) == object.pointer(path))
        };
        let kind = object["kind"].as_str().unwrap_or_default();
        compare(kind, object, theirs.iter().find(same), &mut paths);
    }
    paths
}

fn compare(path: &str, ours: &Value, theirs: Option<&Value>, lost: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(fields), Some(theirs)) => {
            for (key, value) in fields {
                compare(&format!("{path}.{key}"), value, theirs.get(key), lost);
            }
        }
        (Value::Array(items), Some(Value::Array(others))) if items.len() == others.len() => {
            for (index, (item, other)) in items.iter().zip(others).enumerate() {
                compare(&format!("{path}[{index}]"), item, Some(other), lost);
            }
        }
        (ours, theirs) if Some(ours) == theirs => {}
        _ => lost.push(path.to_owned()),
    }
}

/// The number of values to compare.
fn count(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 1,
    }
}
