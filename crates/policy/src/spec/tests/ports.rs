//! Named ports: in both directions, the destination pod's ports count.

use super::*;

/// The cases of this file.
pub(super) fn cases() -> Vec<Case> {
    let http = || named(Protocol::Tcp, "http");
    let into = |name, port: Port, packet, says| Case {
        topic: "named ports",
        name,
        cluster: cluster([policy("").ingress([ports([port])])]),
        packet,
        says,
    };
    let out = |topic, name, rule: Rule, packet, says| Case {
        topic,
        name,
        cluster: cluster([policy("app=web").egress([rule])]),
        packet,
        says,
    };
    let anyone = "named ports without peers";
    let (allowed, denied) = ("passes: free; allowed dev/p[0]", "stops: free; denied dev/p");
    #[rustfmt::skip]
    let cases = vec![
        into("the isolated pod's number", http(), "8.8.8.8 > 10.0.0.1 tcp/80", allowed),
        into("another pod's number", http(), "8.8.8.8 > 10.0.0.1 tcp/8080", denied),
        into("another pod, its own number", http(), "8.8.8.8 > 10.0.0.2 tcp/8080", allowed),
        into("the name in a second container", http(), "8.8.8.8 > 10.0.0.2 tcp/8443", allowed),
        into("a pod without the name", http(), "8.8.8.8 > 10.0.0.3 tcp/80", denied),
        into("the sender's number counts for nothing", http(), "10.0.1.1 > 10.0.0.1 tcp/81", denied),
        into("the name with another protocol", named(Protocol::Tcp, "dns"), "8.8.8.8 > 10.0.0.1 tcp/53", denied),
        into("nor the number over that protocol", named(Protocol::Tcp, "dns"), "8.8.8.8 > 10.0.0.1 udp/53", denied),
        into("name and protocol agree", named(Protocol::Udp, "dns"), "8.8.8.8 > 10.0.0.1 udp/53", allowed),
        into("the same over IPv6", http(), "2001:db8::1 > fd00::1 tcp/80", allowed),
        out("named ports", "egress: the peer's number", peers([own("app=db")]).on_ports([http()]), "10.0.0.1 > 10.0.0.2 tcp/8080", "passes: allowed dev/p[0]; free"),
        out("named ports", "egress: not the isolated pod's own", peers([own("app=db")]).on_ports([http()]), "10.0.0.1 > 10.0.0.2 tcp/80", "stops: denied dev/p; free"),
        out("named ports", "egress: another pod's number", peers([any_of("", "")]).on_ports([http()]), "10.0.0.1 > 10.0.1.1 tcp/8080", "stops: denied dev/p; free"),
        out("named ports", "egress: each pod's own number", peers([any_of("", "")]).on_ports([http()]), "10.0.0.1 > 10.0.1.1 tcp/81", "passes: allowed dev/p[0]; free"),
        out("named ports", "egress: an ipBlock holds a pod that has the name", peers([block("10.0.0.0/8", [])]).on_ports([http()]), "10.0.0.1 > 10.0.0.2 tcp/8080", "passes: allowed dev/p[0]; free"),
        out(anyone, "a pod that has the name", ports([http()]), "10.0.0.1 > 10.0.0.2 tcp/8080", "passes: allowed dev/p[0]; free"),
        out(anyone, "a pod of another namespace", ports([http()]), "10.0.0.1 > 10.0.1.1 tcp/81", "passes: allowed dev/p[0]; free"),
        out(anyone, "a pod without the name", ports([http()]), "10.0.0.1 > 10.0.0.3 tcp/80", "stops: denied dev/p; free"),
        out(anyone, "an outsider", ports([http()]), "10.0.0.1 > 8.8.8.8 tcp/80", "stops: denied dev/p; free"),
        out(anyone, "an outsider in an ipBlock", peers([block("0.0.0.0/0", [])]).on_ports([http()]), "10.0.0.1 > 8.8.8.8 tcp/80", "stops: denied dev/p; free"),
    ];
    cases
}
