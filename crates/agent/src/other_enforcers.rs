//! Other programs that enforce NetworkPolicy on this node, alive or left over.
//!
//! In: the chains of others, files below /proc. Out: a sentence for each program that is
//! found, with what to do. Never: a change to what is theirs.
//!
//! A packet passes only if all of them let it pass. So what another one dropped stays lost,
//! whatever the policies say now, and nothing removes the rules of a program that was
//! deleted together with its pods.

use std::collections::BTreeMap;
use std::{fs, io};

use nft::ChainOfOthers;
use ruleset::Family;

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
                "run it with --run-firewall=false, k3s with --disable-network-policy; the \
                 commands of docs/install.md for k3s or a reboot remove what it left"
            }
            Self::Calico => {
                "let only one of the two enforce NetworkPolicy; if Calico is gone, the commands \
                 of docs/migration.md or a reboot remove what it left"
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

/// What iptables-legacy has on the node.
#[derive(Clone, Debug, Default)]
pub struct Legacy {
    /// The chains of programs that are known.
    chains: Vec<ChainOfOthers>,
    /// Tables that cannot be read.
    out_of_sight: Vec<String>,
}

impl Legacy {
    /// Reads its tables, which takes milliseconds where kube-proxy has many rules there.
    pub fn read() -> Self {
        let mut legacy = Self::default();
        for family in [Family::V4, Family::V6] {
            let (word, list) = match family {
                Family::V4 => ("ip", "ip_tables_names"),
                Family::V6 => ("ip6", "ip6_tables_names"),
            };
            // A question for another table would make it.
            let names = fs::read_to_string(format!("/proc/self/net/{list}")).unwrap_or_default();
            for table in names.lines() {
                legacy.add(word, table, nft::legacy_chains(family, table));
            }
        }
        legacy
    }

    fn add(&mut self, family: &'static str, table: &str, chains: io::Result<Vec<String>>) {
        let Ok(chains) = chains else {
            self.out_of_sight.push(format!("{family} {table}"));
            return;
        };
        let chains = chains.into_iter().map(|chain| ChainOfOthers {
            family,
            table: table.to_owned(),
            chain,
            drops_forwarded: false,
        });
        self.chains.extend(chains.filter(|chain| Program::of(chain).is_some()));
    }
}

/// What is on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What shows each program.
    programs: BTreeMap<Program, Vec<String>>,
    /// Tables of iptables-legacy that cannot be read.
    out_of_sight: Vec<String>,
}

impl Found {
    /// From the chains of others, those of iptables-legacy, and the interfaces.
    pub fn of<'a>(chains: impl IntoIterator<Item = &'a ChainOfOthers>, legacy: &Legacy) -> Self {
        let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
        Self::with(chains, legacy, &devices)
    }

    fn add(&mut self, chain: &ChainOfOthers, more: &str) {
        if let Some(program) = Program::of(chain) {
            let ChainOfOthers { family, table, chain, .. } = chain;
            let shown = format!("chain {chain} in table {family} {table}{more}");
            self.programs.entry(program).or_default().push(shown);
        }
    }

    fn with<'a>(
        chains: impl IntoIterator<Item = &'a ChainOfOthers>,
        legacy: &Legacy,
        devices: &str,
    ) -> Self {
        let mut found = Self { out_of_sight: legacy.out_of_sight.clone(), ..Self::default() };
        for chain in chains {
            found.add(chain, "");
        }
        for chain in &legacy.chains {
            found.add(chain, " of iptables-legacy");
        }
        // Its policies are BPF programs, which no chain shows.
        if devices.lines().any(|line| line.trim().starts_with("cilium_host:")) {
            let shown = "interface cilium_host".to_owned();
            found.programs.entry(Program::Cilium).or_default().push(shown);
        }
        found
    }

    /// A sentence for each program that is here and was not in an earlier look.
    pub fn new_since(&self, before: &Self) -> Vec<String> {
        let programs =
            self.programs.keys().filter(|program| !before.programs.contains_key(program));
        let mut sentences: Vec<String> = programs.map(|program| self.sentence(*program)).collect();
        if !self.out_of_sight.is_empty() && before.out_of_sight.is_empty() {
            sentences.push(self.blindness());
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

    fn blindness(&self) -> String {
        format!(
            "the tables of iptables-legacy on this node cannot be read ({}): what others drop there \
             is lost; `iptables-legacy-save | grep -E 'KUBE-POD-FW|KUBE-ROUTER|cali-|CILIUM|\
             WEAVE-NPC'` shows what another enforcer of NetworkPolicy left there",
            self.out_of_sight.join(", ")
        )
    }
}

#[cfg(test)]
mod tests;
