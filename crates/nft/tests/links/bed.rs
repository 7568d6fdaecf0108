//! Network namespaces: a node, and pods beside it.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use nft::links::{LinkReader, NodeLinks, Port};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getpid, gettid};

/// Runs `body` in a thread with a new network namespace: the node.
pub(crate) fn on_node<T: Send>(body: impl FnOnce(&Namespace) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a new network namespace: these tests must run as root");
            let path = format!("/proc/{}/task/{}/ns/net", getpid(), gettid());
            let node = Namespace { path, process: None };
            node.ip("link set lo up");
            body(&node)
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A network namespace.
pub(crate) struct Namespace {
    pub(crate) path: String,
    process: Option<Child>,
}

impl Namespace {
    /// A pod: a process with a network namespace of its own.
    pub(crate) fn pod() -> Self {
        Self::of(&["--net"])
    }

    /// A pod whose network namespace belongs to another user namespace
    /// (`hostUsers: false`).
    pub(crate) fn pod_with_users() -> Self {
        Self::of(&["--user", "--map-root-user", "--net"])
    }

    /// Runs `unshare` with these flags. It says when it is ready.
    fn of(flags: &[&str]) -> Self {
        let mut process = Command::new("unshare")
            .args(flags)
            .args(["sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1)");
        let mut ready = [0; 6];
        let output = process.stdout.as_mut().expect("its output");
        std::io::Read::read_exact(output, &mut ready).expect("ready");
        Self { path: format!("/proc/{}/ns/net", process.id()), process: Some(process) }
    }

    /// Runs `ip` in it, a command a line.
    pub(crate) fn ip(&self, commands: &str) {
        let net = format!("--net={}", self.path);
        let mut ip = Command::new("nsenter")
            .args([net.as_str(), "ip", "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsenter(1)");
        let input = ip.stdin.take().expect("its input");
        { input }.write_all(commands.as_bytes()).expect("write");
        assert!(ip.wait().expect("wait").success(), "{commands}");
    }

    /// Adds a veth to it: `port` on the node, `eth0` in the pod, both up, with
    /// these addresses.
    pub(crate) fn wire(&self, node: &Self, port: &str, addresses: &[&str]) {
        self.wire_as(node, port, "eth0", addresses);
    }

    /// As [`Self::wire`], with a name for the pod's end.
    pub(crate) fn wire_as(&self, node: &Self, port: &str, end: &str, addresses: &[&str]) {
        node.ip(&format!(
            "link add {port} type veth peer name {end} netns {}\nlink set {port} up",
            self.path
        ));
        let mut commands = format!("link set {end} up\n");
        for address in addresses {
            commands += &format!("addr add {address} dev {end}\n");
        }
        self.ip(&commands);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Everything that can be seen from this thread's namespace.
pub(crate) fn read() -> NodeLinks {
    LinkReader::open().expect("open").read(&BTreeSet::new()).expect("read")
}

pub(crate) fn port<'a>(links: &'a NodeLinks, name: &str) -> &'a Port {
    links.ports.iter().find(|port| port.name == name).expect(name)
}

/// Without link-local ones.
pub(crate) fn global(port: &Port) -> Vec<IpAddr> {
    port.addresses.iter().map(|one| one.address).filter(|one| !is_link_local(one)).collect()
}

pub(crate) fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

pub(crate) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}
