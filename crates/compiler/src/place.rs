//! Where a node enforces.

use policy::ObjectKey;
use ruleset::{BaseChain, Hook, Name};

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

    /// The names of all base chains.
    pub fn chains(&self) -> Vec<Name> {
        let output = self.pod.as_ref().map(|_| scaffold::inside::output_chain());
        [self.chain.clone()].into_iter().chain(output).collect()
    }
}
