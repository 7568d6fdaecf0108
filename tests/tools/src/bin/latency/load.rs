//! Fills a cluster with pods and policies beside those that are measured.
//!
//! Never: a pod of a node that does not exist on one that does, or a policy for a
//! measured pod.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kubebed::apiserver::policies;
use kubebed::kubernetes::{AGNHOST, Kubernetes};
use policy::Pod;
use samples::large;
use serde_json::{Value, json};

use crate::scene::{NODES, accounts, create, pause, ready};

/// Of 100 pods and ten policies each: peers by pods and namespaces, blocks.
const NAMESPACES: usize = 20;
/// Pods that run, on each node.
pub const RUNNING: usize = 50;
/// Of the namespaces, those that pods run in.
const LIVED_IN: usize = 10;
/// How long the cluster is left alone afterwards.
const SETTLE: Duration = Duration::from_secs(10);

/// Fills the cluster; says what with.
pub fn fill(kubernetes: &Kubernetes) -> Result<String> {
    let server = kubernetes.server();
    let start = Instant::now();
    let large = large::first(NAMESPACES)?;
    let namespaces: Vec<_> = large.namespaces.values().map(|one| (**one).clone()).collect();
    server.apply_namespaces(&namespaces)?;
    let names: Vec<String> = namespaces.into_iter().map(|one| one.name).collect();
    accounts(kubernetes, &names)?;
    let ghost = |pod: &Pod| {
        let node = pod.node.as_deref().unwrap_or_default();
        Pod { node: Some(format!("ghost-{node}")), ..pod.clone() }
    };
    let ghosts: Vec<Pod> = large.pods.values().map(|pod| ghost(pod)).collect();
    server.create_pods(&ghosts).context("create pods of nobody's nodes")?;
    let policies = large.policies.values().map(|policy| policies::object(policy));
    let policies = policies.collect::<Result<Vec<_>, _>>()?;
    server.create_policies(&policies)?;
    let running: Vec<Value> = (0..RUNNING * NODES.len()).map(running).collect();
    create(kubernetes, &running)?;
    ready(kubernetes, &["--all-namespaces", "--selector=run=load"])?;
    let took = start.elapsed();
    pause(SETTLE)?;
    Ok(format!(
        "{} pods of nobody's nodes, {} policies, {} pods that run, made in {took:.1?}",
        ghosts.len(),
        policies.len(),
        running.len()
    ))
}

/// A pod that sleeps on a real node, as one of the applications.
fn running(number: usize) -> Value {
    let (namespace, app) = (number % LIVED_IN, number / LIVED_IN % LIVED_IN);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("running-{number}"),
            "namespace": format!("ns-{namespace}"),
            "labels": {"app": format!("app-{app}"), "run": "load"},
        },
        "spec": {
            "nodeName": NODES[number / LIVED_IN % NODES.len()],
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main",
                "image": AGNHOST,
                "imagePullPolicy": "IfNotPresent",
                "args": ["pause"],
            }],
        },
    })
}
