//! `nftpol apply --place=pod`, as the absent-minded give it.

use anyhow::{Result, ensure};
use netbed::net::Namespace;
use netbed::program;

const OBJECTS: &str = "apiVersion: v1
kind: Namespace
metadata: {name: dev}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: dev, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: main, image: x}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.9}], hostIPs: [{ip: 192.168.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: dev}
spec: {nodeName: n1, hostNetwork: true, containers: [{name: main, image: x}]}
status: {phase: Running, podIPs: [{ip: 192.168.0.1}], hostIPs: [{ip: 192.168.0.1}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: dev}
spec: {podSelector: {}}
";

fn apply(node: &Namespace, pod: &str, netns: &str) -> Result<program::Finished> {
    let place = ["--place=pod", "--pod", pod, "--netns", netns];
    program::run(node, &[&["apply", "-f", "-", "--node", "n1"], &place[..]].concat(), OBJECTS)
}

fn tables(namespace: &Namespace) -> Result<String> {
    let output = namespace.command("nft").args(["list", "tables"]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// A pod's table never takes the place of a node's, and each mistake is named.
#[test]
fn a_pods_table_goes_to_a_pods_namespace_alone() -> Result<()> {
    let (node, pod) = (Namespace::new("in")?, Namespace::new("in")?);
    let (own, other) = (node.path().display().to_string(), pod.path().display().to_string());
    for (name, netns, said) in [
        ("dev/web", own.as_str(), "is the network namespace that this command runs in"),
        ("dev/web", "/proc/self/ns/uts", "enter the network namespace /proc/self/ns/uts"),
        ("dev/web", "/nowhere", "enter the network namespace /nowhere"),
        ("dev/wbe", &other, "there is no Pod dev/wbe in the manifests"),
        ("dev/host", &other, "pod dev/host is in its node's network namespace"),
        ("web", &other, "give it as NAMESPACE/NAME"),
    ] {
        let refused = apply(&node, name, netns)?;
        ensure!(refused.code == Some(1), "{name} {netns}: {refused:?}");
        ensure!(refused.stderr.contains(said), "{name} {netns}: {}", refused.stderr);
    }
    ensure!(tables(&node)?.is_empty() && tables(&pod)?.is_empty(), "a table in spite of that");

    apply(&node, "dev/web", &other)?.success()?;
    ensure!(tables(&pod)?.contains("inet nftpol") && tables(&node)?.is_empty());
    let listed = pod.command("nft").args(["list", "chain", "inet", "nftpol", "input"]).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    ensure!(listed.contains("hook input priority filter - 1; policy accept;"), "{listed}");

    // As where a pod is a node of another cluster.
    program::run(&pod, &["cleanup"], "")?.success()?;
    let input = OBJECTS;
    program::run(&pod, &["apply", "-f", "-", "--node", "n1"], input)?.success()?;
    let refused = apply(&node, "dev/web", &other)?;
    ensure!(refused.stderr.contains("has the table of a node"), "{}", refused.stderr);
    let left = pod.command("nft").args(["list", "chain", "inet", "nftpol", "forward"]).output()?;
    ensure!(left.status.success(), "the node's table is gone");
    Ok(())
}

const ON_A_NETWORK: &str = r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: dev
  annotations:
    k8s.v1.cni.cncf.io/network-status: '[{"name": "dev/a", "interface": "net1", "ips": ["10.9.0.2"]}]'
spec: {nodeName: n1, containers: [{name: main, image: x}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.9}], hostIPs: [{ip: 192.168.0.1}]}
---
apiVersion: k8s.cni.cncf.io/v1beta2
kind: MultiNetworkPolicy
metadata: {name: deny, namespace: dev, annotations: {k8s.v1.cni.cncf.io/policy-for: a}}
spec: {podSelector: {}, policyTypes: [Ingress]}
"#;

/// The dry run of a further network's table loads, and each wrong name is an error.
#[test]
fn the_table_of_a_further_network_is_printed() -> Result<()> {
    let pod = Namespace::new("in")?;
    let render = |name: &str, network: &str| {
        let at = ["--place=pod", "--pod", name, "--network", network];
        program::run(
            &pod,
            &[&["render", "-f", "-", "--node", "n1"], &at[..]].concat(),
            ON_A_NETWORK,
        )
    };
    let script = render("dev/web", "dev/a")?.success()?;
    ensure!(script.contains("10.9.0.2") && !script.contains("10.0.0.9"), "{script}");
    let mut nft = pod.command("nft");
    nft.args(["-f", "-"]);
    program::finish(nft, &script)?.success()?;
    ensure!(tables(&pod)? == "table inet nftpol-net-dev/a\n", "{}", tables(&pod)?);
    for (name, network, said) in [
        ("dev/web", "dev/b", "names no network dev/b"),
        ("dev/web", "a/b/c", "give it as NAMESPACE/NAME"),
        ("dev/wbe", "dev/a", "there is no Pod dev/wbe"),
    ] {
        let refused = render(name, network)?;
        ensure!(refused.code == Some(1) && refused.stdout.is_empty(), "{network}: {refused:?}");
        ensure!(refused.stderr.contains(said), "{network}: {}", refused.stderr);
    }
    Ok(())
}
