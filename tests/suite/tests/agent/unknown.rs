//! What a pod can send and receive before its Pod object names its address, with each
//! `--unknown-pods`, with an agent and without one.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World};
use netbed::datagram::{arrives, receiver};
use netbed::echo::{Server, Stream};
use netbed::new_flows::{NewFlows, Progress};
use netbed::testbed::Endpoint;
use policy::{ObjectKey, Pod};
use samples::fixtures;
use samples::testbed_spec::{Families, Network};

const NODE: &str = "node-1";
const PODS: [&str; 4] = ["web", "db", "far", "late"];
const ECHO: u16 = 8081;
const STREAM: u16 = 8082;
/// For this long questions must stay without an answer.
const QUESTIONS: u64 = 100;

/// Each datagram has a port of its own, so that it opens a flow.
static NEXT_PORT: AtomicU16 = AtomicU16::new(12_000);

/// A node whose pod `late` has an interface and no Pod object.
struct Scene {
    world: World,
    late: Pod,
}

impl Scene {
    fn new(network: Network, prefix: &str) -> Result<Self> {
        let spec = fixtures::dev_pods(network, &[NODE], &PODS, Families::Both);
        let world = World::beside(spec, prefix)?;
        let late = world.cluster.spec().pods().into_iter().find(|pod| pod.key.name == "late");
        let scene = Self { late: late.context("a pod late")?, world };
        scene.forget()?;
        Ok(scene)
    }

    fn agent(&self, mode: &str, more: &[&str]) -> Result<Daemon<'_>> {
        let mode = format!("--unknown-pods={mode}");
        let mut agent = self.world.agent(NODE, &[&[mode.as_str()], more].concat())?;
        agent.ready_within(PATIENCE)?;
        Ok(agent)
    }

    /// The Pod object goes, and its pod goes on.
    fn forget(&self) -> Result<()> {
        self.world.server.delete_pods(&[ObjectKey::new("dev", "late")])
    }

    fn name(&self) -> Result<()> {
        self.world.server.create_pods(std::slice::from_ref(&self.late))
    }

    fn isolate(&self, pod: &str) -> Result<()> {
        self.world.server.apply(&fixtures::isolated(pod, "Ingress"))
    }

    fn without_policies(&self) -> Result<()> {
        let words = ["delete", "networkpolicy", "-n", "dev", "--all"];
        self.world.server.kubectl(&words, "")?.success().map(drop)
    }

    fn endpoint(&self, name: &str) -> Result<&Endpoint> {
        let is_pod = PODS.contains(&name);
        self.world.cluster.endpoint(&if is_pod { format!("dev/{name}") } else { name.to_owned() })
    }

    /// Whether a datagram that opens a flow arrives, with each family.
    fn reaches(&self, from: &str, to: &str) -> Result<[bool; 2]> {
        let (from, to) = (self.endpoint(from)?, self.endpoint(to)?);
        let with = |v6| {
            let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
            let there = to.address(v6).context("an address")?;
            let source = SocketAddr::new(from.address(v6).context("an address")?, port);
            let at = receiver(to, there, port)?;
            arrives(from, source, SocketAddr::new(there, port), &at)
        };
        Ok([with(false)?, with(true)?])
    }

    /// Whether the pod `late` is shut as expected, and nobody else.
    fn check(&self, is_shut: bool) -> Result<()> {
        for (from, to) in [("late", "web"), ("web", "late"), ("late", "outsider")] {
            let seen = self.reaches(from, to)?;
            ensure!(seen == [!is_shut; 2], "{from} to {to}: {seen:?}, shut: {is_shut}");
        }
        for (from, to) in [("web", "far"), (NODE, "late"), ("late", NODE), ("outsider", "web")] {
            let seen = self.reaches(from, to)?;
            ensure!(seen == [true; 2], "{from} to {to}: {seen:?}, late is shut: {is_shut}");
        }
        Ok(())
    }

    fn soon(&self, is_shut: bool, when: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.check(is_shut).with_context(|| when.to_owned()) {
                Err(error) if start.elapsed() > PATIENCE => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)),
                Ok(()) => return Ok(()),
            }
        }
    }
}

