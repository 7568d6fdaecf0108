//! Each form of each flag, and what is refused.

use std::net::IpAddr;

use policy::{Labels, ObjectKey, Phase, Snapshot};

use super::*;

fn unbound(text: &str) -> Result<String, String> {
    let parsed = text.parse::<UnboundPods>();
    parsed.map(|one| one.to_string()).map_err(|error| error.to_string())
}

#[test]
fn namespaces_and_selectors_are_read_as_kubectl_reads_them() {
    for (text, read) in [
        ("vpn", "vpn"),
        ("vpn/app=gateway", "vpn/app=gateway"),
        ("vpn/app==gateway", "vpn/app=gateway"),
        ("vpn/app!=web,!x,y", "vpn/!x,app!=web,y"),
        ("vpn/app in (a, b)", "vpn/app in (a,b)"),
        ("vpn/kubevirt.io/domain", "vpn/kubevirt.io/domain"),
        ("vpn/app notin (a,b),tier=1", "vpn/app notin (a,b),tier=1"),
        ("vpn/app=", "vpn/app="),
    ] {
        let sorted = |text: &str| {
            let mut parts: Vec<String> = text.split([',', '/']).map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&unbound(text).unwrap()), sorted(read), "{text}");
    }
}

#[test]
fn what_is_no_namespace_or_selector_is_refused_and_says_what_to_give() {
    for (text, said) in [
        ("", "give NAMESPACE or NAMESPACE/SELECTOR"),
        ("VPN", "\"VPN\" is not the name of a namespace"),
        ("a,b", "\"a,b\" is not the name of a namespace"),
        ("vpn/", "\"\" is not a label requirement"),
        ("vpn/app=a b", "\"app=a b\" is not a label requirement"),
        ("vpn/app in a,b", "\"app in a\" is not a label requirement"),
        ("vpn/app=web,", "\"\" is not a label requirement"),
        ("vpn/=web", "\"=web\" is not a label requirement"),
    ] {
        let error = unbound(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn tunnels_have_a_port_or_a_protocol() {
    let tunnel = |text| tunnel(text).map_err(|error| error.to_string());
    assert_eq!(tunnel("udp/8472"), Ok(Tunnel::Udp(8472)));
    assert_eq!(tunnel("ip/4"), Ok(Tunnel::Protocol(4)));
    for text in ["8472", "udp/0", "udp/65536", "ip/256", "tcp/80", "udp/vxlan", ""] {
        let said = tunnel(text).unwrap_err();
        assert!(said.contains("give udp/PORT"), "{said}");
    }
    for text in ["ip/1", "ip/6", "ip/17", "ip/58", "ip/132"] {
        let said = tunnel(text).unwrap_err();
        assert!(said.contains("is no tunnel"), "{said}");
    }
}

fn pod(name: &str, node: &str, app: &str) -> Pod {
    Pod {
        key: ObjectKey::new("dev", name),
        labels: Labels::from([("app".to_owned(), app.to_owned())]),
        node: Some(node.to_owned()),
        addresses: vec![IpAddr::from([10, 0, 0, 1])],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

#[test]
fn ranges_of_pods_are_no_wider_than_a_cluster() {
    let said = |text: &str| pod_cidr(text).map(|net| net.to_string()).map_err(|it| it.to_string());
    assert_eq!(said("10.244.1.7/24").unwrap(), "10.244.1.0/24");
    assert_eq!(said("fd00::/8").unwrap(), "fd00::/8");
    assert!(said("0.0.0.0/0").unwrap_err().contains("is more than pods"));
    assert!(said("::/7").unwrap_err().contains("is more than pods"));
    assert!(said("10.244.1.0").unwrap_err().contains("is not a CIDR"));
}

/// With `open` a range means nothing, so it is not even kept.
#[test]
fn ranges_count_unless_unknown_pods_are_open() {
    let ranges = policy::pod_ranges(["10.244.1.0/24".parse().unwrap()]);
    let network = NodeNetwork { pod_ranges: ranges.clone(), ..NodeNetwork::default() };
    for unknown_pods in [UnknownPods::Open, UnknownPods::Selected, UnknownPods::Closed] {
        let options = BindingOptions { unknown_pods, ..BindingOptions::default() };
        let found = options.possible(network.clone());
        assert_eq!(found.unknown_pods, unknown_pods);
        assert_eq!(found.pod_ranges == ranges, unknown_pods != UnknownPods::Open);
    }
}

#[test]
fn pods_of_this_node_are_bound_unless_the_operator_says_otherwise() {
    let mut snapshot = Snapshot::default();
    for pod in [pod("web", "a", "web"), pod("vpn", "a", "vpn"), pod("far", "b", "web")] {
        snapshot.pods.insert(pod.key.clone(), Arc::new(pod));
    }
    let options = BindingOptions {
        unbound: vec!["dev/app=vpn".parse().unwrap(), "other".parse().unwrap()],
        ..BindingOptions::default()
    };
    let names = |node| {
        let mut local = LocalPods::of(node);
        local.follow(&snapshot);
        options.bindable(&local, Vec::new()).iter().map(|pod| pod.key.name.clone()).collect()
    };
    let here: Vec<String> = names(Some("a"));
    assert_eq!(here, ["web"]);
    let all: Vec<String> = names(None);
    assert_eq!(all, ["far", "web"]);
}

#[test]
fn what_ipvs_forwards_is_judged_while_it_is_there_or_always_or_never() {
    for (ipvs, without, with) in [
        (JudgeIpvs::WhileThere, false, true),
        (JudgeIpvs::Always, true, true),
        (JudgeIpvs::Never, false, false),
    ] {
        let options = BindingOptions { ipvs, ..BindingOptions::default() };
        for (is_there, judged) in [(false, without), (true, with)] {
            let network = NodeNetwork { ipvs: is_there, ..NodeNetwork::default() };
            assert_eq!(options.possible(network).ipvs, judged, "{ipvs:?}");
        }
    }
}
