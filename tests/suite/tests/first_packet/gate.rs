//! Who may speak as the plugin: without `--cni-plugin` nobody, and the plugin says what to do.
//! Also halves of an upgrade, from a version whose agents answered without it.

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::PATIENCE;
use netbed::program;
use policy::{Labels, Pod};
use samples::testbed_spec::pod_address;
use serde_json::{Value, json};

use super::failures::{code, is_isolated, node, soon, world};
use super::newcomer::{ANSWERS, NODE, Newcomer, call, object};

const REFUSED: &str = "does not answer the CNI plugin: it needs --cni-plugin";

/// A process that is root in the node's network lifts the isolation of a pod whose interface
/// nobody knows: it says that another pod has the address now. It does so where the plugin is
/// answered, and nowhere else.
#[test]
fn without_the_flag_no_process_of_the_node_speaks_as_the_plugin() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let address = pod_address(0, 40, false);
    let victim = Pod { addresses: vec![address], ..object("victim") };
    let free = Pod { labels: Labels::new(), ..object("free") };
    world.server.create_pods(&[victim, free])?;
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": "/run/netns/any"}],
        "ips": [{"address": format!("{address}/24"), "interface": 0}],
    });
    let say = |command| call(node, command, "free", &result, &json!({"waitMs": 1000}));

    let mut agent = world.agent(NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    soon("isolated", || is_isolated(node, address))?;
    let said = say("ADD")?;
    assert_eq!(code(&said)?, 11, "{said:?}");
    ensure!(said.stdout.contains(REFUSED), "{said:?}");
    ensure!(said.stdout.contains("overlays/cni-remove"), "it says nothing to do: {said:?}");
    ensure!(agent.log().contains(REFUSED), "not logged: {}", agent.log());
    assert_eq!(code(&say("CHECK")?)?, 100);
    assert_eq!(say("DEL")?.code, Some(0), "a pod must be able to end");
    let newest = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
    assert_eq!(code(&call(node, "STATUS", "any", &Value::Null, &newest)?)?, 50);
    assert_eq!(call(node, "GC", "any", &Value::Null, &newest)?.code, Some(0));
    for _ in 0..20 {
        ensure!(is_isolated(node, address)?, "its isolation is lifted");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    agent.stop()?;

    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    ensure!(is_isolated(node, address)?, "with another agent");
    say("ADD")?.success().context("so that the refusals above show something")?;
    soon("free", || Ok(!is_isolated(node, address)?))?;
    agent.stop().map(drop)
}

/// The manifests are of the version before, and so say nothing of the plugin; then they are of
/// this one. A pod that starts in between waits, and nothing is open.
#[test]
fn a_new_agent_under_old_manifests_holds_pods_back_until_it_is_told() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let mut agent = world.agent(NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    let pod = Newcomer::new(node, 41)?;
    world.server.create_pods(&[pod.object(false)])?;
    for more in [json!({"waitMs": 300}), json!({"waitMs": 300, "withoutAgent": "fail"})] {
        let said = pod.call(node, "ADD", &more)?;
        assert_eq!(code(&said)?, 11, "{said:?}");
        ensure!(said.stdout.contains(REFUSED), "{said:?}");
    }
    let goes_on = pod.call(node, "ADD", &json!({"waitMs": 300, "withoutAgent": "continue"}))?;
    assert_eq!(goes_on.code, Some(0), "as the operator has told the plugin: {goes_on:?}");
    ensure!(goes_on.stderr.contains(REFUSED), "{goes_on:?}");
    agent.stop()?;

    // As manifests/components/cni-agent says it.
    let mut command = node.command(program::path()?);
    command.env("NFTPOL_CNI_PLUGIN", "true");
    let mut agent = Daemon::of(node, command, world.kubeconfig(), NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    pod.call(node, "ADD", &json!({}))?.success().context("the kubelet's next attempt")?;
    ensure!(is_isolated(node, pod.address)?, "not when ADD ended");
    agent.stop().map(drop)
}
