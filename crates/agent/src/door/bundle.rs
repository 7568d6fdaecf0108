//! What helps to understand this node, as files of a support bundle.
//!
//! In: what the agent shows, its tables in the kernel, its last log lines. Out: texts
//! without secrets (`author::live::secrets`). Never: a file of the node but those below
//! /proc that are named here; a wait of the thread that enforces.

use std::fmt::Write;
use std::fs;

use author::live::protocol::Line;
use author::live::secrets;
use compiler::scaffold;
use nft::{ChainOfOthers, Kernel};
use ruleset::{TableId, text};

use super::{Behind, told};
use crate::other_enforcers::Program;
use crate::pipeline::FAMILIES;
use crate::report;

/// Denied packets in the bundle, the last ones.
const DENIED: usize = 1000;
/// What a table may take. The largest that the budgets allow has some 100 MiB.
const TABLE_BYTES: usize = 16 << 20;
/// What the kernel says of itself and of what nftpol depends on (proc(5); kernel
/// Documentation, networking/nf_conntrack-sysctl and ip-sysctl).
const PROC: [&str; 12] = [
    "sys/kernel/osrelease",
    "sys/net/bridge/bridge-nf-call-iptables",
    "sys/net/bridge/bridge-nf-call-ip6tables",
    "sys/net/ipv4/ip_forward",
    "sys/net/ipv6/conf/all/forwarding",
    "sys/net/netfilter/nf_conntrack_count",
    "sys/net/netfilter/nf_conntrack_max",
    "sys/net/netfilter/nf_conntrack_tcp_be_liberal",
    "self/status",
    "self/limits",
    "self/net/dev",
    "self/net/ip_tables_names",
];

/// The files: names and texts.
pub(super) fn files(behind: &Behind) -> Vec<(&'static str, String)> {
    let json = |value: &Line| serde_json::to_string(value).unwrap_or_default() + "\n";
    let metrics = behind.metrics.prometheus_text(&behind.status);
    let files = [
        ("status.json", json(&Line::Status(told::status(behind, None)))),
        ("readyz.txt", behind.status.report()),
        ("metrics.txt", metrics.unwrap_or_else(|error| error.to_string())),
        ("flags.txt", flags()),
        ("policies.txt", policies(behind)),
        ("kernel.txt", kernel()),
        ("tables.nft", tables()),
        ("chains-of-others.txt", chains_of_others()),
        ("denied.jsonl", denied(behind)),
        ("log.txt", report::recent()),
    ];
    files.map(|(name, text)| (name, secrets::removed(&text))).into()
}

/// How the agent was started, and what it is.
fn flags() -> String {
    let mut text = format!("nftpol {}\n", env!("CARGO_PKG_VERSION"));
    std::env::args().for_each(|argument| text += &format!("{argument}\n"));
    text
}

/// The policies that are known, with what became of them. Their content is the API server's.
fn policies(behind: &Behind) -> String {
    let shown = behind.view.look();
    let mut text = String::new();
    for key in shown.cluster.policies.keys() {
        let enforced = shown.enforced.as_ref();
        let what = match enforced {
            Some(enforced) if enforced.set_aside.contains(key) => "set aside",
            Some(enforced) if enforced.policies.contains_key(key) => "enforced",
            _ => "not in the kernel yet",
        };
        text += &format!("{key}: {what}\n");
    }
    text
}

fn kernel() -> String {
    let mut text = String::new();
    for path in PROC {
        let content = fs::read_to_string(format!("/proc/{path}"));
        let content = content.unwrap_or_else(|error| format!("({error})"));
        // Writing to a String does not fail.
        let _ = writeln!(text, "== /proc/{path}\n{}", content.trim_end());
    }
    text
}

/// Our tables as the kernel has them.
fn tables() -> String {
    let mut kernel = match Kernel::open() {
        Ok(kernel) => kernel,
        Err(error) => return format!("# open nf_tables: {error}\n"),
    };
    let mut out = String::new();
    match kernel.tables() {
        Ok(tables) => tables.iter().for_each(|table| out += &format!("# there is table {table}\n")),
        Err(error) => out += &format!("# list the tables: {error}\n"),
    }
    for family in FAMILIES {
        let id = TableId { family, name: scaffold::table() };
        match kernel.dump(&id) {
            Ok(Some(dump)) => {
                for piece in text::pieces(&dump.ruleset) {
                    if out.len() + piece.len() > TABLE_BYTES {
                        out += "# the rest is left out\n";
                        break;
                    }
                    out += &piece;
                }
                for foreign in &dump.foreign {
                    out += &format!("# not ours: {} ({})\n", foreign.name, foreign.why);
                }
            }
            Ok(None) => out += &format!("# there is no table {id}\n"),
            Err(error) => out += &format!("# read table {id}: {error}\n"),
        }
    }
    out
}

/// Chains of others that drop forwarded packets, or of other enforcers.
fn chains_of_others() -> String {
    let wanted = |chain: &ChainOfOthers| chain.drops_forwarded || Program::of(chain).is_some();
    let found = Kernel::open()
        .map_err(|error| error.to_string())
        .and_then(|mut kernel| kernel.chains_of_others(wanted).map_err(|error| error.to_string()));
    match found {
        Err(error) => format!("list the chains: {error}\n"),
        Ok(chains) => {
            let line = |chain: &ChainOfOthers| {
                let ChainOfOthers { family, table, chain, drops_forwarded } = chain;
                let drops = if *drops_forwarded { ": policy drop on forward" } else { "" };
                format!("{family} {table} {chain}{drops}\n")
            };
            chains.iter().map(line).collect()
        }
    }
}

fn denied(behind: &Behind) -> String {
    let ring = match &behind.drops {
        Ok(ring) => ring,
        Err(why) => return format!("{why}\n"),
    };
    let all = ring.all().entries;
    let last = all.iter().skip(all.len().saturating_sub(DENIED));
    last.map(|entry| {
        serde_json::to_string(&told::line(entry, &behind.node)).unwrap_or_default() + "\n"
    })
    .collect()
}
