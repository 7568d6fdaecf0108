//! Policies in audit: real packets pass, and it is told what would be denied.

use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::ListParams;
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World};
use netbed::probe::{Flow, Knock, Prober, Seen};
use netbed::program;
use samples::fixtures;
use samples::testbed_spec::{Families, Network};
use serde_json::Value;

const NODE: &str = "node-1";

/// What the demo's pods say to each other.
const TRAFFIC: [(&str, &str, Knock); 9] = [
    ("dev/web", "dev/api", Knock::Tcp(8080)),
    ("dev/api", "dev/db", Knock::Tcp(5432)),
    ("shop/front", "shop/cart", Knock::Tcp(8080)),
    ("shop/cart", "shop/pay", Knock::Tcp(8080)),
    ("shop/front", "dev/api", Knock::Tcp(8080)),
    ("ops/prom", "dev/api", Knock::Tcp(9090)),
    ("ops/prom", "shop/cart", Knock::Tcp(9090)),
    ("dev/web", "ops/logs", Knock::Udp(514)),
    ("ops/backup", "dev/db", Knock::Tcp(5432)),
];
/// What nobody said while it was watched.
const STRANGE: [(&str, &str, Knock); 4] = [
    ("dev/web", "dev/db", Knock::Tcp(5432)),
    ("shop/front", "shop/pay", Knock::Tcp(8080)),
    ("ops/logs", "ops/backup", Knock::Tcp(9090)),
    ("dev/api", "dev/db", Knock::Tcp(8080)),
];
const KNOCKS: [Knock; 4] = [Knock::Tcp(8080), Knock::Tcp(5432), Knock::Tcp(9090), Knock::Udp(514)];

struct Node<'w> {
    world: &'w World,
    prober: Prober<'w>,
}

impl<'w> Node<'w> {
    fn of(world: &'w World) -> Result<Self> {
        let this = Self { world, prober: Prober::new(&world.cluster, &KNOCKS)? };
        this.prober.settle(&this.flows(&TRAFFIC)?)?;
        Ok(this)
    }

    /// Over both families.
    fn flows(&self, all: &[(&str, &str, Knock)]) -> Result<Vec<Flow>> {
        let endpoints = self.world.cluster.endpoints();
        let at = |name: &str| {
            let place = endpoints.iter().position(|endpoint| endpoint.name == name);
            place.with_context(|| format!("no endpoint {name}"))
        };
        let mut flows = Vec::new();
        for (from, to, knock) in all {
            let (from, to) = (at(from)?, at(to)?);
            flows.extend([false, true].map(|v6| Flow { knock: *knock, v6, from, to }));
        }
        Ok(flows)
    }

    fn run(&self, all: &[(&str, &str, Knock)]) -> Result<Vec<(String, Seen)>> {
        let flows = self.flows(all)?;
        let seen = self.prober.run(&flows)?;
        let named = flows.iter().map(|flow| flow.describe(&self.world.cluster));
        Ok(named.zip(seen).collect())
    }

    fn all_are(&self, all: &[(&str, &str, Knock)], wanted: Seen) -> Result<()> {
        let found = self.run(all)?;
        let wrong: Vec<_> = found.iter().filter(|(_, seen)| *seen != wanted).collect();
        ensure!(wrong.is_empty(), "not {wanted:?}: {wrong:#?}");
        Ok(())
    }

    /// Until it is so.
    fn soon(&self, all: &[(&str, &str, Knock)], wanted: Seen) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = self.all_are(all, wanted) {
            ensure!(start.elapsed() < PATIENCE, "{error:#}");
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn nftpol(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.world.cluster.endpoint(NODE)?.namespace.command(program::path()?);
        command.args(arguments);
        let finished = program::finish(command, "")?.success();
        finished.with_context(|| format!("nftpol {arguments:?}"))
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        self.world.server.kubectl(arguments, "")?.success().map(drop)
    }
}

fn demo(prefix: &str) -> Result<World> {
    World::beside(fixtures::demo(NODE), prefix)
}

/// Of all namespaces and both directions.
fn counted(agent: &Daemon<'_>, name: &str) -> Result<f64> {
    let (_, page) = agent.get("/metrics")?;
    let lines = page.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum())
}

