//! The API server goes away, comes back, loses its history, and reports things in
//! another order. Packets follow the policies throughout.
//!
//! `NFTPOL_LONG=1` makes the outage a minute long and relists a hundred times.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::apiserver::ApiServer;
use kubebed::apiserver::proxy::Proxy;
use kubebed::daemon::Daemon;
use kubebed::outpost::{
    CLIENT, NEWCOMER, NODE, Outpost, SPARE, STRANGER, TOGGLED, Table, always, ingress, isolates,
    knows, pod, probe, toggle, under_fire,
};
use kubebed::world::PATIENCE;
use netbed::fire::{Expect, Probe, Range, say};
use policy::Direction::{Egress, Ingress};
use policy::{Labels, Namespace};

const KINDS: [(&str, &str); 3] =
    [("networkpolicies", "NetworkPolicy"), ("pods", "Pod"), ("namespaces", "Namespace")];

fn is_long() -> bool {
    std::env::var_os("NFTPOL_LONG").is_some()
}

/// [`always`], and the server that [`toggle`] isolates.
fn toggled(range: &Range) -> Vec<Probe> {
    let mut probes = always(range);
    probes.push(probe(range, (CLIENT, TOGGLED, 80, Expect::Pass)));
    probes.push(probe(range, (STRANGER, TOGGLED, 80, Expect::Either)));
    probes
}

