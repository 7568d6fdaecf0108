//! A shooting range whose node gets its policies from an API server.
//!
//! The server knows the pods of the range and the policies for them. You get probes
//! with their expected fate, and a view of the node's table. It starts no agent: a
//! test starts as many as it needs.
//!
//! ```text
//! kube-apiserver 192.168.88.1 --veth-- 192.168.88.2 node --veth-- pods that send
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use compiler::scaffold;
use netbed::fire::{self, Expect, Fire, Goal, Outcome, Probe, Range, judge, report, shoot};
use netbed::net::{Namespace, veth};
use netbed::program;
use netbed::testbed::Turn;
use nft::{Dump, Generation, Kernel};
use policy::{Direction, Labels, Namespace as Space, ObjectKey, Phase, Pod};
use ruleset::{Element, Family, Ruleset, TableId};

use crate::apiserver::ApiServer;
use crate::apiserver::proxy::Proxy;
use crate::world::install;

/// The name of the node.
pub const NODE: &str = "node-1";
/// The pod that may reach the server. It is not isolated.
pub const CLIENT: usize = 0;
/// The pod that may reach only port 80, of every pod that lets it in. The server
/// does not let it in.
pub const STRANGER: usize = 1;
/// A sender that the API server does not know at first.
pub const NEWCOMER: usize = 2;
/// Isolated. Lets the client in at port 80. It is a number for
/// [`Range::destination`], as the next three.
pub const SERVER: u8 = 1;
/// Not isolated.
pub const OPEN: u8 = 2;
/// Not isolated unless a test applies [`toggle`].
pub const TOGGLED: u8 = 3;
/// Not isolated either. For the tests' own policies.
pub const SPARE: u8 = 4;

const FRONT: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);
/// Where [`Outpost::proxy`] listens.
const PROXY: u16 = 7443;
/// How long a change may take to reach the table.
const PATIENCE: Duration = Duration::from_secs(60);

/// The range and its API server, as long as this value lives.
pub struct Outpost {
    /// The API server.
    pub server: ApiServer,
    /// The node and the pods that send.
    pub range: Range,
    kubeconfig: PathBuf,
    front: Namespace,
    _turn: Turn,
}

impl Outpost {
    /// Builds it and starts the server, with the whole machine for itself: fire needs it.
    ///
    /// # Errors
    /// When the range or the server does not come up.
    pub fn new() -> Result<Self> {
        Self::with(Turn::alone())
    }

    /// As [`Outpost::new`], for a test without fire that mostly waits: other testbeds may be
    /// there.
    ///
    /// # Errors
    /// As [`Outpost::new`].
    pub fn beside() -> Result<Self> {
        Self::with(Turn::beside())
    }

    fn with(turn: Turn) -> Result<Self> {
        let range = Range::new(3)?;
        let front = Namespace::new("fa")?;
        veth((range.node(), "api"), (&front, "eth0"))?;
        range.node().ip("address add 192.168.88.2/24 dev api")?;
        front.ip(&format!("address add {FRONT}/24 dev eth0"))?;
        let server = ApiServer::start(&front, FRONT.into())?;
        let kubeconfig = install(&server)?;
        let this = Self { server, range, kubeconfig, front, _turn: turn };
        let space = Space {
            name: "fire".to_owned(),
            labels: Labels::new(),
            is_ending: false,
            switch: Default::default(),
        };
        this.server.apply_namespaces(&[space.with_metadata_name()])?;
        let at = |number| IpAddr::V4(this.range.destination(number));
        let from = |number| IpAddr::V4(this.range.source(number));
        this.server.create_pods(&[
            pod("fire", "client", from(CLIENT)),
            pod("fire", "stranger", from(STRANGER)),
            pod("fire", "server", at(SERVER)),
            pod("fire", "open", at(OPEN)),
            pod("fire", "toggled", at(TOGGLED)),
            pod("fire", "spare", at(SPARE)),
        ])?;
        this.server.apply(&policies())?;
        Ok(this)
    }

    /// A kubeconfig with the rights of the DaemonSet's service account.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A proxy in front of the server, with the rights of the DaemonSet's service
    /// account.
    ///
    /// # Errors
    /// When there is already one.
    pub fn proxy(&self) -> Result<Proxy> {
        let client = self.server.service_account_client("kube-system", "nftpol")?;
        let address = SocketAddr::new(FRONT.into(), PROXY);
        Proxy::start(&self.server, &self.front, address, client)
    }

    /// The node's table.
    ///
    /// # Errors
    /// When nf_tables cannot be reached.
    pub fn table(&self) -> Result<Table> {
        Ok(Table(self.range.node().run(Kernel::open)??))
    }

    /// Checks that the node's kernel has exactly the rules that the server's
    /// objects mean, and no rules of an older version.
    ///
    /// # Errors
    /// When they differ, with the difference.
    pub fn settled(&self) -> Result<()> {
        let kinds = "pods,namespaces,networkpolicies";
        let get = ["get", kinds, "--all-namespaces", "--output=yaml"];
        let objects = self.server.kubectl(&get, "")?.success()?;
        let diff = ["diff", "-f", "-", "--node", NODE, "--validate=warn"];
        let diff = program::run(self.range.node(), &diff, &objects)?;
        ensure!(diff.code == Some(0), "the kernel differs from the server's objects: {diff:#?}");
        Ok(())
    }
}