/// A counter that did not move for longer than it is read in.
fn settled(agent: &Daemon<'_>, name: &str) -> Result<f64> {
    let mut last = counted(agent, name)?;
    loop {
        sleep(Duration::from_millis(2500));
        let now = counted(agent, name)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

fn in_audit(policy: &str) -> String {
    policy.replace("metadata:\n", "metadata:\n  annotations: {nftpol.dev/mode: audit}\n")
}

/// A deny-all in audit drops nothing and tells all. With the policies that are proposed from
/// that, the same traffic passes a deny-all that is enforced.
#[test]
fn what_is_told_in_audit_becomes_policies_under_which_nothing_breaks() -> Result<()> {
    let world = demo("aa")?;
    let node = Node::of(&world)?;
    let namespaces = ["dev", "shop", "ops"];
    for namespace in namespaces {
        world.server.apply(&in_audit(&fixtures::deny_all(namespace)))?;
    }
    let mut agent = world.agent(NODE, &["--verify"])?;
    agent.ready_within(PATIENCE)?;
    node.all_are(&TRAFFIC, Seen::Answered)?;
    let lines = node.nftpol(&["monitor", "--no-follow"])?;
    let line = lines.lines().find(|line| line.contains("dev/web") && line.contains("dev/api:8080"));
    let line = line.with_context(|| format!("not told: {lines}{}", agent.log()))?;
    ensure!(line.contains("WOULD DENY") && line.contains("dev/deny-all"), "{line}");
    writeln!(std::io::stderr(), "{line}")?;
    let json = node.nftpol(&["monitor", "--no-follow", "--last", "1", "-o", "json"])?;
    let json: Value = serde_json::from_str(json.lines().next().context("no line")?)?;
    ensure!(json["denied"]["verdict"] == "WOULD DENY", "{json}");

    // As long as something new would be denied. The log tells of a few packets a second.
    let mut rounds = 0;
    loop {
        rounds += 1;
        ensure!(rounds < 6, "after {rounds} rounds something would still be denied");
        for namespace in namespaces {
            let proposed = node.nftpol(&["monitor", "--suggest", namespace])?;
            world.server.apply(&in_audit(&proposed)).with_context(|| proposed.clone())?;
        }
        node.nftpol(&["status", "dev/deny-all", "--wait"])?;
        sleep(Duration::from_millis(300));
        let before = settled(&agent, "nftpol_audited_packets_total")?;
        ensure!(before > 0.0, "nothing is counted");
        node.all_are(&TRAFFIC, Seen::Answered)?;
        if settled(&agent, "nftpol_audited_packets_total")? == before {
            break;
        }
    }
    writeln!(std::io::stderr(), "{rounds} rounds until nothing would be denied")?;
    ensure!(counted(&agent, "nftpol_denied_packets_total")? == 0.0, "something was dropped");
    ensure!(agent.metric("nftpol_audited_policies")? > 3.0);
    node.all_are(&STRANGE, Seen::Answered)?;

    for namespace in namespaces {
        let all = ["annotate", "networkpolicy", "-n", namespace, "--all", "nftpol.dev/mode-"];
        node.kubectl(&all)?;
    }
    node.soon(&STRANGE, Seen::Nothing)?;
    node.all_are(&TRAFFIC, Seen::Answered)?;
    ensure!(agent.metric("nftpol_audited_policies")? == 0.0);
    let lines = node.nftpol(&["monitor", "--no-follow", "-n", "shop"])?;
    ensure!(lines.contains("node-1 DENY "), "{lines}");
    ensure!(agent.metric("nftpol_proofs_total{result=\"failed\"}")? == 0.0, "{}", agent.log());
    Ok(())
}

/// The way out in an emergency ends by itself, and is seen everywhere meanwhile.
#[test]
fn an_audit_with_an_end_is_over_by_itself() -> Result<()> {
    let spec = fixtures::dev_pods(Network::Bridge, &[NODE], &["web", "db"], Families::Both);
    let world = World::new(spec, "ae")?;
    let prober = Prober::new(&world.cluster, &KNOCKS)?;
    let node = Node { world: &world, prober };
    let way = [("dev/web", "dev/db", Knock::Tcp(5432))];
    node.prober.settle(&node.flows(&way)?)?;
    world.server.apply(&fixtures::isolated("db", "Ingress"))?;
    let mut agent = world.agent(NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    node.all_are(&way, Seen::Nothing)?;
    let end = Timestamp::now() + SignedDuration::from_secs(12);
    let until = format!("nftpol.dev/audit-until={end:.0}");
    node.kubectl(&["annotate", "namespace", "dev", &until])?;
    node.soon(&way, Seen::Answered)?;
    ensure!(agent.metric("nftpol_audit_ends")? == 1.0);
    let status = node.nftpol(&["status", "--local"])?;
    ensure!(status.contains("namespace dev until 20"), "{status}");
    let status = node.nftpol(&["status", "dev/isolated"])?;
    ensure!(status.contains("in audit on 1, where it drops nothing"), "{status}");
    let events: Api<Event> = Api::namespaced(world.server.client(), "dev");
    let told = |event: &Event| event.reason.as_deref() == Some("Audited");
    while !world.server.block_on(events.list(&ListParams::default()))?.iter().any(told) {
        ensure!(Timestamp::now() < end, "no Event:\n{}", agent.log());
        sleep(Duration::from_millis(100));
    }
    ensure!(Timestamp::now() < end, "this machine is too slow for this test");
    node.all_are(&way, Seen::Answered)?;
    node.soon(&way, Seen::Nothing)?;
    let late = Timestamp::now().duration_since(end);
    ensure!(late < SignedDuration::from_secs(3), "it is over {late} too late");
    ensure!(agent.metric("nftpol_audit_ends")? == 0.0);
    ensure!(!node.nftpol(&["status", "--local"])?.contains("until"));
    // An end that nobody can mean, and one that nobody can read.
    let far = "nftpol.dev/audit-until=2999-01-01T00:00:00Z";
    node.kubectl(&["annotate", "namespace", "dev", "--overwrite", far])?;
    let wrong = "nftpol.dev/mode=Audit";
    node.kubectl(&["annotate", "networkpolicy", "-n", "dev", "isolated", wrong])?;
    let start = Instant::now();
    for word in ["is not in audit", "Did you mean audit?"] {
        while !agent.log().contains(word) {
            ensure!(start.elapsed() < PATIENCE, "{word:?} is not in {}", agent.log());
            sleep(Duration::from_millis(50));
        }
    }
    node.all_are(&way, Seen::Nothing)
}

/// A node in audit drops nothing, whatever was in its kernel, until a namespace says enforce.
#[test]
fn a_node_in_audit_is_enforced_namespace_by_namespace() -> Result<()> {
    let world = demo("an")?;
    let node = Node::of(&world)?;
    for namespace in ["dev", "shop", "ops"] {
        world.server.apply(&fixtures::deny_all(namespace))?;
    }
    let mut agent = world.agent(NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    node.all_are(&TRAFFIC, Seen::Nothing)?;
    agent.stop()?;
    let mut agent = world.agent(NODE, &["--mode=audit", "--unknown-pods=closed"])?;
    agent.ready_within(PATIENCE)?;
    node.soon(&TRAFFIC, Seen::Answered)?;
    ensure!(
        agent.get("/readyz")?.1.contains("this node is in audit"),
        "{:?}",
        agent.get("/readyz")
    );
    // A pod that nobody knows passes, too.
    world.server.delete_pods(&[policy::ObjectKey::new("shop", "pay")])?;
    node.soon(&TRAFFIC, Seen::Answered)?;
    node.kubectl(&["annotate", "namespace", "dev", "nftpol.dev/mode=enforce"])?;
    node.soon(&TRAFFIC[..2], Seen::Nothing)?;
    node.all_are(&TRAFFIC[2..4], Seen::Answered)
}
