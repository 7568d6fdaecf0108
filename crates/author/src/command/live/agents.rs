//! The agents of a cluster, asked by `pods/exec`.
//!
//! In: the credentials of a kubeconfig. Out: the lines that each agent's pod answers.
//! Never: another program started here; a write to the API server.
//!
//! Needs the rights list and get of `pods`, and create and get of `pods/exec`, in the
//! namespace of the agents.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use kube::api::{AttachParams, ListParams, LogParams};
use kube::{Api, Client};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;
use watcher::api::Access;

use super::Here;

/// The program in the agent's image.
const PROGRAM: &str = "nftpol";
/// The label of the agents' pods in `manifests/`.
const LABEL: &str = "app.kubernetes.io/name=nftpol";
/// A line is no longer than this.
const LINE_BYTES: u64 = 4 << 20;
/// How much of an error is shown.
const ERROR_BYTES: u64 = 4 << 10;
/// How much of the reason is shown why a pod does not run.
const REASON_CHARACTERS: usize = 200;
/// Lines of a container's log.
const LOG_LINES: i64 = 1000;
/// How long the API server may take until a program runs on a node. It gives up on a node that
/// cannot be reached only after half a minute.
const START: Duration = Duration::from_secs(15);
/// How long an agent may be silent. A quiet one says so every ten seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// How the agents of a cluster are found.
#[derive(Debug, Args)]
pub struct Where {
    /// Ask the agent of this node alone [default: if there is one].
    #[arg(long, conflicts_with_all = ["all_nodes", "node"])]
    pub local: bool,
    /// Ask the agents of all nodes [default: if there is none on this node].
    #[arg(long)]
    pub all_nodes: bool,
    /// Ask the agents of these nodes. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// How to reach the API server [default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount
    /// of the pod].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the agents.
    #[arg(long, value_name = "NAME", default_value = "kube-system")]
    pub agents_namespace: String,
}

impl Where {
    /// Whether to ask this node's agent alone.
    pub fn is_local(&self, here: &dyn Here) -> bool {
        let elsewhere = self.all_nodes || !self.node.is_empty() || self.kubeconfig.is_some();
        self.local || !elsewhere && here.has_agent()
    }
}

/// The agents of a cluster.
#[derive(Clone)]
pub struct ClusterAgents {
    client: Client,
    pods: Api<Pod>,
    namespace: String,
    nodes: Vec<String>,
}

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// The pod's name; empty if the node has none.
    pub name: String,
    /// Why it cannot be asked.
    pub problem: Option<String>,
}

impl AgentPod {
    /// Of a node that has none in this namespace.
    fn none(namespace: &str) -> Self {
        let problem = format!(
            "it has no agent in {namespace} (--agents-namespace); rules that an earlier one left \
             would still be in force"
        );
        Self { name: String::new(), problem: Some(problem) }
    }
}

impl ClusterAgents {
    /// Connects to the API server.
    ///
    /// # Errors
    /// The configuration names none.
    pub async fn connect(place: &Where) -> Result<Self> {
        let access = Access { kubeconfig: place.kubeconfig.clone(), ..Access::default() };
        let client = access.client().await?;
        let pods = Api::namespaced(client.clone(), &place.agents_namespace);
        let namespace = place.agents_namespace.clone();
        Ok(Self { client, pods, namespace, nodes: place.node.clone() })
    }

    /// A client of the API server.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The agents' pods, by node. Where the nodes may be listed, too, those without an agent
    /// are there with the problem.
    ///
    /// # Errors
    /// The pods cannot be listed, or there is none.
    pub async fn find(&self) -> Result<BTreeMap<String, AgentPod>> {
        let listed = self.pods.list(&ListParams::default().labels(LABEL)).await;
        let listed = listed.map_err(said).context("list the agents' pods")?;
        let mut found: BTreeMap<String, AgentPod> = BTreeMap::new();
        for pod in listed {
            let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else {
                continue;
            };
            let name = pod.metadata.name.clone().unwrap_or_default();
            let new = AgentPod { name, problem: problem(&pod) };
            // During an update there are two for a moment.
            if found.get(&node).is_none_or(|one| one.problem.is_some()) {
                found.insert(node, new);
            }
        }
        let none = || AgentPod::none(&self.namespace);
        if let Ok(nodes) = Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await
        {
            for name in nodes.into_iter().filter_map(|node| node.metadata.name) {
                found.entry(name).or_insert_with(none);
            }
        }
        if !self.nodes.is_empty() {
            found.retain(|node, _| self.nodes.contains(node));
            for node in &self.nodes {
                found.entry(node.clone()).or_insert_with(none);
            }
        }
        if found.is_empty() {
            bail!(
                "no agent found (pods with the label {LABEL}); is it another namespace? \
                   (--agents-namespace)"
            );
        }
        Ok(found)
    }

    /// The last lines of the log of an agent's container, of the one before it where there is
    /// one.
    ///
    /// # Errors
    /// The API server or the node does not answer, or the right `pods/log` is missing.
    pub async fn log(&self, pod: &str) -> Result<String> {
        let params = LogParams { tail_lines: Some(LOG_LINES), ..LogParams::default() };
        let before = LogParams { previous: true, ..params.clone() };
        let both = async {
            let now = self.pods.logs(pod, &params).await;
            let before = self.pods.logs(pod, &before).await.unwrap_or_default();
            now.map(|now| format!("{before}{now}"))
        };
        match timeout(START, both).await {
            Ok(text) => {
                text.map_err(said).with_context(|| format!("read the log of the pod {pod}"))
            }
            Err(_) => bail!("no answer within {} s", START.as_secs()),
        }
    }

