//! The rules of kube-proxy for Services of one endpoint, for a packet that is forwarded.
//!
//! After Kubernetes 1.36.3: `setupNFTables` and `writeServiceToEndpointRules` of
//! pkg/proxy/nftables/proxier.go, and the expected rules of its tests; for iptables,
//! `iptablesJumpChains` and the rules in the tests of pkg/proxy/iptables. The second is
//! a translation: what xtables does rule by rule is written as nftables' rules with a
//! counter each. Chains of other hooks are left out.
//!
//! Of a packet to a Service the first form finds the chain by one look-up, the second by
//! a walk over all Services. The Service that is asked is in the middle.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Pods' addresses, as kube-proxy is told by `--cluster-cidr`.
const PODS: &str = "10.244.0.0/16";
/// The first Service's address.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// How Services are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By a verdict map.
    Nftables,
    /// One rule after the other.
    Iptables,
}

/// The address of the Service that leads to the receiver, of this many.
pub fn service(services: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + services / 2)
}

/// A table of this many Services. The one in the middle leads to `receiver`, for TCP and
/// UDP, at the same port. The others lead elsewhere.
pub fn table(mode: Mode, services: u32, receiver: Ipv4Addr, port: u16) -> String {
    let ports = (0..services).flat_map(|number| {
        let address = Ipv4Addr::from_bits(FIRST.to_bits() + number);
        if address == service(services) {
            let to = |protocol| ServicePort { address, protocol, port, endpoint: receiver };
            vec![to("tcp"), to("udp")]
        } else {
            let endpoint = Ipv4Addr::from_bits(Ipv4Addr::new(10, 244, 128, 1).to_bits() + number);
            vec![ServicePort { address, protocol: "tcp", port, endpoint }]
        }
    });
    let ports: Vec<ServicePort> = ports.collect();
    match mode {
        Mode::Nftables => nftables(&ports),
        Mode::Iptables => iptables(&ports),
    }
}

/// A port of a Service.
struct ServicePort {
    address: Ipv4Addr,
    protocol: &'static str,
    port: u16,
    endpoint: Ipv4Addr,
}

impl ServicePort {
    /// The part of its chains' names that differs.
    fn name(&self) -> String {
        format!("{:08X}-{}", self.address.to_bits(), self.protocol)
    }
}

fn nftables(ports: &[ServicePort]) -> String {
    let mut text = String::from("table ip kube-proxy {\n");
    let list =
        |one: &dyn Fn(&ServicePort) -> String| ports.iter().map(one).collect::<Vec<_>>().join(", ");
    for port in ports {
        let ServicePort { protocol, endpoint, port: number, .. } = port;
        let name = port.name();
        // One endpoint (`writeServiceToEndpointRules`).
        let to = format!("numgen random mod 1 map {{ 0 : {endpoint} . {number} }}");
        let rule = format!("meta l4proto {protocol} dnat ip addr . port to {to}");
        line(&mut text, &format!("chain service-{name} {{ {rule}; }}"));
    }
    let addresses: std::collections::BTreeSet<Ipv4Addr> =
        ports.iter().map(|port| port.address).collect();
    let addresses: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
    let map = list(&|port| {
        let ServicePort { address, protocol, port: number, .. } = port;
        format!("{address} . {protocol} . {number} : goto service-{}", port.name())
    });
    let loops = list(&|port| {
        let ServicePort { endpoint, protocol, port: number, .. } = port;
        format!("{endpoint} . {endpoint} . {protocol} . {number}")
    });
    let verdicts = "type ipv4_addr . inet_proto . inet_service : verdict";
    for object in [
        &format!("map service-ips {{ {verdicts}; elements = {{ {map} }}; }}"),
        &format!("map firewall-ips {{ {verdicts}; }}"),
        &format!("map no-endpoint-services {{ {verdicts}; }}"),
        "map service-nodeports { type inet_proto . inet_service : verdict; }",
        &format!(
            "set cluster-ips {{ type ipv4_addr; elements = {{ {} }}; }}",
            addresses.join(", ")
        ),
        &format!(
            "set hairpin-connections {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; \
             elements = {{ {loops} }}; }}"
        ),
    ] {
        line(&mut text, object);
    }
    text + NFTABLES + "}\n"
}