#[test]
fn outages() -> Result<()> {
    let mut outpost = Outpost::new()?;
    let mut table = outpost.table()?;
    let kubeconfig = outpost.kubeconfig().to_owned();
    let mut agent = Daemon::start(outpost.range.node(), &kubeconfig, NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    outpost.settled()?;
    server_stopped(&mut outpost.server, &outpost.range, &mut table)?;

    // The same holds when the agent stops and starts.
    let probes = always(&outpost.range);
    let generation = table.generation()?;
    agent.stop()?;
    ensure!(table.generation()? == generation, "the agent touched the kernel as it stopped");
    under_fire(&outpost.range, "no agent", &probes, || Ok(()))?;

    let proxy = outpost.proxy()?;
    held_at_start(&outpost, &proxy, &mut table)?;
    let generation = table.generation()?;
    let mut agent = Daemon::start(outpost.range.node(), &proxy.kubeconfig()?, NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    // The one by which the table becomes this agent's.
    let commits = table.generation()?.0.wrapping_sub(generation.0);
    ensure!(commits == 1, "a start without a change is a change: {commits} commits");
    ensure!(agent.metric("nftpol_operations_total")? == 1.0, "{}", agent.log());

    relists(&outpost, &agent, &proxy, &mut table)?;
    pod_before_namespace(&outpost, &agent, &proxy, &mut table)?;
    out_of_reach(&outpost, &proxy, &mut table)?;
    forgotten(&mut outpost.server, &agent, &proxy, (&outpost.range, &mut table))?;
    outpost.settled()?;
    ensure!(agent.metric("nftpol_syncs_total{result=\"failed\"}")? == 0.0, "{}", agent.log());
    agent.stop().map(drop)
}

/// A change right after the server is back reaches the packets.
fn server_stopped(server: &mut ApiServer, range: &Range, table: &mut Table) -> Result<()> {
    let length = Duration::from_secs(if is_long() { 60 } else { 3 });
    let (probes, address) = (toggled(range), range.destination(TOGGLED));
    let mut took = Duration::ZERO;
    under_fire(range, "API server stopped and started", &probes, || {
        server.stop();
        sleep(length);
        server.restart()?;
        server.apply(&toggle())?;
        let start = Instant::now();
        table.until("toggled", |table| isolates(table, Ingress, address))?;
        took = start.elapsed();
        server.kubectl(&["delete", "-f", "-"], &toggle())?.success()?;
        table.until("not toggled", |table| !isolates(table, Ingress, address)).map(drop)
    })?;
    say(&format!("API server gone for {length:?}; then a change took {took:?} to be in force\n"))
}

/// An agent that has not yet listed every kind changes nothing.
fn held_at_start(outpost: &Outpost, proxy: &Proxy, table: &mut Table) -> Result<()> {
    let Outpost { server, range, .. } = outpost;
    let address = range.destination(TOGGLED);
    for (number, (resource, kind)) in KINDS.into_iter().enumerate() {
        // Gives the agent something to change.
        let isolated = number % 2 == 0;
        match isolated {
            true => server.apply(&toggle())?,
            false => server.kubectl(&["delete", "-f", "-"], &toggle())?.success().map(drop)?,
        }
        proxy.hold(resource);
        let generation = table.generation()?;
        let mut agent = Daemon::start(range.node(), &proxy.kubeconfig()?, NODE, &[])?;
        let missing = format!("waiting for the API server to list {kind}\n");
        agent.unready_within(PATIENCE, &missing)?;
        ensure!(table.generation()? == generation, "touched without {kind}: {}", agent.log());
        proxy.release(resource);
        agent.ready_within(PATIENCE)?;
        let what = format!("isolated: {isolated}, after {kind} was listed");
        table.until(&what, |table| isolates(table, Ingress, address) == isolated)?;
        agent.stop()?;
    }
    server.kubectl(&["delete", "-f", "-"], &toggle())?.success()?;
    let mut agent = Daemon::start(range.node(), &proxy.kubeconfig()?, NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    agent.stop().map(drop)
}

/// The API server answers 410 again and again. No object has changed, so nothing is
/// sent.
fn relists(outpost: &Outpost, agent: &Daemon<'_>, proxy: &Proxy, table: &mut Table) -> Result<()> {
    let wanted = if is_long() { 100 } else { 15 };
    let listed = || -> Result<f64> {
        let of = |(_, kind)| {
            let labels = format!("{{kind=\"{kind}\",type=\"listed\"}}");
            agent.metric(&format!("nftpol_watch_events_total{labels}"))
        };
        KINDS.into_iter().map(of).sum()
    };
    let expired = || {
        let of = |(_, kind)| {
            let labels = format!("{{kind=\"{kind}\",reason=\"expired\"}}");
            agent.metric(&format!("nftpol_watch_failures_total{labels}"))
        };
        KINDS.into_iter().map(of).sum::<Result<f64>>()
    };
    let before = (listed()?, expired()?);
    let name = format!("{wanted} relists after 410");
    under_fire(&outpost.range, &name, &always(&outpost.range), || {
        let generation = table.generation()?;
        let (start, mut count) = (Instant::now(), 0);
        while count < wanted {
            ensure!(start.elapsed() < PATIENCE * 10, "watches do not come back");
            count += proxy.expire(None);
            sleep(Duration::from_millis(10));
        }
        // A connection that ended in the middle of its list has delivered no list.
        while listed()? <= before.0
            || expired()? < before.1 + count as f64
            || proxy.watches(None) < KINDS.len()
        {
            ensure!(start.elapsed() < PATIENCE * 5, "{}", agent.log());
            sleep(Duration::from_millis(10));
        }
        ensure!(table.generation()? == generation, "relists moved the kernel's generation");
        Ok(())
    })?;
    // The one that took the table over.
    ensure!(agent.metric("nftpol_operations_total")? == 1.0, "{}", agent.log());
    Ok(())
}

/// `namespaceSelector` does not select a pod whose Namespace is unknown.
fn pod_before_namespace(
    outpost: &Outpost,
    agent: &Daemon<'_>,
    proxy: &Proxy,
    table: &mut Table,
) -> Result<()> {
    let Outpost { server, range, .. } = outpost;
    let newcomer = range.source(NEWCOMER);
    let selectors = [
        "{}",
        "{matchExpressions: [{key: team, operator: NotIn, values: [x]}]}",
        "{matchExpressions: [{key: team, operator: DoesNotExist}]}",
    ];
    let ports = [80, 81, 82];
    for (selector, port) in selectors.into_iter().zip(ports) {
        let peer = format!("{{namespaceSelector: {selector}}}");
        server.apply(&ingress(&format!("from-{port}"), "spare", &peer, port))?;
    }
    let spare = range.destination(SPARE);
    table.until("spare isolated", |table| isolates(table, Ingress, spare))?;
    let mut probes = always(range);
    probes.extend(ports.map(|port| probe(range, (CLIENT, SPARE, port, Expect::Pass))));
    let known = probes.len();
    probes.extend(ports.map(|port| probe(range, (NEWCOMER, SPARE, port, Expect::Drop))));
    proxy.hold("namespaces");
    under_fire(range, "pod known before its Namespace", &probes, || {
        let late = Namespace {
            name: "late".to_owned(),
            labels: Labels::new(),
            is_ending: false,
            switch: Default::default(),
        };
        server.apply_namespaces(&[late.with_metadata_name()])?;
        // Once this policy isolates the pod, the agent knows the pod.
        server.apply(&format!("{}\n", free_egress("late")))?;
        server.create_pods(&[pod("late", "newcomer", newcomer.into())])?;
        table.until("newcomer known", |table| isolates(table, Egress, newcomer))?;
        ensure!(!knows(&table.dump()?.context("no table")?.ruleset, newcomer), "{}", agent.log());
        Ok(())
    })?;
    proxy.release("namespaces");
    table.until("newcomer selected", |table| knows(table, newcomer))?;
    for probe in probes.iter_mut().skip(known) {
        probe.expect = Expect::Pass;
    }
    under_fire(range, "Namespace known", &probes, || Ok(()))?;
    for port in ports {
        let name = format!("from-{port}");
        server.kubectl(&["delete", "netpol", "-n", "fire", &name], "")?.success()?;
    }
    table.until("spare free", |table| !isolates(table, Ingress, spare)).map(drop)
}

/// Allows all egress of all pods of a namespace.
fn free_egress(namespace: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: free, namespace: {namespace}}}
spec: {{podSelector: {{}}, policyTypes: [Egress], egress: [{{}}]}}"
    )
}

