//! `nftpol status`: which nodes enforce, and whether a policy is in force on all.
//!
//! In: the agent of this node, or those of all. Out: a table, or a line about the policy.
//! Never: a change.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::future::join_all;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use watcher::Object;
use watcher::files::{self, Validation};

use super::agents::{ClusterAgents, Where, said};
use super::{Here, Lines, print};
use crate::command::Output;
use crate::live::protocol::{Line, NodeStatus, Question};
use crate::live::status::{self, Node, Wanted, digest};

/// How often `--wait` asks.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `nftpol status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Whether this policy is in force on all nodes, as `namespace/name`.
    #[arg(value_name = "NAMESPACE/POLICY")]
    policy: Option<String>,
    #[command(flatten)]
    place: Where,
    /// Wait until it is so.
    #[arg(long)]
    wait: bool,
    /// How long to wait, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What is known at a moment.
struct Found {
    nodes: Vec<Node>,
    wanted: Option<Wanted>,
}

impl Status {
    /// Prints it.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub fn run(&self, here: &dyn Here) -> Result<ExitCode> {
        if let Some(policy) = &self.policy
            && policy.split_once('/').is_none()
        {
            bail!("name the policy as NAMESPACE/POLICY, not {policy:?}");
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        let found = runtime.context("start a runtime")?.block_on(self.watch(here))?;
        let (text, is_well) = self.shown(&found)?;
        print(&text)?;
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Asks once, or until all is as wanted.
    async fn watch(&self, here: &dyn Here) -> Result<Found> {
        let start = Instant::now();
        let agents = match self.place.is_local(here) {
            true => None,
            false => Some(ClusterAgents::connect(&self.place).await?),
        };
        loop {
            let found = match &agents {
                None => self.local(here).map(|(nodes, wanted)| Found { nodes, wanted }),
                Some(agents) => self.cluster(agents).await,
            };
            let is_late = start.elapsed() >= Duration::from_secs(self.timeout);
            match found {
                Ok(found) if !self.wait || is_late || self.shown(&found)?.1 => return Ok(found),
                Err(error) if !self.wait || is_late => return Err(error),
                Ok(_) | Err(_) => sleep(ASK_EVERY).await,
            }
        }
    }

    fn shown(&self, found: &Found) -> Result<(String, bool)> {
        let (text, is_well) = match &found.wanted {
            None => status::nodes(&found.nodes),
            Some(wanted) => status::policy(&found.nodes, wanted),
        };
        let Output::Json = self.output else { return Ok((text, is_well)) };
        if let ([Node::Answered(only)], true) = (found.nodes.as_slice(), self.place.local) {
            // What another command reads that asks this one on each node.
            let line = Line::Status(only.clone());
            return Ok((serde_json::to_string(&line).context("write JSON")? + "\n", is_well));
        }
        let nodes: Vec<_> = found
            .nodes
            .iter()
            .map(|node| match node {
                Node::Answered(status) => json!(status),
                Node::Silent { node, why } => json!({"node": node, "error": why}),
            })
            .collect();
        Ok((json!({"ok": is_well, "nodes": nodes}).to_string() + "\n", is_well))
    }

    fn local(&self, here: &dyn Here) -> Result<(Vec<Node>, Option<Wanted>)> {
        let lines = here.ask(&Question::Status { policy: self.policy.clone() })?;
        let nodes = match first(lines)? {
            Some(Line::Status(status)) => vec![Node::Answered(status)],
            Some(Line::Error(why)) => bail!("{why}"),
            _ => bail!("the agent gave no answer"),
        };
        let wanted = self.policy.clone().map(|name| Wanted {
            name,
            uid: String::new(),
            digest: None,
            resource_version: String::new(),
        });
        Ok((nodes, wanted))
    }

    async fn cluster(&self, agents: &ClusterAgents) -> Result<Found> {
        let wanted = match &self.policy {
            Some(policy) => Some(wanted(agents, policy).await?),
            None => None,
        };
        let found = agents.find().await?;
        let asked = found.into_iter().map(async |(node, pod)| {
            let answer = match pod.problem {
                Some(problem) => Err(problem),
                None => match timeout(PATIENCE, self.ask(agents, &pod.name)).await {
                    Ok(answer) => answer.map_err(|error| format!("{error:#}")),
                    Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
                },
            };
            match answer {
                Ok(status) => Node::Answered(status),
                Err(why) => Node::Silent { node, why },
            }
        });
        Ok(Found { nodes: join_all(asked).await, wanted })
    }

    async fn ask(&self, agents: &ClusterAgents, pod: &str) -> Result<NodeStatus> {
        let mut arguments: Vec<String> =
            ["status", "--local", "-o", "json"].map(str::to_owned).into();
        arguments.extend(self.policy.clone());
        let (lines, mut came) = mpsc::channel::<String>(16);
        let status = async {
            let mut status = None;
            while let Some(line) = came.recv().await {
                if let Ok(Line::Status(found)) = serde_json::from_str(&line) {
                    status = Some(found);
                }
            }
            status
        };
        // A node that does not enforce is an answer, too.
        let (ran, status) = tokio::join!(agents.run(pod, &arguments, lines), status);
        match (status, ran) {
            (Some(status), _) => Ok(status),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => bail!("its agent gave no answer"),
        }
    }
}

/// The first line that this version knows.
fn first(lines: Lines) -> Result<Option<Line>> {
    for line in lines {
        if let Ok(line) = serde_json::from_str(&line?) {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// The policy as the API server has it.
async fn wanted(agents: &ClusterAgents, name: &str) -> Result<Wanted> {
    let (namespace, of_namespace) = name.split_once('/').context("NAMESPACE/POLICY")?;
    let policies: Api<NetworkPolicy> = Api::namespaced(agents.client(), namespace);
    let object = policies.get(of_namespace).await.map_err(said);
    let object = object.with_context(|| format!("get the policy {name}"))?;
    let text = serde_json::to_string(&object).context("write JSON")?;
    let loaded = files::parse(name, &text, Validation::Warn);
    let policy = loaded.objects.into_iter().find_map(|object| match object {
        Object::NetworkPolicy(policy) => Some(policy),
        Object::Pod(_) | Object::Namespace(_) | Object::MultiNetworkPolicy(_) => None,
    });
    let policy = policy.context("the policy cannot be read")?;
    Ok(Wanted {
        name: name.to_owned(),
        uid: policy.uid.clone(),
        digest: Some(digest(&policy)),
        resource_version: object.metadata.resource_version.unwrap_or_default(),
    })
}
