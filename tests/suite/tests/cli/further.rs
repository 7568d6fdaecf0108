//! The networks beside the primary one: `diff` and `verify` of a real table, `explain` and
//! `matrix` of what it means.

use anyhow::{Result, ensure};
use netbed::net::Namespace;
use netbed::program::{self, Finished};

use super::support::{listing, nft};

const OBJECTS: &str = r#"apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata:
  name: db
  namespace: shop
  labels: {app: db}
  annotations:
    k8s.v1.cni.cncf.io/network-status: '[{"name": "storage/macvlan", "interface": "net1", "ips": ["10.9.0.2", "fd00:9::2"]}]'
spec: {nodeName: n1, containers: [{name: main, image: x}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.2}], hostIPs: [{ip: 192.168.0.1}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: backup
  namespace: shop
  labels: {app: backup}
  annotations:
    k8s.v1.cni.cncf.io/network-status: '[{"name": "storage/macvlan", "interface": "net1", "ips": ["10.9.0.3", "fd00:9::3"]}]'
spec: {nodeName: n1, containers: [{name: main, image: x}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.3}], hostIPs: [{ip: 192.168.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: front, namespace: shop, labels: {app: front}}
spec: {nodeName: n1, containers: [{name: main, image: x}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.4}], hostIPs: [{ip: 192.168.0.1}]}
---
apiVersion: k8s.cni.cncf.io/v1beta2
kind: MultiNetworkPolicy
metadata: {name: backups, namespace: shop, annotations: {k8s.v1.cni.cncf.io/policy-for: storage/macvlan}}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: backup}}}], ports: [{port: 5432}]}]
"#;
const ON: [&str; 2] = ["--network", "storage/macvlan"];

fn run(node: &Namespace, command: &[&str], more: &[&str], objects: &str) -> Result<Finished> {
    let read = ["-f", "-", "--node", "n1", "--place=pod", "--pod", "shop/db"];
    program::run(node, &[command, &read[..], &ON[..], more].concat(), objects)
}

/// A table that was loaded is proved and has no difference; a hole in it is found, and so is
/// what an edit opens and closes.
#[test]
fn a_further_networks_table_is_proved_and_compared() -> Result<()> {
    let (node, pod) = (Namespace::new("fu")?, Namespace::new("fu")?);
    for name in ["eth0", "net1"] {
        pod.ip(&format!("link add {name} type veth peer name {name}p"))?;
    }
    let path = pod.path().display().to_string();
    let netns = ["--netns", path.as_str()];

    let compiled = run(&node, &["verify"], &[], OBJECTS)?.success()?;
    let begin = "the compiled table inet nftpol-net-storage/macvlan of pod shop/db does what the \
                 specification says, with every packet: 1 pods, 2 isolated addresses";
    ensure!(compiled.starts_with(begin), "{compiled}");
    let before = run(&node, &["diff"], &netns, OBJECTS)?;
    ensure!(before.code == Some(1), "{before:?}");
    ensure!(before.stdout.contains("- everyone -> shop/db: 0-5431"), "{}", before.stdout);
    let none = run(&node, &["verify", "--kernel"], &netns, OBJECTS)?;
    ensure!(none.code == Some(1), "{none:?}");
    ensure!(none.stderr.contains("there is no table inet nftpol-net-storage/macvlan"), "{none:?}");

    run(&node, &["apply"], &netns, OBJECTS)?.success()?;
    let table = listing(&pod)?;
    let same = run(&node, &["diff"], &netns, OBJECTS)?;
    ensure!((same.code, same.stdout.as_str()) == (Some(0), ""), "{same:?}");
    let proved = run(&node, &["verify", "--kernel"], &netns, OBJECTS)?.success()?;
    let begin = "the kernel's table inet nftpol-net-storage/macvlan of pod shop/db does what";
    ensure!(proved.starts_with(begin), "{proved}");

    let edited = OBJECTS.replace("5432", "5433");
    let diff = run(&node, &["diff"], &netns, &edited)?;
    let words = "- shop/backup -> shop/db: 5432\n+ shop/backup -> shop/db: 5433\n";
    ensure!((diff.code, diff.stdout.as_str()) == (Some(1), words), "{diff:?}");
    let verified = run(&node, &["verify", "--kernel"], &netns, &edited)?;
    ensure!(verified.code == Some(1), "{verified:?}");
    ensure!(listing(&pod)? == table, "diff and verify change nothing");

    let hole = "insert rule inet nftpol-net-storage/macvlan input tcp dport 22 accept";
    nft(&pod, &["-f", "-"], hole)?;
    let verified = run(&node, &["verify", "--kernel"], &netns, OBJECTS)?;
    ensure!(verified.code == Some(1), "{verified:?}");
    ensure!(verified.stdout.contains("TCP port 22"), "{}", verified.stdout);

    for (command, more, said) in [
        (&["verify", "--kernel"][..], &[][..], "needs --netns FILE"),
        (&["diff"], &[], "--netns"),
        (&["verify"], &netns, "--kernel"),
    ] {
        let refused = run(&node, command, more, OBJECTS)?;
        ensure!(refused.code.is_some_and(|code| code > 0), "{command:?}: {refused:?}");
        ensure!(refused.stderr.contains(said), "{command:?}: {}", refused.stderr);
    }
    let lost = ["-f", "-", "--node", "n1", "--pod", "shop/db"];
    let refused = program::run(&node, &[&["verify"], &lost[..]].concat(), OBJECTS)?;
    ensure!(refused.stderr.contains("add --place=pod"), "{}", refused.stderr);
    Ok(())
}

