//! The chained CNI plugin under real kubelets and containerd.
//!
//! Pods that are isolated in both directions send from their first instruction on, and are
//! asked all the time. Each packet that arrives is wrong. Without the plugin, then with it
//! while the agent's pod is deleted again and again; then a node starts that has the plugin and
//! no agent; then the plugin is removed while pods start. With `NFTPOL_FIRST_PACKETS` also with
//! `--unknown-pods` in place of the plugin: its first pods come to a node that had none, whose
//! agent is deleted meanwhile.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kubebed::image::Image;
use kubebed::world::manifests;
use serde_json::{Value, json};

use crate::listening::{Heard, Listening};
use crate::scene::{Scene, addresses, namespace, pod, policy};

const NODE: &str = "node-1";
const OTHER: &str = "node-2";
const PLACE: &str = "first";
/// How many pods, if not so many.
const PODS: usize = 16;
const NUMBER: &str = "NFTPOL_FIRST_PACKETS";
/// How often the agent's pod is deleted.
const DELETED_EVERY: Duration = Duration::from_secs(6);
/// How long the last pods are watched once all run.
const REST: Duration = Duration::from_secs(2);
/// What sends, from its first instruction on.
const SENDER: &str = "nftpol.test/sender:1";
const SHELL: &str = "/usr/bin/bash";
/// Where the folders of CNI are on each node of this cluster, for hostPath.
const FOLDERS: [(&str, &str, &str); 2] = [
    ("/opt/cni/bin", "/var/lib/host/cni-bin", "plugins"),
    ("/etc/cni/net.d", "/var/lib/host/cni-net.d", "networks"),
];
const NO_AGENT: &str = "are not in force: no agent answers in this network namespace";
const NO_PROGRAM: &str = "failed to find plugin";

impl Scene {
    pub fn first_packet(&mut self) -> Result<()> {
        let shell = std::path::Path::new(SHELL);
        self.kubernetes.import(&Image::of(SENDER, shell, "/bash")?)?;
        let first = json!({"matchLabels": {"kind": "first"}});
        self.put(&[
            namespace(PLACE, json!({})),
            policy(
                &format!("{PLACE}/nothing"),
                json!({"podSelector": first, "policyTypes": ["Ingress", "Egress"]}),
            )?,
            pod(&format!("{PLACE}/stranger"), OTHER, json!({}))?,
        ])?;
        self.pods_ready(PLACE)?;
        let pods = std::env::var(NUMBER).ok().and_then(|text| text.parse().ok()).unwrap_or(PODS);
        let without = self.crowd("a", pods, false)?;
        self.say(&format!("without the plugin: {without}"));
        for mode in ["selected", "closed"] {
            if std::env::var_os(NUMBER).is_some() {
                self.unknown_pods(mode)?;
                let heard = self.crowd(mode, pods, true)?;
                self.say(&format!("without the plugin, --unknown-pods={mode}: {heard}"));
                ensure!(heard.wrong() == 0, "--unknown-pods={mode}: {heard}");
            }
        }
        ensure!(without.wrong() > 0, "without the plugin nothing is open, so this shows nothing");
        self.install_plugin()?;
        let with = self.crowd("b", pods, true)?;
        self.say(&format!("with the plugin: {with}"));
        ensure!(with.wrong() == 0, "with the plugin: {with}");
        self.start_without_an_agent().context("a node starts without an agent")?;
        self.uninstall_under_load(pods).context("the plugin is removed while pods start")?;
        self.remove(&[PLACE])
    }

    /// The overlay, with the folders of this cluster's nodes.
    fn overlay(&self, name: &str) -> Result<String> {
        let overlay = manifests().join("overlays").join(name).display().to_string();
        let mut objects = self.kubectl(&["kustomize", &overlay])?;
        for (from, to, _) in FOLDERS {
            objects = objects.replace(&format!("path: {from}"), &format!("path: {to}"));
        }
        Ok(objects)
    }

    fn install_plugin(&self) -> Result<()> {
        for node in (1..=self.nodes()).map(|number| format!("node-{number}")) {
            self.kubernetes.exec(&node, &["mkdir", "-p", "/var/lib/host"])?.success()?;
            for (_, at, own) in FOLDERS {
                let own = self.kubernetes.folder().join(&node).join(own).display().to_string();
                self.kubernetes.exec(&node, &["ln", "-sfn", &own, at])?.success()?;
            }
        }
        self.kubernetes.kubectl(&["apply", "-f", "-"], &self.overlay("cni")?)?.success()?;
        self.agents_ready()?;
        for number in 1..=self.nodes() {
            let node = format!("node-{number}");
            self.until("the plugin is in the list", || self.is_chained(&node))?;
        }
        self.say("the plugin is in each node's list");
        Ok(())
    }

