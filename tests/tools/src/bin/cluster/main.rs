//! A whole Kubernetes on this machine to work with.
//!
//! `up`, `down`, `status`, `kubectl ...` and `exec NODE -- ...`. Results go to
//! stdout, progress goes to stderr. There is never more than one cluster, and `down`
//! undoes every change.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use kubebed::apiserver;
use kubebed::kubernetes::{self, Options, running};
use serde_json::Value;

const USAGE: &str = "\
Usage: cargo xtask cluster <command>

  up [--nodes N] [--network NETWORK] [--dual-stack] [--second-network] [--proxy nftables|iptables]
                        starts a control plane and nodes (2) in namespaces of this machine;
                        the network is bridge or ptp, with routes between nodes, or one
                        of flannel's: flannel-vxlan, flannel-vxlan-direct, flannel-host-gw, flannel-udp;
                        kube-router: its bridge and its routes; macvlan: pods on the nodes' wire;
                        calico: its CNI plugin; calico-vxlan: and Felix, its VXLAN and policies;
                        canal: Calico's CNI plugin and flannel's VXLAN;
                        --second-network gives each pod an interface net1 by macvlan, and writes
                        the annotation that Multus writes
  status                whether a cluster runs, and the state of its nodes and pods
  kubectl ...           kubectl, as administrator
  exec NODE -- ...      runs a command in a node
  down                  ends the cluster and removes what is left of it
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<ExitCode> {
    let Some((&command, rest)) = arguments.split_first() else { bail!("no command\n\n{USAGE}") };
    match (command, rest) {
        ("up", options) => up(options)?,
        ("hold", options) => hold(options)?,
        ("down", []) => down()?,
        ("status", []) => return status(),
        ("kubectl", rest) => return kubectl(rest),
        ("exec", [node, "--", words @ ..]) if !words.is_empty() => return exec(node, words),
        (call, rest) if kubernetes::CALLS.contains(&call) => return kubernetes::serve(call, rest),
        ("help" | "--help" | "-h", _) => print!("{USAGE}"),
        _ => bail!("unknown command: {}\n\n{USAGE}", arguments.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts the process that keeps the cluster. Prints the output of that process until
/// the cluster is ready.
fn up(words: &[&str]) -> Result<()> {
    let options = Options::read(words)?;
    if running::is_running() {
        eprintln!("cluster: one is already running");
        ensure!(status()? == ExitCode::SUCCESS, "the cluster does not answer");
        let known = running::state()?["options"].as_str().unwrap_or_default().to_owned();
        ensure!(known == options.to_string(), "it has other options: {known}");
        return Ok(());
    }
    if running::down()? {
        eprintln!("cluster: removed what an earlier one left behind");
    }
    let start = Instant::now();
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("hold").args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    // Ctrl-C on the terminal must not end a cluster that is to stay.
    let mut holder = command.process_group(0).spawn().context("start the holder")?;
    let said = holder.stdout.take().context("no output of the holder")?;
    for line in BufReader::new(said).lines() {
        let line = line.context("read the output of the holder")?;
        let seconds = start.elapsed().as_secs_f32();
        eprintln!("cluster: {seconds:5.1} s  {line}");
        if line == "ready" {
            eprintln!("{}", hints());
            return Ok(());
        }
    }
    let status = holder.wait().context("wait for the holder")?;
    bail!("the cluster did not come up: {status}")
}

fn hints() -> String {
    format!(
        "
  nodes and pods       cargo xtask cluster kubectl get nodes,pods -A -o wide
  nftpol on each node  cargo xtask cluster kubectl apply -k manifests/
  a server             cargo xtask cluster kubectl run web --image {} -- netexec
  a node's rules       cargo xtask cluster exec node-1 -- nft list table inet nftpol
  logs                 {}
  remove it all        cargo xtask cluster down",
        kubernetes::AGNHOST,
        running::folder().display()
    )
}

fn hold(words: &[&str]) -> Result<()> {
    running::hold(Options::read(words)?, &|line| println!("{line}"))
}

fn down() -> Result<()> {
    let start = Instant::now();
    if running::down()? {
        eprintln!("cluster: removed in {:.1} s", start.elapsed().as_secs_f32());
    } else {
        eprintln!("cluster: no cluster is running");
    }
    Ok(())
}

fn status() -> Result<ExitCode> {
    let state = running::state()?;
    println!("cluster up {}", state["options"].as_str().unwrap_or_default());
    kubectl(&["get", "nodes,pods", "--all-namespaces", "--output", "wide"])
}

fn kubectl(arguments: &[&str]) -> Result<ExitCode> {
    let state = running::state()?;
    let text = |key: &str| state[key].as_str().with_context(|| format!("no {key}"));
    let mut command = Command::new("ip");
    command.args(["netns", "exec", text("namespace")?]).arg(apiserver::program("kubectl")?);
    command.args(["--kubeconfig", text("kubeconfig")?]).args(arguments).env("NO_PROXY", "*");
    finish(command)
}

fn exec(node: &str, words: &[&str]) -> Result<ExitCode> {
    let state = running::state()?;
    let nodes = state["nodes"].as_object().context("no nodes")?;
    let door = nodes.get(node).and_then(Value::as_array).with_context(|| {
        let names: Vec<_> = nodes.keys().map(String::as_str).collect();
        format!("no node {node}; there are {}", names.join(", "))
    })?;
    let mut door = door.iter().filter_map(Value::as_str);
    let mut command = Command::new(door.next().context("no way into the node")?);
    command.args(door).args(words);
    finish(command)
}

fn finish(mut command: Command) -> Result<ExitCode> {
    let status = command.status().context("run a command")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