/// Who asks about the primary network is told of the others, and asks by the name.
#[test]
fn questions_about_further_networks_are_answered() -> Result<()> {
    let node = Namespace::new("fu")?;
    let ask = |arguments: &[&str]| {
        let files = ["-f", "-"];
        program::run(&node, &[&arguments[..1], &files[..], &arguments[1..]].concat(), OBJECTS)
    };
    let on = |arguments: &[&str]| ask(&[arguments, &ON[..]].concat());

    let allowed = on(&["explain", "shop/backup", "shop/db:5432"])?;
    ensure!(allowed.code == Some(0), "{allowed:?}");
    let said = &allowed.stdout;
    ensure!(said.contains("on network storage/macvlan, by its MultiNetworkPolicies"), "{said}");
    ensure!(said.contains("shop/backup (10.9.0.3"), "{said}");
    ensure!(said.contains("shop/backups ingress[0] allows it"), "{said}");
    ensure!(said.contains("peer yes: app=backup in shop"), "{said}");
    ensure!(!said.contains("10.0.0."), "{said}");

    let denied = on(&["explain", "shop/backup", "shop/db:22"])?;
    ensure!(denied.code == Some(1) && denied.stdout.contains("add port 22"), "{denied:?}");
    let outside = on(&["explain", "10.9.0.9", "shop/db:5432"])?;
    ensure!(outside.code == Some(1), "{outside:?}");
    ensure!(outside.stdout.contains("ipBlock: {cidr: 10.9.0.9/32}"), "{}", outside.stdout);
    for (from, to, said) in [
        ("shop/front", "shop/db:5432", "shop/front is not on network storage/macvlan"),
        ("shop/backup", "svc/shop/db:5432", "is on the primary network"),
        ("node/n1", "shop/db:5432", "is on the primary network"),
        ("shop/bakup", "shop/db:5432", "the nearest names are shop/backup"),
    ] {
        let refused = on(&["explain", from, to])?;
        ensure!(refused.code == Some(2), "{from} {to}: {refused:?}");
        ensure!(refused.stderr.contains(said), "{from} {to}: {}", refused.stderr);
    }
    let unknown = ask(&["explain", "shop/backup", "shop/db:22", "--network", "storage/macvaln"])?;
    ensure!(unknown.code == Some(2), "{unknown:?}");
    ensure!(unknown.stderr.contains("those that there are: storage/macvlan"), "{unknown:?}");

    let matrix = on(&["matrix"])?.success()?;
    ensure!(matrix.starts_with("On network storage/macvlan"), "{matrix}");
    ensure!(matrix.contains("5432") && !matrix.contains("front"), "{matrix}");
    let json = on(&["matrix", "-o", "json"])?.success()?;
    ensure!(json.contains(r#""network": "storage/macvlan""#), "{json}");

    let beside = "notice: 1 MultiNetworkPolicy is of further networks (storage/macvlan)";
    for arguments in [&["matrix"][..], &["explain", "shop/backup", "shop/db:22"]] {
        let primary = ask(arguments)?;
        ensure!(primary.code == Some(0), "{primary:?}");
        ensure!(primary.stderr.lines().filter(|line| line.starts_with(beside)).count() == 1);
        ensure!(primary.stderr.contains("--network NAMESPACE/NAME"), "{}", primary.stderr);
    }
    let verified = ask(&["verify", "--node", "n1"])?;
    ensure!(verified.stderr.contains(beside), "{}", verified.stderr);

    // What an edit opens.
    let old = samples::scratch::Folder::new("old")?;
    let new = samples::scratch::Folder::new("new")?;
    std::fs::write(old.path().join("all.yaml"), OBJECTS)?;
    std::fs::write(new.path().join("all.yaml"), OBJECTS.replace("5432", "5433"))?;
    let (old, new) = (old.path().display().to_string(), new.path().display().to_string());
    let diff = [&["matrix", "--diff", &old, &new], &ON[..]].concat();
    let changed = program::run(&node, &diff, "")?;
    ensure!(changed.code == Some(1), "{changed:?}");
    ensure!(changed.stdout.contains("shop/backup -> shop/db"), "{}", changed.stdout);
    Ok(())
}
