//! An API server that lies, forgets, or does not accept the agent any more. The rules
//! stay right or stay as they were, and `/readyz` says what is wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kubebed::apiserver::proxy::Verb;
use kubebed::daemon::{Daemon, HEALTH};
use kubebed::outpost::{NODE, OPEN, Outpost, SERVER, TOGGLED, isolates, pod, toggle};
use kubebed::world::PATIENCE;
use netbed::fire::say;
use policy::Direction::Ingress;

/// Waits until the report holds a text, whether ready or not.
fn reported(agent: &Daemon<'_>, text: &str) -> Result<(u16, String)> {
    let start = Instant::now();
    loop {
        let answer = agent.get("/readyz")?;
        if answer.1.contains(text) {
            return Ok(answer);
        }
        ensure!(start.elapsed() < PATIENCE, "no {text:?} in {answer:?}:\n{}", agent.log());
        sleep(Duration::from_millis(20));
    }
}

/// A policy that selects nothing.
fn filler(number: usize) -> NetworkPolicy {
    let nobody = [("app".to_owned(), "nobody".to_owned())].into();
    let selector = LabelSelector { match_labels: Some(nobody), ..Default::default() };
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(format!("filler-{number}")),
            namespace: Some("fire".to_owned()),
            ..Default::default()
        },
        spec: Some(NetworkPolicySpec { pod_selector: Some(selector), ..Default::default() }),
    }
}

#[test]
fn a_database_that_is_restored_or_wiped() -> Result<()> {
    let mut outpost = Outpost::beside()?;
    let mut table = outpost.table()?;
    let admin = outpost.server.admin_kubeconfig();
    outpost.server.save()?;
    let start = |options: &[&str]| Daemon::start(outpost.range.node(), &admin, NODE, options);
    let mut agent = start(&[])?;
    agent.ready_within(PATIENCE)?;
    // What lies between the snapshot and its restoration is never told as an event.
    outpost.server.apply(&toggle())?;
    outpost.server.create_policies(&(0..300).map(filler).collect::<Vec<_>>())?;
    let toggled = outpost.range.destination(TOGGLED);
    table.until("toggled", |table| isolates(table, Ingress, toggled))?;
    outpost.server.restore()?;
    let took = table.until("as restored", |table| !isolates(table, Ingress, toggled))?;
    say(&format!("restored; the rules followed {took:?} after the server was ready\n"))?;
    ensure!(agent.log().contains("went back from version"), "{}", agent.log());
    agent.ready_within(PATIENCE)?;

    // Another cluster, without any policy.
    outpost.server.wipe()?;
    let other = "this is the API server of another cluster";
    agent.unready_within(PATIENCE, other)?;
    agent.stop()?;
    let generation = table.generation()?;
    let mut agent = start(&[])?;
    agent.unready_within(PATIENCE, other)?;
    let (_, report) = agent.get("/readyz")?;
    let uid = report.split_once("kube-system is ").context("no uid")?.1;
    let uid = uid.split_once(',').context("no uid")?.0.to_owned();
    sleep(Duration::from_secs(5));
    ensure!(table.generation()? == generation, "touched: {}", agent.log());
    agent.stop()?;
    let mut agent = start(&["--cluster-uid", &uid])?;
    // It has no Pod of this node yet.
    agent.unready_within(PATIENCE, "[-] node: no Pod is on node \"node-1\"")?;
    let server = outpost.range.destination(SERVER);
    let is_kept = isolates(&table.dump()?.context("no table")?.ruleset, Ingress, server);
    ensure!(is_kept, "opened: {}", agent.log());
    // What the kernel isolates stays so until a pod of the node reports the address.
    let first = pod("default", "first", IpAddr::V4(server));
    outpost.server.create_pods(&[first])?;
    agent.ready_within(PATIENCE)?;
    table.until("of the new cluster", |table| !isolates(table, Ingress, server))?;
    agent.stop()?;
    // From now on this is the cluster.
    let mut agent = start(&[])?;
    agent.ready_within(PATIENCE)?;
    agent.stop().map(drop)
}

#[test]
fn lists_that_are_empty_or_have_no_end() -> Result<()> {
    let outpost = Outpost::beside()?;
    let mut table = outpost.table()?;
    let proxy = outpost.proxy()?;
    let server = outpost.range.destination(SERVER);
    let kubeconfig = proxy.kubeconfig()?;
    let start = || Daemon::start(outpost.range.node(), &kubeconfig, NODE, &[]);
    let mut agent = start()?;
    agent.ready_within(PATIENCE)?;
    outpost.settled()?;
    for (resource, what) in [
        ("networkpolicies", "lists no networkpolicies.networking.k8s.io, but it still has fire/"),
        ("pods", "lists no pods, but it still has fire/"),
    ] {
        for streaming in [true, false] {
            proxy.without_watch_list(!streaming);
            proxy.empty(resource);
            let generation = table.generation()?;
            // While the agent runs, and when it starts.
            proxy.expire(Some(resource));
            agent.unready_within(PATIENCE, what)?;
            agent.stop()?;
            agent = start()?;
            agent.unready_within(PATIENCE, what)?;
            sleep(Duration::from_secs(2));
            ensure!(table.generation()? == generation, "touched: {}", agent.log());
            proxy.fill(resource);
            agent.ready_within(PATIENCE)?;
        }
    }
    agent.stop()?;
    proxy.without_watch_list(false);
    proxy.without_end(true);
    outpost.server.apply(&toggle())?;
    let (mut agent, begin) = (start()?, Instant::now());
    agent.ready_within(PATIENCE * 3)?;
    say(&format!("without the end of the initial events, ready after {:?}\n", begin.elapsed()))?;
    ensure!(proxy.count(Verb::List, "pods") > 0, "{:?}", proxy.calls());
    let toggled = outpost.range.destination(TOGGLED);
    table.until("toggled", |table| isolates(table, Ingress, toggled))?;
    ensure!(isolates(&table.dump()?.context("no table")?.ruleset, Ingress, server), "opened");
    agent.stop()?;
    outpost.settled()
}

