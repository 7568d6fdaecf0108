//! The running agents: privileges, rights, memory.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use nix::unistd::Pid;

use crate::scene::Scene;

/// Bit 12 (linux/capability.h).
const NET_ADMIN: u64 = 1 << 12;
/// With bits 19 and 21 for namespaces: CAP_SYS_PTRACE and CAP_SYS_ADMIN.
const OF_POD_AGENT: u64 = NET_ADMIN | 1 << 19 | 1 << 21;
/// The name of the agent's process.
const PROGRAM: &str = "nftpol";
/// The agents' user name at the API server, and another one of its kind.
const ACCOUNT: &str = "system:serviceaccount:kube-system:nftpol";
const OTHER: &str = "system:serviceaccount:kube-system:nobody";
/// The rights in docs/operate.md, as `kubectl auth can-i --list` prints them.
const RIGHTS: [(&str, &str); 4] = [
    ("events", "[create patch]"),
    ("namespaces", "[list watch]"),
    ("networkpolicies.networking.k8s.io", "[list watch]"),
    ("pods", "[list watch]"),
];

impl Scene {
    pub fn agents(&mut self) -> Result<()> {
        for node in self.kubernetes.cluster().nodes() {
            let pid = agent_in(&node.namespace).with_context(|| format!("on {}", node.name))?;
            let shown = privileges(pid, NET_ADMIN)
                .with_context(|| format!("of the agent on {}", node.name))?;
            self.say(&format!("{}: {shown}", node.name));
        }
        let rights = &self.rights(ACCOUNT)? - &self.rights(OTHER)?;
        let expected = RIGHTS.map(|(resource, verbs)| format!("{resource} {verbs}"));
        assert_eq!(rights, BTreeSet::from(expected));
        self.say(&format!("rights: {}", Vec::from_iter(rights).join(", ")));
        Ok(())
    }

    /// Runs `nftpol verify` in each agent's pod, as the documentation shows, to prove
    /// the table in the node's kernel.
    pub fn proved(&self) -> Result<()> {
        let agents = ["-n", "kube-system", "get", "pods", "-l", "app.kubernetes.io/name=nftpol"];
        let place = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{'\\n'}{end}";
        let agents = self.kubectl(&[&agents[..], &["-o", place]].concat())?;
        ensure!(agents.lines().count() == self.nodes(), "not one agent per node: {agents}");
        for (pod, node) in agents.lines().filter_map(|line| line.split_once(' ')) {
            let exec = ["-n", "kube-system", "exec", pod, "--"];
            let verify = ["nftpol", "verify", "--kernel", "--node", node];
            let done = self.kubernetes.kubectl(&[&exec[..], &verify].concat(), "")?;
            let said = done.clone().success()?;
            let not_judged =
                [&done.stdout, &done.stderr].iter().any(|text| text.contains("not judged:"));
            ensure!(not_judged, "{node} does not say what is not judged: {done:?}");
            ensure!(said.starts_with("the kernel's table does what"), "{node}: {said}");
            self.say(&format!("{node}: {}", said.trim()));
        }
        Ok(())
    }

    /// Resources and their verbs. A rule without resources has `[/path]` before its
    /// verbs.
    fn rights(&self, account: &str) -> Result<BTreeSet<String>> {
        let table = self.kubectl(&["auth", "can-i", "--list", "--as", account])?;
        let words =
            |line: &str| line.replace("[]", "").split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(table.lines().skip(1).map(words).collect())
    }
}

/// The agent of the node with this network namespace.
pub fn agent_in(node: &Namespace) -> Result<Pid> {
    let mut all = node.processes().into_iter();
    all.find(|pid| is_agent(*pid)).context("no agent runs")
}

/// Whether this process exists and is an agent.
pub fn is_agent(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == PROGRAM)
}

/// The privileges of the pod agent of the node with this network namespace.
pub fn pod_agents_privileges(node: &Namespace) -> Result<String> {
    let is_pod_agent = |pid: &Pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline"));
        is_agent(*pid)
            && words
                .is_ok_and(|words| words.split(|byte| *byte == 0).any(|word| word == b"pod-agent"))
    };
    let found = node.processes().into_iter().find(is_pod_agent);
    privileges(found.context("no pod agent runs")?, OF_POD_AGENT)
}

/// Fails unless the process has exactly the documented privileges (proc(5)), with these
/// capabilities.
fn privileges(pid: Pid, capabilities: u64) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read its status")?;
    let field = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        found.with_context(|| format!("no {name}"))
    };
    for (name, set) in [
        ("CapInh", 0),
        ("CapPrm", capabilities),
        ("CapEff", capabilities),
        ("CapBnd", capabilities),
        ("CapAmb", 0),
    ] {
        assert_eq!(u64::from_str_radix(field(name)?, 16)?, set, "{name}");
    }
    // SECCOMP_MODE_FILTER (linux/seccomp.h).
    for (name, value) in [("Uid", "0\t0\t0\t0"), ("NoNewPrivs", "1"), ("Seccomp", "2")] {
        assert_eq!(field(name)?, value, "{name}");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).context("read its mounts")?;
    // Number, parent, device, root, path, options.
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = mounts.find(|fields| fields.get(4) == Some(&"/")).context("no root")?;
    ensure!(root[5].split(',').any(|option| option == "ro"), "its root is {}", root[5]);
    let shown = ["CapEff", "NoNewPrivs", "Seccomp", "VmRSS"]
        .map(|name| Ok(format!("{name} {}", field(name)?.trim())));
    Ok(shown.into_iter().collect::<Result<Vec<_>>>()?.join(", ") + ", root read-only")
}
