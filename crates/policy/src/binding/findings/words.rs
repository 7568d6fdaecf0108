//! Findings in words.
//!
//! In: a finding. Out: a line for people. Never: more than a few names.

use std::fmt;

use super::super::holder::Holder;
use super::BindingFinding;

/// For people: lower case, without a full stop.
impl fmt::Display for BindingFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface { pod, address } => {
                write!(f, "pod {pod}: no interface of this node is bound to its address {address}")
            }
            Self::ClaimedTwice { address, pod, owner, claimant, more } => {
                let more = AndMore(*more);
                write!(f, "{claimant} claims the address {address}{more} of pod {pod}, which ")?;
                match owner {
                    Some(owner) => write!(f, "{owner} holds"),
                    None => f.write_str("no interface holds"),
                }
            }
            Self::Contested { address, pod, claimants, more } => {
                let claimants: Vec<String> = claimants.iter().map(Holder::to_string).collect();
                write!(f, "pod {pod} is cut off: its address {address} is on ")?;
                write!(f, "{}{}, ", claimants.join(" and "), AndMore(*more))?;
                f.write_str("and nobody knows which interface is the pod's")
            }
            Self::UnreportedAddress { pod, interface, address, more } => {
                let more = AndMore(*more);
                write!(f, "pod {pod}, interface {interface}: ")?;
                write!(f, "its Pod object does not report the address {address}{more}")
            }
            Self::MacClaimedTwice { mac, owner, claimant, keeps_former } => {
                write!(f, "{claimant} claims the MAC {mac}, which ")?;
                match owner {
                    Some(owner) => write!(f, "{owner} had first")?,
                    None => f.write_str("is its bridge's")?,
                }
                f.write_str(match keeps_former {
                    true => "; it stays bound to its former MAC",
                    false => "; nothing that it sends passes",
                })
            }
            Self::MacChanged { pod, interface, bound, now } => {
                write!(f, "pod {pod}, interface {interface}: ")?;
                write!(f, "its MAC changed to {now}; it stays bound to {bound}")
            }
            Self::UnboundPort { interface, bridge } => {
                write!(f, "interface {interface}")?;
                if let Some(bridge) = bridge {
                    write!(f, " of bridge {bridge}")?;
                }
                f.write_str(" is bound to no pod: it can send under any address but pods' own")
            }
            Self::VlanFiltering { bridge } => {
                write!(f, "bridge {bridge} filters VLANs: its pods are not bound to their ports")
            }
        }
    }
}

struct AndMore(usize);

impl fmt::Display for AndMore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}