    /// Runs `nftpol` with these arguments in an agent's container, and passes on the lines
    /// of its standard output, until nobody takes them.
    ///
    /// # Errors
    /// It cannot be run, or it failed: what it says.
    pub async fn run(
        &self,
        pod: &str,
        arguments: &[String],
        lines: mpsc::Sender<String>,
    ) -> Result<()> {
        let command = std::iter::once(PROGRAM.to_owned()).chain(arguments.iter().cloned());
        let params = AttachParams::default().stdin(false).stdout(true).stderr(true);
        let started = timeout(START, self.pods.exec(pod, command, &params)).await;
        let what = || format!("run {PROGRAM} in the pod {pod}");
        let Ok(started) = started else {
            bail!("{}: no answer within {} s; is the node reachable?", what(), START.as_secs());
        };
        let mut process = started.map_err(said).with_context(what)?;
        let output = process.stdout().context("no standard output")?;
        let errors = process.stderr().context("no standard error")?;
        let status = process.take_status();
        let errors = tokio::spawn(async move {
            let mut text = Vec::new();
            let mut limited = errors.take(ERROR_BYTES);
            let _ = limited.read_to_end(&mut text).await;
            // The rest must not fill the stream.
            let _ = tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await;
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let mut reader = BufReader::new(output);
        loop {
            let mut line = String::new();
            let mut limited = (&mut reader).take(LINE_BYTES);
            let Ok(read) = timeout(SILENCE, limited.read_line(&mut line)).await else {
                process.abort();
                bail!("its agent has been silent for {} s", SILENCE.as_secs());
            };
            match read.context("read its answer")? {
                0 => break,
                _ if lines.send(line.trim_end().to_owned()).await.is_err() => {
                    process.abort();
                    return Ok(());
                }
                _ => {}
            }
        }
        let failed = match status {
            Some(status) => {
                status.await.is_some_and(|status| status.status.as_deref() == Some("Failure"))
            }
            None => false,
        };
        let errors = errors.await.unwrap_or_default();
        if failed && !errors.is_empty() {
            bail!("{errors}");
        }
        Ok(())
    }
}

/// Why the program in an agent's pod cannot be run: the pod's phase, and what its kubelet or
/// the scheduler says of it.
fn problem(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let waiting = status.and_then(waits_for);
    match (phase, waiting) {
        (Some("Running"), None) => None,
        (Some(phase), Some(why)) => Some(format!("its agent's pod is {phase}: {why}")),
        (Some(phase), None) => Some(format!("its agent's pod is {phase}")),
        (None, _) => Some("its agent's pod is of no known phase".to_owned()),
    }
}

/// `ErrImagePull: ...` of a container that does not run, else why no node was given.
fn waits_for(status: &PodStatus) -> Option<String> {
    let containers = status.container_statuses.iter().flatten();
    let mut waiting = containers.filter_map(|one| one.state.as_ref()?.waiting.as_ref());
    let (reason, message) = match waiting.next() {
        Some(waiting) => (waiting.reason.as_ref()?, waiting.message.as_ref()),
        None => {
            let mut conditions = status.conditions.iter().flatten();
            let scheduled =
                conditions.find(|one| one.type_ == "PodScheduled" && one.status == "False")?;
            (scheduled.reason.as_ref()?, scheduled.message.as_ref())
        }
    };
    let message = message.and_then(|text| text.lines().next()).unwrap_or_default();
    let message: String = message.chars().take(REASON_CHARACTERS).collect();
    Some(if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") })
}

/// What the API server says, without the form in which it says it.
pub fn said(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => anyhow!(status.message),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: &str) -> Result<Option<String>> {
        let pod = format!(r#"{{"metadata":{{"name":"nftpol-one"}},"status":{status}}}"#);
        Ok(problem(&serde_json::from_str(&pod)?))
    }

    #[test]
    fn a_pod_that_does_not_run_says_why() -> Result<()> {
        assert_eq!(of(r#"{"phase":"Running"}"#)?, None);
        assert_eq!(of(r#"{"phase":"Pending"}"#)?.as_deref(), Some("its agent's pod is Pending"));
        let image = r#"{"phase":"Pending","containerStatuses":[{"name":"nftpol","image":"nftpol",
            "imageID":"","ready":false,"restartCount":0,"state":{"waiting":
            {"reason":"ErrImagePull","message":"failed to pull\nand more"}}}]}"#;
        let expected = "its agent's pod is Pending: ErrImagePull: failed to pull";
        assert_eq!(of(image)?.as_deref(), Some(expected));
        let again = image.replace("Pending", "Running").replace("ErrImagePull", "CrashLoopBackOff");
        let expected = "its agent's pod is Running: CrashLoopBackOff: failed to pull";
        assert_eq!(of(&again)?.as_deref(), Some(expected));
        let full = r#"{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False",
            "reason":"Unschedulable","message":"too many pods"}]}"#;
        let expected = "its agent's pod is Pending: Unschedulable: too many pods";
        assert_eq!(of(full)?.as_deref(), Some(expected));
        assert_eq!(of("{}")?.as_deref(), Some("its agent's pod is of no known phase"));
        Ok(())
    }
}
