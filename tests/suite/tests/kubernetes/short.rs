//! The scene of CI: an installation, policies on pods with probes, and agents that
//! stop.

use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kubebed::kubernetes::{Backend, Network};
use serde_json::Value;

use crate::scene::{PATIENCE, Scene};

const NODE_PORT: u16 = 30080;
const SERVICE_PORT: u16 = 8080;
const ONE_TRY: Duration = Duration::from_secs(1);

/// The endpoint that connects.
#[derive(Clone, Copy, Debug)]
enum From<'a> {
    /// A pod of `dev` or `shop`, such as `dev/api`.
    Pod(&'a str),
    /// Neither pod nor node.
    Outsider,
    /// A node.
    Node(&'a str),
}

/// What became of a try to connect.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Opened,
    /// No answer came.
    Silent,
    /// A refusal, or the try itself failed.
    Other(String),
}

impl Scene {
    pub fn short(&mut self) -> Result<()> {
        self.deploy()?;
        self.open()?;
        self.third_policy()?;
        self.proved()?;
        self.agent_gone()?;
        self.deny_all()?;
        self.flush()?;
        self.remove(&["dev", "shop"])
    }

    /// Creates the pods.
    fn deploy(&self) -> Result<()> {
        self.apply("kubernetes/first.yaml")?;
        self.pods_ready("dev")?;
        self.apply("kubernetes/pods.yaml")?;
        self.pods_ready("dev")?;
        self.pods_ready("shop")?;
        assert_eq!(self.address("dev/api", false)?, "10.244.1.2");
        let device = match self.kubernetes.options().network {
            Network::Flannel(Backend::Vxlan) => "flannel.1",
            Network::Flannel(Backend::Udp) => "flannel0",
            _ => "eth0",
        };
        let far = self.address("dev/far", false)?;
        let route = self.kubernetes.exec("node-1", &["ip", "route", "get", &far])?.success()?;
        ensure!(route.contains(&format!(" dev {device} ")), "to {far}: {route}");
        self.say("pods are ready");
        Ok(())
    }

    /// Without a policy everyone reaches everyone, on every path.
    fn open(&self) -> Result<()> {
        let web = self.ways_to("dev/web")?;
        for from in ["dev/api", "dev/far", "shop/cart"].map(From::Pod) {
            web.iter().try_for_each(|to| self.expect(from, to, true))?;
        }
        let [own, service] = [&web[0], self.service_way(&web)?];
        self.expect(From::Pod("dev/web"), own, true)?;
        self.expect(From::Pod("dev/web"), service, true)?;
        for to in self.node_ports()? {
            self.expect(From::Outsider, &to, true)?;
        }
        self.say("no policy: on one node, across, by ClusterIP, NodePort, to oneself");
        Ok(())
    }

    /// Allows ingress to `app: myapp` from 10.244.0.0/16 except 10.244.1.2, on TCP
    /// ports 80 and 443.
    fn third_policy(&self) -> Result<()> {
        self.apply("policies/3-allow-myapp-ingress.yaml")?;
        let web = self.ways_to("dev/web")?;
        let v4 = web.iter().filter(|to| !to.contains('['));
        for to in v4.clone() {
            self.expect(From::Pod("dev/api"), to, false)?;
        }
        for to in v4 {
            self.expect(From::Pod("dev/far"), to, true)?;
            self.expect(From::Pod("shop/cart"), to, true)?;
        }
        for to in web.iter().filter(|to| to.contains('[')) {
            self.expect(From::Pod("dev/far"), to, false)?;
        }
        self.expect(From::Pod("dev/web"), self.service_way(&web)?, true)?;
        self.expect(From::Node("node-1"), &web[0], true)?;
        // Through an overlay, a node's own packets have an address of the pods'
        // range, which this policy allows. The same goes for packets that enter by
        // its NodePort.
        let network = self.kubernetes.options().network;
        let overlay = [Backend::Vxlan, Backend::Udp].map(Network::Flannel).contains(&network);
        self.expect(From::Node("node-2"), &web[0], overlay)?;
        let [first, second] = &self.node_ports()?[..2] else { bail!("fewer than two nodes") };
        self.expect(From::Outsider, first, false)?;
        self.expect(From::Outsider, second, overlay)?;
        self.say("allow-myapp-ingress: the excepted pod is refused, by ClusterIP, too");
        Ok(())
    }

