//! From the API server's answer to the first packet under the new rules.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kubebed::world::World;
use netbed::stream::{Stream, percentile};
use policy::{Labels, ObjectKey};
use samples::fixtures;
use samples::testbed_spec::Network;
use serde_json::json;

/// Changes of each kind. `NFTPOL_ROUNDS` overrides it.
const ROUNDS: usize = 25;
const PORT: u16 = 5353;

#[test]
fn from_the_answer_to_the_packet() -> Result<()> {
    let rounds = std::env::var("NFTPOL_ROUNDS").ok().map(|text| text.parse());
    let rounds = rounds.transpose().context("NFTPOL_ROUNDS")?.unwrap_or(ROUNDS);
    let world = World::new(fixtures::town(Network::Bridge, &["node-1", "node-2"]), "al")?;
    let _agents = world.agents()?;
    let pods = world.cluster.spec().pods();
    let in_shop: Vec<_> = pods.iter().filter(|pod| pod.key.namespace == "shop").collect();
    let [to, from, ..] = in_shop[..] else { anyhow::bail!("two pods of shop") };
    let endpoint = |key: &ObjectKey| world.cluster.endpoint(&key.to_string());
    let stream = Stream::start(endpoint(&from.key)?, endpoint(&to.key)?, false, PORT)?;
    stream.heard_after(Instant::now())?;

    let client = world.server.client();
    let policies: Api<NetworkPolicy> = Api::namespaced(client, "shop");
    let deny: NetworkPolicy = serde_json::from_value(json!({
        "metadata": {"name": "deny", "namespace": "shop"}, "spec": {"podSelector": {}},
    }))?;
    let mut times: [(&str, Vec<Duration>); 4] = [
        ("policy created, first denied", Vec::new()),
        ("policy deleted, first allowed", Vec::new()),
        ("label changed, first denied", Vec::new()),
        ("label changed, first allowed", Vec::new()),
    ];
    for _ in 0..rounds {
        world.server.block_on(policies.create(&PostParams::default(), &deny))?;
        times[0].1.push(stream.silenced_after(Instant::now())?);
        world.server.block_on(policies.delete("deny", &DeleteParams::default()))?;
        times[1].1.push(stream.heard_after(Instant::now())?);
    }
    // Only pods with the label may enter.
    let friends: NetworkPolicy = serde_json::from_value(json!({
        "metadata": {"name": "friends", "namespace": "shop"},
        "spec": {
            "podSelector": {},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}],
        },
    }))?;
    world.server.block_on(policies.create(&PostParams::default(), &friends))?;
    stream.silenced_after(Instant::now())?;
    let relabel = |labels: Labels| world.server.relabel_pods(&[(from.key.clone(), labels)]);
    let mut friend = from.labels.clone();
    friend.insert("role".to_owned(), "friend".to_owned());
    for _ in 0..rounds {
        relabel(friend.clone())?;
        times[3].1.push(stream.heard_after(Instant::now())?);
        relabel(from.labels.clone())?;
        times[2].1.push(stream.silenced_after(Instant::now())?);
    }

    let mut text = format!(
        "\n| from the API server's answer to the packet, {rounds} times | p50 ms | p99 ms |\n\
         |---|---:|---:|\n"
    );
    for (name, durations) in &mut times {
        let [half, most] = [0.5, 0.99].map(|part| percentile(durations, part));
        let [half, most] = [half, most].map(|one| one.as_secs_f64() * 1000.0);
        text += &format!("| {name} | {half:.1} | {most:.1} |\n");
    }
    std::io::stderr().write_all(text.as_bytes()).context("write to stderr")
}
