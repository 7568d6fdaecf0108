//! What a look costs on a full node.

use std::collections::BTreeSet;
use std::time::Instant;

use nft::links::LinkReader;

use crate::bed::{Namespace, on_node};

/// Pods with one port each.
const PODS: usize = 250;

/// Two requests for each namespace that is read, and three for the node.
/// Measured: prints the time, and asserts the number of requests.
#[test]
fn a_look_asks_twice_for_each_namespace_that_is_new() {
    on_node(|node| {
        let pods: Vec<Namespace> = (0..PODS).map(|_| Namespace::pod()).collect();
        for (number, pod) in pods.iter().enumerate() {
            let address = format!("10.{}.{}.2/24", number / 250, number % 250);
            let six = format!("fd00:{number:x}::2/64");
            pod.wire(node, &format!("port{number}"), &[&address, &six]);
        }
        let mut reader = LinkReader::open().expect("open");
        let nobody = BTreeSet::new();
        let mut look = |again: Option<&BTreeSet<u32>>| {
            let (start, before) = (Instant::now(), reader.requests());
            let links = match again {
                None => reader.read(&nobody),
                Some(again) => reader.read_changes(&nobody, again),
            }
            .expect("read");
            println!("{:?}: {} requests", start.elapsed(), reader.requests() - before);
            assert_eq!(links.ports.len(), PODS);
            let complete = |port: &&nft::links::Port| port.addresses.len() == 3;
            assert_eq!(links.ports.iter().filter(complete).count(), PODS);
            reader.requests() - before
        };
        for _ in 0..3 {
            assert_eq!(look(None), 3 + 2 * PODS as u64);
        }
        for _ in 0..3 {
            assert_eq!(look(Some(&nobody_again())), 2);
        }
        let one = BTreeSet::from([2]);
        look(Some(&one));
    });
}

fn nobody_again() -> BTreeSet<u32> {
    BTreeSet::new()
}
