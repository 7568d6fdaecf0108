//! ipBlocks and their excepts.

use super::*;

/// The cases of this file.
pub(super) fn cases() -> Vec<Case> {
    let case = |topic, name, rules: Vec<Rule>, packet, says| Case {
        topic,
        name,
        cluster: cluster([NetworkPolicy { ingress: Some(rules), ..policy("app=web") }]),
        packet,
        says,
    };
    let one = |peer| vec![peers([peer])];
    let ten_but_db = || block("10.0.0.0/8", ["10.0.0.2/32"]);
    let two_policies = || {
        cluster([
            policy("app=web").ingress([peers([ten_but_db()])]),
            policy("").named("dev/q").ingress([peers([block("10.0.0.0/24", [])])]),
        ])
    };
    let (allowed, denied) = ("passes: free; allowed dev/p[0]", "stops: free; denied dev/p");
    #[rustfmt::skip]
    let cases = vec![
        case("ipBlock and pods", "an outside address", one(block("8.8.0.0/16", [])), "8.8.8.8 > 10.0.0.1 tcp/80", allowed),
        case("ipBlock and pods", "an address beside", one(block("8.8.0.0/16", [])), "8.9.8.8 > 10.0.0.1 tcp/80", denied),
        case("ipBlock and pods", "a pod's address is an address", one(block("10.0.0.0/8", [])), "10.0.0.2 > 10.0.0.1 tcp/80", allowed),
        case("ipBlock and pods", "a pod of another namespace, too", one(block("10.0.0.0/8", [])), "10.0.1.1 > 10.0.0.1 tcp/80", allowed),
        case("ipBlock and pods", "all of IPv4", one(block("0.0.0.0/0", [])), "10.0.0.2 > 10.0.0.1 tcp/80", allowed),
        case("except", "the except is not allowed", one(ten_but_db()), "10.0.0.2 > 10.0.0.1 tcp/80", denied),
        case("except", "its neighbours are", one(ten_but_db()), "10.0.0.3 > 10.0.0.1 tcp/80", allowed),
        case("except", "another peer allows it", vec![peers([ten_but_db(), own("app=db")])], "10.0.0.2 > 10.0.0.1 tcp/80", allowed),
        case("except", "another block of the rule allows it", vec![peers([ten_but_db(), block("10.0.0.2/31", [])])], "10.0.0.2 > 10.0.0.1 tcp/80", allowed),
        case("except", "another rule allows it", vec![peers([ten_but_db()]), anything()], "10.0.0.2 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[1]"),
        Case { topic: "except", name: "another policy allows it", cluster: two_policies(), packet: "10.0.0.2 > 10.0.0.1 tcp/80", says: "passes: free; allowed dev/q[0]" },
        case("except", "nested excepts", one(block("10.0.0.0/8", ["10.0.0.0/16", "10.0.0.2/32"])), "10.0.0.3 > 10.0.0.1 tcp/80", denied),
        case("families", "0.0.0.0/0 is no IPv6", one(block("0.0.0.0/0", [])), "2001:db8::1 > fd00::1 tcp/80", denied),
        case("families", "::/0 is all of IPv6", one(block("::/0", [])), "2001:db8::1 > fd00::1 tcp/80", allowed),
        case("families", "::/0 is no IPv4", one(block("::/0", [])), "8.8.8.8 > 10.0.0.1 tcp/80", denied),
        case("families", "an IPv6 block with an except", one(block("2001:db8::/32", ["2001:db8:1::/48"])), "2001:db8:1::1 > fd00::1 tcp/80", denied),
        case("families", "beside the except", one(block("2001:db8::/32", ["2001:db8:1::/48"])), "2001:db8:2::1 > fd00::1 tcp/80", allowed),
        case("cidr notation", "host bits are ignored", one(block("10.1.2.3/8", [])), "10.0.0.2 > 10.0.0.1 tcp/80", allowed),
        case("cidr notation", "host bits of an except, too", one(block("10.0.0.0/8", ["10.0.0.3/31"])), "10.0.0.2 > 10.0.0.1 tcp/80", denied),
        case("cidr notation", "leading zeros are decimal", one(block("010.0.0.0/24", [])), "10.0.0.2 > 10.0.0.1 tcp/80", allowed),
        case("cidr notation", "and not octal", one(block("010.0.0.0/24", [])), "8.0.0.2 > 10.0.0.1 tcp/80", denied),
        case("cidr notation", "host bits of IPv6", one(block("2001:db8::1/32", [])), "2001:db8::2 > fd00::1 tcp/80", allowed),
    ];
    cases
}
