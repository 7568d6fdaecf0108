//! The plugin among real plugins, called by libcni, while something goes wrong on the node.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::world::PATIENCE;
use netbed::program;
use serde_json::json;

use super::failures::{is_isolated, node, soon, world};
use super::newcomer::{ANSWERS, NODE};
use super::runtime::{Runtime, Sink, address};

/// Kubelets start pods in so many threads here.
const THREADS: u32 = 3;
/// What libcni says of a list with a program that is not there (`FindInPath`,
/// pkg/invoke/find.go, CNI 1.3).
const NO_PROGRAM: &str = "failed to find plugin \"nftpol-cni\" in path";

/// Starts this many pods, one after another in a few threads, while `meanwhile` runs again and
/// again. What the runtime said when a pod did not start, and how often `meanwhile` ran.
fn pods_while(
    runtime: &Runtime<'_>,
    sink: &Sink,
    (name, pods): (&str, u32),
    mut meanwhile: impl FnMut(u32) -> Result<()>,
) -> Result<(Vec<String>, u32)> {
    let next = AtomicU32::new(0);
    let is_over = AtomicBool::new(false);
    scope(|scope| {
        let work = || {
            let mut problems = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= pods {
                    return anyhow::Ok(problems);
                }
                let mut sandbox = runtime.sandbox(&format!("{name}-{number}"), number + 1)?;
                problems.extend(runtime.live(&mut sandbox, sink)?);
            }
        };
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let ends = scope.spawn(|| {
            let done: Vec<_> = workers
                .into_iter()
                .map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect();
            is_over.store(true, Ordering::Relaxed);
            done.into_iter().collect::<Result<Vec<_>>>()
        });
        let mut rounds = 0;
        while !is_over.load(Ordering::Relaxed) {
            meanwhile(rounds)?;
            rounds += 1;
        }
        let problems = ends.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((problems.concat(), rounds))
    })
}

/// The list is rewritten without the plugin a thousand times and more, as primary plugins do
/// at each start of theirs. A pod that starts in between is as without the plugin, so
/// `--unknown-pods` shuts it until it is reported.
#[test]
fn a_list_that_is_rewritten_while_pods_start_lets_no_pod_start_open() -> Result<()> {
    let world = world()?;
    let mut agent = world.agent(NODE, &[ANSWERS, "--unknown-pods=selected"])?;
    agent.ready_within(PATIENCE)?;
    let (runtime, sink) = (Runtime::new(&world)?, Sink::new(&world)?);
    let _installer = runtime.install()?;
    let mut rewritten = 0;
    let (problems, _) = pods_while(&runtime, &sink, ("rewritten", 12), |_| {
        runtime.primary()?;
        rewritten += 1;
        sleep(Duration::from_millis(1));
        Ok(())
    })?;
    while rewritten < 1000 {
        runtime.primary()?;
        rewritten += 1;
    }
    soon("chained again", || runtime.is_chained())?;
    println!("{rewritten} times rewritten, {} attempts failed", problems.len());
    ensure!(problems.is_empty(), "{problems:?}");
    let heard = sink.heard();
    ensure!(heard.is_empty(), "{} wrong packets: {heard:?}", heard.len());
    agent.stop().map(drop)
}

/// The next version takes the program's name while the runtime runs the former one.
#[test]
fn an_upgrade_while_pods_start_fails_no_pod() -> Result<()> {
    let world = world()?;
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    let (runtime, sink) = (Runtime::new(&world)?, Sink::new(&world)?);
    runtime.installer(&["install"])?.status()?;
    let own = program::beside("nftpol-cni")?;
    // A longer file is another program, and runs as well.
    let other = runtime.path("nftpol-cni-next");
    fs::copy(&own, &other)?;
    let mut longer = fs::OpenOptions::new().append(true).open(&other)?;
    std::io::Write::write_all(&mut longer, b"next")?;
    drop(longer);
    let (problems, upgrades) = pods_while(&runtime, &sink, ("upgraded", 12), |round| {
        let from = if round % 2 == 0 { &other } else { &own };
        let mut next = std::process::Command::new(from);
        next.args(runtime.installer(&["install"])?.get_args()).env_remove("CNI_COMMAND");
        next.stderr(std::process::Stdio::null());
        ensure!(next.status()?.success(), "round {round}");
        Ok(())
    })?;
    println!("{upgrades} upgrades");
    ensure!(upgrades > 10 && problems.is_empty(), "{upgrades} upgrades: {problems:?}");
    ensure!(sink.heard().is_empty(), "an isolated pod is heard");
    agent.stop().map(drop)
}

