//! Where frames that a pod makes itself are judged, and where they are not.
//!
//! A packet socket (packet(7)) takes CAP_NET_RAW and sends below the hook `output`. On the
//! node, `forward` sees the packet all the same. In the pod's own network namespace nothing
//! does: `docs/limits.md` and `docs/threat-model.md` say so. The day that this test fails,
//! they may promise more.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netbed::{datagram, scenario};
use samples::fixtures::{isolated_victim, victim_and};
use samples::testbed_spec::Network;

const PORT: u16 = 7801;

#[test]
fn frames_of_a_pod_pass_the_table_in_its_own_namespace_and_not_the_nodes() -> Result<()> {
    for (network, passes) in
        [(Network::Macvlan, true), (Network::Moved, true), (Network::Bridge, false)]
    {
        let testbed = scenario::connected(victim_and("client", network), "rf")?;
        let (client, victim) = (testbed.endpoint("dev/client")?, testbed.endpoint("dev/victim")?);
        scenario::apply(&testbed, &isolated_victim("Egress"))?;
        for v6 in [false, true] {
            let at = |address: Option<_>| address.map(|one| SocketAddr::new(one, PORT));
            let from = at(victim.address(v6)).context("an address")?;
            let to = at(client.address(v6)).context("an address")?;
            let receiver = client.namespace.run(|| UdpSocket::bind(to))??;
            receiver.set_read_timeout(Some(Duration::from_millis(300)))?;
            // An `output` that drops says so to the sender (EPERM).
            let by_socket = datagram::arrives(victim, from, to, &receiver);
            ensure!(!by_socket.is_ok_and(|arrived| arrived), "{network:?}: egress is open");
            let by_frame = datagram::arrives_in_frame(victim, client, from, to, &receiver)?;
            assert_eq!(by_frame, passes, "{network:?}, IPv6: {v6}");
        }
    }
    Ok(())
}
