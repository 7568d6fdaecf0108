//! The model of the written objects: defaults, and how unusable parts fail closed.

use std::fmt::Display;

use k8s_openapi::api::core::v1::Pod as ApiPod;
use policy::{Peer, Peers, PortNumbers, Ports, Rule};

use crate::Object;
use crate::files::{Validation, parse};

fn join(parts: impl IntoIterator<Item = impl Display>) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join(", ")
}

fn show_peer(peer: &Peer) -> String {
    match peer {
        Peer::IpBlock(block) if block.except().is_empty() => block.cidr().to_string(),
        Peer::IpBlock(block) => format!("{} but {}", block.cidr(), join(block.except())),
        Peer::Pods(pods) => match &pods.namespaces {
            None => format!("pods {}", pods.pods),
            Some(namespaces) => format!("pods {} in {namespaces}", pods.pods),
        },
    }
}

fn show_rule(rule: &Rule) -> String {
    let peers = match &rule.peers {
        Peers::Anyone => "anyone".to_owned(),
        Peers::Only(peers) => format!("[{}]", join(peers.iter().map(show_peer))),
    };
    let ports = match &rule.ports {
        Ports::All => "all".to_owned(),
        Ports::Only(ports) => format!(
            "[{}]",
            join(ports.iter().map(|port| match &port.numbers {
                PortNumbers::All => port.protocol.to_string(),
                PortNumbers::Range(first, last) if first == last => {
                    format!("{}/{first}", port.protocol)
                }
                PortNumbers::Range(first, last) => format!("{}/{first}-{last}", port.protocol),
                PortNumbers::Named(name) => format!("{}/{name}", port.protocol),
            }))
        ),
    };
    format!("{peers} on {ports}")
}

/// `SELECTOR | in: RULES | out: RULES`, without the directions that the policy does
/// not isolate.
fn show(spec: &str) -> String {
    let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                metadata: {name: web, namespace: dev}\n";
    let loaded = parse("f", &format!("{head}{spec}\n"), Validation::Warn);
    let Some(Object::NetworkPolicy(policy)) = loaded.objects.first() else {
        return "no policy".to_owned();
    };
    let mut shown = policy.pod_selector.to_string();
    for (name, rules) in [("in", &policy.ingress), ("out", &policy.egress)] {
        if let Some(rules) = rules {
            shown += format!(" | {name}: {}", join(rules.iter().map(show_rule))).trim_end();
        }
    }
    shown
}

#[track_caller]
fn check(name: &str, spec: &str, expected: &str) {
    assert_eq!(show(spec), expected, "{name}: {spec}");
}

#[test]
fn defaults() {
    let cases = [
        ("no spec", "", "<all> | in:"),
        ("no policyTypes", "spec: {}", "<all> | in:"),
        (
            "empty policyTypes",
            "spec: {policyTypes: [], egress: [{}]}",
            "<all> | in: | out: anyone on all",
        ),
        ("empty egress does not isolate", "spec: {egress: []}", "<all> | in:"),
        ("egress rules isolate both", "spec: {egress: [{}]}", "<all> | in: | out: anyone on all"),
        ("egress alone", "spec: {policyTypes: [Egress]}", "<all> | out:"),
        ("twice the same", "spec: {policyTypes: [Ingress, Ingress]}", "<all> | in:"),
        (
            "dead letters",
            "spec: {policyTypes: [Ingress], egress: [{}], ingress: [{}]}",
            "<all> | in: anyone on all",
        ),
        ("empty lists", "spec: {ingress: [{from: [], ports: []}]}", "<all> | in: anyone on all"),
        ("an empty port", "spec: {ingress: [{ports: [{}]}]}", "<all> | in: anyone on [TCP]"),
        (
            "ports",
            "spec: {ingress: [{ports: [{port: 80}, {port: 81, endPort: 90, protocol: UDP}, {port: http}]}]}",
            "<all> | in: anyone on [TCP/80, UDP/81-90, TCP/http]",
        ),
        (
            "peers",
            "spec: {ingress: [{from: [{podSelector: {}}, {namespaceSelector: {}}, {ipBlock: {cidr: 010.1.2.3/8, except: [10.1.0.0/16]}}]}]}",
            "<all> | in: [pods <all>, pods <all> in <all>, 10.0.0.0/8 but 10.1.0.0/16] on all",
        ),
        (
            "selectors",
            "spec: {podSelector: {matchLabels: {a: \"\"}, matchExpressions: [{key: b, operator: NotIn, values: [x, z]}, {key: c, operator: Exists}, {key: d, operator: DoesNotExist}]}}",
            "a=,b notin (x,z),c,!d | in:",
        ),
    ];
    for (name, spec, expected) in cases {
        check(name, spec, expected);
    }
}