/// The configuration goes first, and the program stays for the pods that were given the former
/// configuration.
#[test]
fn an_uninstall_while_pods_start_fails_no_pod_and_opens_none() -> Result<()> {
    let world = world()?;
    let mut agent = world.agent(NODE, &[ANSWERS, "--unknown-pods=selected"])?;
    agent.ready_within(PATIENCE)?;
    let (runtime, sink) = (Runtime::new(&world)?, Sink::new(&world)?);
    let mut installer = Some(runtime.install()?);
    let stays = runtime.sandbox("stays", 99)?;
    runtime.call("ADD", &stays, &[])?.success()?;
    let mut removes = None;
    let start = Instant::now();
    let (problems, _) = pods_while(&runtime, &sink, ("uninstalled", 12), |_| {
        if removes.is_none() && start.elapsed() > Duration::from_secs(1) {
            // As an operator does: first the agents without the component.
            installer = None;
            let mut command = runtime.installer(&["remove", "--watch"])?;
            let child = command.stderr(std::process::Stdio::null()).spawn()?;
            removes = Some(super::runtime::Installer::of(child));
        }
        sleep(Duration::from_millis(5));
        Ok(())
    })?;
    ensure!(removes.is_some() && installer.is_none(), "all pods were faster");
    ensure!(problems.is_empty(), "{problems:?}");
    ensure!(!runtime.is_chained()?, "the plugin is still in the list");
    let heard = sink.heard();
    ensure!(heard.is_empty(), "{} wrong packets: {heard:?}", heard.len());
    // The running pod was started with the plugin: so says what libcni keeps.
    drop(removes);
    runtime.installer(&["remove"])?.status()?;
    ensure!(runtime.program().exists(), "a pod was started with it");
    runtime.call("DEL", &stays, &[])?.success()?;
    runtime.installer(&["remove"])?.status()?;
    ensure!(!runtime.program().exists(), "nobody needs it");
    agent.stop().map(drop)
}

/// A clean-up removes the program. Until the installer puts it back, pods do not start.
#[test]
fn without_the_program_pods_fail_until_the_installer_puts_it_back() -> Result<()> {
    let world = world()?;
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    let runtime = Runtime::new(&world)?;
    drop(runtime.install()?);
    fs::remove_file(runtime.program())?;
    let mut pod = runtime.sandbox("gone", 1)?;
    runtime.create(&mut pod)?;
    let failed = runtime.call("ADD", &pod, &[])?;
    ensure!(failed.code != Some(0) && failed.stderr.contains(NO_PROGRAM), "{failed:?}");
    println!("the runtime says: {}", failed.stderr.trim());
    // Nor can a pod end.
    let ended = runtime.call("DEL", &pod, &[])?;
    ensure!(ended.code != Some(0) && ended.stderr.contains(NO_PROGRAM), "{ended:?}");
    let _installer = runtime.install()?;
    soon("back", || Ok(runtime.program().exists()))?;
    runtime.call("DEL", &pod, &[])?.success()?;
    let added = runtime.call("ADD", &pod, &[])?;
    ensure!(added.code == Some(0), "{added:?}");
    ensure!(is_isolated(node(&world)?, address(&added)?)?, "not when ADD ended");
    // And while it runs, at once.
    fs::remove_file(runtime.program())?;
    let start = Instant::now();
    soon("back", || Ok(runtime.program().exists()))?;
    println!("back after {:?}", start.elapsed());
    runtime.call("DEL", &pod, &[])?.success()?;
    agent.stop().map(drop)
}

/// A node starts with the plugin in its list, and the agent is not there yet: pods wait, and
/// what they need to wait for needs no pod.
#[test]
fn a_node_that_starts_without_its_agent_starts_its_pods_once_there_is_one() -> Result<()> {
    let world = world()?;
    let (runtime, sink) = (Runtime::new(&world)?, Sink::new(&world)?);
    let _installer = runtime.install()?;
    let mut pod = runtime.sandbox("early", 1)?;
    let failed = runtime.call("ADD", &pod, &[])?;
    let said = "nftpol-cni: the rules of pod dev/early are not in force: no agent answers";
    ensure!(failed.code != Some(0) && failed.stderr.contains(said), "{failed:?}");
    runtime.call("DEL", &pod, &[])?.success()?;
    let started = scope(|scope| {
        let lives = scope.spawn(|| runtime.live(&mut pod, &sink));
        // Longer than one ADD waits.
        sleep(Duration::from_secs(3));
        let mut agent = world.agent(NODE, &[ANSWERS])?;
        agent.ready_within(PATIENCE)?;
        let lives = lives.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        agent.stop()?;
        lives
    })?;
    ensure!(!started.is_empty(), "it started without an agent");
    ensure!(sink.heard().is_empty(), "an isolated pod is heard");
    Ok(())
}

/// containerd 1.6 calls neither STATUS nor GC, CRI-O does. DEL of a pod is lost, and GC says
/// that it is gone.
#[test]
fn status_and_gc_as_libcni_calls_them() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let runtime = Runtime::new(&world)?;
    runtime.installer(&["install"])?.status()?;
    // Debian's bridge plugin knows no version with STATUS and GC.
    let alone = runtime.path("alone.conflist");
    let list = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "nftpol-cni"}]});
    fs::write(&alone, list.to_string())?;
    let [one, other] = [runtime.sandbox("one", 1)?, runtime.sandbox("other", 2)?];
    let status = || runtime.call_of(&alone, "STATUS", &one, &[]);
    let failed = status()?;
    ensure!(failed.code != Some(0) && failed.stderr.contains("no agent answers"), "{failed:?}");
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    soon("ready", || Ok(status()?.code == Some(0)))?;
    // No object tells of them, so ADD ends when they are isolated.
    let added = [runtime.call("ADD", &one, &[])?, runtime.call("ADD", &other, &[])?];
    let addresses = [address(&added[0])?, address(&added[1])?];
    for address in addresses {
        ensure!(is_isolated(node, address)?, "{address} is open");
    }
    // What libcni keeps would let it call DEL by itself.
    fs::remove_dir_all(runtime.path("cache"))?;
    let kept = one.container();
    let done = runtime.call_of(&alone, "GC", &one, &[&kept])?;
    ensure!(done.code == Some(0), "{done:?}");
    soon("forgotten", || Ok(!is_isolated(node, addresses[1])?)).with_context(|| agent.log())?;
    ensure!(is_isolated(node, addresses[0])?, "it is still there");
    agent.stop().map(drop)
}
