//! `nftpol monitor` and `nftpol status` on a node, with the real agent and real packets.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World};
use netbed::net::Namespace;
use netbed::program;
use samples::fixtures;
use samples::testbed_spec::{Families, Network, TestbedSpec};
use serde_json::{Value, json};

/// From the packet to the line on standard output of `nftpol monitor`.
const SHOWN_WITHIN: Duration = Duration::from_millis(100);
/// Packets of a flood.
const FLOOD: usize = 200_000;

struct Node {
    world: World,
}

impl Node {
    /// With the whole machine for itself.
    fn alone(prefix: &str) -> Result<Self> {
        Ok(Self { world: World::new(Self::spec(), prefix)? })
    }

    fn beside(prefix: &str) -> Result<Self> {
        Ok(Self { world: World::beside(Self::spec(), prefix)? })
    }

    fn spec() -> TestbedSpec {
        let pods = ["web", "db"];
        fixtures::dev_pods(Network::Bridge, &["node-1"], &pods, Families::Both)
    }

    fn namespace(&self) -> Result<&Namespace> {
        Ok(&self.world.cluster.endpoint("node-1")?.namespace)
    }

    fn address(&self, pod: &str) -> Result<IpAddr> {
        self.world.cluster.endpoint(pod)?.address(false).context("an address")
    }

    /// An agent, and a policy that isolates `dev/db` in both directions and is in force.
    fn isolating(&self) -> Result<Daemon<'_>> {
        self.world.server.apply(&fixtures::isolated("db", "Ingress"))?;
        let mut agent = self.world.agent("node-1", &[])?;
        agent.ready_within(PATIENCE)?;
        Ok(agent)
    }

    /// Opens a connection that is denied, and does not wait for it.
    fn denied(&self, port: u16) -> Result<()> {
        let to = SocketAddr::new(self.address("dev/db")?, port);
        let from = &self.world.cluster.endpoint("dev/web")?.namespace;
        let opened = from.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(1)))?;
        ensure!(opened.is_err(), "the connection is not denied");
        Ok(())
    }

    fn nftpol(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        let mut command = self.namespace()?.command(program::path()?);
        let output = command.args(arguments).output().context("run nftpol")?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().context("an exit code")?;
        Ok((code, text(output.stdout), text(output.stderr)))
    }
}