    /// While a node has no agent, its rules stay in force.
    fn agent_gone(&self) -> Result<()> {
        let web = &self.ways_to("dev/web")?[0];
        let on_node = "--field-selector=spec.nodeName=node-1";
        let list = ["-n", "kube-system", "get", "pods", on_node, "-o", "name"];
        let old = self.kubectl(&list)?;
        self.kubectl(&["-n", "kube-system", "delete", "--wait=false", old.trim()])?;
        let start = Instant::now();
        let mut tried = 0;
        loop {
            ensure!(!self.connects(From::Pod("dev/api"), web)?, "open without an agent");
            ensure!(self.connects_soon(From::Pod("dev/far"), web)?, "shut without an agent");
            tried += 1;
            let now = self.kubectl(&list)?;
            let ready = ["-o", "jsonpath={.status.numberReady}"];
            let ready = self
                .kubectl(&[&["-n", "kube-system", "get", "ds", "nftpol"], &ready[..]].concat())?;
            if !now.contains(old.trim()) && !now.is_empty() && ready == self.nodes().to_string() {
                break;
            }
            ensure!(start.elapsed() < PATIENCE, "no new agent: {now}");
        }
        self.say(&format!("an agent deleted and back: rules in force in all {tried} tries"));
        let delete = ["-n", "kube-system", "delete", "daemonset", "nftpol", "--cascade=foreground"];
        self.kubectl(&delete)?;
        ensure!(self.kubectl(&list)?.is_empty(), "an agent without a DaemonSet");
        ensure!(!self.connects(From::Pod("dev/api"), web)?, "open without a DaemonSet");
        ensure!(self.connects_soon(From::Pod("dev/far"), web)?, "shut without a DaemonSet");
        self.kubernetes.deploy()?;
        self.say("the DaemonSet deleted and back: rules in force meanwhile");
        Ok(())
    }

    /// Only the kubelet reaches a pod of `dev`, and the pod reaches no one else.
    fn deny_all(&self) -> Result<()> {
        for policy in ["1-deny-all-ingress", "4-deny-all-egress"] {
            self.apply(&format!("policies/{policy}.yaml"))?;
        }
        self.kubectl(&["-n", "dev", "delete", "networkpolicy", "allow-myapp-ingress"])?;
        let web = self.ways_to("dev/web")?;
        for to in &web {
            self.expect(From::Pod("dev/far"), to, false)?;
            self.expect(From::Pod("shop/cart"), to, false)?;
        }
        let cart = &self.ways_to("shop/cart")?[0];
        self.expect(From::Pod("dev/api"), cart, false)?;
        self.expect(From::Pod("dev/web"), self.service_way(&web)?, true)?;
        // A pod becomes ready when its probe passes, so these probes do pass.
        self.kubectl(&["-n", "dev", "delete", "pod", "far"])?;
        self.apply("kubernetes/pods.yaml")?;
        self.pods_ready("dev")?;
        let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
        let restarts = self.kubectl(&["-n", "dev", "get", "pods", "-o", path])?;
        ensure!(restarts.split(' ').all(|count| count == "0"), "probes failed: {restarts}");
        self.expect(From::Pod("shop/cart"), &self.ways_to("dev/far")?[0], false)?;
        self.say("deny-all: no way in or out, probes pass, a new pod becomes ready");
        Ok(())
    }

    /// Another program removes all tables of a node that it can. Ours stays, since it
    /// belongs to the agent.
    fn flush(&mut self) -> Result<()> {
        let web = &self.ways_to("dev/web")?.remove(0);
        self.kubernetes.exec("node-1", &["nft", "flush", "ruleset"])?.success()?;
        let list = ["nft", "list", "chain", "inet", "nftpol", "forward"];
        self.kubernetes.exec("node-1", &list)?.success().context("the table is gone")?;
        ensure!(!self.connects(From::Pod("shop/cart"), web)?, "open after a flush");
        self.say("nft flush ruleset: the table stays");
        // The flush also removed kube-proxy's rules. The agent's connection is dead,
        // and it can open no other until the rules are restored.
        self.kubernetes.restart("node-1", "kube-proxy")?;
        self.kubectl(&["-n", "dev", "delete", "networkpolicy", "--all"])?;
        self.expect(From::Pod("shop/cart"), web, true)?;
        self.say("kube-proxy restarted: the agent follows the API server again");
        Ok(())
    }

