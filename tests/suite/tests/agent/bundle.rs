//! `nftpol support-bundle` on a node, and what commands say of nodes that cannot be reached.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kubebed::world::{PATIENCE, World};
use netbed::program;
use samples::fixtures;
use samples::scratch::Folder;
use samples::testbed_spec::{Families, Network};
use serde_json::Value;

/// Pods of agents that no kubelet runs: one that seems to, one that does not.
const AGENTS: &str = "apiVersion: v1
kind: Pod
metadata: {name: nftpol-one, namespace: kube-system, labels: {app.kubernetes.io/name: nftpol}}
spec: {nodeName: node-1, containers: [{name: nftpol, image: nftpol}]}
---
apiVersion: v1
kind: Pod
metadata: {name: nftpol-two, namespace: kube-system, labels: {app.kubernetes.io/name: nftpol}}
spec: {nodeName: node-2, containers: [{name: nftpol, image: nftpol}]}
";

fn world(prefix: &str) -> Result<World> {
    let spec = fixtures::dev_pods(Network::Bridge, &["node-1"], &["web", "db"], Families::Both);
    World::beside(spec, prefix)
}

fn unpacked(archive: &Path) -> Result<Vec<(String, String)>> {
    let folder = archive.with_extension("unpacked");
    fs::create_dir(&folder)?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(archive).arg("-C").arg(&folder);
    program::finish(tar, "")?.success().context("tar -x")?;
    let mut find = Command::new("find");
    find.arg(&folder).args(["-type", "f"]);
    let files = program::finish(find, "")?.success()?;
    files.lines().map(|file| Ok((file.to_owned(), fs::read_to_string(file)?))).collect()
}

#[test]
fn a_bundle_has_what_helps_and_no_secret() -> Result<()> {
    let world = world("sb")?;
    let node = &world.cluster.endpoint("node-1")?.namespace;
    world.server.apply(&fixtures::isolated("db", "Ingress"))?;
    let mut agent = world.agent("node-1", &["--log-level=debug", "--verify"])?;
    agent.ready_within(PATIENCE)?;
    let folder = Folder::new("bundle")?;
    let archive = folder.path().join("bundle.tar");
    let run = || {
        let mut command = node.command(program::path()?);
        command.args(["support-bundle", "--local", "-o"]).arg(&archive);
        program::finish(command, "")
    };
    let done = run()?;
    ensure!(done.code == Some(0), "{done:?}\n{}", agent.log());
    let mode = fs::metadata(&archive)?;
    ensure!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777 == 0o600, "others may read it");
    let again = run()?;
    ensure!(again.code == Some(2) && again.stderr.contains("File exists"), "{again:?}");

    let files = unpacked(&archive)?;
    let has = |name: &str, text: &str| {
        let file = files.iter().find(|(file, _)| file.ends_with(name));
        let (_, content) = file.with_context(|| format!("no {name}"))?;
        ensure!(content.contains(text), "{name} has no {text:?}:\n{content}");
        Ok(())
    };
    has("README.txt", "node-1: 10 files")?;
    has("status.json", "\"ready\":true")?;
    has("readyz.txt", "[+] enforced")?;
    has("metrics.txt", "nftpol_syncs_total{result=\"ok\"}")?;
    has("flags.txt", "--log-level=debug")?;
    has("policies.txt", "dev/isolated: enforced")?;
    has("kernel.txt", "nf_conntrack_max")?;
    has("tables.nft", "table inet nftpol")?;
    has("log.txt", "starts")?;
    ensure!(files.iter().any(|(file, _)| file.ends_with("denied.jsonl")));

    // What the agent could tell: its own token, and the authority that it trusts.
    let kubeconfig: Value = serde_json::from_str(&fs::read_to_string(world.kubeconfig())?)?;
    let token = kubeconfig["users"][0]["user"]["token"].as_str().context("no token")?;
    for (file, content) in &files {
        for secret in [token, &token[..20], "BEGIN CERTIFICATE", "PRIVATE KEY", "eyJhbGciOi"] {
            ensure!(!content.contains(secret), "{file} holds {secret}");
        }
    }
    Ok(())
}