    fn is_chained(&self, node: &str) -> Result<bool> {
        let list = format!("{}/10-pods.conflist", FOLDERS[1].1);
        Ok(self.kubernetes.exec(node, &["cat", &list])?.stdout.contains("nftpol-cni"))
    }

    /// As `overlays/unknown-pods` has it.
    fn unknown_pods(&self, mode: &str) -> Result<()> {
        self.kubectl(&["apply", "-f", &rights().display().to_string()])?;
        let arguments = json!(["agent", "--node-pod-cidrs", format!("--unknown-pods={mode}")]);
        let path = "/spec/template/spec/containers/0/args";
        let patch = json!([{"op": "replace", "path": path, "value": arguments}]);
        let patch = patch.to_string();
        let words = ["-n", "kube-system", "patch", "daemonset", "nftpol", "--type=json", "-p"];
        self.kubectl(&[&words[..], &[&patch]].concat())?;
        self.agents_ready()
    }

    /// Starts pods, and listens until they have run for a while.
    fn crowd(&self, name: &str, pods: usize, restarts: bool) -> Result<Heard> {
        self.kubernetes.reuse_addresses(NODE)?;
        let listening =
            Listening::start(&self.kubernetes.pod(&format!("{PLACE}/stranger"))?, pods)?;
        self.begin(name, pods, listening.port())?;
        let mut deleted = 0;
        let mut since = std::time::Instant::now();
        self.until_all_run(name, pods, || {
            if restarts && since.elapsed() > DELETED_EVERY {
                self.delete_agent()?;
                deleted += 1;
                since = std::time::Instant::now();
            }
            Ok(())
        })?;
        sleep(REST);
        let heard = listening.end(pods, deleted)?;
        self.end(name)?;
        self.agents_ready()?;
        Ok(heard)
    }

    fn begin(&self, name: &str, pods: usize, port: u16) -> Result<()> {
        let stranger = self.kubernetes.pod(&format!("{PLACE}/stranger"))?.addresses[0];
        let objects = (0..pods).map(|number| first(&format!("{name}-{number}"), stranger, port));
        self.put(&objects.collect::<Result<Vec<_>>>()?)
    }

    fn end(&self, name: &str) -> Result<()> {
        let selector = format!("crowd={name}");
        let words = ["-n", PLACE, "delete", "pod", "--wait=true", "--grace-period=0", "--force"];
        self.kubectl(&[&words[..], &["-l", &selector]].concat()).map(drop)
    }

    fn until_all_run(
        &self,
        name: &str,
        pods: usize,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let start = std::time::Instant::now();
        loop {
            let all = self.list(PLACE, "pod", &format!("crowd={name}"))?;
            let runs =
                |pod: &&Value| pod["status"]["phase"] == "Running" && !addresses(pod).is_empty();
            let running = all.iter().filter(runs).count();
            if running == pods {
                return Ok(());
            }
            ensure!(start.elapsed() < Duration::from_secs(240), "{running} of {pods} pods run");
            meanwhile()?;
            sleep(Duration::from_millis(200));
        }
    }

    fn delete_agent(&self) -> Result<()> {
        let words = ["-n", "kube-system", "delete", "pod", "--wait=false", "--grace-period=1"];
        let which = ["-l", "app.kubernetes.io/name=nftpol"];
        let node = format!("--field-selector=spec.nodeName={NODE}");
        self.kubectl(&[&words[..], &which, &[&node]].concat()).map(drop)
    }

    /// What kubelets said of sandboxes of this crowd that did not start.
    fn refusals(&self, name: &str) -> Result<Vec<String>> {
        let only = "--field-selector=reason=FailedCreatePodSandBox";
        let all = self.kubectl(&["-n", PLACE, "get", "events", only, "-o", "json"])?;
        let all: Value = serde_json::from_str(&all)?;
        let pod = format!("first-{name}-");
        let of_crowd = |one: &&Value| {
            one["involvedObject"]["name"].as_str().is_some_and(|name| name.starts_with(&pod))
        };
        let events = all["items"].as_array().into_iter().flatten().filter(of_crowd);
        Ok(events.filter_map(|one| one["message"].as_str()).map(str::to_owned).collect())
    }

