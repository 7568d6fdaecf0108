//! A pod with CAP_NET_ADMIN gives its interface what is another's: before `nftpol`
//! looks at the node for the first time, and after.

use anyhow::{Result, ensure};
use netbed::arena::{Arena, Way};
use netbed::forge::{marker, udp};
use netbed::net::veth;
use samples::testbed_spec::{Between, Network};

/// Whether a datagram under a pod's address and a pod's MAC arrives.
fn delivered(arena: &Arena, from: &str, as_pod: &str, to: &str, v6: bool) -> Result<bool> {
    let marker = marker();
    let source = (arena.address(as_pod, v6)?, arena.port()).into();
    let packet = udp(source, (arena.address(to, v6)?, arena.port()).into(), &marker);
    let way = match arena.testbed().spec().network {
        Network::Bridge | Network::Macvlan | Network::Moved => Way::Neighbour,
        Network::Routed => Way::Gateway,
    };
    arena.packet(from, way, to, &packet)?;
    arena.arrives(to, marker)
}

/// The attacker passes for nobody, the friend for itself.
fn check(arena: &Arena, when: &str) -> Result<()> {
    for v6 in [false, true] {
        let case = format!("{:?}, {when}, IPv6: {v6}", arena.testbed().spec().network);
        let forged = delivered(arena, "attacker", "friend", "victim", v6)?;
        ensure!(!forged, "{case}: the attacker passes for the friend");
        let forged = delivered(arena, "attacker", "friend-2", "victim", v6)?;
        ensure!(!forged, "{case}: the attacker passes for the other node's friend");
        let honest = delivered(arena, "friend", "friend", "victim", v6)?;
        ensure!(honest, "{case}: the friend does not reach the victim");
    }
    Ok(())
}

/// What a pod does to its own interface, and how it undoes it.
type Claim = (&'static str, fn(&Arena) -> Result<String>, fn(&Arena) -> Result<String>);

const CLAIMS: &[Claim] = &[
    (
        "the friend's addresses on the own interface",
        |arena| both(arena, "add", "friend"),
        |arena| both(arena, "del", "friend"),
    ),
    (
        "the addresses of the other node's friend",
        |arena| both(arena, "add", "friend-2"),
        |arena| both(arena, "del", "friend-2"),
    ),
    (
        "a hundred addresses",
        |_| Ok((0..100).map(|n| format!("addr add 10.244.1.{}/32 dev eth0\n", 100 + n)).collect()),
        |_| Ok((0..100).map(|n| format!("addr del 10.244.1.{}/32 dev eth0\n", 100 + n)).collect()),
    ),
    ("the friend's MAC", |arena| mac(arena, "friend"), |arena| mac(arena, "attacker")),
    ("the gateway's MAC", |arena| gateway(arena), |arena| mac(arena, "attacker")),
    (
        "the gateway's addresses",
        |_| Ok("addr add 10.244.1.1/32 dev eth0\naddr add fd00:10:244::1/128 dev eth0 nodad".into()),
        |_| Ok("addr del 10.244.1.1/32 dev eth0\naddr del fd00:10:244::1/128 dev eth0".into()),
    ),
];

fn both(arena: &Arena, verb: &str, of: &str) -> Result<String> {
    let flags = if verb == "add" { "nodad" } else { "" };
    Ok(format!(
        "addr {verb} {}/32 dev eth0\naddr {verb} {}/128 dev eth0 {flags}",
        arena.address(of, false)?,
        arena.address(of, true)?
    ))
}

fn mac(arena: &Arena, of: &str) -> Result<String> {
    Ok(format!("link set eth0 address {}", text(arena.mac(of)?)))
}

fn gateway(arena: &Arena) -> Result<String> {
    Ok(format!("link set eth0 address {}", text(arena.gateway("attacker")?)))
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn on(network: Network) -> Result<()> {
    let mut arena = Arena::new(network, Between::Routes)?;
    let ip = |arena: &Arena, lines: &str| arena.endpoint("attacker")?.namespace.ip(lines);
    // Before the first look, everything at once: the friend was there first.
    ip(&arena, &both(&arena, "add", "friend")?)?;
    arena.enforce()?;
    check(&arena, "claimed before the first look")?;
    ip(&arena, &both(&arena, "del", "friend")?)?;
    for (name, claim, release) in CLAIMS {
        ip(&arena, &claim(&arena)?)?;
        check(&arena, &format!("{name}, not looked at yet"))?;
        arena.enforce()?;
        check(&arena, &format!("{name}, looked at"))?;
        ip(&arena, &release(&arena)?)?;
        arena.enforce()?;
        check(&arena, &format!("{name}, released"))?;
    }
    Ok(())
}

#[test]
fn a_bridged_pod_claims_what_is_another_s() -> Result<()> {
    on(Network::Bridge)
}

#[test]
fn a_routed_pod_claims_what_is_another_s() -> Result<()> {
    on(Network::Routed)
}

/// It gives up its own addresses before the first look, so that nothing says whose
/// interface it is. It still passes for no pod of the node. That it passes for pods of
/// other nodes is named by `nftpol`: no interface has the pod's address.
#[test]
fn a_pod_without_its_addresses_passes_for_no_neighbour() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let mut arena = Arena::new(network, Between::Routes)?;
        let gone = "addr flush dev eth0 scope global";
        arena.endpoint("attacker")?.namespace.ip(gone)?;
        arena.enforce()?;
        for v6 in [false, true] {
            let forged = delivered(&arena, "attacker", "friend", "victim", v6)?;
            ensure!(!forged, "{network:?}, IPv6: {v6}: the attacker passes for the friend");
        }
    }
    Ok(())
}

