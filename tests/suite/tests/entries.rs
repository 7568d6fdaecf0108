//! The cost of 100,000 entries of connection tracking. Times depend on the machine,
//! so they are printed and not asserted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::conntrack_cleanup::{ConntrackCleanup, Counters};
use anyhow::{Result, ensure};
use compiler::Options;
use netbed::conntrack::{self, Entry};
use netbed::net::Namespace;
use nft::{Conntrack, Filter, Flow};
use policy::{
    Labels, Namespace as Space, NetworkPolicy, ObjectKey, Operator, Peers, Phase, Pod, Port,
    PortNumbers, Ports, Protocol, Requirement, Rule, Selector, Snapshot,
};
use ruleset::{Family, Ruleset};

const PATIENCE: Duration = Duration::from_secs(60);
const PODS: u32 = 100;
const FLOWS_A_POD: u32 = 1_000;
const ENTRIES: u32 = PODS * FLOWS_A_POD;

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a64_0000 + number).into()
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    println!("{what}: {:?}", begun.elapsed());
    result
}

/// Each pod sends from 1,000 ports to UDP port 80 of one address.
fn entries() -> Vec<Entry> {
    let entry = |number: u32| {
        let (from, port) = (address(number / FLOWS_A_POD), (number % FLOWS_A_POD) as u16 + 1);
        Entry::plain((from, port), (address(5000), 80), 17)
    };
    (0..ENTRIES).map(entry).collect()
}

#[test]
fn of_many_entries_the_denied_ones_are_found_and_deleted() -> Result<()> {
    let namespace = Namespace::new("ct")?;
    timed("100,000 made by hand", || namespace.run(|| conntrack::create(&entries())))??;
    let mut conntrack = namespace.run(Conntrack::open)??;
    for (filter, expected) in [
        (Filter::All, ENTRIES),
        (Filter::Family(Family::V4), ENTRIES),
        (Filter::Family(Family::V6), 0),
        (Filter::OriginalSource(address(7)), FLOWS_A_POD),
        (Filter::ReplySource(address(7)), 0),
    ] {
        let mut found = 0;
        let sent = timed(&format!("{filter:?}"), || conntrack.flows(&filter, |_| found += 1))?;
        assert_eq!((found, sent), (expected, u64::from(expected)), "{filter:?}");
    }
    let mut of_one: Vec<Flow> = Vec::new();
    conntrack.flows(&Filter::OriginalSource(address(7)), |flow| of_one.push(*flow))?;
    let deleted = timed("delete 1,000", || conntrack.delete_all(&of_one))?;
    assert_eq!(deleted, FLOWS_A_POD as usize);

    let open = compiled(vec![]);
    let all_allowed = compiled(vec![policy("all", Selector::everything(), true)]);
    let one = Selector::new([Requirement::equals("pod", "8")]);
    let one_denied = compiled(vec![policy("one", one, false)]);
    let none_allowed = compiled(vec![policy("all", Selector::everything(), false)]);
    let left = u64::from(ENTRIES - FLOWS_A_POD);
    for (case, before, after, deleted) in [
        ("judge all", None, &all_allowed, 0),
        ("deny one pod", Some(&open), &one_denied, u64::from(FLOWS_A_POD)),
        ("deny all", Some(&all_allowed), &none_allowed, left - u64::from(FLOWS_A_POD)),
    ] {
        let counters = pass(&namespace, before.cloned(), Arc::clone(after))?;
        println!("{case}: {:?}, {} entries sent", counters.last, counters.entries);
        assert_eq!((counters.deleted, counters.errors), (deleted, 0), "{case}");
    }
    assert_eq!(conntrack.flows(&Filter::All, |_| ())?, 0);
    Ok(())
}

/// A dump of 100,000 entries takes long. A flow in it may be younger than the last
/// change of the table.
#[test]
fn a_table_that_comes_during_the_dump_has_the_last_word() -> Result<()> {
    // Three pods are more than are asked for one by one. They have few flows each, so
    // none is deleted before the dump ends.
    let pods = [1, 2, 3];
    let namespace = Namespace::new("ct")?;
    namespace.run(|| conntrack::create(&entries()))??;
    let mut reader = namespace.run(Conntrack::open)??;
    for pod in pods {
        let mut flows: Vec<Flow> = Vec::new();
        reader.flows(&Filter::OriginalSource(address(pod)), |flow| flows.push(*flow))?;
        reader.delete_all(&flows[100..])?;
    }
    let names = pods.map(|pod| pod.to_string()).into();
    let some = Requirement { key: "pod".to_owned(), operator: Operator::In(names) };
    let denied = compiled(vec![policy("some", Selector::new([some]), false)]);
    let allowed = compiled(vec![policy("all", Selector::everything(), true)]);
    let connections = namespace.run(ConntrackCleanup::start)??;
    connections.changed(Some(Arc::clone(&allowed)), Arc::clone(&denied));
    let begun = Instant::now();
    while connections.counters().begun == 0 {
        ensure!(begun.elapsed() < PATIENCE, "no pass begins");
        sleep(Duration::from_micros(100));
    }
    // A dump takes a quarter of a second, and the pass deletes at its end.
    connections.changed(Some(denied), allowed);
    let counters = first_pass(&connections)?;
    println!("{counters:?}");
    assert_eq!(counters.deleted, 0);
    Ok(())
}

