//! The policies of the arena.

use samples::fixtures;

use super::Arena;

/// The block that `victim` allows: sources that no endpoint has.
pub const ALLOWED_V4: &str = "203.0.113.0/24";
/// The same in IPv6.
pub const ALLOWED_V6: &str = "fd00:203::/64";

impl Arena {
    /// The policies of the table above.
    pub fn policies() -> String {
        let friend = fixtures::peer("friend");
        let blocks = |v4: &str, v6: &str| {
            format!("{{ipBlock: {{cidr: \"{v4}\"}}}}, {{ipBlock: {{cidr: \"{v6}\"}}}}")
        };
        let victim = format!("[{{from: [{friend}, {}]}}]", blocks(ALLOWED_V4, ALLOWED_V6));
        // Nodes masquerade under the addresses of their tunnels, too.
        let nodes = [
            blocks("192.168.77.0/24", "fd00:77::/64"),
            blocks("10.244.1.0/32", "fd00:10:244::/128"),
            blocks("10.244.2.0/32", "fd00:10:244:1::/128"),
        ]
        .join(", ");
        let ports = "[{port: 8080}, {port: 8080, protocol: UDP}]";
        let server = format!("[{{from: [{friend}, {nodes}], ports: {ports}}}]");
        let prisoner = format!("[{{to: [{friend}]}}]");
        [
            fixtures::policy_for("victim", &[("ingress", &victim)]),
            fixtures::policy_for("server", &[("ingress", &server)]),
            fixtures::policy_for("prisoner", &[("egress", &prisoner), ("policyTypes", "[Egress]")]),
        ]
        .join("---\n")
    }
}
