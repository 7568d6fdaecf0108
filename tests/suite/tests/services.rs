//! Services: policies see the destination after DNAT and the source before this
//! node's SNAT. The tests write the rules of kube-proxy by hand.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netbed::scenario;
use netbed::testbed::{Endpoint, Testbed};
use samples::fixtures;
use samples::testbed_spec::{Families, Network};

const MOMENT: Duration = Duration::from_millis(250);
const CLUSTER_IP: &str = "10.96.0.10:80";
const NODE_PORT: &str = "192.168.77.11:30080";

/// A Service whose only endpoint is `dev/server`, the second pod. Packets that return
/// to the pod that sent them are masqueraded, as kube-proxy does with hairpin
/// traffic.
const KUBE_PROXY: &str = "
add table ip kube-proxy
add chain ip kube-proxy prerouting { type nat hook prerouting priority dstnat; }
add rule ip kube-proxy prerouting ip daddr 10.96.0.10 tcp dport 80 dnat to 10.244.1.3:8080
add rule ip kube-proxy prerouting ip daddr 192.168.77.11 tcp dport 30080 dnat to 10.244.1.3:8080
add chain ip kube-proxy postrouting { type nat hook postrouting priority srcnat; }
add rule ip kube-proxy postrouting ip saddr 10.244.1.3 ip daddr 10.244.1.3 masquerade
";

/// The server accepts port 8080 from `client` and from one outside address. `client`
/// may reach port 8080 of the server. The server may reach no one.
fn policies(outsider: &str) -> String {
    let (client, server) = (fixtures::peer("client"), fixtures::peer("server"));
    let block = format!("{{ipBlock: {{cidr: {outsider}/32}}}}");
    let ingress = format!("[{{from: [{client}, {block}], ports: [{{port: 8080}}]}}]");
    let egress = format!("[{{to: [{server}], ports: [{{port: 8080}}]}}]");
    let server = [("ingress", ingress.as_str()), ("policyTypes", "[Ingress, Egress]")];
    let client = [("egress", egress.as_str()), ("policyTypes", "[Egress]")];
    let [server, client] = [("server", server), ("client", client)]
        .map(|(name, spec)| fixtures::policy_for(name, &spec));
    format!("{server}---\n{client}")
}

fn one_service(network: Network) -> Result<Testbed> {
    let names = ["client", "server", "stranger"];
    let spec = fixtures::dev_pods(network, &["node-1"], &names, Families::V4);
    let testbed = scenario::connected(spec, "sv")?;
    let node = &testbed.endpoint("node-1")?.namespace;
    let status = node.command("nft").arg(KUBE_PROXY).status().context("run nft")?;
    ensure!(status.success(), "nft refused the Service's rules");
    Ok(testbed)
}

fn connects(from: &Endpoint, to: &str) -> Result<bool> {
    let to: SocketAddr = to.parse()?;
    Ok(from.namespace.run(|| TcpStream::connect_timeout(&to, MOMENT))?.is_ok())
}

#[test]
fn services_are_judged_by_the_pod_behind_them() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let testbed = one_service(network)?;
        let server = testbed.endpoint("dev/server")?;
        let _listener = server.namespace.run(|| TcpListener::bind("0.0.0.0:8080"))??;
        // Source, destination, and whether it connects with the outsider's block and
        // with another block.
        let cases = [
            ("dev/client", CLUSTER_IP, true, true),
            ("dev/stranger", CLUSTER_IP, false, false),
            ("dev/server", CLUSTER_IP, true, true),
            ("outsider", NODE_PORT, true, false),
        ];
        for (from, to, ..) in cases {
            let connected = connects(testbed.endpoint(from)?, to)?;
            assert!(connected, "{network:?}, without policies: {from} to {to}");
        }
        for (outsider, own_block) in [("192.168.77.1", true), ("192.168.77.2", false)] {
            scenario::apply(&testbed, &policies(outsider))?;
            for (from, to, with, without) in cases {
                let connected = connects(testbed.endpoint(from)?, to)?;
                let expected = if own_block { with } else { without };
                assert_eq!(connected, expected, "{network:?}, {outsider}: {from} to {to}");
            }
        }
    }
    Ok(())
}