/// Before an address was bound, others could send under it. What its peers send is
/// an answer to that, which no policy judges.
#[test]
fn flows_that_may_be_forged_end_when_their_source_is_bound() -> Result<()> {
    const UDP: u8 = 17;
    const TCP: u8 = 6;
    let namespace = Namespace::new("ct")?;
    let accepts = |name: &str, pods, port| NetworkPolicy {
        ingress: Some(vec![Rule {
            peers: Peers::Anyone,
            ports: Ports::Only(vec![Port {
                protocol: Protocol::Udp,
                numbers: PortNumbers::Range(port, port),
            }]),
        }]),
        egress: None,
        ..policy(name, pods, true)
    };
    let pod = |number: u32| Selector::new([Requirement::equals("pod", number.to_string())]);
    let table = compiled(vec![accepts("one", pod(1), 80), accepts("two", pod(2), 80)]);
    let outside = (address(5000), 5000);
    let entry = |pod, port, protocol| Entry::plain((address(pod), port), outside, protocol);
    let forged = [entry(1, 81, UDP)];
    let honest = [
        entry(1, 80, UDP), // The other direction is allowed.
        entry(1, 81, TCP),
        entry(2, 81, UDP), // Bound before.
        entry(3, 81, UDP), // Not isolated.
    ];
    namespace.run(|| conntrack::create(&[&forged[..], &honest[..]].concat()))??;
    let connections = namespace.run(ConntrackCleanup::start)??;
    connections.bound([address(1), address(3)].into());
    connections.changed(Some(Arc::clone(&table)), table);
    let counters = first_pass(&connections)?;
    assert_eq!((counters.deleted, counters.errors), (1, 0));
    let mut left: Vec<Flow> = Vec::new();
    namespace.run(Conntrack::open)??.flows(&Filter::All, |flow| left.push(*flow))?;
    let has = |entry: &Entry| left.iter().any(|flow| flow.original == entry.original);
    assert!(honest.iter().all(has) && !forged.iter().any(has), "{left:?}");
    Ok(())
}

/// The work of the first pass after this change.
fn pass(
    namespace: &Namespace,
    before: Option<Arc<Ruleset>>,
    after: Arc<Ruleset>,
) -> Result<Counters> {
    let connections = namespace.run(ConntrackCleanup::start)??;
    connections.changed(before, after);
    first_pass(&connections)
}

fn first_pass(connections: &ConntrackCleanup) -> Result<Counters> {
    let begun = Instant::now();
    while connections.counters().sweeps == 0 {
        ensure!(begun.elapsed() < PATIENCE, "no pass");
        sleep(Duration::from_millis(1));
    }
    Ok(connections.counters())
}

/// Allows egress to UDP port 80, or no egress.
fn policy(name: &str, pod_selector: Selector, allows: bool) -> NetworkPolicy {
    let port = Port { protocol: Protocol::Udp, numbers: PortNumbers::Range(80, 80) };
    let rule = Rule { peers: Peers::Anyone, ports: Ports::Only(vec![port]) };
    NetworkPolicy {
        key: ObjectKey::new("dev", name),
        uid: String::new(),
        audit: Default::default(),
        pod_selector,
        ingress: None,
        egress: Some(if allows { vec![rule] } else { vec![] }),
    }
}

fn compiled(policies: Vec<NetworkPolicy>) -> Arc<Ruleset> {
    let pods = (0..PODS).map(|number| Pod {
        key: ObjectKey::new("dev", format!("pod-{number}")),
        labels: Labels::from([("pod".to_owned(), number.to_string())]),
        node: None,
        addresses: vec![address(number)],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    });
    let snapshot = Snapshot::new(policies, pods, [Space::synthesised("dev")]);
    Arc::new(samples::from_scratch::compiled(&snapshot, &Options::default()).ruleset)
}
