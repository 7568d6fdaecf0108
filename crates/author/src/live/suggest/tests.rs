use policy::Snapshot;
use watcher::files::{self, Validation};

use super::*;

fn end(address: &str, port: u16, pod: Option<(&str, &str, &str)>) -> End {
    End {
        address: address.parse().expect("an address"),
        port: Some(port),
        namespace: pod.map(|(namespace, ..)| namespace.to_owned()),
        pod: pod.map(|(_, name, _)| name.to_owned()),
        labels: pod
            .filter(|(.., app)| !app.is_empty())
            .map(|(.., app)| vec![("app".to_owned(), app.to_owned())])
            .unwrap_or_default(),
        node: None,
    }
}

fn packet(direction: &str, source: End, destination: End) -> Denied {
    Denied {
        time_ms: 0,
        node: "n".to_owned(),
        verdict: "DENIED".to_owned(),
        direction: direction.to_owned(),
        source,
        destination,
        protocol: "TCP".to_owned(),
        tcp_flags: Some("SYN".to_owned()),
        icmp: None,
        asked: None,
        policies: vec!["shop/p".to_owned()],
        chain: String::new(),
        hint: None,
    }
}

fn packets() -> Vec<Denied> {
    let cart = Some(("shop", "cart-5c6b-a2", "cart"));
    let mut udp = packet(
        "egress",
        end("10.0.0.3", 5000, cart),
        end("10.0.0.9", 53, Some(("kube-system", "coredns-1", "dns"))),
    );
    (udp.protocol, udp.tcp_flags) = ("UDP".to_owned(), None);
    let prometheus = Some(("monitoring", "prometheus-0", "yes"));
    vec![
        packet("ingress", end("10.0.0.6", 40001, prometheus), end("10.0.0.3", 9090, cart)),
        packet("ingress", end("10.0.0.6", 40002, prometheus), end("10.0.0.3", 9090, cart)),
        packet("ingress", end("fd00::7", 40003, None), end("fd00::3", 8080, cart)),
        packet(
            "ingress",
            end("10.0.0.4", 1, Some(("shop", "front-1", "front"))),
            end("10.0.0.3", 80, cart),
        ),
        udp,
    ]
}

/// A label value `yes` would be a truth value in YAML 1.1.
#[test]
fn what_was_denied_becomes_the_smallest_policy() {
    let yaml = policies(&packets(), Some("shop/cart"));
    let expected = r#"# Proposed from packets that were denied. Read it first: it allows everybody who tried.
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: allow-denied-ingress-0
  namespace: shop
spec:
  podSelector: {matchLabels: {app: cart}}
  policyTypes: [Ingress]
  ingress:
    - from:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}
          podSelector: {matchLabels: {app: "yes"}}
      ports:
        - {protocol: TCP, port: 9090}
    - from:
        - podSelector: {matchLabels: {app: front}}
      ports:
        - {protocol: TCP, port: 80}
    - from:
        - ipBlock: {cidr: "fd00::7/128"}   # no pod with labels
      ports:
        - {protocol: TCP, port: 8080}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: allow-denied-egress-1
  namespace: shop
spec:
  podSelector: {matchLabels: {app: cart}}
  policyTypes: [Egress]
  egress:
    - to:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
          podSelector: {matchLabels: {app: dns}}
      ports:
        - {protocol: UDP, port: 53}
"#;
    assert_eq!(yaml, expected);
    assert_eq!(policies(&packets(), Some("shop/car")), policies(&[], None));
}

#[test]
fn the_proposal_is_valid() {
    let loaded = files::parse("proposal", &policies(&packets(), None), Validation::Strict);
    assert!(!loaded.has_errors(), "{:?}", loaded.findings);
    let snapshot = loaded.objects.into_iter().fold(watcher::Store::default(), |mut store, one| {
        store.apply(one);
        store
    });
    let Snapshot { policies, .. } = snapshot.snapshot();
    assert_eq!(policies.len(), 2);
}
