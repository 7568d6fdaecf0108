use super::*;
use crate::Cluster;
use crate::explain::{End, explain};
use watcher::files::{Validation, parse};

const MANIFESTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: dev}
spec: {nodeName: n1, containers: [{name: c}]}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: dev, labels: {app: b}}
spec: {nodeName: n2, containers: [{name: c}]}
status: {phase: Running, podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: dev}
spec: {podSelector: {matchLabels: {app: b}}}
";

fn answer(to: &str) -> Answer {
    let mut snapshot = policy::Snapshot::default();
    for object in parse("m.yaml", MANIFESTS, Validation::Strict).objects {
        match object {
            watcher::Object::Pod(pod) => {
                snapshot.pods.insert(pod.key.clone(), pod);
            }
            watcher::Object::NetworkPolicy(policy) => {
                snapshot.policies.insert(policy.key.clone(), policy);
            }
            watcher::Object::Namespace(_) | watcher::Object::MultiNetworkPolicy(_) => {}
        }
    }
    let cluster = Cluster::from(snapshot);
    let end = |text| End::parse(text, "dev").expect("an end");
    explain(&cluster, &end("a"), &end(to)).expect("an answer")
}

#[test]
fn the_agent_is_asked_about_isolated_sides_alone_and_shown_as_it_answers() {
    let mut answer = answer("b:80");
    let asked = std::cell::RefCell::new(Vec::new());
    add_kernel(&mut answer, &|packet| {
        asked.borrow_mut().push(packet.clone());
        Ok(Judged {
            node: "n2".to_owned(),
            isolated: true,
            chain: Some("i.dev/shut.1".to_owned()),
            dropped: Some(214),
            proof_age_seconds: Some(3.9),
            ..Judged::default()
        })
    });
    let asked = asked.into_inner();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(
        (asked[0].direction.as_str(), asked[0].protocol, asked[0].port),
        ("ingress", 6, Some(80))
    );
    let text = answer.to_string();
    let line = "    kernel (n2): denied at the end of chain i.dev/shut.1; 214 packets to it dropped; proved 3 s ago\n";
    assert!(text.contains(line), "{text}");
    assert!(!text.contains("note:"), "{text}");
}

#[test]
fn another_verdict_and_another_node_are_named() {
    let mut differs = answer("b:80");
    let passes = Judged { node: "n2".to_owned(), passes: true, ..Judged::default() };
    add_kernel(&mut differs, &|_| Ok(passes.clone()));
    let text = differs.to_string();
    assert!(text.contains("note: the kernel of n2 says allowed for ingress"), "{text}");
    let mut elsewhere = answer("b:80");
    let other = Judged { node: "n1".to_owned(), passes: true, ..Judged::default() };
    add_kernel(&mut elsewhere, &|_| Ok(other.clone()));
    let text = elsewhere.to_string();
    assert!(text.contains("    kernel: not known: this is n1; ask on n2\n"), "{text}");
    let mut without_port = answer("b");
    add_kernel(&mut without_port, &|_| Err("nobody".to_owned()));
    assert!(without_port.to_string().contains("kernel: not known: name a port"));
}