/// A running `nftpol monitor`.
struct Monitor {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Monitor {
    fn start(node: &Node, arguments: &[&str]) -> Result<Self> {
        let mut command: Command = node.namespace()?.command(program::path()?);
        command.arg("monitor").args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().context("start nftpol monitor")?;
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().context("stdout")?);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks the agent's socket in the network namespace of the thread.
fn ask(question: &str) -> Result<UnixStream> {
    let address = UnixAddr::from_abstract_name("nftpol-agent")?;
    let mut stream = UnixStream::connect_addr(&address).context("connect to the agent")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    match stream.write_all(question.as_bytes()) {
        // It may answer without a question, and hang up.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(stream)
}

fn answer(node: &Node, question: &str) -> Result<Value> {
    let question = format!("{question}\n");
    let stream = node.namespace()?.run(|| ask(&question))??;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("no JSON: {line:?}"))
}

#[test]
fn a_denied_connection_is_shown_with_names_and_policy() -> Result<()> {
    let node = Node::alone("mo")?;
    let agent = node.isolating()?;
    let monitor = Monitor::start(&node, &[])?;
    // Until it listens, which nothing tells.
    let mut shown = String::new();
    let mut took = Duration::MAX;
    for round in 0..10 {
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        node.denied(8000 + round)?;
        let Ok((when, line)) = monitor.lines.recv_timeout(Duration::from_secs(2)) else { continue };
        took = took.min(when.saturating_duration_since(start));
        shown = line;
    }
    for part in [" node-1 DENY in  dev/web:", " -> dev/db:80", " TCP SYN  dev/isolated"] {
        ensure!(shown.contains(part), "{part:?} is not in {shown:?}\n{}", agent.log());
    }
    ensure!(took < SHOWN_WITHIN, "shown after {} ms", took.as_millis());
    writeln!(std::io::stderr(), "shown {} us after the packet", took.as_micros())?;
    drop(monitor);

    let (code, text, errors) =
        node.nftpol(&["monitor", "--last", "1", "--no-follow", "-o", "json"])?;
    ensure!(code == 0, "{errors}");
    let line: Value = serde_json::from_str(text.lines().next().context("no line")?)?;
    let denied = &line["denied"];
    assert_eq!(denied["policies"], json!(["dev/isolated"]), "{line}");
    assert_eq!(denied["source"]["pod"], json!("web"), "{line}");
    assert_eq!(denied["direction"], json!("ingress"), "{line}");
    let (_, other, _) = node.nftpol(&["monitor", "--no-follow", "-n", "elsewhere"])?;
    ensure!(!other.contains("dev/"), "{other}");
    the_kernel_is_asked_beside_the_objects(&node)?;
    let (code, yaml, errors) = node.nftpol(&["monitor", "--suggest", "dev/db"])?;
    ensure!(code == 0 && yaml.contains("{protocol: TCP, port: 800"), "{yaml}{errors}");
    node.world.server.apply(&yaml).context("the proposed policy")?;
    Ok(())
}

/// `explain --via-kernel`: the rule of the table in force, what it counted, and where the
/// objects say something else.
fn the_kernel_is_asked_beside_the_objects(node: &Node) -> Result<()> {
    let kubeconfig = node.world.server.admin_kubeconfig().display().to_string();
    let explain = |extra: &[&str], from: &str, to: &str| {
        let all = ["explain", "--via-kernel", "--kubeconfig", &kubeconfig];
        node.nftpol(&[&all[..], extra, &[from, to]].concat())
    };
    let (code, text, errors) = explain(&[], "dev/web", "dev/db:8000")?;
    ensure!(code == 1, "{text}{errors}");
    let line = text.lines().find(|line| line.starts_with("    kernel (node-1): denied "));
    let line = line.with_context(|| format!("no line of the kernel: {text}{errors}"))?;
    ensure!(line.contains("chain i.dev/isolated"), "{line}");
    let counted = line.split_whitespace().zip(line.split_whitespace().skip(1));
    let counted = counted.filter(|(_, word)| *word == "packets").map(|(number, _)| number).next();
    let counted: u64 = counted.context("no count")?.parse()?;
    ensure!(counted > 0, "{line}");
    ensure!(!text.contains("note:"), "{text}");

    // The other direction: nothing isolates it, so no kernel is asked.
    let (code, text, errors) = explain(&[], "dev/db", "dev/web:80")?;
    ensure!(code == 0 && !text.contains("kernel"), "{text}{errors}");
    // A policy of a file that the agent does not have.
    let file = std::env::temp_dir().join(format!("nftpol-via-{}.yaml", std::process::id()));
    std::fs::write(&file, fixtures::isolated("db", "Egress"))?;
    let name = file.display().to_string();
    let (_, text, errors) = explain(&["--with-cluster", "-f", &name], "dev/db", "dev/web:80")?;
    std::fs::remove_file(&file)?;
    let note = "note: the kernel of node-1 says allowed for egress, and the objects say denied";
    ensure!(text.contains(note), "{text}{errors}");
    Ok(())
}

#[test]
fn the_counter_has_what_the_limit_leaves_out() -> Result<()> {
    let node = Node::alone("mc")?;
    let agent = node.isolating()?;
    let name = "nftpol_denied_packets_total{direction=\"ingress\",namespace=\"dev\"}";
    let (_, page) = agent.get("/metrics")?;
    let start = Instant::now();
    let mut page = page;
    while !page.contains(&format!("{name} 0\n")) {
        ensure!(start.elapsed() < PATIENCE, "the series is not there from the start:\n{page}");
        thread::sleep(Duration::from_millis(100));
        page = agent.get("/metrics")?.1;
    }
    let to = SocketAddr::new(node.address("dev/db")?, 5000);
    let web = &node.world.cluster.endpoint("dev/web")?.namespace;
    let before = agent.metric("process_cpu_seconds_total")?;
    let (sent, enforced) = thread::scope(|scope| -> Result<_> {
        let flood = scope.spawn(|| {
            web.run(|| -> Result<usize> {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                Ok((0..FLOOD).filter(|_| socket.send_to(b"flood", to).is_ok()).count())
            })
        });
        // A change is enforced meanwhile.
        let start = Instant::now();
        let other = fixtures::policy_for("other", &[("policyTypes", "[Egress]")]);
        node.world.server.apply(&other)?;
        let (code, text, errors) = node.nftpol(&["status", "dev/other", "--wait"])?;
        ensure!(code == 0, "{text}{errors}");
        let enforced = start.elapsed();
        let Ok(sent) = flood.join() else { bail!("the flood panicked") };
        Ok((sent??, enforced))
    })?;
    writeln!(std::io::stderr(), "a policy in a flood: {} ms", enforced.as_millis())?;
    let start = Instant::now();
    let mut counted = 0.0;
    while counted < sent as f64 * 0.9 {
        counted = agent.metric(name)?;
        ensure!(start.elapsed() < PATIENCE, "counted {counted} of {sent}");
        thread::sleep(Duration::from_millis(100));
    }
    ensure!(counted <= sent as f64 + 50.0, "counted {counted} of {sent}");
    let cpu = agent.metric("process_cpu_seconds_total")? - before;
    writeln!(std::io::stderr(), "counted {counted} of {sent} packets, {cpu:.2} s of CPU time")?;
    let (_, text, _) = node.nftpol(&["monitor", "--no-follow"])?;
    let left_out = text.lines().find(|line| line.contains("left out"));
    let left_out = left_out.with_context(|| format!("nothing was left out: {text}"))?;
    ensure!(left_out.contains(" of dev/db (more than the limit of the log)"), "{left_out}");
    Ok(())
}

#[test]
fn what_a_pod_writes_is_shown_as_text_only() -> Result<()> {
    let node = Node::beside("mh")?;
    let agent = node.isolating()?;
    // Another rule of the node logs to the same group, with a prefix of its own.
    let rules = "table inet others {\nchain c {\ntype filter hook forward priority -10\n\
                 udp dport 7 log prefix \"\\e[2J fake/policy\" group 9478\n}\n}\n";
    let mut nft = node.namespace()?.command("nft");
    nft.args(["-f", "-"]);
    program::finish(nft, &rules.replace("\\e", "\u{1b}"))?.success()?;
    let to = SocketAddr::new(node.address("dev/db")?, 7);
    let web = &node.world.cluster.endpoint("dev/web")?.namespace;
    web.run(|| UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"\n\x1b[2J", to)))??;
    thread::sleep(Duration::from_millis(500));
    let (code, text, errors) = node.nftpol(&["monitor", "--no-follow"])?;
    ensure!(code == 0, "{errors}");
    ensure!(text.contains("chain ?[2J fake/policy"), "{text:?}\n{}", agent.log());
    ensure!(!text.contains('\u{1b}'), "{text:?}");
    Ok(())
}

