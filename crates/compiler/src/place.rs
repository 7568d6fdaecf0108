//! Where a node enforces.

use policy::ObjectKey;
use ruleset::{BaseChain, Hook, Name};

use crate::names::{Content, constant};
use crate::scaffold;

/// `filter - 1`: before other tables' forward chains. What we drop costs them
/// nothing, and they can still drop what we accept.
const FORWARD_PRIORITY: i32 = -1;

/// Where packets are judged: base chains, in a table of its own.
///
/// Two places share no table, so each has its own sets in use, and a change of
/// one needs no order with the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table, of family `inet`.
    pub table: Name,
    /// The base chain's name, that of the first if there are two.
    pub chain: Name,
    /// Its hook and priority.
    pub base: BaseChain,
    /// The pod in whose own network namespace it is. `None`: on the node.
    pub pod: Option<ObjectKey>,
}

impl Place {
    /// The forward hook, on which the policies are judged.
    pub fn forward() -> Self {
        let base = BaseChain::forward(FORWARD_PRIORITY);
        Self { table: scaffold::table(), chain: scaffold::base_chain(), base, pod: None }
    }

    /// The namespace of a pod whose packets do not cross the node's forward hook: what
    /// comes in is judged on the input hook, and what goes out on the output hook.
    pub fn inside(pod: ObjectKey) -> Self {
        let base = BaseChain::new(Hook::Input, FORWARD_PRIORITY);
        Self {
            table: scaffold::table(),
            chain: scaffold::inside::input_chain(),
            base,
            pod: Some(pod),
        }
    }

    /// The same for the interfaces of one of the pod's networks that are not its primary one.
    /// Each network has a table of its own.
    pub fn on_network(pod: ObjectKey, network: &ObjectKey) -> Self {
        Self { table: network_table(network), ..Self::inside(pod) }
    }

    /// The same for interfaces of a pod of which nobody knows the network.
    pub fn on_unknown(pod: ObjectKey) -> Self {
        Self { table: unknown_table(), ..Self::inside(pod) }
    }

    /// The names of all base chains.
    pub fn chains(&self) -> Vec<Name> {
        let output = self.pod.as_ref().map(|_| scaffold::inside::output_chain());
        [self.chain.clone()].into_iter().chain(output).collect()
    }
}

/// How the names of tables of networks begin. What follows is `namespace/name`, or a hash.
pub const NETWORK_TABLE: &str = "nftpol-net-";

/// The longest name of a network that a table's name holds as it is.
const READABLE: usize = 120;

/// The table of a network. Two networks have different ones: no hash has a slash.
pub fn network_table(network: &ObjectKey) -> Name {
    let written = network.to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-.".contains(&byte);
    let fits = written.len() <= READABLE && written.bytes().all(is_plain);
    let rest = match fits {
        true => written,
        false => {
            let content = Content::of("network").text(&network.namespace).text(&network.name);
            format!("{:032x}", content.hash())
        }
    };
    constant(&format!("{NETWORK_TABLE}{rest}"))
}

/// The table of interfaces whose network is not known. No network has a name without a slash.
pub fn unknown_table() -> Name {
    constant(&format!("{NETWORK_TABLE}unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_different_tables() {
        let long = "x".repeat(200);
        let names =
            [("a", "b-c"), ("a-b", "c"), ("a", "b.c"), ("a", &long), ("a", "b c"), ("é", "")]
                .map(|(namespace, name)| network_table(&ObjectKey::new(namespace, name)));
        let distinct: std::collections::BTreeSet<&Name> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        assert!(!names.contains(&unknown_table()));
        assert_eq!(names[0].as_str(), "nftpol-net-a/b-c");
        assert!(names.iter().all(|name| name.as_str().starts_with(NETWORK_TABLE)));
    }
}
