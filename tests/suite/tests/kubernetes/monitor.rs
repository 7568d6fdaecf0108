//! `nftpol status` and `nftpol monitor` ask the agents of all nodes, with the rights that
//! docs/operate.md names.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netbed::program;
use serde_json::{Value, json};

use crate::scene::{HTTP, PATIENCE, Scene, Try, hold, namespace, pod, policy};

const NAMESPACE: &str = "watched";
const OPERATOR: &str = "operator";

impl Scene {
    pub fn monitor(&mut self) -> Result<()> {
        self.put(&[
            namespace(NAMESPACE, json!({})),
            policy("watched/shut", json!({"podSelector": {"matchLabels": {"role": "server"}}}))?,
            pod("watched/server", "node-1", json!({"role": "server"}))?,
            pod("watched/client", "node-2", json!({"role": "client"}))?,
        ])?;
        self.put(&operator())?;
        self.pods_ready(NAMESPACE)?;
        let kubeconfig =
            self.kubernetes.server().service_account_kubeconfig("kube-system", OPERATOR)?;

        let status = self.nftpol(&kubeconfig, &["status", "--all-nodes"])?;
        let all = self.nodes();
        ensure!(status.contains(&format!("{all} of {all} nodes enforce")), "{status}");
        let status =
            self.nftpol(&kubeconfig, &["status", "watched/shut", "--wait", "--all-nodes"])?;
        let expected = format!("watched/shut in force on {all} of {all} nodes, since ");
        ensure!(status.starts_with(&expected), "{status}");
        ensure!(status.contains("it isolates pods on 1"), "{status}");
        self.say(status.trim());

        let client = self.kubernetes.pod("watched/client")?;
        let to = SocketAddr::new(self.kubernetes.pod("watched/server")?.addresses[0], HTTP);
        let tried = |passes| {
            hold(&[Try { what: "client to server".to_owned(), from: &client, to, passes }])
        };
        let shown = self.shown(&kubeconfig, || tried(false))?;
        self.say(&shown);
        for part in
            [" node-1 DENY in  watched/client:", " -> watched/server:80 TCP SYN  watched/shut"]
        {
            ensure!(shown.contains(part), "{part:?} is not in {shown:?}");
        }
        let proposed =
            self.nftpol(&kubeconfig, &["monitor", "--suggest", NAMESPACE, "--all-nodes"])?;
        self.kubernetes.server().apply(&proposed).context("the proposed policy")?;
        let start = Instant::now();
        while let Err(error) = tried(true) {
            ensure!(
                start.elapsed() < PATIENCE,
                "the proposal does not help: {error:#}\n{proposed}"
            );
        }
        self.say("the proposed policy allows it");
        self.remove(&[NAMESPACE])
    }

    fn command(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Command> {
        let node = &self.kubernetes.cluster().endpoint("node-2")?.namespace;
        let mut command = node.command(program::path()?);
        command.args(arguments).arg("--kubeconfig").arg(kubeconfig);
        Ok(command)
    }

    pub fn nftpol(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        program::finish(self.command(kubeconfig, arguments)?, "")?.success()
    }

    /// The first line about a denied connection that `monitor` of all nodes prints.
    fn shown(&self, kubeconfig: &Path, denied: impl Fn() -> Result<()>) -> Result<String> {
        let shown = self.shown_after(kubeconfig, NAMESPACE, 1, denied)?;
        Ok(shown.into_iter().next().context("none")?.0)
    }

    /// The lines about this many denied connections, and how long after each try the line
    /// was printed. The time of the first has that of the command's start in it.
    pub fn shown_after(
        &self,
        kubeconfig: &Path,
        namespace: &str,
        count: usize,
        denied: impl Fn() -> Result<()>,
    ) -> Result<Vec<(String, Duration)>> {
        let mut command = self.command(kubeconfig, &["monitor", "-n", namespace])?;
        let mut child = command.stdout(Stdio::piped()).spawn().context("start nftpol monitor")?;
        let stdout = BufReader::new(child.stdout.take().context("stdout")?);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send((line, Instant::now())))
        });
        let start = Instant::now();
        let mut shown = Vec::new();
        while shown.len() < count {
            // Those of the try before.
            while lines.try_recv().is_ok() {}
            let tried = Instant::now();
            denied()?;
            if let Ok((line, at)) = lines.recv_timeout(Duration::from_millis(200)) {
                shown.push((line, at.saturating_duration_since(tried)));
            }
            ensure!(start.elapsed() < PATIENCE, "nothing is shown");
        }
        child.kill()?;
        child.wait()?;
        Ok(shown)
    }
}

/// The account of a person who asks, with the rights of docs/operate.md.
fn operator() -> [Value; 5] {
    let meta = |name: &str| json!({"name": name, "namespace": "kube-system"});
    let rbac = "rbac.authorization.k8s.io";
    let version = format!("{rbac}/v1");
    let subjects =
        json!([{"kind": "ServiceAccount", "name": OPERATOR, "namespace": "kube-system"}]);
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(OPERATOR)}),
        json!({"apiVersion": version, "kind": "Role", "metadata": meta(OPERATOR), "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]},
        ]}),
        json!({"apiVersion": version, "kind": "RoleBinding", "metadata": meta(OPERATOR),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": OPERATOR}, "subjects": subjects}),
        json!({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": OPERATOR}, "rules": [
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
        ]}),
        json!({"apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": OPERATOR},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": OPERATOR}, "subjects": subjects}),
    ]
}