#[test]
fn only_root_is_answered_and_a_reader_that_does_not_read_is_dropped() -> Result<()> {
    let node = Node::alone("mr")?;
    let mut agent = node.isolating()?;
    let namespace = node.namespace()?;
    // nobody, of the same network namespace.
    let mut command = namespace.command("setpriv");
    command.args(["--reuid=65534", "--clear-groups"]).arg(program::path()?);
    command.args(["monitor", "--local", "--no-follow"]);
    let refused = program::finish(command, "")?;
    let errors = format!("{refused:?}");
    ensure!(errors.contains("only root is answered"), "{errors}");

    let garbled = ["", "{}", "null", "{\"ask\":\"delete\"}", "\u{0}\u{1b}[2J"];
    for question in garbled {
        let said = answer(&node, question)?;
        ensure!(said["error"].is_string(), "{question:?}: {said}");
    }
    let long = answer(&node, &"x".repeat(70_000));
    ensure!(long.is_err() || long.is_ok_and(|said| said["error"].is_string()), "a long question");

    // Sixteen who never read, and one too many.
    let follow = "{\"ask\":\"denied\",\"follow\":true,\"last\":100000}\n";
    let idle: Vec<UnixStream> =
        namespace.run(|| (0..16).map(|_| ask(follow)).collect::<Result<Vec<_>>>())??;
    thread::sleep(Duration::from_millis(300));
    let said = answer(&node, "{\"ask\":\"status\"}")?;
    ensure!(said["error"].as_str().is_some_and(|why| why.contains("too many")), "{said}");
    // They cost nobody anything: packets are told of to those who read, and the agent
    // enforces.
    node.denied(81)?;
    agent.ready_within(PATIENCE)?;
    drop(idle);
    let start = Instant::now();
    loop {
        let said = answer(&node, "{\"ask\":\"status\"}")?;
        if said["status"]["ready"] == json!(true) {
            break;
        }
        ensure!(start.elapsed() < PATIENCE, "still too many: {said}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn a_group_that_others_read_is_named_and_the_node_stays_ready() -> Result<()> {
    let node = Node::beside("mg")?;
    let first = node.namespace()?.run(|| nft::DropLog::open(9478))??;
    let mut agent = node.isolating()?;
    let named = "[!] log: read NFLOG group 9478: another program reads it";
    let start = Instant::now();
    while !agent.get("/readyz")?.1.contains(named) {
        ensure!(start.elapsed() < PATIENCE, "{:?}\n{}", agent.get("/readyz")?, agent.log());
        thread::sleep(Duration::from_millis(50));
    }
    agent.ready_within(PATIENCE)?;
    assert_eq!(agent.metric("nftpol_condition{condition=\"log\"}")?, 0.0);
    drop(first);
    while agent.metric("nftpol_condition{condition=\"log\"}")? < 1.0 {
        ensure!(start.elapsed() < 2 * PATIENCE, "it does not come back:\n{}", agent.log());
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn status_tells_whether_a_policy_is_in_force() -> Result<()> {
    let node = Node::beside("ms")?;
    let (code, _, errors) = node.nftpol(&["status", "--local"])?;
    ensure!(code == 2 && errors.contains("no agent answers"), "{code}: {errors}");
    let agent = node.isolating()?;
    let (code, text, errors) = node.nftpol(&["status"])?;
    ensure!(code == 0 && text.contains("1 of 1 node enforce"), "{text}{errors}{}", agent.log());
    let (code, text, errors) = node.nftpol(&["status", "dev/isolated", "--wait"])?;
    ensure!(code == 0, "{text}{errors}");
    ensure!(text.contains("dev/isolated in force on 1 of 1 nodes, since "), "{text}");
    ensure!(text.contains("it isolates pods on 1"), "{text}");
    let (code, text, _) = node.nftpol(&["status", "dev/none"])?;
    ensure!(code == 1 && text.contains("does not know the policy"), "{text}");
    let (code, ..) = node.nftpol(&["status", "isolated"])?;
    ensure!(code == 2, "a name without a namespace");
    Ok(())
}

/// The text format by default, to which promtool objects nothing; OpenMetrics where it is asked
/// for.
#[test]
fn metrics_have_two_formats() -> Result<()> {
    let node = Node::beside("mf")?;
    let agent = node.isolating()?;
    let page = |accept: &str| -> Result<String> {
        node.namespace()?.run(|| -> Result<String> {
            let mut stream = TcpStream::connect("127.0.0.1:9478")?;
            let request =
                format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{accept}connection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })?
    };
    let text = page("")?;
    ensure!(text.contains("text/plain; version=0.0.4"), "{text}");
    ensure!(text.contains("# TYPE nftpol_syncs_total counter\n"), "{text}");
    ensure!(!text.contains("# EOF"), "{text}");
    for series in [
        "nftpol_syncs_total{result=\"failed\"} 0\n",
        "nftpol_watch_failures_total{kind=\"Pod\",reason=\"expired\"} 0\n",
        "nftpol_broken_policies{reason=\"over_budget\"} 0\n",
        "nftpol_binding_findings{kind=\"contested\"} 0\n",
        "nftpol_budget_used{of=\"namespace\",what=\"rules\"} ",
        "nftpol_proofs_total{result=\"failed\"} 0\n",
        "nftpol_connections_total{what=\"errors\"} 0\n",
        "nftpol_denied_packets_unread_total 0\n",
        "process_start_time_seconds ",
        "nftpol_conntrack_limit ",
    ] {
        ensure!(text.contains(series), "{series:?} is not in:\n{text}");
    }
    let open = page("accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n")?;
    ensure!(open.contains("application/openmetrics-text; version=1.0.0"), "{open}");
    ensure!(open.trim_end().ends_with("# EOF"), "{open}");
    let Some((_, body)) = text.split_once("\r\n\r\n") else { bail!("no body: {text}") };
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]);
    let checked = program::finish(check, body).context("run promtool (package prometheus)")?;
    let said = format!("{checked:?}");
    checked.success().with_context(|| said)?;
    let _ = agent;
    Ok(())
}

#[test]
fn the_log_can_be_json_and_names_denied_packets() -> Result<()> {
    let node = Node::beside("ml")?;
    node.world.server.apply(&fixtures::isolated("db", "Ingress"))?;
    let options = ["--log-format=json", "--log-level=info", "--log-denied"];
    let mut agent = node.world.agent("node-1", &options)?;
    agent.ready_within(PATIENCE)?;
    let start = Instant::now();
    let named = loop {
        node.denied(443)?;
        let log = agent.log();
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")))
            .collect::<Result<_>>()?;
        ensure!(lines.iter().all(|line| line["node"] == json!("node-1")), "{log}");
        let warnings: Vec<_> = lines.iter().filter(|line| line["level"] == json!("warn")).collect();
        ensure!(warnings.is_empty(), "warnings at a healthy start: {warnings:?}");
        let denied = |line: &&Value| {
            line["message"].as_str().is_some_and(|text| text.starts_with("denied: "))
        };
        if let Some(line) = lines.iter().find(denied) {
            break line["message"].to_string();
        }
        ensure!(start.elapsed() < PATIENCE, "not named: {log}");
        thread::sleep(Duration::from_millis(100));
    };
    ensure!(named.contains("dev/web") && named.contains("dev/isolated"), "{named}");
    agent.stop().map(drop)
}
