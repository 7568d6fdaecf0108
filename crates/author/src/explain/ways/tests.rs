use crate::explain::{End, explain};
use crate::input::InputArgs;
use watcher::files::Source;

/// A client on n1, a server on n1 and one on n2, behind a Service for clients outside.
fn manifests(policy: &str) -> String {
    let pod = |name: &str, label: &str, node: u8, address: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: dev, labels: {{app: \
             {label}}}}}\nspec: {{nodeName: n{node}, containers: [{{name: c}}]}}\nstatus: {{phase: \
             Running, hostIP: 192.168.0.{node}, hostIPs: [{{ip: 192.168.0.{node}}}], podIP: \
             {address}, podIPs: [{{ip: {address}}}]}}\n---\n"
        )
    };
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: dev}}\nspec: {{type: \
         LoadBalancer, externalTrafficPolicy: {policy}, clusterIP: 10.96.0.9, selector: {{app: \
         web}}, ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]}}\nstatus: \
         {{loadBalancer: {{ingress: [{{ip: 192.0.2.10}}]}}}}\n"
    );
    pod("client", "client", 1, "10.0.1.1")
        + &pod("here", "web", 1, "10.0.1.2")
        + &pod("there", "web", 2, "10.0.2.2")
        + &service
}

/// What the pods behind see, in order of the answer's cases.
fn hops(policy: &str, to: &str) -> Vec<String> {
    let bytes = manifests(policy).into_bytes();
    let texts = vec![Source::Text { name: "m.yaml".to_owned(), bytes }];
    let cluster = InputArgs { texts, ..InputArgs::default() }.read().expect("manifests");
    let end = |text| End::parse(text, "dev").expect("an end");
    let answer = explain(&cluster, &end("client"), &end(to)).expect("an answer");
    answer.cases.iter().filter_map(|case| case.hops.last().cloned()).collect()
}

#[test]
fn the_address_of_a_load_balancer_hides_the_pod_behind_its_node() {
    let at_home = "both are on one node, so the pod sees the source's own address";
    let masqueraded = "masqueraded at the source's node, so the pod sees that node";
    assert_eq!(hops("Cluster", "192.0.2.10:80"), [at_home, masqueraded]);
    let own = "the pod sees the source's own address";
    assert_eq!(hops("Local", "192.0.2.10:80"), [own]);
    assert_eq!(hops("Cluster", "10.96.0.9:80"), [own]);
}

#[test]
fn a_port_of_the_pods_own_node_leads_to_all_nodes() {
    let [hop] = &hops("Local", "node/n1:30080")[..] else { panic!("one case") };
    assert!(hop.starts_with("from its own node all pods of the Service are reached"), "{hop}");
    let cluster = hops("Cluster", "node/n1:30080");
    assert!(cluster[1].ends_with("sees node/n1: masqueraded there"), "{cluster:?}");
}
