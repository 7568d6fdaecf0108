//! Pods that come and go while links are read.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nft::links::{LinkReader, LinksError, NodeLinks};

use crate::bed::{Namespace, global, ips, on_node};

/// Ports that exist at a time, and how often they are replaced.
const PORTS: usize = 4;
const ROUNDS: usize = 20;
/// How often to read once nothing changes any more, and the time between.
const LAST_READS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// The kernel gives the numbers of namespaces that ended to new ones. What is
/// read of one must never be taken for another: port N has address N or none.
#[test]
fn no_port_ever_shows_the_address_of_another() {
    on_node(|node| {
        let is_over = AtomicBool::new(false);
        let mut reader = LinkReader::open().expect("open");
        std::thread::scope(|scope| {
            let churn = scope.spawn(|| {
                let mut pods = Vec::new();
                for round in 0..ROUNDS {
                    // Those of the round before end.
                    pods = (0..PORTS).map(|_| Namespace::pod()).collect();
                    for (number, pod) in pods.iter().enumerate() {
                        let number = round * PORTS + number;
                        let address = format!("{}/24", address(number));
                        pod.wire(node, &format!("port{number}"), &[&address]);
                    }
                }
                is_over.store(true, Ordering::Relaxed);
                pods
            });
            let (mut looks, mut with_address) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                let all = looks % 2 == 0;
                let nobody = (BTreeSet::new(), BTreeSet::new());
                let read = if all {
                    reader.read(&nobody.0)
                } else {
                    reader.read_changes(&nobody.0, &nobody.1)
                };
                match read {
                    Ok(links) => with_address += check(&links),
                    Err(LinksError::KeepChanging(_)) => {}
                    Err(error) => unreachable!("{error}"),
                }
                looks += 1;
            }
            let last: Vec<Namespace> = churn.join().expect("churn");
            let mut links = reader.read(&BTreeSet::new()).expect("read");
            let seen = |links: &NodeLinks| {
                links.ports.iter().filter(|port| !global(port).is_empty()).count()
            };
            // What is missing while other namespaces end is read the next time.
            for _ in 0..LAST_READS {
                if seen(&links) >= last.len() {
                    break;
                }
                std::thread::sleep(PAUSE);
                links = reader.read(&BTreeSet::new()).expect("read");
            }
            assert!(seen(&links) >= last.len(), "{links:#?}");
            check(&links);
            println!("{looks} looks, {with_address} ports with an address");
            assert!(with_address > PORTS, "the control: ports were seen");
        });
    });
}

fn address(number: usize) -> String {
    format!("10.{}.{}.2", number / 250, number % 250)
}

/// Returns how many ports have an address.
fn check(links: &NodeLinks) -> usize {
    let mut found = 0;
    for port in &links.ports {
        let number: usize = port.name.trim_start_matches("port").parse().expect("a number");
        let of_port: Vec<IpAddr> = global(port);
        if !of_port.is_empty() {
            assert_eq!(of_port, ips(&[&address(number)]), "{port:?}");
            found += 1;
        }
    }
    found
}
