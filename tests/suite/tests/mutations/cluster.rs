//! The cluster in which the mistakes are made: each kind of pod under each kind of
//! policy. The policies are in `fixtures/verify/policies.yaml`.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use policy::{Labels, NamedPort, Namespace, ObjectKey, Phase, Pod, Protocol, Snapshot};
use samples::fixtures;
use watcher::Store;
use watcher::files::{self, Validation};

/// The node whose table is examined.
pub const NODE: &str = "n1";

/// The cluster without a mistake.
pub fn snapshot() -> Result<Snapshot> {
    let path = fixtures::directory("verify").join("policies.yaml");
    let text = std::fs::read_to_string(&path)?;
    let loaded = files::parse("policies.yaml", &text, Validation::Strict);
    ensure!(!loaded.has_errors(), "{:#?}", loaded.findings);
    let store: Store = loaded.objects.into_iter().collect();
    let policies = store.snapshot().policies.values().map(|policy| (**policy).clone());
    let namespaces = [("dev", "a"), ("shop", "a"), ("ops", "b")].map(|(name, team)| {
        let labels = [("team".to_owned(), team.to_owned())].into();
        Namespace { name: name.to_owned(), labels, is_ending: false, switch: Default::default() }
            .with_metadata_name()
    });
    Ok(Snapshot::new(policies, pods(), namespaces))
}

fn pods() -> Vec<Pod> {
    let both = |last: u8| vec![format!("10.0.0.{last}"), format!("fd00::{last}")];
    let mut pods = vec![
        pod("dev", "web", "n1", &both(1), &[("http", Protocol::Tcp, 80)]),
        pod("dev", "db", "n1", &both(2), &[("http", Protocol::Tcp, 8080)]),
        // With IPv4 alone.
        pod("dev", "cache", "n1", &both(3)[..1], &[("http", Protocol::Tcp, 8081)]),
        // The same port name for another protocol.
        pod("dev", "dns", "n2", &both(8), &[("http", Protocol::Udp, 53)]),
        pod("ops", "mon", "n2", &both(4), &[("http", Protocol::Tcp, 9090)]),
        // It has ended, so its address has no owner.
        pod("ops", "ended", "n2", &both(5), &[]),
        pod("shop", "front", "n1", &both(6), &[]),
        pod("shop", "cart", "n1", &both(7), &[]),
        // On the node's network.
        pod("ops", "agent", "n2", &["192.168.0.2".to_owned()], &[]),
        // Its address now belongs to another pod.
        pod("dev", "late", "n2", &both(9), &[]),
        pod("shop", "heir", "n2", &both(9), &[]),
    ];
    for pod in &mut pods {
        match pod.key.name.as_str() {
            "ended" => pod.phase = Phase::Succeeded,
            "agent" => pod.host_network = true,
            "heir" => pod.created = 1,
            "db" => drop(pod.labels.insert("tier".to_owned(), "back".to_owned())),
            "dns" => drop(pod.labels.insert("empty".to_owned(), "full".to_owned())),
            _ => {}
        }
    }
    pods
}

fn pod(
    namespace: &str,
    name: &str,
    node: &str,
    addresses: &[String],
    ports: &[(&str, Protocol, u16)],
) -> Pod {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address literal");
    let host = if node == "n1" { "192.168.0.1" } else { "192.168.0.2" };
    let port = |&(name, protocol, port): &(&str, Protocol, u16)| NamedPort {
        name: name.to_owned(),
        protocol,
        port,
    };
    Pod {
        key: ObjectKey::new(namespace, name),
        labels: Labels::from([("app".to_owned(), name.to_owned())]),
        node: Some(node.to_owned()),
        addresses: addresses.iter().map(|text| address(text)).collect(),
        host_addresses: vec![address(host)],
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: policy::Attachment::default(),
        ports: ports.iter().map(port).collect(),
    }
}
