//! The tables load, and a measurement in small works.

use netbed::net::Namespace;

use super::bed::{RECEIVER, nft};
use super::kube_proxy::{self, Mode};
use super::*;

#[test]
fn tables_of_others_load() {
    let namespace = Namespace::new("bt").unwrap();
    for size in [2, 10, 250] {
        let pods: Vec<_> = (0..size).map(|low| (0x0AF4_0000u32 + low).into()).collect();
        nft(&namespace, &kube_router::table(&pods)).unwrap();
        for mode in [Mode::Nftables, Mode::Iptables] {
            nft(&namespace, &kube_proxy::table(mode, size, RECEIVER, 80)).unwrap();
        }
        nft(&namespace, "flush ruleset").unwrap();
    }
}

/// All packets must arrive, or this fails.
#[test]
fn one_round_in_small() {
    let figures = measure(&Plan { rounds: 1, sizes: &[0, 10], files: &[] }).unwrap();
    let count = |links| figures.iter().filter(|figure| figure.links == links).count();
    assert_eq!((count("routed"), count("bridged")), (9, 6));
    for Figure { form, size, new, established, connect, .. } in &figures {
        assert!(*new > 0.0 && *established > 0.0 && *connect > 0.0, "{form} {size}");
    }
}