#[test]
fn unusable_parts_allow_nothing() {
    let cases = [
        ("an empty peer", "spec: {ingress: [{from: [{}]}]}", "<all> | in: [] on all"),
        (
            "one peer of two",
            "spec: {ingress: [{from: [{ipBlock: {cidr: x}}, {podSelector: {}}]}]}",
            "<all> | in: [pods <all>] on all",
        ),
        (
            "ipBlock beside a selector",
            "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}",
            "<all> | in: [] on all",
        ),
        (
            "an except outside",
            "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]}",
            "<all> | in: [] on all",
        ),
        (
            "an except that is no text",
            "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [[]]}}]}]}",
            "<all> | in: [] on all",
        ),
        (
            "excepts that are no list",
            "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}}]}]}",
            "<all> | in: [] on all",
        ),
        (
            "an operator in a peer",
            "spec: {ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Foo}]}}]}]}",
            "<all> | in: [] on all",
        ),
        (
            "a label of a peer that is no text",
            "spec: {ingress: [{from: [{podSelector: {matchLabels: {a: yes}}}]}]}",
            "<all> | in: [] on all",
        ),
        (
            "a value of a peer that is no text",
            "spec: {ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [1]}]}}]}]}",
            "<all> | in: [] on all",
        ),
        (
            "a peer that is no object",
            "spec: {ingress: [{from: [x, {podSelector: {}}]}]}",
            "<all> | in: [pods <all>] on all",
        ),
        (
            "peers that are no list",
            "spec: {ingress: [{from: {podSelector: {}}}]}",
            "<all> | in: [] on all",
        ),
        (
            "a port that is no object",
            "spec: {ingress: [{ports: [80]}]}",
            "<all> | in: anyone on []",
        ),
        (
            "ports that are no list",
            "spec: {ingress: [{ports: {port: 80}}]}",
            "<all> | in: anyone on []",
        ),
        ("a protocol", "spec: {ingress: [{ports: [{protocol: tcp}]}]}", "<all> | in: anyone on []"),
        (
            "a protocol that is no text",
            "spec: {ingress: [{ports: [{protocol: 6}]}]}",
            "<all> | in: anyone on []",
        ),
        (
            "endPort that is no number",
            "spec: {ingress: [{ports: [{port: 80, endPort: x}, {port: 1}]}]}",
            "<all> | in: anyone on [TCP/1]",
        ),
        (
            "endPort below",
            "spec: {ingress: [{ports: [{port: 80, endPort: 79}]}]}",
            "<all> | in: anyone on []",
        ),
        ("a rule that is no object", "spec: {ingress: [x]}", "<all> | in: [] on []"),
        ("rules that are no list", "spec: {ingress: {from: []}}", "<all> | in:"),
        ("egress rules that are no list", "spec: {egress: {to: []}}", "<all> | in: | out:"),
        ("a spec that is no object", "spec: [x]", "<all> | in: | out:"),
        ("types that are no list", "spec: {policyTypes: Egress}", "<all> | in: | out:"),
        (
            "an unknown type",
            "spec: {policyTypes: [Both], ingress: [{}]}",
            "<all> | in: anyone on all | out:",
        ),
        ("a type in small letters", "spec: {policyTypes: [egress]}", "<all> | in: | out:"),
    ];
    for (name, spec, expected) in cases {
        check(name, spec, expected);
    }
}