#[test]
fn a_token_that_is_renewed_and_one_that_is_refused() -> Result<()> {
    let mut outpost = Outpost::beside()?;
    let mut table = outpost.table()?;
    let folder = outpost.server.service_account_folder("kube-system", "nftpol")?;
    let token = folder.join("token");
    let kubeconfig = with_token_file(outpost.kubeconfig(), &token)?;
    let node = outpost.range.node();
    let mut agent = Daemon::start(node, &kubeconfig, NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    ensure!(agent.metric("nftpol_api_connected")? == 1.0, "{:?}", agent.get("/metrics")?);

    let good = fs::read_to_string(&token)?;
    fs::write(&token, "of-another-cluster")?;
    outpost.server.restart()?;
    agent.unready_within(PATIENCE, "does not accept this token or client certificate")?;
    ensure!(agent.metric("nftpol_api_connected")? == 0.0, "{:?}", agent.get("/metrics")?);
    ensure!(agent.metric("nftpol_condition{condition=\"enforced\"}")? == 1.0, "{}", agent.log());
    // The next attempt reads the file.
    fs::write(&token, good)?;
    let took = agent.ready_within(PATIENCE)?;
    say(&format!("ready {took:?} after the right token was there\n"))?;
    outpost.server.apply(&toggle())?;
    let toggled = outpost.range.destination(TOGGLED);
    table.until("toggled", |table| isolates(table, Ingress, toggled))?;
    agent.stop().map(drop)
}

/// A kubeconfig whose token is in a file.
fn with_token_file(kubeconfig: &Path, token: &Path) -> Result<std::path::PathBuf> {
    let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(kubeconfig)?)?;
    config["users"][0]["user"] = serde_json::json!({"tokenFile": token});
    let path = kubeconfig.with_extension("token-file");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// A certificate that is accepted, but of somebody without rights, is replaced on the
/// disk, as kubelet does with its own.
#[test]
fn a_certificate_that_is_replaced() -> Result<()> {
    let outpost = Outpost::beside()?;
    let kubeconfig = outpost.server.user_kubeconfig("stranger", None)?;
    let mut agent = Daemon::start(outpost.range.node(), &kubeconfig, NODE, &[])?;
    agent.unready_within(PATIENCE, "[-] api: since ")?;
    let (_, report) = agent.get("/readyz")?;
    ensure!(
        report.contains("User \"stranger\" cannot list resource")
            && report.contains("a ClusterRole must grant the verbs list and watch on namespaces"),
        "{report}"
    );
    for kind in ["crt", "key"] {
        let file = |name: &str| outpost.server.file(&format!("{name}.{kind}"));
        fs::copy(file("admin"), file("stranger"))?;
    }
    agent.ready_within(PATIENCE)?;
    ensure!(agent.log().contains("read the credentials"), "{}", agent.log());
    agent.stop()?;
    outpost.settled()
}

#[test]
fn a_server_that_is_away_is_said_without_noise() -> Result<()> {
    let mut outpost = Outpost::beside()?;
    let kubeconfig = outpost.kubeconfig().to_owned();
    let mut agent = Daemon::start(outpost.range.node(), &kubeconfig, NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    let open = outpost.range.destination(OPEN);
    ensure!(!isolates(&outpost.table()?.dump()?.context("no table")?.ruleset, Ingress, open), "?");
    let before = agent.log().lines().count();
    outpost.server.stop();
    let (code, report) = reported(&agent, "is the API server running, at this address")?;
    ensure!(code == 200 && report.contains("[+] api: since "), "{report}");
    sleep(Duration::from_secs(20));
    ensure!(agent.metric("nftpol_api_connected")? == 0.0, "{:?}", agent.get("/metrics")?);
    let age = agent.metric("nftpol_api_contact_age_seconds")?;
    ensure!((15.0..80.0).contains(&age), "{age}");
    let lines = agent.log().lines().count() - before;
    ensure!(lines <= 12, "{lines} lines in 20 s:\n{}", agent.log());
    agent.unready_within(Duration::from_secs(60), "[-] api: since ")?;
    outpost.server.restart()?;
    agent.ready_within(PATIENCE)?;
    ensure!(agent.log().contains("the API server answers again"), "{}", agent.log());
    ensure!(agent.metric("nftpol_api_connected")? == 1.0, "{:?}", agent.get("/metrics")?);
    agent.stop().map(drop)
}

/// Connections that ask for nothing keep no probe out.
#[test]
fn requests_that_never_end() -> Result<()> {
    let outpost = Outpost::new()?;
    let mut agent = Daemon::start(outpost.range.node(), outpost.kubeconfig(), NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    let address: SocketAddr = HEALTH.parse()?;
    let half = || -> Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: ")?;
        Ok(stream)
    };
    let open =
        outpost.range.node().run(|| (0..161).map(|_| half()).collect::<Result<Vec<_>>>())??;
    let start = Instant::now();
    ensure!(agent.get("/healthz")?.0 == 200, "{}", agent.log());
    ensure!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    // The rest is closed within a second or so.
    for mut stream in open {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut left = Vec::new();
        match stream.read_to_end(&mut left) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => Err(error)?,
            _ => {}
        }
    }
    agent.stop().map(drop)
}
