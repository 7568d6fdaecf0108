//! Pods on the wire between the nodes, by the CNI plugin `macvlan`, under the pod agent.
//!
//! In: a cluster with `manifests/overlays/pod-namespaces`. Out: which pods reach which by
//! their addresses, before nftpol and after; how many denied datagrams were answered while
//! its agents are started again. Never: a Service, whose answers go past the node that
//! translated the question.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::kubernetes::{Kubernetes, Options};
use netbed::new_flows::NewFlows;
use netbed::testbed::Endpoint;
use serde_json::{Value, json};

use crate::agents::pod_agents_privileges;
use crate::scene::{HTTP, Scene, Try, WAIT, hold, namespace, pod, policy};

/// Where agnhost answers datagrams.
const UDP: u16 = 8081;
/// How long the traffic flows at least in each step.
const STEP: Duration = Duration::from_secs(3);
pub const SERVER: &str = "wire/server";
pub const OPEN: &str = "wire/open";
/// Who asks whom, and whether the policies allow it: by ingress and by egress, from both
/// nodes.
const PAIRS: [(&str, &str, bool); 8] = [
    ("wire/friend", SERVER, true),
    ("wire/friend-near", SERVER, true),
    ("wire/stranger", SERVER, false),
    ("wire/near", SERVER, false),
    ("wire/caged", OPEN, false),
    ("wire/caged-near", OPEN, false),
    ("wire/stranger", OPEN, true),
    ("wire/near", OPEN, true),
];

/// Plays it in a cluster of its own.
pub fn macvlan(say: &dyn Fn(&str)) -> Result<()> {
    let options = Options::read(&["--network", "macvlan", "--dual-stack"])?;
    say(&options.to_string());
    let kubernetes = Kubernetes::up(options, say)?;
    let mut scene = Scene { kubernetes, start: Instant::now() };
    if let Err(error) = scene.wire() {
        scene.last_words();
        return Err(error);
    }
    scene.kubernetes.check()
}

impl Scene {
    fn wire(&mut self) -> Result<()> {
        self.put(&[cast()?, policies()?].concat())?;
        self.pods_ready("wire")?;
        let pods = self.pods_of_wire()?;
        hold(&tries(self, &pods, |_| true)?).context("without nftpol all pass")?;
        self.say("without nftpol: all pass");
        self.kubernetes.deploy()?;
        hold(&tries(self, &pods, |allowed| allowed)?).context("with the pod agent")?;
        self.pods_ready("wire").context("the node's own probes")?;
        self.say("with the pod agent: as the policies say, and the node's probes pass");
        for node in self.kubernetes.cluster().nodes() {
            let shown = pod_agents_privileges(&node.namespace).context(node.name.clone())?;
            self.say(&format!("{}: {shown}", node.name));
        }
        let flows = flows(self, &pods)?;
        self.answered(&flows, "at rest")?;
        for agent in ["nftpol-pods", "nftpol"] {
            let agent = format!("daemonset/{agent}");
            self.kubectl(&["-n", "kube-system", "rollout", "restart", &agent])?;
            self.kubectl(&["-n", "kube-system", "rollout", "status", &agent, WAIT])?;
            self.answered(&flows, &format!("{agent} started again"))?;
        }
        drop(flows);
        self.kubectl(&["-n", "wire", "label", "pod", "stranger", "role=friend"])?;
        let all = tries(self, &pods, |allowed| allowed)?;
        let friend = |one: &Try<'_>| one.what == "wire/stranger";
        let all = all.into_iter().map(|one| Try { passes: one.passes || friend(&one), ..one });
        hold(&all.collect::<Vec<_>>()).context("after a label changed")?;
        self.say("a label changed: as the policies say");
        self.remove(&["wire"])
    }