    /// The node's pods wait, and the agent's pod, which is in the node's network, starts.
    fn start_without_an_agent(&mut self) -> Result<()> {
        self.kubernetes.reuse_addresses(NODE)?;
        let listening = Listening::start(&self.kubernetes.pod(&format!("{PLACE}/stranger"))?, 2)?;
        self.begin("c", 2, listening.port())?;
        self.until_all_run("c", 2, || Ok(()))?;
        let delete = ["-n", "kube-system", "delete", "daemonset", "nftpol"];
        self.kubectl(&[&delete[..], &["--cascade=foreground", "--wait=true"]].concat())?;
        ensure!(self.refusals("c")?.is_empty(), "they started at once: an agent was there");
        self.kubernetes.reuse_addresses(NODE)?;
        self.kubernetes.kill_node(NODE)?;
        self.kubernetes.boot_node(NODE, &[])?;
        self.until("the kubelet says why pods do not start", || {
            Ok(self.refusals("c")?.iter().any(|one| one.contains(NO_AGENT)))
        })?;
        let said = self.refusals("c")?;
        let said = said.iter().find(|one| one.contains(NO_AGENT)).context("no such event")?;
        self.say(&format!("without an agent: {said}"));
        self.kubernetes.kubectl(&["apply", "-f", "-"], &self.overlay("cni")?)?.success()?;
        self.agents_ready().context("the agent's own pod waits")?;
        self.until_all_run("c", 2, || Ok(()))?;
        self.until("their containers run again", || self.all_ready("c"))?;
        sleep(REST);
        let heard = listening.end(2, 0)?;
        self.say(&format!("a node started with the plugin and no agent: {heard}"));
        ensure!(heard.wrong() == 0, "{heard}");
        self.end("c")
    }

    fn all_ready(&self, name: &str) -> Result<bool> {
        let all = self.list(PLACE, "pod", &format!("crowd={name}"))?;
        let is_ready = |pod: &Value| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        Ok(all.iter().all(is_ready))
    }

    /// As `overlays/cni-remove` says: the agents answer the plugin until it is gone. With
    /// `--unknown-pods=selected` beside it.
    fn uninstall_under_load(&self, pods: usize) -> Result<()> {
        self.unknown_pods("selected")?;
        self.kubernetes.reuse_addresses(NODE)?;
        let listening =
            Listening::start(&self.kubernetes.pod(&format!("{PLACE}/stranger"))?, pods)?;
        self.begin("d", pods, listening.port())?;
        let components = "/spec/template/spec/containers/1";
        let patch = json!([{"op": "remove", "path": components}]).to_string();
        let words = ["-n", "kube-system", "patch", "daemonset", "nftpol", "--type=json", "-p"];
        self.kubectl(&[&words[..], &[&patch]].concat())?;
        // Installers that still run would put it back.
        self.agents_ready()?;
        let overlay = self.overlay("cni-remove")?;
        self.begin("e", pods / 2, listening.port())?;
        self.kubernetes.kubectl(&["apply", "-f", "-"], &overlay)?.success()?;
        let wait = ["-n", "kube-system", "rollout", "status", "daemonset/nftpol-cni-remove"];
        self.kubectl(&[&wait[..], &["--timeout=120s"]].concat())?;
        ensure!(!self.is_chained(NODE)?, "the plugin is still in the list");
        for (name, pods) in [("d", pods), ("e", pods / 2)] {
            self.until_all_run(name, pods, || Ok(()))?;
        }
        sleep(REST);
        let heard = listening.end(pods + pods / 2, 0)?;
        let mut missed = [self.refusals("d")?, self.refusals("e")?].concat();
        missed.retain(|one| one.contains(NO_PROGRAM));
        self.say(&format!("removed while pods start: {heard}; {} lacked it", missed.len()));
        ensure!(missed.is_empty(), "{missed:?}");
        ensure!(heard.wrong() == 0, "{heard}");
        self.end("d")?;
        self.end("e")?;
        self.kubernetes.kubectl(&["delete", "-f", "-"], &overlay)?.success()?;
        self.kubectl(&["delete", "-f", &rights().display().to_string()])?;
        self.kubectl(&["delete", "-k", &manifests().display().to_string(), "--wait=true"])?;
        self.kubernetes.deploy()
    }
}

/// The right of the agents to read their Nodes.
fn rights() -> PathBuf {
    manifests().join("components/node-ranges/rbac.yaml")
}

/// A pod that sends to this address from its first instruction on, and answers datagrams.
fn first(name: &str, to: std::net::IpAddr, port: u16) -> Result<Value> {
    let (crowd, _) = name.rsplit_once('-').context("a name with a number")?;
    let mut pod =
        pod(&format!("{PLACE}/first-{name}"), NODE, json!({"kind": "first", "crowd": crowd}))?;
    // bash has sockets, and a pause that is no program of its own.
    let script = format!(
        "exec 3<>/dev/udp/{to}/{port}; while :; do echo wrong >&3; read -rt 0.01 -u 3; done"
    );
    let sender = json!({"name": "sender", "image": SENDER, "args": ["-c", script]});
    let containers = pod["spec"]["containers"].as_array_mut().context("containers")?;
    containers.insert(0, sender);
    Ok(pod)
}
