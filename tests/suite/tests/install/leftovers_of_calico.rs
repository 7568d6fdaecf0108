//! What Calico's Felix leaves behind in iptables.
//!
//! The commands are those of `docs/migration.md`. The chains are shaped as Felix' are
//! (felix/rules/static.go, 3.31): in four tables, with rules of its own in the built-in
//! chains, each with a comment that begins with `cali:`.

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::program;

use super::page;

/// Of Felix, of kube-proxy in mode iptables, and of an administrator.
const RULES: &str = "*raw
:PREROUTING ACCEPT [0:0]
:cali-PREROUTING - [0:0]
:cali-rpf-skip - [0:0]
-A PREROUTING -m comment --comment \"cali:6gwbT8clXdHdC1b1\" -j cali-PREROUTING
-A cali-PREROUTING -m comment --comment \"cali:_-FSHbKFSCFXz7eq\" -j cali-rpf-skip
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:KUBE-POSTROUTING - [0:0]
:cali-POSTROUTING - [0:0]
-A POSTROUTING -m comment --comment \"cali:O3lYWMrLQYEMJtB5\" -j cali-POSTROUTING
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
COMMIT
*filter
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:cali-FORWARD - [0:0]
:cali-tw-cali0123456789a - [0:0]
-A FORWARD -m comment --comment \"cali:wUHhoiAYhphO9Mso\" -j cali-FORWARD
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A FORWARD -m comment --comment \"not cali: but of an administrator\" -p tcp --dport 9 -j ACCEPT
-A FORWARD -m comment --comment \"cali:S93hcgKJrXEqnTfs\" -m comment --comment \"Policy explicitly accepted packet.\" -m mark --mark 0x10000/0x10000 -j ACCEPT
-A FORWARD -m comment --comment \"cali:mp77cMpurHhyjLrM\" -j MARK --set-xmark 0x10000/0x10000
-A cali-FORWARD -m comment --comment \"cali:vjrMJCRpqwy5oRoX\" -j cali-tw-cali0123456789a
-A cali-tw-cali0123456789a -m comment --comment \"cali:s2Ip9gE6lPPDtWmh\" -m comment --comment \"Drop if no profiles matched\" -j DROP
COMMIT
";

#[test]
fn the_leftovers_of_calico_go_and_nothing_else() -> Result<()> {
    let node = Namespace::new("fp")?;
    let commands = page::commands("migration.md", "leftovers of Calico")?;
    let others: String = RULES
        .lines()
        .filter(|line| !is_theirs(line))
        .fold(String::new(), |text, line| text + line + "\n");
    for tables in ["iptables-restore", "ip6tables-restore"] {
        shell(&node, tables, &others)?;
    }
    let expected = saved(&node)?;
    for tables in ["iptables-restore", "ip6tables-restore"] {
        shell(&node, tables, RULES)?;
    }
    ensure!(saved(&node)? != expected, "the rules are not there");
    // Once more changes nothing and is no error.
    for _ in 0..2 {
        shell(&node, "sh -e", &commands)?;
        let after = saved(&node)?;
        ensure!(after == expected, "expected:\n{expected}\nafter:\n{after}");
    }
    Ok(())
}

fn is_theirs(line: &str) -> bool {
    line.contains("cali-") || line.contains("\"cali:")
}

/// All rules, without counters.
fn saved(node: &Namespace) -> Result<String> {
    let saved = shell(node, "sh", "iptables-save; ip6tables-save")?;
    let kept = saved.lines().filter(|line| !line.starts_with('#'));
    Ok(kept.map(|line| format!("{}\n", line.split(" [").next().unwrap_or(line))).collect())
}

fn shell(node: &Namespace, words: &str, input: &str) -> Result<String> {
    let mut words = words.split(' ');
    let mut command = node.command(words.next().context("no command")?);
    command.args(words);
    program::finish(command, input)?.success()
}