/// The API server is there, and no kubelet is: every way to a node is cut.
#[test]
fn a_node_that_cannot_be_reached_is_named_and_hides_no_other() -> Result<()> {
    let world = world("sc")?;
    world.server.apply(AGENTS)?;
    let status = r#"{"status":{"phase":"Running"}}"#;
    let patch = ["patch", "pod", "nftpol-one", "-n", "kube-system", "--subresource=status", "-p"];
    world.server.kubectl(&[&patch[..], &[status]].concat(), "")?.success()?;
    let folder = Folder::new("elsewhere")?;
    let admin = world.server.admin_kubeconfig().display().to_string();
    // From where the API server can be reached.
    let run = |arguments: &[&str]| {
        let mut command = world.cluster.switch().command(program::beside("kubectl-nftpol")?);
        command.args(arguments).args(["--kubeconfig", &admin]).current_dir(folder.path());
        program::finish(command, "")
    };
    let pending = "its agent's pod is Pending";
    let said = run(&["status"])?;
    ensure!(said.code == Some(1) && said.stdout.ends_with("0 of 2 nodes enforce\n"), "{said:?}");
    let line = |node: &str| {
        let line = said.stdout.lines().find(|line| line.starts_with(node));
        line.map(str::to_owned).with_context(|| format!("no {node}: {said:?}"))
    };
    ensure!(line("node-1")?.contains("run nftpol in the pod nftpol-one"), "{said:?}");
    ensure!(line("node-2")?.contains(pending), "{said:?}");

    let said = run(&["status", "shop/absent"])?;
    let expected = "error: get the policy shop/absent: networkpolicies.networking.k8s.io \"absent\" not found\n";
    ensure!(said.code == Some(2) && said.stderr == expected, "{said:?}");
    let said = run(&["status", "--node", "node-1", "--agents-namespace", "default"])?;
    ensure!(said.stdout.contains("no agent in default (--agents-namespace)"), "{said:?}");

    let said = run(&["monitor", "--no-follow"])?;
    ensure!(said.code == Some(2), "{said:?}");
    ensure!(!said.stderr.contains("following"), "{said:?}");
    ensure!(said.stderr.contains("node node-1: run nftpol in the pod nftpol-one"), "{said:?}");
    ensure!(said.stderr.contains(&format!("node node-2: {pending}")), "{said:?}");
    ensure!(said.stderr.contains("2 of 2 nodes did not answer"), "{said:?}");

    let said = run(&["support-bundle"])?;
    ensure!(said.code == Some(2) && said.stderr.contains("none of 2 nodes answered"), "{said:?}");
    let files = unpacked(&folder.path().join("nftpol-support.tar"))?;
    let of = |node: &str| {
        let file = files.iter().find(|(file, _)| file.ends_with(&format!("{node}/error.txt")));
        file.map(|(_, text)| text.clone()).with_context(|| format!("nothing of {node}"))
    };
    ensure!(of("node-1")?.contains("The log of the pod nftpol-one"), "{}", of("node-1")?);
    ensure!(of("node-2")?.starts_with(pending), "{}", of("node-2")?);

    // Whoever lacks a right is told which.
    let nobody = world.server.user_kubeconfig("nobody", None)?;
    let mut command = world.cluster.switch().command(program::beside("kubectl-nftpol")?);
    command.args(["status", "--kubeconfig"]).arg(nobody);
    let said = program::finish(command, "")?;
    ensure!(
        said.code == Some(2) && said.stderr.contains("cannot list resource \"pods\""),
        "{said:?}"
    );
    let local = run(&["status", "--local"])?;
    ensure!(local.code == Some(2) && local.stderr.contains("through the API server"), "{local:?}");
    Ok(())
}
