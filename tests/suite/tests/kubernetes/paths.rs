//! Kubernetes' paths to a pod, under policies that allow one peer after another.
//!
//! The expectations come from the specification and from what the pod's node sees:
//! the destination after the Service's translation, and the source before the node's
//! own translation.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use kubebed::kubernetes::AGNHOST;
use netbed::testbed::Endpoint;
use serde_json::{Value, json};

use crate::scene::{HTTP, Scene, Try, addresses, hold, namespace, pod, policy};

const SERVICE: u16 = 8080;
const HOST_PORT: u16 = 8090;
/// `externalTrafficPolicy` of the Services, and their node ports.
const NODE_PORTS: [(&str, &str, u16); 2] = [("web", "Cluster", 30081), ("local", "Local", 30082)];

/// The index of the endpoint that connects.
#[derive(Clone, Copy)]
enum From {
    Web,
    /// On web's node. No policy allows it.
    Near,
    /// On the other node, with `friend: "yes"`.
    Far,
    /// In the network of web's node.
    HostNear,
    /// In the network of the other node, with `friend: "yes"`.
    HostFar,
    NodeNear,
    NodeFar,
    Outsider,
}

#[derive(Clone, Copy)]
enum To {
    Pod,
    Service,
    /// A node port of this Service, on web's node.
    PortNear(usize),
    /// The same on the other node.
    PortFar(usize),
    HostPort,
}

/// Which of [`Scene::stages`] let a path pass. The stages: no policy; none may enter;
/// `friend: "yes"` may; the outsider's address may; the other node's may; no pod may
/// send.
type Passes = [bool; 6];
const ALWAYS: Passes = [true; 6];
const NEVER: Passes = [false; 6];
const AS_STRANGER: Passes = [true, false, false, false, false, false];
const AS_FRIEND: Passes = [true, false, true, false, false, false];
const AS_OUTSIDER: Passes = [true, false, false, true, false, true];
const AS_OTHER_NODE: Passes = [true, false, false, false, true, true];
/// The path crosses the other node, which replaces the source by its own address. But
/// the sender is a pod, which must be allowed to send.
const AS_OTHER_NODE_FROM_POD: Passes = [true, false, false, false, true, false];

const WAYS: [(From, To, Passes); 23] = [
    (From::Web, To::Pod, ALWAYS),
    (From::Web, To::Service, ALWAYS),
    (From::Web, To::PortNear(0), ALWAYS),
    (From::Near, To::Pod, AS_STRANGER),
    (From::Near, To::Service, AS_STRANGER),
    (From::Near, To::PortNear(0), AS_STRANGER),
    (From::Near, To::HostPort, AS_STRANGER),
    (From::Far, To::Pod, AS_FRIEND),
    (From::Far, To::Service, AS_FRIEND),
    (From::Far, To::PortNear(0), AS_FRIEND),
    (From::Far, To::HostPort, AS_FRIEND),
    (From::Far, To::PortFar(0), AS_OTHER_NODE_FROM_POD),
    (From::Outsider, To::PortNear(0), AS_OUTSIDER),
    (From::Outsider, To::PortNear(1), AS_OUTSIDER),
    (From::Outsider, To::HostPort, AS_OUTSIDER),
    (From::Outsider, To::PortFar(0), AS_OTHER_NODE),
    // The other node has no pod of this Service.
    (From::Outsider, To::PortFar(1), NEVER),
    // A node always reaches its own pods. Another node is just an address.
    (From::NodeNear, To::Pod, ALWAYS),
    (From::NodeNear, To::Service, ALWAYS),
    (From::NodeFar, To::Pod, AS_OTHER_NODE),
    (From::HostNear, To::Pod, ALWAYS),
    // A pod in its node's network is no peer, whatever its labels.
    (From::HostFar, To::Pod, AS_OTHER_NODE),
    (From::HostFar, To::Service, AS_OTHER_NODE),
];

impl Scene {
    pub fn paths(&mut self) -> Result<()> {
        ensure!(self.nodes() >= 2, "this needs two nodes");
        self.put(&objects()?)?;
        self.pods_ready("paths")?;
        let endpoints = self.way_ends()?;
        let stages = self.stages(&endpoints)?;
        let families = self.kubernetes.options().families();
        for (index, (name, policy)) in stages.iter().enumerate() {
            if let Some(policy) = policy {
                self.put(std::slice::from_ref(policy))?;
            }
            let mut tries = Vec::new();
            for &v6 in families {
                for (from, to, passes) in WAYS {
                    let to = self.way_to(to, v6, &endpoints)?;
                    let from = &endpoints[from as usize];
                    let what = format!("{name}: {}", from.name);
                    tries.push(Try { what, from, to, passes: passes[index] });
                }
            }
            hold(&tries)?;
            self.inside_a_pod()?;
            let open = tries.iter().filter(|one| one.passes).count();
            self.say(&format!("{name}: {open} paths open, {} shut", tries.len() - open));
            if let Some(policy) = policy {
                let name = policy["metadata"]["name"].as_str().context("no name")?;
                self.kubectl(&["-n", "paths", "delete", "networkpolicy", name])?;
                self.open_again(&endpoints)?;
            }
        }
        self.remove(&["paths"])
    }