#[test]
fn an_unusable_pod_selector_isolates_more_and_allows_nothing() {
    let cases = [
        (
            "an operator",
            "{matchLabels: {a: b}, matchExpressions: [{key: c, operator: Foo}]}",
            "a=b | in: | out:",
        ),
        ("a value that is no text", "{matchLabels: {a: b, c: yes}}", "a=b | in: | out:"),
        ("an invalid value", "{matchLabels: {a: \"b c\"}}", "<all> | in: | out:"),
        ("labels that are no object", "{matchLabels: [a]}", "<all> | in: | out:"),
        (
            "values without In",
            "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
            "<all> | in: | out:",
        ),
        ("no values", "{matchExpressions: [{key: a, operator: In}]}", "<all> | in: | out:"),
        ("a requirement that is no object", "{matchExpressions: [x]}", "<all> | in: | out:"),
        ("no object", "web", "<all> | in: | out:"),
    ];
    for (name, selector, expected) in cases {
        check(
            name,
            &format!("spec: {{podSelector: {selector}, ingress: [{{}}], egress: [{{}}]}}"),
            expected,
        );
    }
}

#[test]
fn pods() {
    let text = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: dev
  labels: {app: web}
  creationTimestamp: 1970-01-01T01:00:00Z
spec:
  nodeName: n1
  hostNetwork: false
  initContainers:
  - {name: a, ports: [{name: once, containerPort: 1}]}
  - {name: b, restartPolicy: Always, ports: [{name: side, containerPort: 2, protocol: UDP}]}
  containers:
  - {name: c, ports: [{name: http, containerPort: 80}, {containerPort: 81}]}
  - {name: d, ports: [{name: http, containerPort: 8080}]}
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: \"fd00::1\"}, {ip: 10.0.0.1}]
  hostIP: 192.0.2.1
";
    let loaded = parse("f", text, Validation::Strict);
    assert_eq!(loaded.findings, [], "{text}");
    let Some(Object::Pod(pod)) = loaded.objects.first() else { panic!("no pod") };
    let ports: Vec<String> = pod
        .ports
        .iter()
        .map(|port| format!("{}={}/{}", port.name, port.protocol, port.port))
        .collect();
    assert_eq!(ports, ["http=TCP/80", "http=TCP/8080", "side=UDP/2"]);
    assert_eq!(join(&pod.addresses), "fd00::1, 10.0.0.1");
    assert_eq!(join(&pod.host_addresses), "192.0.2.1");
    assert_eq!(pod.node.as_deref(), Some("n1"));
    assert_eq!((pod.created, pod.host_network), (3600, false));
    assert!(pod.is_subject());
}

#[test]
fn an_object_of_the_api_server_without_anything() {
    let (pod, diagnostics) = super::pod(&ApiPod::default());
    assert!(pod.addresses.is_empty() && pod.ports.is_empty());
    let messages: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(messages, ["error: Pod : metadata.name: is missing; every object needs a name"]);
    assert_eq!(super::namespace(&Default::default()).0.name, "");
    let (policy, _) = super::network_policy(&Default::default());
    assert_eq!((policy.ingress, policy.egress), (Some(Vec::new()), None));
}