/// The stranger is no pod's, and has the friend's addresses. Nobody can tell whose they
/// are, so nobody uses them, nor does the stranger pass for others. The friend has them
/// as soon as the stranger has not, and then for good.
#[test]
fn of_two_unknown_interfaces_neither_speaks_for_the_pod() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let mut arena = Arena::new(network, Between::Routes)?;
        let stranger = |arena: &Arena, verb: &str| {
            arena.endpoint("stranger")?.namespace.ip(&both(arena, verb, "friend")?)
        };
        let check = |arena: &Arena, when: &str, honest: bool| -> Result<()> {
            for v6 in [false, true] {
                let case = format!("{network:?}, {when}, IPv6: {v6}");
                let forged = delivered(arena, "stranger", "friend", "victim", v6)?;
                ensure!(!forged, "{case}: the stranger passes for the friend");
                let own = delivered(arena, "friend", "friend", "victim", v6)?;
                ensure!(own == honest, "{case}: whether the friend reaches the victim: {own}");
            }
            Ok(())
        };
        for v6 in [false, true] {
            let forged = delivered(&arena, "stranger", "friend", "victim", v6)?;
            ensure!(forged, "{network:?}, IPv6: {v6}: not even without a table");
        }
        stranger(&arena, "add")?;
        arena.enforce()?;
        check(&arena, "contested", false)?;
        for v6 in [false, true] {
            let forged = delivered(&arena, "stranger", "friend-2", "victim", v6)?;
            ensure!(!forged, "{network:?}, IPv6: {v6}: it passes for the other node's friend");
        }
        arena.prove()?;
        arena.enforce()?;
        check(&arena, "contested, looked at again", false)?;
        stranger(&arena, "del")?;
        arena.enforce()?;
        check(&arena, "released", true)?;
        stranger(&arena, "add")?;
        arena.enforce()?;
        check(&arena, "claimed later", true)?;
    }
    Ok(())
}

/// The attacker has a second interface, with the friend's addresses from before the
/// friend had them.
#[test]
fn a_second_interface_of_a_pod_speaks_for_no_other() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let mut arena = Arena::new(network, Between::Routes)?;
        let node = &arena.endpoint("node-1")?.namespace;
        let attacker = &arena.endpoint("attacker")?.namespace;
        veth((node, "second"), (attacker, "net1"))?;
        let bridge = if network == Network::Bridge { "master cni0 " } else { "" };
        node.ip(&format!("link set second {bridge}up"))?;
        attacker.ip("link set net1 up")?;
        attacker.ip(&both(&arena, "add", "friend")?.replace("eth0", "net1"))?;
        let friend = &arena.endpoint("friend")?.namespace;
        friend.ip("addr flush dev eth0 scope global")?;
        friend.ip(&both(&arena, "add", "friend")?)?;
        arena.enforce()?;
        check(&arena, "on a second interface")?;
    }
    Ok(())
}
