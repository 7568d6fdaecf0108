//! Pods whose annotation says nothing that can be used, or claims too much.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use netbed::fire::say;
use serde_json::{Value, json};

use crate::expected::Expected;
use crate::stage::{NETWORKS, SOON, Stage};

/// A tenth of what an annotation has room for.
const NETWORKS_OF_A_POD: usize = 600;
/// As many as a policy may name.
const NAMES: usize = 120;

const CUT_OFF: &str = "#: network from to passes
#: one  *         a/server  none
#: two  *         a/server  none
";
const MODEST: &str = "#: network from to passes
#: one  *         a/server  none
#: two  *         a/server  none
#: one  *         b/client  none
";
const NAMED: &str = "#: network from to passes
#: one  *         a/server  none
#: one  a/client  a/server  all
";

/// For pods of a label in a namespace, who may come in, on these networks.
fn policy(name: &str, namespace: &str, label: &str, from: &str, networks: &[String]) -> String {
    format!(
        "---\napiVersion: k8s.cni.cncf.io/v1beta1\nkind: MultiNetworkPolicy\nmetadata: {{name: \
         {name}, namespace: {namespace}, annotations: {{k8s.v1.cni.cncf.io/policy-for: '{}'}}}}\n\
         spec:\n  podSelector: {{matchLabels: {{{label}}}}}\n  policyTypes: [Ingress]\n  ingress: \
         [{from}]\n",
        networks.join(",")
    )
}

fn clients(networks: &[String]) -> String {
    let from = "{from: [{podSelector: {matchLabels: {role: client}}}]}";
    policy("p", "a", "app: server", from, networks)
}

/// What the page of readiness says.
fn ready(agent: &Daemon<'_>, what: &str) -> Result<String> {
    let start = Instant::now();
    loop {
        let said = agent.get("/readyz?verbose").map(|(_, text)| text).unwrap_or_default();
        if said.contains(what) {
            return Ok(said);
        }
        ensure!(start.elapsed() < SOON, "no {what:?}: {said}\n{}", agent.log());
        sleep(Duration::from_millis(100));
    }
}

/// Nobody knows which interface is of which network. So what a policy of any network isolates
/// is cut off on all, and no other pod, nor the primary network.
#[test]
fn an_unreadable_status_cuts_off_at_first_sight() -> Result<()> {
    let stage = Stage::new("mu")?;
    stage.install_kind()?;
    let (server, other) = ("a/server", "a/other");
    stage.annotate(server, "no JSON")?;
    stage.annotate(other, "{}")?;
    stage.put(&clients(&["a/one".to_owned()]))?;
    let agents = stage.pod_agents(&[])?;
    stage.follows(&Expected::read(CUT_OFF)?).context("cut off")?;
    stage.primary_is_open()?;
    let said = ready(&agents[0], "network-status cannot be read")?;
    ensure!(said.contains(server) && !said.contains(other), "{said}");
    ensure!(agents[0].log().contains("cut off on further networks"), "{}", agents[0].log());
    // Once it can be read, the policy holds on its network alone.
    stage.report(server)?;
    let named = Expected::read(NAMED)?;
    stage.follows(&named).context("named")?;
    // Cut off again, by an agent that has not seen the status.
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))?;
    stage.annotate(server, "no JSON")?;
    let agents = stage.pod_agents(&[])?;
    stage.follows(&Expected::read(CUT_OFF)?).context("cut off by another agent")?;
    stage.report(server)?;
    stage.follows(&named).context("named again")?;
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))
}

/// One pod claims hundreds of networks, by one interface.
#[test]
fn a_pod_of_hundreds_of_networks_costs_one_table() -> Result<()> {
    let stage = Stage::new("mg")?;
    stage.install_kind()?;
    let names: Vec<String> = (0..NETWORKS_OF_A_POD).map(|number| format!("a/n{number}")).collect();
    let entry = |name: &String| json!({"name": name, "interface": NETWORKS[0].interface});
    let status: Vec<Value> = names.iter().map(entry).collect();
    stage.annotate("a/server", &Value::from(status).to_string())?;
    for (number, names) in names.chunks(NAMES).enumerate() {
        stage.put(&policy(&format!("p{number}"), "a", "app: server", "", names))?;
    }
    let start = Instant::now();
    let agent = stage.start_pod_agent("node-1", &[])?;
    let other = stage.start_pod_agent("node-2", &[])?;
    let said = ready(&agent, "MultiNetworkPolicies by ").unwrap_or_default();
    let settled = start.elapsed();
    let process = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    let cost = |name: &str| {
        let line = process.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    say(&format!(
        "| {NETWORKS_OF_A_POD} networks of a pod | after {} ms | {} threads, {} |\n| {said} |\n",
        settled.as_millis(),
        cost("Threads:"),
        cost("VmRSS:")
    ))?;
    let start = Instant::now();
    let one = ["a/one".to_owned()];
    stage.put(&policy("p", "b", "role: client", "", &one))?;
    stage.follows(&Expected::read(MODEST)?).context("another tenant's policy")?;
    say(&format!("| another tenant | in force after {} ms |\n", start.elapsed().as_millis()))?;
    ready(&agent, "or names too many")?;
    let threads: usize = cost("Threads:").parse()?;
    ensure!(threads < 20, "{threads} threads");
    [agent, other].into_iter().try_for_each(|agent| agent.stop().map(drop))
}

/// The option is taken away. What is enforced stays, and the agent says so.
#[test]
fn without_the_option_the_tables_stay_and_are_named() -> Result<()> {
    let stage = Stage::new("ml")?;
    stage.install_kind()?;
    stage.put(&clients(&["a/one".to_owned()]))?;
    let named = Expected::read(NAMED)?;
    let agents = stage.pod_agents(&[])?;
    stage.follows(&named)?;
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))?;
    let agent = stage.plain_pod_agent("node-1")?;
    let said = ready(&agent, "nothing follows the policies")?;
    ensure!(said.contains("left them (1, in 1 network namespaces)"), "{said}");
    stage.check(&named).context("as before")?;
    agent.stop().map(drop)?;
    let agents = stage.pod_agents(&[])?;
    stage.put(&clients(&["a/nowhere".to_owned()]))?;
    stage.follows(&Expected::default()).context("followed again")?;
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))
}
