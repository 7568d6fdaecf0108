//! k3s' own controller, and what it leaves behind.
//!
//! The commands are those of `docs/install.md`. The chains are shaped as kube-router's are
//! (pkg/controllers/netpol/network_policy_controller.go, `ensureTopLevelChains`, and
//! pod.go, `setupPodNetpolRules`, v2).

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{
    CLIENT, NODE, OPEN, Outpost, SERVER, STRANGER, TOGGLED, always, probe, toggle, under_fire,
};
use kubebed::world::PATIENCE;
use netbed::fire::Expect;
use netbed::net::Namespace;
use netbed::program;

use super::page;

/// Of kube-proxy in mode iptables, of kube-router, and of an administrator. `POD` is an
/// isolated pod of which only TCP port 1 passes.
const RULES: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-ROUTER-FORWARD - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
:KUBE-ROUTER-OUTPUT - [0:0]
:KUBE-POD-FW-ABCDEFGHIJKLMNOP - [0:0]
:KUBE-NWPLCY-DEFAULT - [0:0]
:KUBE-NWPLCY-QRSTUVWXYZABCDEF - [0:0]
-A INPUT -m comment --comment \"kube-router netpol - 4IA2OSFRMVNDXBVV\" -j KUBE-ROUTER-INPUT
-A FORWARD -m comment --comment \"kube-router netpol - TEMCG2JMHZYE7H7T\" -j KUBE-ROUTER-FORWARD
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A FORWARD -m comment --comment \"not a jump to -j KUBE-ROUTER-FORWARD\" -p tcp --dport 9 -j ACCEPT
-A OUTPUT -m comment --comment \"kube-router netpol - VEAAIY32XVBHCSCY\" -j KUBE-ROUTER-OUTPUT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-NWPLCY-DEFAULT -j MARK --set-xmark 0x10000/0x10000
-A KUBE-NWPLCY-QRSTUVWXYZABCDEF -p tcp --dport 1 -j MARK --set-xmark 0x10000/0x10000
-A KUBE-POD-FW-ABCDEFGHIJKLMNOP -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-POD-FW-ABCDEFGHIJKLMNOP -m comment --comment \"run through nw policy\" -j KUBE-NWPLCY-QRSTUVWXYZABCDEF
-A KUBE-POD-FW-ABCDEFGHIJKLMNOP -m mark ! --mark 0x10000/0x10000 -j DROP
-A KUBE-ROUTER-FORWARD -d POD -m comment --comment \"rule to jump traffic destined to POD name:toggled namespace: fire to chain KUBE-POD-FW-ABCDEFGHIJKLMNOP\" -j KUBE-POD-FW-ABCDEFGHIJKLMNOP
COMMIT
";

#[test]
fn the_leftovers_of_k3s_go_and_nothing_opens() -> Result<()> {
    let outpost = Outpost::new()?;
    let Outpost { range, server, .. } = &outpost;
    let node = range.node();
    let pod = range.destination(TOGGLED).to_string();
    let rules = RULES.replace("POD -m", &format!("{pod} -m"));
    // Both enforce the same policy, as k3s does before its controller is turned off.
    server.apply(&toggle())?;
    let mut agent = Daemon::start(node, outpost.kubeconfig(), NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    shell(node, "iptables-restore", &rules)?;
    shell(node, "ip6tables-restore", &rules.replace(&format!("-d {pod}"), "-d fd00::9"))?;
    let closed = |expect| {
        let mut probes = always(range);
        probes.push(probe(range, (STRANGER, TOGGLED, 80, expect)));
        probes
    };
    let commands = page::commands("install.md", "leftovers")?;
    let before = others(node)?;
    under_fire(range, "kube-router's chains removed", &closed(Expect::Drop), || {
        shell(node, "sh -e", &commands).map(drop)
    })?;
    let after = others(node)?;
    ensure!(after == before, "of others before:\n{before}\nafter:\n{after}");
    let saved = shell(node, "sh", "iptables-save; ip6tables-save; nft list ruleset")?;
    let ours = saved.lines().filter(|line| !line.contains("not a jump"));
    let left: Vec<&str> = ours.filter(|line| is_theirs(line)).collect();
    ensure!(left.is_empty(), "left: {left:?}");
    // Once more changes nothing and is no error.
    shell(node, "sh -e", &commands)?;
    ensure!(others(node)? == before);
    agent.stop()?;
    outpost.settled()
}

/// Without the removal, what the policies allow now stays lost.
#[test]
fn leftovers_go_on_dropping() -> Result<()> {
    let outpost = Outpost::new()?;
    let range = &outpost.range;
    let mut agent = Daemon::start(range.node(), outpost.kubeconfig(), NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    let pod = range.destination(TOGGLED).to_string();
    shell(range.node(), "iptables-restore", &RULES.replace("POD -m", &format!("{pod} -m")))?;
    let probes = [
        probe(range, (CLIENT, TOGGLED, 80, Expect::Drop)),
        probe(range, (CLIENT, SERVER, 80, Expect::Pass)),
        probe(range, (CLIENT, OPEN, 81, Expect::Pass)),
    ];
    under_fire(range, "leftovers of kube-router", &probes, || Ok(()))?;
    shell(range.node(), "sh -e", &page::commands("install.md", "leftovers")?)?;
    let probes = [probe(range, (CLIENT, TOGGLED, 80, Expect::Pass))];
    under_fire(range, "without them", &probes, || Ok(()))?;
    agent.stop().map(drop)
}

fn is_theirs(line: &str) -> bool {
    ["KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-"].iter().any(|name| line.contains(name))
}

/// The rules that are not kube-router's, without counters.
fn others(node: &Namespace) -> Result<String> {
    let saved = shell(node, "sh", "iptables-save; ip6tables-save")?;
    let kept = saved.lines().filter(|line| !line.starts_with('#'));
    let kept = kept.filter(|line| line.contains("not a jump") || !is_theirs(line));
    Ok(kept.map(|line| format!("{}\n", line.split(" [").next().unwrap_or(line))).collect())
}

fn shell(node: &Namespace, words: &str, input: &str) -> Result<String> {
    let mut words = words.split(' ');
    let mut command = node.command(words.next().context("no command")?);
    command.args(words);
    program::finish(command, input)?.success()
}
