//! From another enforcer of NetworkPolicy to nftpol, under traffic, in the order of
//! docs/migration.md.
//!
//! In: a cluster whose policies kube-router enforces, or Calico's Felix in Canal. Pods ask
//! others without a pause. Out: how many questions that the policies deny were answered,
//! and how many that they allow were not, after each step. Never: an answer to a denied
//! one.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::kubernetes::{Kubernetes, Options};
use netbed::new_flows::NewFlows;
use netbed::testbed::Endpoint;
use samples::pages;
use serde_json::{Value, json};

use crate::scene::{HTTP, Scene, Try, hold, namespace, pod, policy};

/// Where agnhost answers datagrams.
const UDP: u16 = 8081;
/// How long the traffic flows at least in each step.
const STEP: Duration = Duration::from_secs(3);
const SERVER: &str = "migration/server";
const OPEN: &str = "migration/open";
/// Who asks whom, and whether the policies allow it: by ingress from both nodes, by
/// egress.
const PAIRS: [(&str, &str, bool); 5] = [
    ("migration/friend", SERVER, true),
    ("migration/stranger", SERVER, false),
    ("migration/near", SERVER, false),
    ("migration/caged", OPEN, false),
    ("migration/stranger", OPEN, true),
];
/// A pod that becomes a friend after the move.
const LATE: &str = "migration/late";

/// Who enforces before.
#[derive(Clone, Copy, Debug)]
pub enum Before {
    KubeRouter,
    Canal,
}

/// Questions that one pod asks another.
pub struct Flow {
    name: String,
    allowed: bool,
    asked: NewFlows,
}

/// Plays the move from this enforcer, in a cluster of its own.
pub fn migration(before: Before, say: &dyn Fn(&str)) -> Result<()> {
    // With IPv6, kube-router 2.1.0 writes rules with names of sets that do not exist: the set
    // is `inet6:KUBE-SRC-...`, the rule has `KUBE-SRC-...` (appendRuleToPolicyChain in
    // pkg/controllers/netpol/policy.go). ip6tables refuses them, and it aborts its sync.
    let (network, words): (_, &[&str]) = match before {
        Before::KubeRouter => ("kube-router", &["--network", "kube-router"]),
        Before::Canal => ("canal", &["--network", "canal", "--dual-stack"]),
    };
    let options = Options::read(words)?;
    say(&options.to_string());
    let kubernetes = Kubernetes::up(options, say)?;
    let mut scene = Scene { kubernetes, start: Instant::now() };
    if let Err(error) = scene.migrate(before) {
        scene.last_words();
        return Err(error.context(network));
    }
    scene.kubernetes.check()
}

impl Scene {
    fn migrate(&mut self, before: Before) -> Result<()> {
        self.each_node(|kubernetes, node| before.enforce(kubernetes, node))?;
        self.put(&objects()?)?;
        self.pods_ready("migration")?;
        let pods = Pods::of(&self.kubernetes)?;
        hold(&pods.tries(self)?).context("the enforcer before")?;
        self.say(&format!("{before:?} enforces"));
        let flows = pods.flows(self)?;
        self.counted(&flows, "the other enforcer alone")?;
        let rules = self.rules_of(before)?;
        self.kubernetes.deploy()?;
        self.names_the_other(before)?;
        self.counted(&flows, "both")?;
        hold(&pods.tries(self)?).context("both")?;
        ensure!(self.rules_of(before)? == rules, "the other one's rules have changed");
        self.proved()?;
        self.say("nobody touched the rules of the other");
        self.each_node(|kubernetes, node| before.quit(kubernetes, node))?;
        self.counted(&flows, "the other one is off, its rules are left")?;
        self.label_late()?;
        let frozen = hold(&pods.late(self, false)?);
        self.say(&format!("the rules that are left know no new policy: {}", frozen.is_ok()));
        frozen.context("nothing was left")?;
        for node in ["node-1", "node-2"] {
            let said = before.clean_up(&self.kubernetes, node)?;
            self.say(&format!("{node}: {said}"));
        }
        self.counted(&flows, "nftpol alone")?;
        hold(&pods.late(self, true)?).context("after the leftovers are gone")?;
        hold(&pods.tries(self)?).context("nftpol alone")?;
        self.proved()?;
        drop(flows);
        self.remove(&["migration"])
    }