/// kubelet runs a static pod under a uid that its object has in an annotation. An object that
/// kubelet reports no address of may be anybody's.
#[test]
fn a_static_pod_has_the_uid_that_kubelet_runs_it_under() {
    const HASH: &str = "0123456789abcdef0123456789abcdef";
    const OWN: &str = "fedcba98-7654-4210-8fed-cba987654321";
    let uid = |annotations: &str, status: &str| {
        let yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-n1, namespace: dev, uid: {OWN}, \
             annotations: {{{annotations}}}}}\nstatus: {{{status}}}\n"
        );
        let loaded = parse("f", &yaml, Validation::Warn);
        match loaded.objects.first() {
            Some(Object::Pod(pod)) => Some(pod.attachment.uid),
            _ => None,
        }
    };
    let [mirrored, own] = [HASH, OWN].map(policy::PodUid::parse);
    let mirror = format!("kubernetes.io/config.mirror: {HASH:?}");
    let addresses = "phase: Running, podIPs: [{ip: 10.0.0.9}]";
    assert_eq!(uid(&mirror, addresses), mirrored);
    assert_eq!(uid(&mirror, "phase: Pending"), own, "nobody runs it");
    assert_eq!(uid("", addresses), own);
    let hash = format!("kubernetes.io/config.hash: {HASH:?}");
    assert_eq!(uid(&hash, addresses), own, "anybody can add this one later");
}

/// Multus' annotation is anybody's who may change the pod.
#[test]
fn what_cannot_be_read_of_a_pods_networks_is_told() {
    let read = |status: &str| {
        let annotations = [(super::pod::NETWORK_STATUS.to_owned(), status.to_owned())];
        let mut object = ApiPod::default();
        object.metadata.name = Some("web".to_owned());
        object.metadata.namespace = Some("dev".to_owned());
        object.metadata.annotations = Some(annotations.into());
        let attachment = super::pod(&object).0.attachment;
        (attachment.networks.len(), attachment.is_unread)
    };
    let entries = |count: usize| {
        let one = |number| format!(r#"{{"name":"a/n{number}","interface":"net1"}}"#);
        format!("[{}]", (0..count).map(one).collect::<Vec<_>>().join(","))
    };
    let addresses = |count: usize| {
        let all: Vec<String> = (0..count).map(|number| format!("\"fd00::{number:x}\"")).collect();
        format!(r#"[{{"name":"a/n","interface":"net1","ips":[{}]}}]"#, all.join(","))
    };
    for (status, expected) in [
        ("", (0, false)),
        ("null", (0, false)),
        ("[]", (0, false)),
        (r#"[{"name":"","interface":"eth0","default":true}]"#, (0, false)),
        (r#"[{"name":"a/n","interface":"net1"}]"#, (1, false)),
        ("no JSON", (0, true)),
        ("{}", (0, true)),
        (r#"[{"name":7}]"#, (0, true)),
        (r#"[{"name":7}, {"name":"n","interface":"net1"}]"#, (1, true)),
        (r#"[{"name":"a b","interface":"net1"}]"#, (1, true)),
        (&entries(policy::MOST_NETWORKS), (policy::MOST_NETWORKS, false)),
        (&entries(policy::MOST_NETWORKS + 1), (0, true)),
        (&addresses(policy::MOST_ADDRESSES), (1, false)),
        (&addresses(policy::MOST_ADDRESSES + 1), (0, true)),
    ] {
        assert_eq!(read(status), expected, "{}", &status[..status.len().min(80)]);
    }
}

#[test]
fn a_policy_of_too_many_networks_allows_nothing_on_any() {
    let read = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
        let yaml = format!(
            "apiVersion: k8s.cni.cncf.io/v1beta2\nkind: MultiNetworkPolicy\nmetadata: {{name: p, \
             namespace: dev, annotations: {{{}: '{}'}}}}\nspec: {{podSelector: {{}}, ingress: \
             [{{}}]}}\n",
            policy::POLICY_FOR,
            names.join(",")
        );
        let loaded = parse("f", &yaml, Validation::Warn);
        let Some(Object::MultiNetworkPolicy(one)) = loaded.objects.first() else { panic!("none") };
        (one.networks.clone(), one.policy.ingress.as_ref().map(Vec::len))
    };
    let (networks, rules) = read(128);
    assert!(networks != policy::PolicyFor::Unreadable && rules == Some(1));
    assert_eq!(read(129), (policy::PolicyFor::Unreadable, Some(0)));
}