#[test]
fn an_unknown_pod_is_shut_as_the_operator_says_and_known_ones_are_not() -> Result<()> {
    let scene = Scene::new(Network::Bridge, "ay")?;
    let (late, web) = (scene.endpoint("late")?, scene.endpoint("web")?);
    let address = web.address(false).context("an address")?;
    let _server = Server::start(web, address, STREAM)?;
    for (mode, without, with) in
        [("open", false, false), ("selected", false, true), ("closed", true, true)]
    {
        let established = Stream::udp(late, SocketAddr::new(address, STREAM))?;
        let agent = scene.agent(mode, &["--verify"])?;
        scene.soon(without, &format!("{mode}, without policies"))?;
        scene.isolate("db")?;
        scene.soon(with, &format!("{mode}, with a policy"))?;
        ensure!(established.goes_on(50), "{mode}: an established flow ended");
        drop(established);

        agent.kill()?;
        scene.check(with).with_context(|| format!("{mode}, without an agent"))?;
        // Its policies come with it, so nobody sees it open.
        let agent = scene.agent(mode, &["--verify"])?;
        scene.check(with).with_context(|| format!("{mode}, another agent"))?;
        scene.name()?;
        scene.soon(false, &format!("{mode}, it is named"))?;
        // It may still run, so its policies are known for as long.
        scene.forget()?;
        scene.soon(false, &format!("{mode}, its object is gone"))?;
        scene.without_policies()?;
        scene.soon(false, &format!("{mode}, without policies again"))?;
        agent.stop()?;
        let mut agent = scene.world.agent(NODE, &[])?;
        agent.ready_within(PATIENCE)?;
        scene.soon(false, "the flag is gone")?;
    }
    Ok(())
}

/// No bridge tells where routed pods are.
#[test]
fn routed_pods_are_shut_in_the_ranges_that_the_operator_gives() -> Result<()> {
    let scene = Scene::new(Network::Routed, "ar")?;
    let agent = scene.agent("closed", &[])?;
    scene.check(false).context("without a range")?;
    let said = "no address is shut yet";
    ensure!(agent.log().contains(said), "it does not say {said:?}: {}", agent.log());
    agent.stop()?;
    let subnets = ["--pod-cidr=10.244.0.0/16", "--pod-cidr=fd00:10:244::/48"];
    let agent = scene.agent("closed", &subnets)?;
    scene.soon(true, "with ranges")?;
    scene.name()?;
    scene.soon(false, "it is named")?;
    agent.stop().map(drop)
}

/// What a stranger hears of a new pod, isolated or not.
#[test]
fn a_new_isolated_pod_answers_no_stranger_where_unknown_ones_are_shut() -> Result<()> {
    let scene = Scene::new(Network::Bridge, "av")?;
    let address = scene.endpoint("late")?.address(false).context("an address")?;
    let mut ports = ECHO..;
    for (mode, is_shut) in [("open", false), ("selected", true), ("closed", true)] {
        for is_isolated in [true, false] {
            // No question belongs to a flow of an earlier round.
            let to = SocketAddr::new(address, ports.next().context("a port")?);
            let server = scene.endpoint("late")?.namespace.run(|| UdpSocket::bind(to))??;
            server.set_read_timeout(Some(Duration::from_millis(20)))?;
            let stop = AtomicBool::new(false);
            scope(|scope| {
                scope.spawn(|| answer(&server, &stop));
                let tried = newcomer(&scene, to, (mode, is_shut), is_isolated);
                stop.store(true, Ordering::Relaxed);
                tried
            })?;
        }
    }
    Ok(())
}

fn newcomer(
    scene: &Scene,
    to: SocketAddr,
    (mode, is_shut): (&str, bool),
    is_isolated: bool,
) -> Result<()> {
    scene.isolate(if is_isolated { "late" } else { "db" })?;
    let agent = scene.agent(mode, &[])?;
    scene.soon(is_shut, "before it is named")?;
    let stranger = NewFlows::start(scene.endpoint("web")?, to, u64::MAX)?;
    until(&stranger, |asked| asked.sent > QUESTIONS)?;
    let sent = Instant::now();
    scene.name()?;
    let made = Instant::now();
    match is_isolated {
        true => until(&stranger, |asked| asked.unanswered > QUESTIONS)?,
        false => until(&stranger, |asked| asked.answered > QUESTIONS)?,
    }
    let Progress { answered, first, last, .. } = stranger.asked();
    let since = |start: Instant, moment: Option<Instant>| {
        moment.map(|moment| moment.saturating_duration_since(start))
    };
    match is_isolated {
        true => println!(
            "{mode}: an isolated new pod answered a stranger {answered} times, last {:?} after its \
             object was there",
            since(made, last)
        ),
        false => println!(
            "{mode}: a new pod without policy answered first {:?} after its object was sent, which \
             took {:?}",
            since(sent, first),
            made - sent
        ),
    }
    ensure!(!is_isolated || is_shut == (answered == 0), "{mode}: {answered} answers");
    scene.without_policies()?;
    scene.soon(false, "without policies")?;
    scene.forget()?;
    agent.stop().map(drop)
}

fn until(asking: &NewFlows, holds: impl Fn(Progress) -> bool) -> Result<()> {
    let start = Instant::now();
    while !holds(asking.asked()) {
        ensure!(start.elapsed() < PATIENCE, "{:?}", asking.asked());
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// As agnhost's netexec does.
fn answer(server: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = server.recv_from(&mut buffer) else { continue };
        let Some(answer) = buffer[..length].strip_prefix(b"echo ") else { continue };
        let _ = server.send_to(answer, from);
    }
}
