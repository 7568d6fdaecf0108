//! What a look costs on a full node.

use std::collections::BTreeSet;
use std::time::Instant;

use nft::links::LinkReader;

use crate::bed::{Namespace, on_node};

/// Pods with one port each.
const PODS: usize = 250;

/// Two requests for each namespace that is read, and two for the node; a third
/// lists the families of generic netlink. It prints the times.
#[test]
fn a_look_asks_twice_for_each_namespace_that_is_new() {
    on_node(|node| {
        let pods: Vec<Namespace> = (0..PODS).map(|_| Namespace::pod()).collect();
        for (number, pod) in pods.iter().enumerate() {
            let address = format!("10.{}.{}.2/24", number / 250, number % 250);
            let six = format!("fd00:{number:x}::2/64");
            pod.wire(node, &format!("port{number}"), &[&address, &six]);
        }
        let nobody = BTreeSet::new();
        let mut reader = LinkReader::open().expect("open");
        let looks: [(&str, u64, Option<&[u32]>); 5] = [
            ("all", 3 + 2 * PODS as u64, None),
            ("new ones", 2, Some(&[])),
            ("new ones", 2, Some(&[])),
            ("one again", 4, Some(&[2])),
            ("five again", 12, Some(&[2, 3, 4, 5, 6])),
        ];
        for (what, expected, again) in looks {
            let (start, before) = (Instant::now(), reader.requests());
            let links = match again {
                None => reader.read(&nobody),
                Some(again) => reader.read_changes(&nobody, &again.iter().copied().collect()),
            }
            .expect("read");
            let (took, requests) = (start.elapsed(), reader.requests() - before);
            println!("{what}: {requests} requests, {took:?}");
            assert_eq!(requests, expected, "{what}");
            assert_eq!(links.ports.len(), PODS);
            let complete = links.ports.iter().filter(|port| port.addresses.len() == 3);
            assert_eq!(complete.count(), PODS, "IPv4, IPv6 and link-local");
        }
    });
}
