//! All lists come again, and nothing has changed.
//!
//! From the decoded lists to "nothing to send". Their transfer and their decoding are
//! measured by `load`, which has an API server.

use std::sync::Arc;

use anyhow::{Result, ensure};
use policy::Snapshot;
use samples::large;
use watcher::{Kind, Known, Object, Store};

use crate::figures::{Cost, measured, milliseconds};
use crate::node::Node;

/// Prints the table, for clusters of these sizes in hundreds of pods.
pub fn measure(rounds: usize, sizes: &[usize]) -> Result<()> {
    ensure!(rounds > 0, "measure at least once");
    println!(
        "| all lists again, ms | compared with the known objects | stored | compiled and planned \
         | together, CPU | together |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for &namespaces in sizes {
        let cluster = large::sized(namespaces)?;
        let (pods, policies) = (cluster.pods.len(), cluster.policies.len());
        eprintln!("relist: {pods} pods, {rounds} rounds");
        let mut node = Node::new()?;
        node.enforce(&cluster)?;
        let costs: Result<Vec<_>> = (0..rounds).map(|_| relist(&cluster, &mut node)).collect();
        let costs = costs?;
        let sum = |costs: &[Cost; 3]| costs[0] + costs[1] + costs[2];
        let cpu = |index: usize| milliseconds(costs.iter().map(|costs| costs[index].cpu));
        println!(
            "| {pods} pods, {policies} policies | {} | {} | {} | {} | {} |",
            cpu(0),
            cpu(1),
            cpu(2),
            milliseconds(costs.iter().map(|costs| sum(costs).cpu)),
            milliseconds(costs.iter().map(|costs| sum(costs).wall)),
        );
    }
    println!();
    Ok(())
}

/// The steps of a list that comes again.
fn relist(cluster: &Snapshot, node: &mut Node) -> Result<[Cost; 3]> {
    let known = Known::default();
    known.set(cluster);
    let mut store: Store =
        every_kind(cluster).into_iter().flat_map(|(_, objects)| objects).collect();
    let lists = decoded(cluster);
    let (lists, shared) = measured(|| {
        let share =
            |objects: Vec<Object>| objects.into_iter().map(|one| known.share(one)).collect();
        lists.map(|(kind, objects)| (kind, share(objects)))
    })?;
    let (changed, stored) = measured(|| {
        let lists: [(Kind, Vec<Object>); 3] = lists;
        lists.into_iter().map(|(kind, objects)| store.replace(kind, objects)).collect::<Vec<_>>()
    })?;
    ensure!(changed == [false; 3], "an equal list changes the store");
    let (planned, compiled) = measured(|| node.rest(store.snapshot()))?;
    planned?;
    Ok([shared, stored, compiled])
}

fn every_kind(cluster: &Snapshot) -> [(Kind, Vec<Object>); 3] {
    let Snapshot { policies, pods, namespaces, kept: _, multi_policies: _ } = cluster;
    [
        (Kind::NetworkPolicy, policies.values().cloned().map(Object::NetworkPolicy).collect()),
        (Kind::Pod, pods.values().cloned().map(Object::Pod).collect()),
        (Kind::Namespace, namespaces.values().cloned().map(Object::Namespace).collect()),
    ]
}

/// The lists as a reader makes them: each object is a copy.
fn decoded(cluster: &Snapshot) -> [(Kind, Vec<Object>); 3] {
    every_kind(cluster).map(|(kind, objects)| (kind, objects.into_iter().map(copy).collect()))
}

fn copy(object: Object) -> Object {
    match object {
        Object::NetworkPolicy(one) => Object::NetworkPolicy(Arc::new((*one).clone())),
        Object::Pod(one) => Object::Pod(Arc::new((*one).clone())),
        Object::Namespace(one) => Object::Namespace(Arc::new((*one).clone())),
        Object::MultiNetworkPolicy(one) => Object::MultiNetworkPolicy(Arc::new((*one).clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_list_changes_nothing_in_small() {
        measure(1, &[1]).unwrap();
    }
}
