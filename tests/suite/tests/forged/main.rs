//! Every forged packet that has ever opened a policy, sent for real.
//!
//! Each attack runs twice on each kind of network: without a table it must work, or
//! the test could not see it; with the policies of [`Arena`] in force it must not.
//! The result is printed as a table.
//!
//! | file | the attacks |
//! |---|---|
//! | `tunnels` | packets for a node's tunnel, sent by a pod or a host of the network |
//! | `openers` | a forged packet opens a flow, so that the forger's own packets are replies |
//! | `addresses` | sources that are not the sender's, destinations that no Pod object names |
//! | `frames` | frames that are neither untagged IP nor ARP |
//! | `accomplices` | an isolated pod sends to one neighbour what is allowed to another |
//! | `groups` | multicast and broadcast from and to isolated pods |
//! | `neighbours` | another's hardware address, ARP, neighbour and router advertisements, redirects |
//! | `reflected` | the node, or the victim itself, answers for the attacker |
//! | `strangers` | the same from an interface that is bound to no pod |
//! | `unbound` | from a port that is no pod's: another's address behind tags that receivers strip |
//! | `honest` | what must pass: addresses, Services, masquerading, discovery |
//! | `claims`, `changes` | a pod claims what is another's; bindings change under fire |

mod accomplices;
mod addresses;
mod attack;
mod changes;
mod claims;
mod frames;
mod groups;
mod honest;
mod neighbours;
mod openers;
mod reflected;
mod strangers;
mod tunnels;
mod unbound;

use anyhow::Result;
use attack::{Attack, check};
use netbed::arena::Arena;
use samples::testbed_spec::{Between, Network};

/// The honest ways first and last: no attack may leave one of them broken.
fn rounds() -> [Vec<Attack>; 3] {
    let attacks = [
        tunnels::ATTACKS,
        openers::ATTACKS,
        addresses::ATTACKS,
        frames::ATTACKS,
        accomplices::ATTACKS,
        groups::ATTACKS,
        reflected::ATTACKS,
        strangers::ATTACKS,
        &neighbours::attacks(),
    ];
    let honest = || [honest::ways(), groups::WAYS.to_vec()].concat();
    [honest(), attacks.concat(), honest()]
}

macro_rules! on {
    ($($test:ident: $network:ident $between:ident;)*) => {$(
        #[test]
        fn $test() -> Result<()> {
            check(&rounds(), Arena::new(Network::$network, Between::$between)?)
        }
    )*};
}

on! {
    bridge_with_routes: Bridge Routes;
    bridge_with_vxlan: Bridge Vxlan;
    bridge_with_udp: Bridge Udp;
    routed_with_routes: Routed Routes;
    routed_with_vxlan: Routed Vxlan;
}
