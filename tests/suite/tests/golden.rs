//! Whole rulesets: as text, in the kernel through `nft -f`, in the kernel through our
//! own netlink code, and read back from both.

#![expect(clippy::unwrap_used, clippy::panic, reason = "every error fails the test")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use compiler::{Compiled, Options};
use nft::Kernel;
use nix::sched::{CloneFlags, unshare};
use policy::{
    BoundBridge, BoundPort, InterfaceIndex, Mac, NodeNetwork, ObjectKey, Snapshot, Tunnel,
    TunnelSources, UnknownPods, pod_ranges,
};
use proptest::option;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use ruleset::plan::plan;
use ruleset::{Ruleset, TableFamily, TableId, text};
use samples::from_scratch::compiled_on;
use samples::{fixtures, random};
use std::net::IpAddr;
use watcher::Store;
use watcher::files::{self, Validation};

/// Set by `cargo xtask bless` to rewrite the golden files.
const BLESS: &str = "NFTPOL_BLESS";

fn snapshot(file: &Path) -> Snapshot {
    let text = fs::read_to_string(file).unwrap();
    let loaded = files::parse(&file.display().to_string(), &text, Validation::Strict);
    assert!(!loaded.has_errors(), "{:#?}", loaded.findings);
    let store: Store = loaded.objects.into_iter().collect();
    store.snapshot().clone()
}

fn compiled(snapshot: &Snapshot, network: &NodeNetwork) -> Compiled {
    let options = Options { node: Some("n1".to_owned()), ..Options::default() };
    compiled_on(snapshot, network, &options)
}

/// The tables of a random cluster whose node knows its pods' interfaces.
fn bound(runner: &mut TestRunner) -> [Option<Ruleset>; 2] {
    let options = Options { node: Some("n1".to_owned()), ..Options::default() };
    let drawn = (random::snapshot(), random::wiring()).new_tree(runner).unwrap().current();
    let network = drawn.1.network(&drawn.0, options.node.as_deref());
    let compiled = compiled_on(&drawn.0, &network, &options);
    [Some(compiled.ruleset), compiled.bridge]
}

/// The golden files with their tables.
fn cases() -> Vec<(PathBuf, Ruleset)> {
    let files = fixtures::files("golden").unwrap().into_iter();
    let unbound = |(path, _): (PathBuf, String)| {
        let table = compiled(&snapshot(&path), &NodeNetwork::default()).ruleset;
        (path.with_extension("nft"), table)
    };
    let directory = fixtures::directory("golden");
    let bound = compiled(&snapshot(&directory.join("deny-all-ingress.yaml")), &network());
    let bound = [("bound.nft", bound.ruleset), ("bound-bridge.nft", bound.bridge.unwrap())];
    let shut = compiled(&snapshot(&directory.join("deny-all-ingress.yaml")), &shut()).ruleset;
    let ipvs = compiled(&snapshot(&directory.join("deny-all-ingress.yaml")), &ipvs()).ruleset;
    let bound = bound.into_iter().chain([("unknown.nft", shut), ("ipvs.nft", ipvs)]);
    files.map(unbound).chain(bound.map(|(name, table)| (directory.join(name), table))).collect()
}

/// The addresses of pods that no object names are shut.
fn shut() -> NodeNetwork {
    let subnets = ["10.244.1.0/24", "fd00:1::/64"].map(|subnet| subnet.parse().unwrap());
    NodeNetwork {
        pod_ranges: pod_ranges(subnets),
        unknown_pods: UnknownPods::Selected,
        ..NodeNetwork::default()
    }
}

/// IPVS forwards to Services, on a node with a tunnel.
fn ipvs() -> NodeNetwork {
    let tunnels = [(Tunnel::Udp(8472), TunnelSources::Nodes)].into_iter().collect();
    NodeNetwork { ipvs: true, tunnels, ..NodeNetwork::default() }
}

/// One isolated pod is routed, the other one is on a bridge, and there are tunnels.
fn network() -> NodeNetwork {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let port = |pod: &str, bridge, last, own: &[&str]| BoundPort {
        pod: ObjectKey::new("dev", pod),
        bridge,
        mac: Mac([2, 0, 0, 0, 0, last]),
        addresses: addresses(own),
    };
    let bridge = InterfaceIndex(3);
    let routed = port("myapp", None, 7, &["10.244.1.2", "fd00:1::2", "fe80::ff:fe00:7"]);
    let bridged = port("other", Some(bridge), 9, &["10.244.1.3", "fd00:1::3", "fe80::ff:fe00:9"]);
    let own = BoundBridge {
        mac: Mac([2, 0, 0, 0, 0, 3]),
        addresses: addresses(&["10.244.1.1", "fd00:1::1", "fe80::ff:fe00:3"]),
        only_pods: true,
    };
    NodeNetwork {
        ports: [(InterfaceIndex(7), routed), (InterfaceIndex(9), bridged)].into_iter().collect(),
        bridges: [(bridge, own)].into_iter().collect(),
        tunnels: [
            (Tunnel::Udp(8472), TunnelSources::Nodes),
            (Tunnel::Protocol(4), TunnelSources::Any),
        ]
        .into_iter()
        .collect(),
        tunnel_peers: ["192.0.2.7".parse::<IpAddr>().unwrap()].into_iter().collect(),
        ..NodeNetwork::default()
    }
}

