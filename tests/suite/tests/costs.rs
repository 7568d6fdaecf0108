//! What a change costs, counted: commits, operations, sets, rules that the kernel
//! validates. None of it may grow with the cluster. And how many rules a packet asks.
//!
//! Nothing here is timed: times are in `cargo xtask bench`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compiler::budget::Budgets;
use compiler::price::Amount;
use compiler::{Engine, Options};
use policy::{NodeNetwork, Protocol, Snapshot};
use ruleset::plan::plan;
use ruleset::simulator::{Outcome, Packet, simulate};
use ruleset::{Batch, Finish, Name, Op, Ruleset, Verdict};
use samples::large;

/// Namespaces of 100 pods: 10,000 pods and twice as many, 250 of them on the node.
const SIZES: [usize; 2] = [100, 200];

/// What one change costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    commits: usize,
    operations: usize,
    /// Sets of the kernel and maps whose elements change.
    sets: usize,
    /// Rules that are written.
    rules: usize,
    /// Commits after which the kernel validates the whole table: they add a rule, or an
    /// entry that leads to a chain (`nft_table_validate`, net/netfilter/nf_tables_api.c,
    /// Linux 6.18).
    validations: usize,
}

/// A kind of change, and what it costs.
type Change = (&'static str, fn(&mut Snapshot), Cost);

const CHANGES: [Change; 6] = [
    (
        "a remote pod relabelled",
        |cluster| relabel(cluster, &large::remote_pod()),
        Cost { commits: 2, operations: 6, sets: 2, rules: 0, validations: 0 },
    ),
    (
        "a local pod relabelled",
        |cluster| relabel(cluster, &large::local_pod()),
        Cost { commits: 5, operations: 43, sets: 6, rules: 19, validations: 2 },
    ),
    (
        "a local pod appears",
        |cluster| {
            let pod = large::newcomer(&cluster.pods[&large::local_pod()]);
            cluster.pods.insert(pod.key.clone(), Arc::new(pod));
        },
        Cost { commits: 2, operations: 14, sets: 12, rules: 0, validations: 1 },
    ),
    (
        "a local pod goes",
        |cluster| drop(cluster.pods.remove(&large::local_pod())),
        Cost { commits: 4, operations: 26, sets: 12, rules: 0, validations: 0 },
    ),
    (
        "a policy edited",
        |cluster| {
            let policy = large::edited(&cluster.policies[&large::local_policy()]);
            cluster.policies.insert(policy.key.clone(), Arc::new(policy));
        },
        Cost { commits: 1, operations: 11, sets: 0, rules: 10, validations: 1 },
    ),
    (
        "a namespace relabelled",
        |cluster| {
            let name = large::local_pod().namespace;
            let namespace = large::without_team(&cluster.namespaces[&name]);
            cluster.namespaces.insert(name, Arc::new(namespace));
        },
        Cost { commits: 1, operations: 14, sets: 2, rules: 0, validations: 0 },
    ),
];

fn relabel(cluster: &mut Snapshot, pod: &policy::ObjectKey) {
    let pod = large::relabelled(&cluster.pods[pod]);
    cluster.pods.insert(pod.key.clone(), Arc::new(pod));
}

fn engine() -> Engine {
    Engine::new(Options { node: Some(large::NODE.to_owned()), ..Options::default() })
}

#[test]
fn a_change_costs_the_same_in_a_cluster_of_twice_the_size() {
    let clusters = SIZES.map(|namespaces| large::sized(namespaces).unwrap());
    let mut engines = clusters.clone().map(|cluster| {
        let mut engine = engine();
        engine.update(&cluster, &NodeNetwork::default());
        engine
    });
    let mut found = Vec::new();
    for (name, change, _) in CHANGES {
        for (cluster, engine) in clusters.iter().zip(&mut engines) {
            let before = engine.compiled().ruleset.clone();
            let mut changed = cluster.clone();
            change(&mut changed);
            let after = engine.update(&changed, &NodeNetwork::default()).ruleset.clone();
            found.push((name, cost(&plan(Some(&before), &after).unwrap())));
            engine.update(cluster, &NodeNetwork::default());
        }
    }
    let expected: Vec<(&str, Cost)> =
        CHANGES.iter().flat_map(|(name, _, cost)| [(*name, *cost); SIZES.len()]).collect();
    assert_eq!(found, expected);
}

/// Sets that policies of one namespace share count for each here, and those that every
/// table has do not count.
#[test]
fn an_honest_cluster_uses_a_small_part_of_the_budgets() {
    let used = SIZES.map(|namespaces| {
        let mut engine = engine();
        let cluster = large::sized(namespaces).unwrap();
        let over_budget = engine.update(&cluster, &NodeNetwork::default()).over_budget.clone();
        assert_eq!(*over_budget, BTreeSet::new());
        engine.usage()
    });
    let Budgets { node, namespace } = Budgets::default();
    for usage in used {
        let ten_times = |amount| std::iter::repeat_n(amount, 10).sum::<Amount>();
        assert!(ten_times(usage.namespace).fits(&namespace), "{}", usage.namespace);
        assert!((usage.node + usage.node).fits(&node), "{}", usage.node);
    }
}

fn cost(batches: &[Batch]) -> Cost {
    let operations = || batches.iter().flat_map(|batch| &batch.ops);
    let changes_elements = |op: &&Op| {
        matches!(
            op,
            Op::AddElements(..)
                | Op::DeleteElements(..)
                | Op::AddEntries(..)
                | Op::DeleteEntries(..)
        )
    };
    let kernels = |name: &Name| match name.stored() {
        Some((store, _)) => Name::of_store(store),
        None => name.clone(),
    };
    let sets = operations().filter(changes_elements).filter_map(Op::object).map(kernels);
    let validates = |op: &Op| matches!(op, Op::AddRule(..) | Op::AddEntries(..));
    Cost {
        commits: batches.len(),
        operations: operations().count(),
        sets: sets.collect::<BTreeSet<Name>>().len(),
        rules: operations().filter(|op| matches!(op, Op::AddRule(..))).count(),
        validations: batches.iter().filter(|batch| batch.ops.iter().any(validates)).count(),
    }
}

/// The rules that the kernel visits when it validates the table. Since Linux 6.19, and
/// since a release of 6.18 that is not newer than 6.18.44, it visits a chain again only if
/// it finds it deeper than before (`nft_chain_vstate_valid`,
/// net/netfilter/nf_tables_api.c). Older ones visit it once for each way that leads to
/// it. A map's entry is a way.
#[test]
fn the_kernel_validates_a_table_as_large_as_the_pods_of_the_node() {
    let rules = SIZES.map(|namespaces| {
        let mut engine = engine();
        let cluster = large::sized(namespaces).unwrap();
        let table = &engine.update(&cluster, &NodeNetwork::default()).ruleset;
        let bases = table.chains.iter().filter(|(_, chain)| chain.base.is_some());
        let bases: Vec<&Name> = bases.map(|(name, _)| name).collect();
        let mut depths = BTreeMap::new();
        let once = bases.iter().map(|name| validated(table, name, 0, &mut Some(&mut depths)));
        let once: usize = once.sum();
        let each_way: usize = bases.iter().map(|name| validated(table, name, 0, &mut None)).sum();
        let all = table.chains.values().map(|chain| chain.rules.len()).sum::<usize>();
        assert!(once <= all + 50, "the chains of policies are visited once: {once} of {all}");
        (once, each_way)
    });
    assert_eq!(rules, [(4797, 9589); 2], "250 pods, two families, two directions");
}

/// `depths`: how deep each chain was found before. All base chains of the sample are on
/// one hook.
fn validated<'a>(
    table: &'a Ruleset,
    chain: &'a Name,
    depth: usize,
    depths: &mut Option<&mut BTreeMap<&'a Name, usize>>,
) -> usize {
    if let Some(depths) = depths
        && depths.get(chain).is_some_and(|seen| *seen >= depth)
    {
        return 0;
    }
    let rules = table.chains.get(chain).map_or(&[][..], |chain| &chain.rules);
    let mut visited = rules.len();
    for rule in rules {
        let targets: Vec<&Name> = match &rule.finish {
            Some(Finish::Verdict(Verdict::Jump(to) | Verdict::Goto(to))) => vec![to],
            Some(Finish::Dispatch(.., map)) => {
                table.maps.get(map).into_iter().flat_map(|map| map.entries.values()).collect()
            }
            Some(Finish::Verdict(Verdict::Accept | Verdict::Drop | Verdict::Return)) | None => {
                vec![]
            }
        };
        visited +=
            targets.into_iter().map(|to| validated(table, to, depth + 1, depths)).sum::<usize>();
    }
    if let Some(depths) = depths {
        depths.insert(chain, depth);
    }
    visited
}

