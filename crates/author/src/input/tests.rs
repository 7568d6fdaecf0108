use std::fs;

use policy::{ObjectKey, Protocol};

use super::*;
use crate::cluster::{Service, TargetPort};

pub const SHOP: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop, labels: {tier: back}}
spec:
  replicas: 3
  unknownHere: true
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
      - name: cart
        image: cart
        resources: {limits: {cpu: 500m}}
        ports: [{containerPort: 8080, name: http}, {containerPort: 9090}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: mail, namespace: shop}
spec:
  schedule: 0 * * * *
  jobTemplate:
    spec:
      template:
        metadata: {labels: {job: mail}}
        spec: {restartPolicy: Never, containers: [{name: mail, image: mail}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: other}}
spec: {hostNetwork: true, containers: []}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  clusterIP: 10.96.0.10
  ports: [{port: 80, targetPort: http}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: any}
data: {a: b}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/8}
";

pub fn read(texts: &[&str], change: impl Fn(&mut InputArgs)) -> Cluster {
    let folder =
        std::env::temp_dir().join(format!("nftpol-input-{:?}", std::thread::current().id()));
    fs::create_dir_all(&folder).expect("a folder");
    let mut args = InputArgs { filenames: vec![folder.clone()], ..InputArgs::default() };
    for (index, text) in texts.iter().enumerate() {
        fs::write(folder.join(format!("{index}.yaml")), text).expect("a file");
    }
    change(&mut args);
    let cluster = args.read().expect("readable");
    fs::remove_dir_all(&folder).expect("the folder");
    cluster
}

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(namespace, name)
}

#[test]
fn workloads_are_pods() {
    let cluster = read(&[SHOP], |_| {});
    assert_eq!(cluster.findings, []);
    let names: Vec<String> = cluster.snapshot.pods.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["shop/cart", "shop/cart-deployment", "shop/mail"]);
    let pod = &cluster.snapshot.pods[&key("shop", "cart-deployment")];
    assert_eq!(pod.labels.get("app"), Some("cart"));
    assert_eq!(pod.named_ports("http", Protocol::Tcp), [8080]);
    assert_eq!(pod.addresses.len(), 2, "both families");
    assert!(cluster.symbolic.contains(&pod.key));
    let listens = &cluster.listens[&pod.key];
    assert_eq!(listens[..], [(Protocol::Tcp, 8080), (Protocol::Tcp, 9090)]);
    let workload = &cluster.workloads[&pod.key];
    assert_eq!((&*workload.kind, workload.replicas), ("Deployment", Some(3)));
    assert_eq!(cluster.workloads[&key("shop", "mail")].kind, "CronJob");
    let host = &cluster.snapshot.pods[&key("shop", "cart")];
    assert_eq!(host.addresses, host.host_addresses);
}

#[test]
fn what_is_made_up_is_said() {
    let cluster = read(&[SHOP], |_| {});
    let notices = cluster.notices.join("\n");
    assert!(notices.contains("namespace shop is not in the input"), "{notices}");
    assert!(notices.contains("namespace default is not in the input"), "{notices}");
    assert!(notices.contains("3 pods have no address here"), "{notices}");
    let given =
        |args: &mut InputArgs| args.pod_cidr = vec!["10.244.0.0/16".parse().expect("a net")];
    let cluster = read(&[SHOP], given);
    assert!(!cluster.notices.join("\n").contains("no address"), "{:?}", cluster.notices);
    let addresses = cluster.snapshot.pods.values().map(|pod| pod.addresses[0].to_string());
    assert_eq!(addresses.collect::<Vec<_>>(), ["10.244.0.1", "10.244.0.2", "10.244.0.3"]);
}

#[test]
fn objects_without_a_namespace_are_in_the_given_one() {
    let cluster = read(&[SHOP], |args| args.namespace = Some("shop".to_owned()));
    assert!(cluster.snapshot.policies.contains_key(&key("shop", "cart")));
    assert_eq!(cluster.focus.as_deref(), Some("shop"));
    let place = cluster.places.of(&key("shop", "cart"), "spec.ingress[0].from[0].ipBlock.cidr");
    let place = place.map(|place| (place.line, place.column));
    assert_eq!(place, Some((53, 23)));
    assert!(cluster.places.object("Deployment", &key("shop", "cart")).is_some());
}

#[test]
fn services_tell_their_pods_and_ports() {
    let cluster = read(&[SHOP], |_| {});
    let Service { selector, kind, addresses, ports, .. } = &cluster.services[&key("shop", "cart")];
    assert_eq!(selector.as_ref().map(ToString::to_string).as_deref(), Some("app=cart"));
    assert_eq!((&**kind, addresses.len()), ("ClusterIP", 1));
    assert_eq!((ports[0].port, &ports[0].target), (80, &TargetPort::Name("http".to_owned())));
}

#[test]
fn pods_of_a_deployment_stand_for_it() {
    let pod = "\
apiVersion: v1
kind: Pod
metadata:
  name: cart-7f-x
  namespace: shop
  labels: {app: cart}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: cart-7f, controller: true, uid: a}]
spec: {containers: []}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: cart-7f
  namespace: shop
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: cart, controller: true, uid: a}]
spec: {template: {metadata: {labels: {app: cart}}}}
";
    let cluster = read(&[SHOP, pod], |_| {});
    let of_cart: Vec<_> =
        cluster.workloads.iter().filter(|(_, one)| one.kind == "Deployment").collect();
    assert_eq!(of_cart.len(), 1, "{of_cart:?}");
    assert_eq!(of_cart[0].0, &key("shop", "cart-7f-x"));
}

#[test]
fn times_are_as_kubectl_takes_them() {
    let seconds = |text| patience(text).map(|found| found.0.map(|time| time.as_secs()));
    assert_eq!(seconds("0"), Ok(None));
    assert_eq!(seconds("30"), Ok(Some(30)));
    assert_eq!(seconds("1m30s"), Ok(Some(90)));
    for wrong in ["", "m", "1x", "1m3", "-1"] {
        assert!(seconds(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn what_is_no_object_is_skipped_with_a_word() {
    let values = "replicas: 3\nimage: cart\n---\n- op: add\n  path: /spec\n";
    let cluster = read(&[SHOP, values], |_| {});
    assert_eq!(cluster.findings, []);
    let skipped = cluster.notices.iter().filter(|one| one.contains("no Kubernetes object"));
    assert_eq!(skipped.count(), 1, "{:?}", cluster.notices);
}

#[test]
fn policies_of_others_are_missed() {
    let cilium = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\n";
    let crd = "apiVersion: a.b/v1\nkind: Widget\nmetadata: {name: a}\n";
    let cluster = read(&[SHOP, cilium, crd], |_| {});
    let messages: Vec<&str> = cluster.findings.iter().map(|one| &*one.message).collect();
    assert_eq!(messages, ["is not read: answers are about NetworkPolicies alone"]);
}

#[test]
fn a_list_is_read_as_its_items() {
    let list = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: cart, namespace: shop}
  spec: {ports: [{port: 80}]}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: cart, namespace: shop}
  spec: {podSelector: {}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
";
    let cluster = read(&[list], |_| {});
    assert_eq!(cluster.findings, []);
    assert_eq!(cluster.services[&key("shop", "cart")].ports[0].target, TargetPort::Number(80));
    let place = cluster.places.of(&key("shop", "cart"), "spec.podSelector");
    assert_eq!(place.map(|place| place.line), Some(11));
}