    /// The policies for [`Passes`], by name.
    fn stages(&self, endpoints: &[Endpoint]) -> Result<[(&'static str, Option<Value>); 6]> {
        let web = json!({"matchLabels": {"app": "web"}});
        let allow = |name: &str, from: &[Value]| {
            let rules = json!([{"from": from}]);
            let spec = json!({"podSelector": web, "policyTypes": ["Ingress"], "ingress": rules});
            policy(&format!("paths/{name}"), spec).map(Some)
        };
        let of = |addresses: &[IpAddr]| -> Vec<Value> {
            let blocks = addresses.iter().map(|address| {
                let length = if address.is_ipv6() { 128 } else { 32 };
                json!({"ipBlock": {"cidr": format!("{address}/{length}")}})
            });
            blocks.collect()
        };
        let outsider = of(&endpoints[From::Outsider as usize].addresses);
        let all = |kind: &str| json!({"podSelector": {}, "policyTypes": [kind]});
        Ok([
            ("no policy", None),
            ("nobody in", Some(policy("paths/nobody-in", all("Ingress"))?)),
            (
                "a label",
                allow("label", &[json!({"podSelector": {"matchLabels": {"friend": "yes"}}})])?,
            ),
            ("the outsider's address", allow("outsider", &outsider)?),
            (
                "the other node's address",
                allow("node", &of(&self.seen_from_other_node(endpoints)?))?,
            ),
            ("nobody out", Some(policy("paths/nobody-out", all("Egress"))?)),
        ])
    }

    /// The source addresses of the other node's own packets when they reach web's
    /// node. With an overlay these are the addresses of the overlay device.
    fn seen_from_other_node(&self, endpoints: &[Endpoint]) -> Result<Vec<IpAddr>> {
        let other = &endpoints[From::NodeFar as usize].name;
        let each = endpoints[From::Web as usize].addresses.iter().map(|web| {
            let words = ["ip", "-j", "route", "get", &web.to_string()];
            let routes: Value =
                serde_json::from_str(&self.kubernetes.exec(other, &words)?.success()?)?;
            let source = routes[0]["prefsrc"].as_str().context("no source address")?;
            source.parse().context("read an address")
        });
        each.collect()
    }

    fn open_again(&self, endpoints: &[Endpoint]) -> Result<()> {
        let from = &endpoints[From::Near as usize];
        let to = self.way_to(To::Pod, false, endpoints)?;
        hold(&[Try { what: "open again".into(), from, to, passes: true }])
    }

    /// One container connects to the other, whatever the policies say.
    fn inside_a_pod(&self) -> Result<()> {
        let to = format!("127.0.0.1:{HTTP}");
        let words = ["-n", "paths", "exec", "web", "-c", "side", "--", "/agnhost", "connect"];
        self.kubectl(&[&words[..], &["--timeout=1s", &to]].concat()).map(drop)
    }

    /// In the order of [`From`].
    fn way_ends(&self) -> Result<Vec<Endpoint>> {
        let pods = ["web", "near", "far", "host-near", "host-far"];
        let pods = pods.map(|name| self.kubernetes.pod(&format!("paths/{name}")));
        let mut ends: Vec<Endpoint> = pods.into_iter().collect::<Result<_>>()?;
        for name in ["node-1", "node-2", "outsider"] {
            let found = self.kubernetes.cluster().endpoint(name)?;
            let namespace = netbed::net::Namespace::lent(found.namespace.path())?;
            let (name, addresses) = (found.name.clone(), found.addresses.clone());
            ends.push(Endpoint { name, role: found.role, namespace, addresses });
        }
        Ok(ends)
    }

    fn way_to(&self, to: To, v6: bool, endpoints: &[Endpoint]) -> Result<SocketAddr> {
        let address = |from: From| endpoints[from as usize].address(v6).context("no such address");
        let (address, port) = match to {
            To::Pod => (address(From::Web)?, HTTP),
            To::Service => (self.cluster_ip(v6)?, SERVICE),
            To::PortNear(service) => (address(From::NodeNear)?, NODE_PORTS[service].2),
            To::PortFar(service) => (address(From::NodeFar)?, NODE_PORTS[service].2),
            To::HostPort => (address(From::NodeNear)?, HOST_PORT),
        };
        Ok(SocketAddr::new(address, port))
    }

    fn cluster_ip(&self, v6: bool) -> Result<IpAddr> {
        let service = self.list("paths", "service", "name=web")?;
        let all = service.first().map(addresses).unwrap_or_default();
        all.into_iter().find(|address| address.is_ipv6() == v6).context("no such ClusterIP")
    }
}

fn objects() -> Result<Vec<Value>> {
    let mut web = pod("paths/web", "node-1", json!({"app": "web"}))?;
    web["spec"]["containers"][0]["ports"] = json!([{"containerPort": HTTP, "hostPort": HOST_PORT}]);
    let side = json!({"name": "side", "image": AGNHOST, "args": ["pause"]});
    web["spec"]["containers"].as_array_mut().context("no containers")?.push(side.clone());
    let host = |name: &str, node: &str| {
        let mut pod = pod(name, node, json!({"friend": "yes"}))?;
        pod["spec"]["hostNetwork"] = true.into();
        pod["spec"]["containers"] = json!([side]);
        Ok::<_, anyhow::Error>(pod)
    };
    let mut all = vec![
        namespace("paths", json!({})),
        web,
        pod("paths/near", "node-1", json!({}))?,
        pod("paths/far", "node-2", json!({"friend": "yes"}))?,
        host("paths/host-near", "node-1")?,
        host("paths/host-far", "node-2")?,
    ];
    all.extend(NODE_PORTS.map(|(name, traffic, port)| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "paths", "labels": {"name": name}},
            "spec": {
                "type": "NodePort",
                "externalTrafficPolicy": traffic,
                "ipFamilyPolicy": "PreferDualStack",
                "selector": {"app": "web"},
                "ports": [{"port": SERVICE, "targetPort": HTTP, "nodePort": port}],
            },
        })
    }));
    Ok(all)
}