/// Objects are deleted and created while the agent cannot reach the API server.
fn out_of_reach(outpost: &Outpost, proxy: &Proxy, table: &mut Table) -> Result<()> {
    let Outpost { server, range, .. } = outpost;
    let probes = toggled(range);
    let (toggled, spare) = (range.destination(TOGGLED), range.destination(SPARE));
    let other = ingress("other", "spare", "{podSelector: {matchLabels: {app: client}}}", 80);
    under_fire(range, "changes while the API server is out of reach", &probes, || {
        server.apply(&toggle())?;
        table.until("toggled", |table| isolates(table, Ingress, toggled))?;
        let generation = table.generation()?;
        proxy.refuse()?;
        proxy.cut()?;
        server.kubectl(&["delete", "-f", "-"], &toggle())?.success()?;
        server.apply(&other)?;
        ensure!(table.generation()? == generation, "a change without the API server");
        proxy.accept()?;
        let took = table.until("both changes", |table| {
            !isolates(table, Ingress, toggled) && isolates(table, Ingress, spare)
        })?;
        say(&format!("once in reach again, changes took {took:?} to be in force\n"))
    })?;
    server.kubectl(&["delete", "-f", "-"], &other)?.success()?;
    table.until("spare free", |table| !isolates(table, Ingress, spare)).map(drop)
}

/// A 410 from the server itself, which has restarted and lost its history.
fn forgotten(
    server: &mut ApiServer,
    agent: &Daemon<'_>,
    proxy: &Proxy,
    (range, table): (&Range, &mut Table),
) -> Result<()> {
    let (probes, address) = (toggled(range), range.destination(TOGGLED));
    let expired = "nftpol_watch_failures_total{kind=\"NetworkPolicy\",reason=\"expired\"}";
    let before = agent.metric(expired)?;
    under_fire(range, "history forgotten by the API server", &probes, || {
        proxy.refuse()?;
        proxy.cut()?;
        server.apply(&toggle())?;
        server.restart()?;
        proxy.accept()?;
        let took = table.until("toggled", |table| isolates(table, Ingress, address))?;
        say(&format!("after a restart of the server, a change took {took:?} to be in force\n"))?;
        server.kubectl(&["delete", "-f", "-"], &toggle())?.success()?;
        table.until("not toggled", |table| !isolates(table, Ingress, address)).map(drop)
    })?;
    ensure!(agent.metric(expired)? > before, "no 410: {}", agent.log());
    Ok(())
}
