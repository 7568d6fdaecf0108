//! Directions, empty lists, ports, and how rules add up.

use super::*;

/// The cases of this file.
pub(super) fn cases() -> Vec<Case> {
    [directions(), empty_lists(), port_lists(), mixing(), protocols(), halves()]
        .into_iter()
        .flatten()
        .collect()
}

fn directions() -> Vec<Case> {
    let case = |name, cluster, packet, says| Case {
        topic: "the other direction of a one-way policy",
        name,
        cluster,
        packet,
        says,
    };
    let only_ingress = || cluster([policy("app=web").ingress([])]);
    let only_egress = || cluster([policy("app=web").egress([])]);
    #[rustfmt::skip]
    let cases = vec![
        case("ingress alone isolates ingress", only_ingress(), "8.8.8.8 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        case("ingress alone leaves egress free", only_ingress(), "10.0.0.1 > 8.8.8.8 tcp/80", "passes: free; free"),
        case("egress alone isolates egress", only_egress(), "10.0.0.1 > 8.8.8.8 tcp/80", "stops: denied dev/p; free"),
        case("egress alone leaves ingress free", only_egress(), "8.8.8.8 > 10.0.0.1 tcp/80", "passes: free; free"),
        case("other pods stay free", only_ingress(), "8.8.8.8 > 10.0.0.2 tcp/80", "passes: free; free"),
        case("pods of other namespaces stay free", only_ingress(), "8.8.8.8 > 10.0.1.1 tcp/80", "passes: free; free"),
        case("the empty selector selects all pods of the namespace", cluster([policy("").ingress([])]), "8.8.8.8 > 10.0.0.3 tcp/80", "stops: free; denied dev/p"),
        case("and none of another", cluster([policy("").ingress([])]), "8.8.8.8 > 10.0.1.1 tcp/80", "passes: free; free"),
    ];
    cases
}

fn empty_lists() -> Vec<Case> {
    let none = |name, rules: Vec<Rule>, says| Case {
        topic: "no rules",
        name,
        cluster: cluster([NetworkPolicy { ingress: Some(rules), ..policy("app=web") }]),
        packet: "8.8.8.8 > 10.0.0.1 tcp/80",
        says,
    };
    let peer = |name, rule: Rule, packet, says| Case {
        topic: "peers",
        name,
        cluster: cluster([policy("app=web").ingress([rule])]),
        packet,
        says,
    };
    #[rustfmt::skip]
    let cases = vec![
        none("ingress: [] allows nothing", vec![], "stops: free; denied dev/p"),
        none("ingress: [{}] allows everything", vec![anything()], "passes: free; allowed dev/p[0]"),
        peer("absent is anyone, the outside included", anything(), "8.8.8.8 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        peer("absent is anyone, other namespaces included", anything(), "10.0.1.1 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        peer("podSelector {} is a pod of the own namespace", peers([own("")]), "10.0.0.3 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        peer("podSelector {} is no pod of another", peers([own("")]), "10.0.1.1 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        peer("podSelector {} is no outsider", peers([own("")]), "8.8.8.8 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        peer("namespaceSelector {} is a pod of any namespace", peers([any_of("", "")]), "10.0.1.1 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        peer("namespaceSelector {} is the own namespace, too", peers([any_of("", "")]), "10.0.0.3 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        peer("namespaceSelector {} is no outsider", peers([any_of("", "")]), "8.8.8.8 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        peer("namespaceSelector {} is no hostNetwork pod", peers([any_of("", "")]), "192.168.0.2 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        peer("both selectors must hold", peers([any_of("team=prod", "app=db")]), "10.0.1.1 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        peer("both selectors hold", peers([any_of("team=prod", "app=web")]), "10.0.1.1 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        peer("two peers are alternatives", peers([own("app=db"), any_of("team=prod", "")]), "10.0.1.1 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
    ];
    cases
}

fn port_lists() -> Vec<Case> {
    let case = |topic, name, rule: Rule, packet, says| Case {
        topic,
        name,
        cluster: cluster([policy("app=web").ingress([rule])]),
        packet,
        says,
    };
    let every_tcp = || ports([Port { protocol: Protocol::Tcp, numbers: PortNumbers::All }]);
    let pairs = || ports([tcp(80), udp(81)]);
    let range = || ports([range(Protocol::Tcp, 8000, 8100)]);
    let only_sctp = || ports([super::range(Protocol::Sctp, 80, 80)]);
    let (allowed, denied) = ("passes: free; allowed dev/p[0]", "stops: free; denied dev/p");
    #[rustfmt::skip]
    let cases = vec![
        case("ports", "absent is every TCP port", anything(), "8.8.8.8 > 10.0.0.1 tcp/1", allowed),
        case("ports", "absent is every UDP port", anything(), "8.8.8.8 > 10.0.0.1 udp/1", allowed),
        case("ports", "absent is every protocol", anything(), "8.8.8.8 > 10.0.0.1 proto/47", allowed),
        case("ports", "[{}] is every TCP port", every_tcp(), "8.8.8.8 > 10.0.0.1 tcp/65535", allowed),
        case("ports", "[{}] is no UDP port", every_tcp(), "8.8.8.8 > 10.0.0.1 udp/80", denied),
        case("ports", "[{}] is no other protocol", every_tcp(), "8.8.8.8 > 10.0.0.1 proto/1", denied),
        case("ports are pairs", "TCP/80 of TCP/80, UDP/81", pairs(), "8.8.8.8 > 10.0.0.1 tcp/80", allowed),
        case("ports are pairs", "UDP/81 of TCP/80, UDP/81", pairs(), "8.8.8.8 > 10.0.0.1 udp/81", allowed),
        case("ports are pairs", "not TCP/81", pairs(), "8.8.8.8 > 10.0.0.1 tcp/81", denied),
        case("ports are pairs", "not UDP/80", pairs(), "8.8.8.8 > 10.0.0.1 udp/80", denied),
        case("endPort, and other protocols stay isolated", "first port", range(), "8.8.8.8 > 10.0.0.1 tcp/8000", allowed),
        case("endPort, and other protocols stay isolated", "last port, included", range(), "8.8.8.8 > 10.0.0.1 tcp/8100", allowed),
        case("endPort, and other protocols stay isolated", "below", range(), "8.8.8.8 > 10.0.0.1 tcp/7999", denied),
        case("endPort, and other protocols stay isolated", "above", range(), "8.8.8.8 > 10.0.0.1 tcp/8101", denied),
        case("endPort, and other protocols stay isolated", "SCTP alone isolates TCP", only_sctp(), "8.8.8.8 > 10.0.0.1 tcp/80", denied),
        case("endPort, and other protocols stay isolated", "and UDP", only_sctp(), "8.8.8.8 > 10.0.0.1 udp/80", denied),
        case("endPort, and other protocols stay isolated", "and allows SCTP", only_sctp(), "8.8.8.8 > 10.0.0.1 sctp/80", allowed),
    ];
    cases
}

fn mixing() -> Vec<Case> {
    let case = |name, cluster, packet, says| Case {
        topic: "rules do not mix",
        name,
        cluster,
        packet,
        says,
    };
    let db_80 = || peers([own("app=db")]).on_ports([tcp(80)]);
    let bare_443 = || peers([own("!app")]).on_ports([tcp(443)]);
    let one = || cluster([policy("app=web").ingress([db_80(), bare_443()])]);
    let two = || {
        cluster([
            policy("app=web").ingress([db_80()]),
            policy("").named("dev/q").ingress([bare_443()]),
        ])
    };
    #[rustfmt::skip]
    let cases = vec![
        case("first rule", one(), "10.0.0.2 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        case("second rule", one(), "10.0.0.3 > 10.0.0.1 tcp/443", "passes: free; allowed dev/p[1]"),
        case("peer of one, port of the other rule", one(), "10.0.0.2 > 10.0.0.1 tcp/443", "stops: free; denied dev/p"),
        case("and the other way", one(), "10.0.0.3 > 10.0.0.1 tcp/80", "stops: free; denied dev/p"),
        case("policies add up", two(), "10.0.0.3 > 10.0.0.1 tcp/443", "passes: free; allowed dev/q[0]"),
        case("peer of one, port of the other policy", two(), "10.0.0.2 > 10.0.0.1 tcp/443", "stops: free; denied dev/p dev/q"),
        case("all allowing rules are named", cluster([policy("").ingress([anything(), anything()]), policy("").named("dev/q").ingress([anything()])]), "8.8.8.8 > 10.0.0.1 tcp/1", "passes: free; allowed dev/p[0] dev/p[1] dev/q[0]"),
        case("an egress rule allows no ingress", cluster([policy("app=web").ingress([]).egress([anything()])]), "8.8.8.8 > 10.0.0.1 tcp/1", "stops: free; denied dev/p"),
    ];
    cases
}

fn protocols() -> Vec<Case> {
    let case = |name, rule: Rule, packet, says| Case {
        topic: "protocols without ports",
        name,
        cluster: cluster([policy("app=web").ingress([rule])]),
        packet,
        says,
    };
    #[rustfmt::skip]
    let cases = vec![
        case("ping by a rule without ports", peers([own("app=db")]), "10.0.0.2 > 10.0.0.1 proto/1", "passes: free; allowed dev/p[0]"),
        case("ping from another peer", peers([own("app=db")]), "10.0.0.3 > 10.0.0.1 proto/1", "stops: free; denied dev/p"),
        case("no ping by a rule with ports", ports([tcp(80), udp(80)]), "8.8.8.8 > 10.0.0.1 proto/1", "stops: free; denied dev/p"),
        case("nor ICMPv6", ports([tcp(80)]), "2001:db8::1 > fd00::1 proto/58", "stops: free; denied dev/p"),
    ];
    cases
}

fn halves() -> Vec<Case> {
    let case = |name, cluster, says| Case {
        topic: "both halves",
        name,
        cluster,
        packet: "10.0.0.2 > 10.0.0.1 tcp/80",
        says,
    };
    let out = |rule: Rule| policy("app=db").named("dev/out").egress([rule]);
    let into = |rule: Rule| policy("app=web").named("dev/in").ingress([rule]);
    let to_web = || peers([own("app=web")]);
    let from_db = || peers([own("app=db")]);
    let no = || peers([own("app=none")]);
    #[rustfmt::skip]
    let cases = vec![
        case("allowed out, denied in", cluster([out(to_web()), into(no())]), "stops: allowed dev/out[0]; denied dev/in"),
        case("denied out, allowed in", cluster([out(no()), into(from_db())]), "stops: denied dev/out; allowed dev/in[0]"),
        case("allowed by both", cluster([out(to_web()), into(from_db())]), "passes: allowed dev/out[0]; allowed dev/in[0]"),
        case("denied by both", cluster([out(no()), into(no())]), "stops: denied dev/out; denied dev/in"),
        case("a drop waits for all policies", cluster([into(no()), policy("app=web").named("dev/z").ingress([from_db()])]), "passes: free; allowed dev/z[0]"),
    ];
    cases
}
