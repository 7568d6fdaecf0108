//! An interface and its pod, for people.
//!
//! In: the view, who holds what. Out: words. Never: the name of a pod that got an
//! address of an interface that was left over.

use std::fmt;

use super::View;
use super::addresses::Held;
use crate::{InterfaceIndex, ObjectKey};

/// An interface, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its number.
    pub index: InterfaceIndex,
    /// Its name, as seen now.
    pub name: String,
    /// Whose it is, when that is known.
    pub pod: Option<ObjectKey>,
    /// Whether its pod is gone. Then another pod may report its address.
    pub is_left_over: bool,
}

pub(super) fn holder(view: &View<'_>, held: &Held<'_>, index: InterfaceIndex) -> Holder {
    let is_left_over = view.is_left_over(index);
    let pod = view.ports.get(&index).and_then(|port| held.pod_of(port));
    let pod = pod.or_else(|| view.living_claimant(index)).filter(|_| !is_left_over);
    Holder { index, name: view.name(index), pod: pod.cloned(), is_left_over }
}

/// `interface veth12 of pod dev/web`, `interface veth12 of an unknown pod`, `interface
/// veth12 of no living pod`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {} of ", self.name)?;
        match &self.pod {
            Some(pod) => write!(f, "pod {pod}"),
            None if self.is_left_over => f.write_str("no living pod"),
            None => f.write_str("an unknown pod"),
        }
    }
}
