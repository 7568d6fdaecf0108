//! Fills a cluster with pods and policies beside those that are measured. Pods of
//! nodes that do not exist never land on a real node, and no policy selects a
//! measured pod.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kubebed::apiserver::policies;
use kubebed::kubernetes::{AGNHOST, Kubernetes};
use policy::Pod;
use samples::large;
use serde_json::{Value, json};

use crate::scene::{NODES, accounts, create, pause, ready};

/// Namespaces with 100 pods and ten policies each: peers by pods and by namespaces,
/// and blocks.
const NAMESPACES: usize = 20;
/// Running pods on each node.
pub const RUNNING: usize = 50;
/// How many of the namespaces have running pods.
const LIVED_IN: usize = 10;
/// How long the cluster rests afterwards.
const SETTLE: Duration = Duration::from_secs(10);

/// Fills the cluster. Returns a description of the load.
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
    server.create_pods(&ghosts).context("create pods of nodes that do not exist")?;
    let policies = large.policies.values().map(|policy| policies::object(policy));
    let policies = policies.collect::<Result<Vec<_>, _>>()?;
    server.create_policies(&policies)?;
    let running: Vec<Value> = (0..RUNNING * NODES.len()).map(running).collect();
    create(kubernetes, &running)?;
    ready(kubernetes, &["--all-namespaces", "--selector=run=load"])?;
    let took = start.elapsed();
    pause(SETTLE)?;
    Ok(format!(
        "{} pods of nodes that do not exist, {} policies, {} running pods, made in {took:.1?}",
        ghosts.len(),
        policies.len(),
        running.len()
    ))
}

/// A pod that sleeps on a real node, with the labels of one of the applications.
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
