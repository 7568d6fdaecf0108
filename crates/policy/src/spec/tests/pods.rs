//! Who has an address: nodes, hostNetwork, ended pods, a pod itself.

use super::*;

/// The cases of this file.
pub(super) fn cases() -> Vec<Case> {
    [nodes(), lives(), reused(), stacks(), itself()].into_iter().flatten().collect()
}

/// Every pod of `dev` is isolated in both directions. Pods of any namespace are
/// allowed.
fn locked() -> NetworkPolicy {
    policy("").ingress([peers([any_of("", "")])]).egress([peers([any_of("", "")])])
}

/// Every pod of `dev` is isolated in both directions. Nothing is allowed.
fn shut() -> NetworkPolicy {
    policy("").ingress([]).egress([])
}

fn nodes() -> Vec<Case> {
    let case = |topic, name, policy: NetworkPolicy, packet, says| Case {
        topic,
        name,
        cluster: cluster([policy]),
        packet,
        says,
    };
    let hosts = || policy("").named("prod/p").ingress([]).egress([]);
    let node_b = || peers([block("192.168.0.2/32", [])]);
    #[rustfmt::skip]
    let cases = vec![
        case("hostNetwork", "not isolated for ingress", hosts(), "8.8.8.8 > 192.168.0.2 tcp/80", "passes: free; free"),
        case("hostNetwork", "not isolated for egress", hosts(), "192.168.0.2 > 8.8.8.8 tcp/80", "passes: free; free"),
        case("hostNetwork", "no peer by selector", locked(), "192.168.0.2 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        case("hostNetwork", "no destination by selector", locked(), "10.0.0.1 > 192.168.0.2 tcp/80", "stops: denied dev/p; free"),
        case("hostNetwork", "a peer by ipBlock", policy("").ingress([node_b()]), "192.168.0.2 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        case("nodes", "a node reaches its own pod", shut(), "192.168.0.1 > 10.0.0.1 tcp/80", "passes: free; exempt"),
        case("nodes", "by IPv6, too", shut(), "fd00:a::1 > fd00::1 tcp/80", "passes: free; exempt"),
        case("nodes", "with any protocol", shut(), "192.168.0.1 > 10.0.0.1 proto/1", "passes: free; exempt"),
        case("nodes", "a pod reaches its own node", shut(), "10.0.0.1 > 192.168.0.1 udp/53", "passes: exempt; free"),
        case("nodes", "another node does not reach it", shut(), "192.168.0.2 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        case("nodes", "it does not reach another node", shut(), "10.0.0.1 > 192.168.0.2 tcp/80", "stops: denied dev/p; free"),
        case("nodes", "another node by ipBlock", policy("").egress([node_b()]), "10.0.0.1 > 192.168.0.2 tcp/80", "passes: allowed dev/p[0]; free"),
        Case {
            topic: "nodes",
            name: "an address that a pod has is that pod's",
            cluster: cluster_with([shut()], |pods| pods.push(pod("dev/odd", "192.168.0.1", ""))),
            packet: "192.168.0.1 > 10.0.0.1 tcp/80",
            says: "stops: denied dev/p; denied dev/p",
        },
        case("nodes", "that of a pod of the other node", shut(), "192.168.0.2 > 10.0.0.3 tcp/80", "passes: free; exempt"),
    ];
    cases
}

fn lives() -> Vec<Case> {
    let case = |name, phase, packet, says| Case {
        topic: "ended pods and reused addresses",
        name,
        cluster: cluster_with([locked()], |pods| {
            pods.push(Pod { phase, ..pod("dev/job", "10.0.0.9", "") });
        }),
        packet,
        says,
    };
    let as_peer = "10.0.0.9 > 10.0.0.1 tcp/80";
    let as_subject = "10.0.0.9 > 8.8.8.8 tcp/80";
    #[rustfmt::skip]
    let cases = vec![
        case("succeeded: no peer", Phase::Succeeded, as_peer, "stops: free; denied dev/p"),
        case("failed: no peer", Phase::Failed, as_peer, "stops: free; denied dev/p"),
        case("pending: a peer", Phase::Pending, as_peer, "passes: allowed dev/p[0]; allowed dev/p[0]"),
        case("running: a peer", Phase::Running, as_peer, "passes: allowed dev/p[0]; allowed dev/p[0]"),
        case("unknown: a peer", Phase::Unknown, as_peer, "passes: allowed dev/p[0]; allowed dev/p[0]"),
        case("succeeded: not isolated", Phase::Succeeded, as_subject, "passes: free; free"),
        case("failed: not isolated", Phase::Failed, as_subject, "passes: free; free"),
        case("pending: isolated", Phase::Pending, as_subject, "stops: denied dev/p; free"),
        case("unknown: isolated", Phase::Unknown, as_subject, "stops: denied dev/p; free"),
    ];
    cases
}

fn reused() -> Vec<Case> {
    let topic = "ended pods and reused addresses";
    // Two pods report 10.0.0.9. `dev/one` is isolated and a peer. The other is in a
    // namespace that no policy mentions, and is neither.
    let case = |name, policy: NetworkPolicy, one: Pod, other: Pod, packet, says| Case {
        topic,
        name,
        cluster: cluster_with([policy], |pods| pods.extend([one, other])),
        packet,
        says,
    };
    let one = |created| Pod { created, ..pod("dev/one", "10.0.0.9", "app=one") };
    let other = |created| Pod { created, ..pod("ghost/other", "10.0.0.9", "app=other") };
    let ending = |pod: Pod| Pod { is_ending: true, ..pod };
    let ended = |pod: Pod| Pod { phase: Phase::Succeeded, ..pod };
    let host = |pod: Pod| Pod { host_network: true, ..pod };
    let by_label = || policy("app=web").ingress([peers([own("app=one")])]);
    let (to, out) = ("10.0.0.9 > 10.0.0.1 tcp/80", "10.0.0.9 > 8.8.8.8 tcp/80");
    #[rustfmt::skip]
    let cases = vec![
        case("the newer pod is a peer", by_label(), one(2), other(1), to, "passes: free; allowed dev/p[0]"),
        case("the older pod is not", by_label(), one(1), other(2), to, "stops: free; denied dev/p"),
        case("the newer pod is isolated", shut(), one(2), other(1), out, "stops: denied dev/p; free"),
        case("the older pod is isolated as well", shut(), one(1), other(2), out, "stops: denied dev/p; free"),
        case("one that is asked to end isolates nobody beside one that is not", shut(), ending(one(2)), other(1), out, "passes: free; free"),
        case("nor does it lift the isolation of one that is not", shut(), one(1), ending(other(2)), out, "stops: denied dev/p; free"),
        case("alone it is isolated", shut(), ending(one(1)), ended(other(2)), out, "stops: denied dev/p; free"),
        case("an ended pod gives its address up, newer or not", shut(), one(1), ended(other(2)), out, "stops: denied dev/p; free"),
        case("a hostNetwork pod never has it", shut(), one(1), host(other(2)), out, "stops: denied dev/p; free"),
        case("of equal age the one with the greater key is the peer", by_label(), one(1), other(1), to, "stops: free; denied dev/p"),
    ];
    cases
}

fn stacks() -> Vec<Case> {
    let case = |name, packet, says| Case {
        topic: "dual stack",
        name,
        cluster: cluster([policy("").ingress([peers([any_of("", "app=web")])])]),
        packet,
        says,
    };
    vec![
        case(
            "IPv4 listed last is the pod's",
            "10.0.1.1 > 10.0.0.1 tcp/80",
            "passes: free; allowed dev/p[0]",
        ),
        case(
            "IPv6 listed first, too",
            "fd00::11 > fd00::1 tcp/80",
            "passes: free; allowed dev/p[0]",
        ),
        case("a single-stack pod", "10.0.1.1 > 10.0.0.2 tcp/80", "passes: free; allowed dev/p[0]"),
        case(
            "isolated in both families",
            "2001:db8::1 > fd00::1 tcp/80",
            "stops: free; denied dev/p",
        ),
    ]
}

fn itself() -> Vec<Case> {
    let case = |name, packet, says| Case {
        topic: "itself",
        name,
        cluster: cluster([shut()]),
        packet,
        says,
    };
    vec![
        case("a pod reaches itself", "10.0.0.1 > 10.0.0.1 tcp/80", "passes: exempt; exempt"),
        case("over IPv6", "fd00::1 > fd00::1 tcp/80", "passes: exempt; exempt"),
        case("with any protocol", "10.0.0.1 > 10.0.0.1 proto/1", "passes: exempt; exempt"),
        case(
            "its neighbour is another",
            "10.0.0.1 > 10.0.0.2 tcp/80",
            "stops: denied dev/p; denied dev/p",
        ),
    ]
}
