//! What happens to policies, pods, agents and the kind itself while packets flow.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::soon;
use netbed::fire::{nft, say};
use netbed::probe::Knock;
use netbed::scenario::Scenario;

use crate::expected::Expected;
use crate::stage::{NODES, SOON, Stage};
use crate::traffic::Traffic;

/// How often the policy changes under traffic.
const EDITS: usize = 12;
const BETWEEN: Duration = Duration::from_millis(300);

const WHO: &str = "#: network from to passes
#: one  *         a/server  none
#: one  a/client  a/server  all
";

/// Clients of namespace a reach the server: by one rule, and by others that say the same.
const FORMS: [&str; 3] = [
    "  - from: [{podSelector: {matchLabels: {role: client}}}]\n",
    "  - from: [{ipBlock: {cidr: 10.101.0.3/32}}, {ipBlock: {cidr: 'fd00:101::3/128'}}]\n",
    "  - from: [{podSelector: {matchExpressions: [{key: role, operator: Exists}]}}]\n    ports: [{protocol: TCP}]\n  \
       - from: [{podSelector: {matchLabels: {role: client}}}, {podSelector: {matchLabels: {role: nobody}}}]\n",
];

fn policy(rules: &str) -> String {
    format!(
        "apiVersion: k8s.cni.cncf.io/v1beta1\nkind: MultiNetworkPolicy\nmetadata: {{name: p, \
         namespace: a, annotations: {{k8s.v1.cni.cncf.io/policy-for: a/one}}}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: server}}}}\n  policyTypes: [Ingress]\n  ingress:\n{rules}"
    )
}

const NETWORK_POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: a}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
";

#[test]
fn changes_open_nothing() -> Result<()> {
    let stage = Stage::new("mx")?;
    stage.install_kind()?;
    let agents = stage.pod_agents(&["--table-owner=off"])?;
    stage.settle()?;
    let expected = Expected::read(WHO)?;
    stage.put(&policy(FORMS[0]))?;
    stage.follows(&expected).context("at first")?;
    edited_under_traffic(&stage)?;
    stage.follows(&expected).context("after the edits")?;
    flushed(&stage, &expected, &agents)?;
    garbled_status(&stage, &expected)?;
    network_policies_stay_apart(&stage, &expected)?;
    killed(&stage, &expected, agents)
}

fn edited_under_traffic(stage: &Stage) -> Result<()> {
    let traffic = Traffic::start(stage)?;
    for edit in 0..EDITS {
        stage.put(&policy(FORMS[(edit + 1) % FORMS.len()]))?;
        sleep(BETWEEN);
    }
    stage.put(&policy(FORMS[0]))?;
    sleep(BETWEEN);
    traffic.end(&format!("{EDITS} edits"))
}

/// A pod with `CAP_NET_ADMIN` removes its own rules. They come back, and the pod is named.
fn flushed(stage: &Stage, expected: &Expected, agents: &[Daemon<'_>]) -> Result<()> {
    let before = agents[0].metric("nftpol_repairs_total")?;
    let start = Instant::now();
    nft(&stage.world.cluster.endpoint("a/server")?.namespace, "flush ruleset")?;
    while agents[0].metric("nftpol_repairs_total")? == before {
        ensure!(start.elapsed() < SOON, "{}", agents[0].log());
        sleep(Duration::from_millis(5));
    }
    say(&format!("| flushed by the pod | restored after {} ms |\n", start.elapsed().as_millis()))?;
    stage.follows(expected).context("after the flush")?;
    let log = agents[0].log();
    let named = log.lines().find(|line| line.contains("CAP_NET_ADMIN"));
    let named = named.with_context(|| format!("nobody is named: {log}"))?;
    ensure!(named.contains("a/server"), "{named}");
    Ok(())
}

/// Who can change a pod's annotation opens nothing that was shut.
fn garbled_status(stage: &Stage, expected: &Expected) -> Result<()> {
    for garbled in ["no JSON", "[{\"name\":7}]", "{}"] {
        let traffic = Traffic::start(stage)?;
        stage.annotate("a/server", garbled)?;
        sleep(Duration::from_secs(1));
        for asking in traffic.flows.iter().filter(|asking| !asking.is_allowed) {
            let (_, arrived) = traffic.of(asking);
            ensure!(arrived == 0, "{garbled}: {}: {arrived} arrived", asking.name);
        }
        drop(traffic);
        stage.report("a/server")?;
        stage.follows(expected).with_context(|| format!("after {garbled}"))?;
    }
    say("| garbled network-status | nothing opened |\n")
}

/// NetworkPolicies close the primary network, and the further ones stay as they were.
fn network_policies_stay_apart(stage: &Stage, expected: &Expected) -> Result<()> {
    let world = &stage.world;
    let agents = world.agents_with(&["--no-log"])?;
    let scenario = Scenario::new(&world.cluster, &[Knock::Tcp(80)])?;
    world.server.apply(NETWORK_POLICY)?;
    let counts = soon(world, &scenario).context("the primary network")?;
    ensure!(counts.refused > 0, "{counts:?}");
    stage.check(expected).context("the further networks")?;
    say(&format!("| NetworkPolicy | primary {counts:?}, further networks as before |\n"))?;
    stage.remove(NETWORK_POLICY)?;
    soon(world, &scenario).context("without it")?;
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))
}

