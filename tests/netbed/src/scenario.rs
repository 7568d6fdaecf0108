//! Enforces policies on a testbed and checks what packets do.
//!
//! It compares packets with the specification. It creates no rules itself: `nftpol`
//! does.

use anyhow::{Context, Result};
use policy::Snapshot;
use policy::spec::{decide_with, owners};
use samples::objects;
use samples::testbed_spec::TestbedSpec;

use crate::probe::{Flow, Knock, Prober};
use crate::program::{self, Finished};
use crate::testbed::{Role, Testbed};
use crate::verdict::{self, Counts};

/// A testbed, its listening sockets, and all flows over it.
#[derive(Debug)]
pub struct Scenario<'a> {
    cluster: &'a Testbed,
    prober: Prober<'a>,
    flows: Vec<Flow>,
}

impl<'a> Scenario<'a> {
    /// All pairs with these kinds of probes. Returns when every flow has passed
    /// once.
    ///
    /// # Errors
    /// When some flow does not pass.
    pub fn new(cluster: &'a Testbed, knocks: &[Knock]) -> Result<Self> {
        let prober = Prober::new(cluster, knocks)?;
        let flows = Flow::all(cluster, knocks);
        prober.settle(&flows)?;
        Ok(Self { cluster, prober, flows })
    }

    /// The flows that are tried.
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// Replaces the policies on every node and tries all flows.
    ///
    /// # Errors
    /// When `nftpol` refuses them, or packets contradict the specification.
    pub fn enforce(&self, policies: &str) -> Result<Counts> {
        apply(self.cluster, policies)?;
        self.check(policies)
    }

    /// Tries all flows and compares them with these policies.
    ///
    /// # Errors
    /// When packets contradict the specification.
    pub fn check(&self, policies: &str) -> Result<Counts> {
        self.check_snapshot(&objects::snapshot(self.cluster.spec(), policies)?)
    }

    /// Tries all flows and compares them with these objects.
    ///
    /// # Errors
    /// When packets contradict the specification.
    pub fn check_snapshot(&self, snapshot: &Snapshot) -> Result<Counts> {
        let seen = self.prober.run(&self.flows)?;
        let verdicts = verdict::judge(self.cluster, snapshot, &self.flows, &seen)?;
        verdict::check(self.cluster, &verdicts)
    }
}

/// Builds a testbed. Returns when every pair has answered a ping.
///
/// # Errors
/// When it cannot be built or does not come up.
pub fn connected(spec: TestbedSpec, prefix: &str) -> Result<Testbed> {
    let cluster = Testbed::new(spec, prefix)?;
    settle(&cluster)?;
    Ok(cluster)
}

/// Waits until every pair has answered a ping.
///
/// # Errors
/// When one does not.
pub fn settle(cluster: &Testbed) -> Result<()> {
    let ping = [Knock::Icmp];
    Prober::new(cluster, &ping)?.settle(&Flow::all(cluster, &ping))
}

/// Which flows the specification allows, in their order.
///
/// # Errors
/// When a flow's addresses are of different families.
pub fn allowed(cluster: &Testbed, snapshot: &Snapshot, flows: &[Flow]) -> Result<Vec<bool>> {
    let owners = owners(snapshot);
    let packets = flows.iter().map(|flow| flow.packet(cluster).context("mixed families"));
    packets.map(|packet| Ok(decide_with(snapshot, &owners, None, &packet?).passes())).collect()
}

/// Applies policies on every node.
///
/// # Errors
/// When `nftpol` refuses them.
pub fn apply(cluster: &Testbed, policies: &str) -> Result<()> {
    if cluster.spec().network.is_past_the_node() {
        return apply_inside(cluster, policies);
    }
    for node in 0..cluster.spec().nodes.len() {
        let name = &cluster.spec().nodes[node];
        apply_on(cluster, name, policies)?.success().with_context(|| format!("on {name}"))?;
    }
    Ok(())
}

/// `nftpol apply --place=pod` in the namespace of each pod.
fn apply_inside(cluster: &Testbed, policies: &str) -> Result<()> {
    let input = objects::manifests(cluster.spec(), policies);
    for endpoint in cluster.endpoints() {
        let Role::Pod { node } = endpoint.role else { continue };
        let node = &cluster.spec().nodes[node];
        let netns = endpoint.namespace.path();
        let netns = netns.to_str().context("a path in UTF-8")?;
        let name = &endpoint.name;
        let arguments =
            ["apply", "-f", "-", "--node", node, "--place=pod", "--pod", name, "--netns", netns];
        let on = &cluster.endpoint(node)?.namespace;
        let finished = program::run(on, &arguments, &input)?;
        finished.success().with_context(|| format!("in {name}"))?;
    }
    Ok(())
}

/// `nftpol apply` on one node, with or without pods.
///
/// # Errors
/// When it cannot be started.
pub fn apply_on(cluster: &Testbed, node: &str, policies: &str) -> Result<Finished> {
    let input = objects::manifests(cluster.spec(), policies);
    let namespace = &cluster.endpoint(node)?.namespace;
    let arguments = ["apply", "-f", "-", "--node", node, "--allow-no-pods"];
    program::run(namespace, &arguments, &input)
}