/// Runs a scene under fire and returns its result.
///
/// # Errors
/// The error of the scene, or when packets cannot be sent or counted.
pub fn fire_at(
    range: &Range,
    probes: &[Probe],
    mut scene: impl FnMut() -> Result<()>,
) -> Result<Outcome> {
    /// At the least.
    const PACKETS: u64 = 100_000;
    let goal = Goal { updates: 1, packets: PACKETS };
    shoot(range, probes, goal, &Fire::default(), |number| {
        match number {
            0 => scene()?,
            _ => sleep(Duration::from_millis(1)),
        }
        Ok(true)
    })
}

/// As [`fire_at`], reported in one row. Fails when a packet meets the wrong fate.
///
/// # Errors
/// As [`fire_at`], and when a packet met the wrong fate.
pub fn under_fire(
    range: &Range,
    name: &str,
    probes: &[Probe],
    scene: impl FnMut() -> Result<()>,
) -> Result<()> {
    let outcome = fire_at(range, probes, scene).with_context(|| name.to_owned())?;
    report(name, &outcome)?;
    judge(probes, &outcome).with_context(|| name.to_owned())
}

/// What must happen to packets in every case.
pub fn always(range: &Range) -> Vec<Probe> {
    [
        (CLIENT, SERVER, 80, Expect::Pass),
        (CLIENT, SERVER, 81, Expect::Drop),
        (STRANGER, SERVER, 80, Expect::Drop),
        (STRANGER, OPEN, 80, Expect::Pass),
        (STRANGER, OPEN, 81, Expect::Drop),
        (CLIENT, OPEN, 81, Expect::Pass),
    ]
    .map(|one| probe(range, one))
    .to_vec()
}

/// Sender, receiver, port, fate.
pub fn probe(range: &Range, (source, to, port, expect): (usize, u8, u16, Expect)) -> Probe {
    Probe { source, destination: range.destination(to), port, expect }
}

/// A pod of this node. Its label `app` is its name.
pub fn pod(namespace: &str, name: &str, address: IpAddr) -> Pod {
    Pod {
        key: ObjectKey::new(namespace, name),
        labels: [("app".to_owned(), name.to_owned())].into(),
        node: Some(NODE.to_owned()),
        addresses: vec![address],
        host_addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 168, 88, 2))],
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

/// A policy that isolates the pod `toggled` and lets the client in.
pub fn toggle() -> String {
    ingress("toggle", "toggled", "{podSelector: {matchLabels: {app: client}}}", 80)
}

/// A policy that isolates the pods of an app and lets a peer in at a port.
pub fn ingress(name: &str, app: &str, peer: &str, port: u16) -> String {
    fire::policy(
        name,
        &format!(
            "podSelector: {{matchLabels: {{app: {app}}}}}
  ingress: [{{from: [{peer}], ports: [{{port: {port}, protocol: UDP}}]}}]"
        ),
    )
}

/// The policies that make [`always`] true.
fn policies() -> String {
    let leash = fire::policy(
        "leash",
        "podSelector: {matchLabels: {app: stranger}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {}}], ports: [{port: 80, protocol: UDP}]}]",
    );
    let guard = ingress("guard", "server", "{podSelector: {matchLabels: {app: client}}}", 80);
    format!("{guard}---\n{leash}")
}

/// The node's table, read through a socket of its own.
#[derive(Debug)]
pub struct Table(Kernel);

impl Table {
    /// The generation of the node's rules.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn generation(&mut self) -> Result<Generation> {
        self.0.generation().context("ask for the generation")
    }

    /// The whole table.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn dump(&mut self) -> Result<Option<Dump>> {
        self.0.dump(&TableId::inet(scaffold::table())).context("read the table")
    }

    /// The tables that have our name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn names(&mut self) -> Result<Vec<String>> {
        let tables = self.0.tables().context("list the tables")?;
        Ok(tables.iter().map(|table| table.name.to_string()).collect())
    }

    /// Waits until the table is as wanted. Returns how long that took.
    ///
    /// # Errors
    /// When that does not happen within a minute.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Ruleset) -> bool) -> Result<Duration> {
        let start = Instant::now();
        let mut last = None;
        loop {
            let generation = self.generation()?;
            if last != Some(generation) {
                last = Some(generation);
                if self.dump()?.is_some_and(|dump| wanted(&dump.ruleset)) {
                    return Ok(start.elapsed());
                }
            }
            if start.elapsed() > PATIENCE {
                bail!("the table is not as wanted after {PATIENCE:?}: {what}");
            }
            sleep(Duration::from_millis(1));
        }
    }
}

/// Whether a table isolates an address.
pub fn isolates(table: &Ruleset, direction: Direction, address: Ipv4Addr) -> bool {
    let set = table.sets.get(&scaffold::isolated_set(direction, Family::V4));
    set.is_some_and(|set| set.elements.iter().any(|element| holds(element, address)))
}

/// Whether a table knows an address as a peer's.
pub fn knows(table: &Ruleset, address: Ipv4Addr) -> bool {
    let mut peers = table.sets.iter().filter(|(name, _)| name.as_str().starts_with("p4."));
    peers.any(|(_, set)| set.elements.iter().any(|element| holds(element, address)))
}

fn holds(element: &Element, address: Ipv4Addr) -> bool {
    element.addresses().any(|one| one == address)
}