    pub fn each_node(&mut self, each: impl Fn(&mut Kubernetes, &str) -> Result<()>) -> Result<()> {
        let names: Vec<String> =
            self.kubernetes.cluster().nodes().map(|node| node.name.clone()).collect();
        for name in names {
            each(&mut self.kubernetes, &name).with_context(|| name.clone())?;
            // One node after the other, as a rollout does it.
            sleep(STEP);
        }
        Ok(())
    }

    /// Lets the traffic flow, and prints what was answered so far.
    pub fn counted(&self, flows: &[Flow], step: &str) -> Result<()> {
        sleep(STEP);
        let mut sums = [[0; 2]; 2];
        let mut lost_by = Vec::new();
        for flow in flows {
            let asked = flow.asked.asked();
            ensure!(flow.allowed || asked.answered == 0, "{step}: {} was answered", flow.name);
            ensure!(asked.sent > 0, "{step}: {} asked nothing", flow.name);
            sums[usize::from(flow.allowed)][0] += asked.sent;
            sums[usize::from(flow.allowed)][1] += asked.answered;
            if flow.allowed && asked.answered < asked.sent {
                lost_by.push(format!("{}: {}", flow.name, asked.sent - asked.answered));
            }
        }
        let [[denied, passed], [allowed, answered]] = sums;
        let lost = allowed.saturating_sub(answered);
        self.say(&format!(
            "{step}: denied {denied} sent, {passed} answered; allowed {allowed} sent, {lost} not \
             answered within 100 ms, or on their way {lost_by:?}"
        ));
        Ok(())
    }

    /// All rules of iptables on all nodes, without counters, and Felix' sets of addresses.
    /// kube-router gives its chains new names, and another order, with each of its syncs.
    pub fn rules_of(&self, other: Before) -> Result<Vec<String>> {
        const RULES: &str = "{ iptables-save; ip6tables-save; } | sed -E '/^#/d; s/ \\[.*\\]$//; \
                             s/KUBE-(NWPLCY|POD-FW)-[A-Z0-9]{16}/KUBE-\\1/g' | sort";
        const SETS: &str = "; ipset save | sed -E 's/ initval 0x[0-9a-f]+//' | sort";
        let script = match other {
            Before::KubeRouter => RULES.to_owned(),
            Before::Canal => [RULES, SETS].concat(),
        };
        let nodes = self.kubernetes.cluster().nodes();
        let rules = nodes.map(|node| {
            let rules = self.kubernetes.exec(&node.name, &["sh", "-c", &script])?.success()?;
            ensure!(rules.contains(other.chain()), "{other:?} has no rules on {}", node.name);
            Ok(rules)
        });
        rules.collect()
    }

    /// The agents' log names the other enforcer.
    pub fn names_the_other(&self, before: Before) -> Result<()> {
        let logs = ["-n", "kube-system", "logs", "-l", "app.kubernetes.io/name=nftpol"];
        let name = match before {
            Before::KubeRouter => "kube-router enforces NetworkPolicy on this node, too",
            Before::Canal => "Calico enforces NetworkPolicy on this node, too",
        };
        self.until("the log names the other enforcer", || {
            let said = self.kubectl(&[&logs[..], &["--tail=-1"]].concat())?;
            Ok(said.matches(name).count() >= self.nodes())
        })
    }

    pub fn label_late(&self) -> Result<()> {
        let label = ["-n", "migration", "label", "pod", "late", "role=friend"];
        self.kubectl(&label).map(drop)?;
        // The other one would know by now.
        sleep(STEP);
        Ok(())
    }
}