    pub fn pods_of_wire(&self) -> Result<Vec<Endpoint>> {
        let mut names: Vec<&str> = PAIRS.iter().flat_map(|(from, to, _)| [*from, *to]).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| self.kubernetes.pod(name)).collect()
    }

    /// Lets the traffic flow, and prints what was answered so far.
    pub fn answered(&self, flows: &[(String, bool, NewFlows)], step: &str) -> Result<()> {
        sleep(STEP);
        let mut sums = [[0; 2]; 2];
        for (name, allowed, flow) in flows {
            let asked = flow.asked();
            ensure!(*allowed || asked.answered == 0, "{step}: {name} was answered");
            ensure!(asked.sent > 0 || !*allowed, "{step}: {name} asked nothing");
            sums[usize::from(*allowed)][0] += asked.sent;
            sums[usize::from(*allowed)][1] += asked.answered;
        }
        let [[denied, passed], [allowed, answered]] = sums;
        self.say(&format!(
            "{step}: denied {denied} sent, {passed} answered; allowed {allowed} sent, {} not \
             answered within 100 ms, or on their way",
            allowed.saturating_sub(answered)
        ));
        Ok(())
    }
}

/// Each pair, over each family, by TCP.
pub fn tries<'a>(
    scene: &Scene,
    pods: &'a [Endpoint],
    passes: impl Fn(bool) -> bool,
) -> Result<Vec<Try<'a>>> {
    let each = |&(from, to, allowed): &(&str, &str, bool), v6: bool| {
        let from = named(pods, from)?;
        let to = SocketAddr::new(named(pods, to)?.address(v6).context("no address")?, HTTP);
        Ok(Try { what: from.name.clone(), from, to, passes: passes(allowed) })
    };
    let families = scene.kubernetes.options().families();
    families
        .iter()
        .flat_map(|&v6| PAIRS.iter().map(move |pair| (pair, v6)))
        .map(|(pair, v6)| each(pair, v6))
        .collect()
}

/// Each pair, over each family, by datagrams.
pub fn flows(scene: &Scene, pods: &[Endpoint]) -> Result<Vec<(String, bool, NewFlows)>> {
    let mut flows = Vec::new();
    for &v6 in scene.kubernetes.options().families() {
        for (from, to, allowed) in PAIRS {
            let address = named(pods, to)?.address(v6).context("no address")?;
            let asked =
                NewFlows::start(named(pods, from)?, SocketAddr::new(address, UDP), u64::MAX)?;
            flows.push((format!("{from} to {address}"), allowed, asked));
        }
    }
    Ok(flows)
}

fn named<'a>(pods: &'a [Endpoint], name: &str) -> Result<&'a Endpoint> {
    pods.iter().find(|one| one.name == name).context("no such pod")
}

/// The policies that [`PAIRS`] follow, as NetworkPolicies.
pub fn policies() -> Result<Vec<Value>> {
    let friends = json!([{"podSelector": {"matchLabels": {"role": "friend"}}}]);
    let server = json!({"matchLabels": {"app": "server"}});
    let caged = json!({"matchLabels": {"app": "caged"}});
    let nobody = json!({"podSelector": caged, "policyTypes": ["Egress"]});
    Ok(vec![
        policy("wire/friends", json!({"podSelector": server, "ingress": [{"from": friends}]}))?,
        policy("wire/nobody", nobody)?,
    ])
}

/// The pods of [`PAIRS`].
pub fn cast() -> Result<Vec<Value>> {
    Ok(vec![
        namespace("wire", json!({})),
        pod(SERVER, "node-1", json!({"app": "server"}))?,
        pod(OPEN, "node-1", json!({"app": "open"}))?,
        pod("wire/near", "node-1", json!({}))?,
        pod("wire/friend-near", "node-1", json!({"role": "friend"}))?,
        pod("wire/caged-near", "node-1", json!({"app": "caged"}))?,
        pod("wire/friend", "node-2", json!({"role": "friend"}))?,
        pod("wire/stranger", "node-2", json!({}))?,
        pod("wire/caged", "node-2", json!({"app": "caged"}))?,
    ])
}