/// The base chains of the prerouting, forward and postrouting hooks, and what they jump to.
const NFTABLES: &str = "chain firewall-check {
ip daddr . meta l4proto . th dport vmap @firewall-ips
}
chain service-endpoints-check {
ip daddr . meta l4proto . th dport vmap @no-endpoint-services
}
chain cluster-ips-check {
ip daddr @cluster-ips reject
}
chain masquerading {
mark and 0x4000 != 0 mark set mark xor 0x4000 masquerade fully-random
ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
}
chain services {
ip daddr @cluster-ips ip saddr != 10.244.0.0/16 mark set mark or 0x4000
ip daddr . meta l4proto . th dport vmap @service-ips
fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports
}
chain filter-prerouting-pre-dnat {
type filter hook prerouting priority dstnat - 10
ct state new jump firewall-check
}
chain filter-forward {
type filter hook forward priority filter
ct state new jump service-endpoints-check
ct state new jump cluster-ips-check
}
chain nat-prerouting {
type nat hook prerouting priority dstnat
jump services
}
chain nat-postrouting {
type nat hook postrouting priority srcnat
jump masquerading
}
";

fn iptables(ports: &[ServicePort]) -> String {
    let mut text = String::from("table ip nat {\n");
    line(&mut text, "chain KUBE-MARK-MASQ {\ncounter meta mark set meta mark or 0x4000\n}");
    for port in ports {
        let ServicePort { address, protocol, port: number, endpoint } = port;
        let name = port.name();
        for rule in [
            &format!("chain KUBE-SEP-{name} {{"),
            &format!("ip saddr {endpoint} counter jump KUBE-MARK-MASQ"),
            &format!("meta l4proto {protocol} counter dnat to {endpoint}:{number}\n}}"),
            &format!("chain KUBE-SVC-{name} {{"),
            &format!(
                "ip daddr {address} {protocol} dport {number} ip saddr != {PODS} counter jump \
                 KUBE-MARK-MASQ"
            ),
            &format!("counter jump KUBE-SEP-{name}\n}}"),
        ] {
            line(&mut text, rule);
        }
    }
    line(&mut text, "chain KUBE-NODEPORTS {\n}\nchain KUBE-SERVICES {");
    for port in ports {
        let ServicePort { address, protocol, port: number, .. } = port;
        let name = port.name();
        line(
            &mut text,
            &format!("ip daddr {address} {protocol} dport {number} counter jump KUBE-SVC-{name}"),
        );
    }
    line(&mut text, "fib daddr type local counter jump KUBE-NODEPORTS\n}");
    text + IPTABLES
}

/// The rest of table `nat`, and table `filter`.
const IPTABLES: &str = "chain KUBE-POSTROUTING {
meta mark and 0x4000 != 0x4000 counter return
counter meta mark set meta mark xor 0x4000
counter masquerade fully-random
}
chain PREROUTING {
type nat hook prerouting priority dstnat
counter jump KUBE-SERVICES
}
chain POSTROUTING {
type nat hook postrouting priority srcnat
counter jump KUBE-POSTROUTING
}
}
table ip filter {
chain KUBE-EXTERNAL-SERVICES {
}
chain KUBE-SERVICES {
}
chain KUBE-PROXY-FIREWALL {
}
chain KUBE-FORWARD {
ct state invalid counter drop
meta mark and 0x4000 == 0x4000 counter accept
ct state related,established counter accept
}
chain FORWARD {
type filter hook forward priority filter
ct state new counter jump KUBE-PROXY-FIREWALL
counter jump KUBE-FORWARD
ct state new counter jump KUBE-SERVICES
ct state new counter jump KUBE-EXTERNAL-SERVICES
}
}
";

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