/// From an isolated pod to another one of the node.
#[test]
fn a_packet_asks_as_many_rules_in_a_large_cluster() {
    let asked = [1, 10, 100].map(|namespaces| {
        let mut engine = engine();
        let cluster = large::sized(namespaces).unwrap();
        let table = &engine.update(&cluster, &NodeNetwork::default()).ruleset;
        let isolated = &table.sets["isolated.i4"];
        let ends: Vec<std::net::IpAddr> =
            isolated.elements.iter().flat_map(ruleset::Element::addresses).take(12).collect();
        let ways = ends.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to)));
        let packets = ways.filter(|(from, to)| from != to).map(|(from, to)| Packet {
            destination_port: Some(8080),
            ..Packet::new(from, to, Protocol::Tcp.number())
        });
        let longest = packets.map(|packet| {
            let seen = simulate(table, &packet).unwrap();
            (rules_asked(table, &seen.trace), seen.outcome)
        });
        let longest: Vec<(usize, Outcome)> = longest.collect();
        let most = |wanted| {
            longest.iter().filter(|(_, outcome)| *outcome == wanted).map(|(asked, _)| *asked).max()
        };
        (most(Outcome::Accept), most(Outcome::Drop))
    });
    let most = |accepted, dropped| (Some(accepted), Some(dropped));
    let expected = [most(15, 19), most(19, 19), most(19, 19)];
    assert_eq!(asked, expected, "the most rules that one asks: accepted, dropped");
}

/// In each chain that a packet enters it asks the rules up to the last one that
/// matched, and all if it comes back.
fn rules_asked(table: &Ruleset, trace: &[ruleset::simulator::RulePosition]) -> usize {
    let mut last: Vec<(&Name, usize)> = Vec::new();
    let mut asked = 0;
    for at in trace {
        match last.iter_mut().find(|(chain, _)| *chain == &at.chain) {
            Some((_, rule)) => *rule = at.rule,
            None => last.push((&at.chain, at.rule)),
        }
        let rule = &table.chains[&at.chain].rules[at.rule];
        // A chain in which no rule matches is in no trace.
        if let Some(to) = rule.target().filter(|to| trace.iter().all(|one| one.chain != **to)) {
            asked += table.chains[to].rules.len();
        }
    }
    asked + last.iter().map(|(_, rule)| rule + 1).sum::<usize>()
}