    /// A pod's own addresses, then those of its Service if it has one, IPv4 first.
    fn ways_to(&self, pod: &str) -> Result<Vec<String>> {
        let mut ways = Vec::new();
        let families = self.kubernetes.options().families();
        for &v6 in families {
            ways.push(at(&self.address(pod, v6)?, 80));
        }
        if pod == "dev/web" {
            let path = "jsonpath={.spec.clusterIPs[*]}";
            let addresses = self.kubectl(&["-n", "dev", "get", "service", "web", "-o", path])?;
            let addresses = addresses.split(' ').take(families.len());
            ways.extend(addresses.map(|address| at(address, SERVICE_PORT)));
        }
        Ok(ways)
    }

    fn service_way<'a>(&self, ways: &'a [String]) -> Result<&'a String> {
        let port = format!(":{SERVICE_PORT}");
        ways.iter().find(|way| way.ends_with(&port)).context("no Service")
    }

    fn node_ports(&self) -> Result<Vec<String>> {
        let nodes = self.kubernetes.cluster().nodes();
        let addresses = nodes.map(|node| node.address(false).context("a node without IPv4"));
        addresses.map(|address| Ok(at(&address?.to_string(), NODE_PORT))).collect()
    }

    fn address(&self, pod: &str, v6: bool) -> Result<String> {
        let (namespace, name) = pod.split_once('/').context("no namespace")?;
        let pod = self.kubectl(&["-n", namespace, "get", "pod", name, "-o", "json"])?;
        let pod: Value = serde_json::from_str(&pod)?;
        let all = pod["status"]["podIPs"].as_array().context("no addresses")?;
        let mut all = all.iter().filter_map(|one| one["ip"].as_str());
        Ok(all.find(|ip| ip.contains(':') == v6).context("no such address")?.to_owned())
    }

    /// Tries until the connection opens, or nothing answers any more, as expected.
    /// kube-proxy refuses connections to a Service before it knows the endpoints.
    fn expect(&self, from: From<'_>, to: &str, passes: bool) -> Result<()> {
        let start = Instant::now();
        let expected = if passes { Outcome::Opened } else { Outcome::Silent };
        loop {
            let outcome = self.outcome(from, to)?;
            if outcome == expected {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "{from:?} to {to}: {outcome:?}, not {expected:?}");
            sleep(Duration::from_millis(50));
        }
    }

    /// Whether one of a few tries connects. A busy machine may need more than one.
    fn connects_soon(&self, from: From<'_>, to: &str) -> Result<bool> {
        for _ in 0..3 {
            if self.connects(from, to)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a TCP connection opens.
    fn connects(&self, from: From<'_>, to: &str) -> Result<bool> {
        match self.outcome(from, to)? {
            Outcome::Opened => Ok(true),
            Outcome::Silent => Ok(false),
            Outcome::Other(said) => bail!("{from:?} to {to}: {said}"),
        }
    }

    fn outcome(&self, from: From<'_>, to: &str) -> Result<Outcome> {
        let from = match from {
            From::Pod(pod) => return self.outcome_of_pod(pod, to),
            From::Outsider => "outsider",
            From::Node(node) => node,
        };
        let to: SocketAddr = to.parse()?;
        let namespace = &self.kubernetes.cluster().endpoint(from)?.namespace;
        let opened = namespace.run(|| TcpStream::connect_timeout(&to, ONE_TRY))?.is_ok();
        Ok(if opened { Outcome::Opened } else { Outcome::Silent })
    }

    fn outcome_of_pod(&self, pod: &str, to: &str) -> Result<Outcome> {
        let (namespace, name) = pod.split_once('/').context("no namespace")?;
        let words = ["-n", namespace, "exec", name, "--", "/agnhost", "connect"];
        let words = [&words[..], &["--timeout=1s", to]].concat();
        let done = self.kubernetes.kubectl(&words, "")?;
        Ok(match (done.code, done.stdout.trim(), done.stderr.trim()) {
            (Some(0), ..) => Outcome::Opened,
            (Some(1), "TIMEOUT", _) => Outcome::Silent,
            (Some(1), _, said) if said.starts_with("TIMEOUT") => Outcome::Silent,
            _ => Outcome::Other(format!("{done:?}")),
        })
    }
}

fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}
