//! Other programs that enforce NetworkPolicy on this node, alive or left over.
//!
//! In: the chains of others, files below /proc. Out: a sentence for each program that is
//! found, with what to do. Never: a change to what is theirs.
//!
//! A packet passes only if all of them let it pass. So what another one dropped stays lost,
//! whatever the policies say now, and nothing removes the rules of a program that was
//! deleted together with its pods.

use std::collections::BTreeMap;
use std::fs;

use nft::ChainOfOthers;

use crate::report;

/// Chains that a sentence names at most.
const NAMED: usize = 3;

/// A program that enforces NetworkPolicy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// kube-router v2 (pkg/controllers/netpol/network_policy_controller.go).
    KubeRouter,
    /// Calico v3: `cali-` in iptables' tables, or tables `calico` of its own.
    Calico,
    /// Cilium v1 (pkg/datapath/iptables/iptables.go), and an interface.
    Cilium,
    /// kube-network-policies v1 (pkg/dataplane/controller.go, `NFTableName`), and programs
    /// that embed it, such as kindnet.
    KubeNetworkPolicies,
    /// Weave Net v2 (npc/constants.go).
    WeaveNet,
}

impl Program {
    /// The program whose chain this is.
    pub fn of(ChainOfOthers { table, chain, .. }: &ChainOfOthers) -> Option<Self> {
        let begins = |starts: &[&str]| starts.iter().any(|start| chain.starts_with(start));
        if begins(&["KUBE-ROUTER-FORWARD", "KUBE-POD-FW-", "KUBE-NWPLCY-"]) {
            Some(Self::KubeRouter)
        } else if begins(&["cali-"]) || table == "calico" {
            Some(Self::Calico)
        } else if begins(&["CILIUM_", "OLD_CILIUM_"]) {
            Some(Self::Cilium)
        } else if table.ends_with("-network-policies") {
            Some(Self::KubeNetworkPolicies)
        } else if begins(&["WEAVE-NPC"]) {
            Some(Self::WeaveNet)
        } else {
            None
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KubeRouter => "kube-router",
            Self::Calico => "Calico",
            Self::Cilium => "Cilium",
            Self::KubeNetworkPolicies => "kube-network-policies",
            Self::WeaveNet => "Weave Net",
        }
    }

    /// How it stops enforcing, and how what it left goes.
    const fn advice(self) -> &'static str {
        match self {
            Self::KubeRouter => {
                "run it with --run-firewall=false; if it is gone, `kube-router --cleanup-config` \
                 or a reboot removes what it left"
            }
            Self::Calico => {
                "let only one of the two enforce NetworkPolicy; if Calico is gone, a reboot \
                 removes what it left"
            }
            Self::Cilium => {
                "run it with policyEnforcementMode: never; if it is gone, `cilium-dbg \
                 post-uninstall-cleanup` or a reboot removes what it left"
            }
            Self::KubeNetworkPolicies => {
                "let only one of the two enforce NetworkPolicy; if it is gone, `nft delete table` \
                 removes what it left"
            }
            Self::WeaveNet => {
                "run it with EXPECT_NPC=0; if it is gone, `weave reset` or a reboot removes what \
                 it left"
            }
        }
    }
}

/// What is on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What shows each program.
    programs: BTreeMap<Program, Vec<String>>,
    /// Tables of iptables-legacy that can drop. Their chains are out of sight.
    legacy: Vec<String>,
}