impl Before {
    /// The beginning of the names of its chains that forwarded packets meet.
    fn chain(self) -> &'static str {
        match self {
            Self::KubeRouter => ":KUBE-POD-FW",
            Self::Canal => ":cali-tw-",
        }
    }

    fn enforce(self, kubernetes: &mut Kubernetes, node: &str) -> Result<()> {
        match self {
            Self::KubeRouter => kubernetes.restart_kube_router(node, true),
            Self::Canal => kubernetes.start_felix(node),
        }
    }

    /// It no longer enforces. Its rules stay.
    fn quit(self, kubernetes: &mut Kubernetes, node: &str) -> Result<()> {
        match self {
            Self::KubeRouter => kubernetes.restart_kube_router(node, false),
            Self::Canal => kubernetes.end_felix(node),
        }
    }

    /// Runs the commands of the documentation, and returns what went.
    fn clean_up(self, kubernetes: &Kubernetes, node: &str) -> Result<String> {
        let (page, block, pattern) = match self {
            Self::KubeRouter => ("install.md", "leftovers", "^:KUBE-(ROUTER|POD-FW|NWPLCY)-"),
            Self::Canal => ("migration.md", "leftovers of Calico", "^:cali-"),
        };
        let count = || -> Result<usize> {
            let script =
                format!("{{ iptables-save; ip6tables-save; }} | grep -cE '{pattern}' || true");
            let said = kubernetes.exec(node, &["sh", "-c", &script])?.success()?;
            said.trim().parse().context("count chains")
        };
        let before = count()?;
        ensure!(before > 0, "no chain was left on {node}");
        let own = match self {
            Self::KubeRouter => {
                let program = kubebed::apiserver::program("kube-router")?;
                let program = program.to_str().context("a path that is not UTF-8")?;
                let done = kubernetes.exec(node, &[program, "--cleanup-config"])?;
                let after = count()?;
                format!(" `kube-router --cleanup-config` (exit {:?}) left {after},", done.code)
            }
            Self::Canal => String::new(),
        };
        let commands = pages::commands(page, block)?;
        kubernetes.exec(node, &["sh", "-ec", &commands])?.success()?;
        let after = count()?;
        ensure!(after == 0, "{after} of {before} chains are left on {node}");
        Ok(format!("of {before} chains{own} the commands of docs/{page} left {after}"))
    }
}

/// The pods of this scene.
pub struct Pods(Vec<Endpoint>);

impl Pods {
    pub fn of(kubernetes: &Kubernetes) -> Result<Self> {
        let names = PAIRS.iter().flat_map(|(from, to, _)| [*from, *to]).chain([LATE]);
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names.dedup();
        Ok(Self(names.into_iter().map(|name| kubernetes.pod(name)).collect::<Result<_>>()?))
    }

    fn named(&self, name: &str) -> Result<&Endpoint> {
        self.0.iter().find(|one| one.name == name).context("no such pod")
    }

    /// Each pair, over each family, by TCP.
    pub fn tries(&self, scene: &Scene) -> Result<Vec<Try<'_>>> {
        let mut tries = Vec::new();
        for &v6 in scene.kubernetes.options().families() {
            for (from, to, passes) in PAIRS {
                tries.push(self.one(from, to, v6, passes)?);
            }
        }
        Ok(tries)
    }

    pub fn late(&self, scene: &Scene, passes: bool) -> Result<Vec<Try<'_>>> {
        let families = scene.kubernetes.options().families().iter();
        families.map(|&v6| self.one(LATE, SERVER, v6, passes)).collect()
    }

    fn one(&self, from: &str, to: &str, v6: bool, passes: bool) -> Result<Try<'_>> {
        let address = self.named(to)?.address(v6).context("no such address")?;
        let to = SocketAddr::new(address, HTTP);
        Ok(Try { what: from.to_owned(), from: self.named(from)?, to, passes })
    }

    /// All pairs over IPv4, and the first two over IPv6.
    pub fn flows(&self, scene: &Scene) -> Result<Vec<Flow>> {
        let mut flows = Vec::new();
        for &v6 in scene.kubernetes.options().families() {
            for (from, to, allowed) in &PAIRS[..if v6 { 2 } else { PAIRS.len() }] {
                let address = self.named(to)?.address(v6).context("no such address")?;
                let to = SocketAddr::new(address, UDP);
                let asked = NewFlows::start(self.named(from)?, to, u64::MAX)?;
                flows.push(Flow { name: format!("{from} to {to}"), allowed: *allowed, asked });
            }
        }
        Ok(flows)
    }
}

pub fn objects() -> Result<Vec<Value>> {
    let server = json!({"matchLabels": {"app": "server"}});
    let friends = json!([{"podSelector": {"matchLabels": {"role": "friend"}}}]);
    let caged = json!({"matchLabels": {"app": "caged"}});
    let nobody = json!({"podSelector": caged, "policyTypes": ["Egress"]});
    Ok(vec![
        namespace("migration", json!({})),
        policy(
            "migration/friends",
            json!({"podSelector": server, "ingress": [{"from": friends}]}),
        )?,
        policy("migration/nobody", nobody)?,
        pod(SERVER, "node-1", json!({"app": "server"}))?,
        pod(OPEN, "node-1", json!({"app": "open"}))?,
        pod("migration/near", "node-1", json!({}))?,
        pod("migration/friend", "node-2", json!({"role": "friend"}))?,
        pod("migration/stranger", "node-2", json!({}))?,
        pod("migration/caged", "node-2", json!({"app": "caged"}))?,
        pod(LATE, "node-2", json!({}))?,
    ])
}