/// Killed, the rules stay. Started again, no packet passes that must not.
fn killed(stage: &Stage, expected: &Expected, agents: Vec<Daemon<'_>>) -> Result<()> {
    let traffic = Traffic::start(stage)?;
    agents.into_iter().try_for_each(Daemon::kill)?;
    stage.check(expected).context("without a pod agent")?;
    let agents = stage.pod_agents(&[])?;
    sleep(Duration::from_secs(1));
    traffic.end("killed and started again")?;
    stage.check(expected).context("started again")?;
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))
}

/// The agent is there before the kind. Later the kind goes, and its policies with it.
#[test]
fn the_kind_comes_later_and_goes() -> Result<()> {
    let stage = Stage::new("mk")?;
    let mut agents = stage.pod_agents(&[])?;
    stage.settle()?;
    for agent in &mut agents {
        agent.ready_within(SOON).context("without the kind")?;
    }
    stage.install_kind()?;
    let expected = Expected::read(WHO)?;
    stage.put(&policy(FORMS[0]))?;
    let start = Instant::now();
    // The API server is asked for the kind about once a minute.
    while let Err(error) = stage.check(&expected) {
        ensure!(start.elapsed() < Duration::from_secs(90), "{error:#}: {}", agents[0].log());
        sleep(Duration::from_millis(500));
    }
    say(&format!("| the kind comes later | in force after {} s |\n", start.elapsed().as_secs()))?;
    // Whoever deletes the definition deletes its objects: the API server says so of each.
    stage.remove_kind()?;
    stage.settle().context("the kind is gone, and its policies with it")?;
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))
}

/// The right of the overlay is needed, and suffices without a restart.
#[test]
fn without_the_right_the_pod_agent_says_so() -> Result<()> {
    let stage = Stage::new("mr")?;
    stage.install_kind()?;
    stage.deny()?;
    stage.put(&policy(FORMS[0]))?;
    let agents = NODES.map(|node| stage.start_pod_agent(node, &[]));
    let agents = agents.into_iter().collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    let forbidden = "multi-networkpolicies.k8s.cni.cncf.io: forbidden";
    while !agents[0].log().contains(forbidden) {
        ensure!(start.elapsed() < SOON, "{}", agents[0].log());
        sleep(Duration::from_millis(50));
    }
    let log = agents[0].log();
    say(log.lines().find(|line| line.contains(forbidden)).unwrap_or_default())?;
    stage.settle().context("it cannot know the policy")?;
    stage.grant()?;
    let expected = Expected::read(WHO)?;
    let start = Instant::now();
    // Failed requests are repeated after half a minute at most.
    while let Err(error) = stage.check(&expected) {
        ensure!(start.elapsed() < 4 * SOON, "{error:#}: {}", agents[0].log());
        sleep(Duration::from_millis(200));
    }
    say(&format!("\n| granted | in force after {} ms |\n", start.elapsed().as_millis()))?;
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))
}