impl Found {
    /// From the chains of others, and from /proc.
    pub fn of<'a>(chains: impl IntoIterator<Item = &'a ChainOfOthers>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let names = ["ip_tables_names", "ip6_tables_names"]
            .map(|name| read(format!("/proc/self/net/{name}")));
        Self::with(chains, &read("/proc/self/net/dev".to_owned()), &names)
    }

    fn with<'a>(
        chains: impl IntoIterator<Item = &'a ChainOfOthers>,
        devices: &str,
        legacy: &[String],
    ) -> Self {
        let mut found = Self::default();
        for chain in chains {
            if let Some(program) = Program::of(chain) {
                let ChainOfOthers { family, table, chain, .. } = chain;
                let shown = format!("chain {chain} in table {family} {table}");
                found.programs.entry(program).or_default().push(shown);
            }
        }
        // Its policies are BPF programs, which no chain shows.
        if devices.lines().any(|line| line.trim().starts_with("cilium_host:")) {
            let shown = "interface cilium_host".to_owned();
            found.programs.entry(Program::Cilium).or_default().push(shown);
        }
        // net/ipv4/netfilter/iptable_nat.c: what is there drops nothing.
        let tables = legacy.iter().flat_map(|names| names.lines()).filter(|name| *name != "nat");
        found.legacy.extend(tables.map(str::to_owned));
        found.legacy.sort();
        found.legacy.dedup();
        found
    }

    /// A sentence for each program that is here and was not in an earlier look.
    pub fn new_since(&self, before: &Self) -> Vec<String> {
        let programs =
            self.programs.keys().filter(|program| !before.programs.contains_key(program));
        let mut sentences: Vec<String> = programs.map(|program| self.sentence(*program)).collect();
        if !self.legacy.is_empty() && before.legacy.is_empty() {
            sentences.push(self.out_of_sight());
        }
        sentences
    }

    /// The programs, for a person who looks at the node's conditions. Empty if there are
    /// none.
    pub fn remark(&self) -> String {
        match self.programs.len() {
            0 => String::new(),
            _ => {
                let names: Vec<&str> = self.programs.keys().map(|program| program.name()).collect();
                format!(
                    "others enforce NetworkPolicy here, too, or left their rules: {} (see the log)",
                    names.join(", ")
                )
            }
        }
    }

    fn sentence(&self, program: Program) -> String {
        let shown = self.programs.get(&program).map(Vec::as_slice).unwrap_or_default();
        format!(
            "{} enforces NetworkPolicy on this node, too, or left its rules ({}): what they \
             drop is lost, whatever nftpol allows; {}",
            program.name(),
            report::some(shown.iter(), NAMED),
            program.advice()
        )
    }

    fn out_of_sight(&self) -> String {
        format!(
            "iptables-legacy has tables on this node ({}) whose rules nftpol cannot see: what they \
             drop is lost; `iptables-legacy-save | grep -E 'KUBE-POD-FW|KUBE-ROUTER|cali-|CILIUM|\
             WEAVE-NPC'` shows what another enforcer of NetworkPolicy left there",
            self.legacy.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(family: &'static str, table: &str, chain: &str) -> ChainOfOthers {
        let (table, chain) = (table.to_owned(), chain.to_owned());
        ChainOfOthers { family, table, chain, drops_forwarded: false }
    }

    #[test]
    fn programs_are_known_by_their_chains() {
        let cases = [
            ("filter", "KUBE-ROUTER-FORWARD", Some(Program::KubeRouter)),
            ("kube-router-filter-ipv4", "KUBE-POD-FW-ABC", Some(Program::KubeRouter)),
            ("filter", "KUBE-ROUTER-SERVICES", None),
            ("filter", "KUBE-FORWARD", None),
            ("filter", "cali-FORWARD", Some(Program::Calico)),
            ("calico", "mangle-PREROUTING", Some(Program::Calico)),
            ("filter", "CILIUM_FORWARD", Some(Program::Cilium)),
            ("kube-network-policies", "postrouting", Some(Program::KubeNetworkPolicies)),
            ("filter", "WEAVE-NPC-DEFAULT", Some(Program::WeaveNet)),
            ("kube-proxy", "filter-forward", None),
            ("filter", "DOCKER-USER", None),
        ];
        for (table, name, expected) in cases {
            assert_eq!(Program::of(&chain("ip", table, name)), expected, "{table} {name}");
        }
    }

    #[test]
    fn each_program_is_named_once_with_what_to_do() {
        let chains: Vec<ChainOfOthers> =
            (0..5).map(|number| chain("ip", "filter", &format!("KUBE-POD-FW-{number}"))).collect();
        let found = Found::with(&chains[..4], "", &[]);
        let expected = "kube-router enforces NetworkPolicy on this node, too, or left its rules \
                        (chain KUBE-POD-FW-0 in table ip filter, chain KUBE-POD-FW-1 in table ip \
                        filter, chain KUBE-POD-FW-2 in table ip filter and 1 more): what they drop \
                        is lost, whatever nftpol allows; run it with --run-firewall=false; if it \
                        is gone, `kube-router --cleanup-config` or a reboot removes what it left";
        assert_eq!(found.new_since(&Found::default()), [expected]);
        assert_eq!(Found::with(&chains, "", &[]).new_since(&found), [""; 0], "one pod more");
        assert_eq!(
            found.remark(),
            "others enforce NetworkPolicy here, too, or left their rules: kube-router (see the log)"
        );
        assert_eq!(Found::default().remark(), "");
    }

    #[test]
    fn what_no_chain_shows_is_said() {
        let devices = "Inter-|   Receive\n face |bytes\n  eth0: 1\ncilium_host: 1\n";
        let found = Found::with(&[], devices, &["nat\nfilter\n".to_owned(), "filter\n".to_owned()]);
        let said = found.new_since(&Found::default());
        assert!(said[0].starts_with("Cilium enforces"), "{said:?}");
        assert!(said[0].contains("(interface cilium_host)"), "{said:?}");
        assert!(said[1].starts_with("iptables-legacy has tables on this node (filter) whose"));
        let quiet = Found::with(&[], "eth0: 1", &["nat\n".to_owned(), String::new()]);
        assert_eq!(quiet.new_since(&Found::default()), [""; 0]);
    }
}