/// Runs the test in a network namespace of its own.
fn alone<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace; this test needs root");
            action()
        });
        inside.join().unwrap()
    })
}

fn load_with_nft(script: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "nft refused:\n{script}");
}

fn read_back(kernel: &mut Kernel, table: &TableId) -> Ruleset {
    let dump = kernel.dump(table).unwrap().expect("the table");
    assert!(dump.foreign.is_empty(), "{:#?}", dump.foreign);
    dump.ruleset
}

/// Takes the kernel from its present table to `target`.
fn send(kernel: &mut Kernel, old: Option<&Ruleset>, target: &Ruleset) {
    for batch in plan(old, target).unwrap() {
        kernel.send(&target.id(), &batch, None).unwrap();
    }
}

fn assert_same(seen: &Ruleset, expected: &Ruleset, what: &str) {
    if seen != expected {
        let (seen, expected) = (text::ruleset(seen), text::ruleset(expected));
        assert_eq!(seen, expected, "{what}");
        panic!("{what}: the texts are equal, the values are not");
    }
}

#[test]
fn rulesets_are_as_in_the_golden_files() {
    for (golden, table) in cases() {
        let text = text::ruleset(&table);
        if std::env::var_os(BLESS).is_some() {
            fs::write(&golden, &text).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(text, expected, "{}; `cargo xtask bless` accepts it", golden.display());
    }
}

#[test]
fn the_kernel_has_the_same_by_text_and_by_netlink() {
    for (path, table) in cases() {
        let name = path.display().to_string();
        alone(|| {
            load_with_nft(&text::ruleset(&table));
            let mut kernel = Kernel::open().unwrap();
            assert_same(&read_back(&mut kernel, &table.id()), &table, &format!("{name} by nft -f"));
        });
        alone(|| {
            let mut kernel = Kernel::open().unwrap();
            send(&mut kernel, None, &table);
            assert_same(
                &read_back(&mut kernel, &table.id()),
                &table,
                &format!("{name} by netlink"),
            );
        });
    }
}

#[test]
fn the_tables_of_a_bound_node_are_the_same_by_text_and_by_netlink() {
    const CLUSTERS: usize = 30;
    let mut runner = TestRunner::deterministic();
    let mut bridges = 0;
    for _ in 0..CLUSTERS {
        for table in bound(&mut runner).into_iter().flatten() {
            bridges += u32::from(table.family == TableFamily::Bridge);
            let id = table.id();
            alone(|| {
                load_with_nft(&text::ruleset(&table));
                let mut kernel = Kernel::open().unwrap();
                assert_same(&read_back(&mut kernel, &id), &table, &format!("{id} by nft -f"));
            });
            alone(|| {
                let mut kernel = Kernel::open().unwrap();
                send(&mut kernel, None, &table);
                assert_same(&read_back(&mut kernel, &id), &table, &format!("{id} by netlink"));
            });
        }
    }
    assert!(bridges > 0, "no cluster has a pod on a bridge");
}

/// Pods come and go, are bound and not, and the node's tunnels change.
#[test]
fn a_kernel_that_went_through_bindings_has_what_compiling_anew_says() {
    const CLUSTERS: usize = 150;
    alone(|| {
        let mut runner = TestRunner::deterministic();
        let mut kernel = Kernel::open().unwrap();
        let mut live = [None, None];
        for step in 0..CLUSTERS {
            for (live, target) in live.iter_mut().zip(bound(&mut runner)) {
                match (&live, &target) {
                    (_, Some(target)) => {
                        send(&mut kernel, live.as_ref(), target);
                        let seen = read_back(&mut kernel, &target.id());
                        assert_same(&seen, target, &format!("step {step}"));
                    }
                    (Some(old), None) => assert!(kernel.delete_table(&old.id()).unwrap()),
                    (None, None) => {}
                }
                *live = target;
            }
        }
    });
}

/// Random clusters, one after another in one kernel. The differences lead to the
/// table that compiling from scratch gives, and the kernel refuses none of the
/// batches.
#[test]
fn a_kernel_that_went_through_changes_has_what_compiling_anew_says() {
    const CLUSTERS: usize = 150;
    alone(|| {
        let mut runner = TestRunner::deterministic();
        let mut kernel = Kernel::open().unwrap();
        let mut live: [Option<Ruleset>; 2] = [None, None];
        for step in 0..CLUSTERS {
            let states = (random::snapshot(), option::of(random::wiring()));
            let (cluster, wiring) = states.new_tree(&mut runner).unwrap().current();
            let network = wiring.map(|wiring| wiring.network(&cluster, Some("n1")));
            let compiled = compiled(&cluster, &network.unwrap_or_default());
            for (live, target) in live.iter_mut().zip([Some(compiled.ruleset), compiled.bridge]) {
                match (&live, &target) {
                    (_, Some(target)) => {
                        send(&mut kernel, live.as_ref(), target);
                        let seen = read_back(&mut kernel, &target.id());
                        assert_same(&seen, target, &format!("step {step}"));
                    }
                    (Some(old), None) => drop(kernel.delete_table(&old.id()).unwrap()),
                    (None, None) => {}
                }
                *live = target;
            }
        }
    });
}
