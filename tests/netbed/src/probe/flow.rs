//! What is tried and what was seen, in the words of the testbed and of the
//! specification.

use std::fmt;

use policy::Protocol;
use policy::spec::{Packet, ProtocolPort};

use crate::testbed::Testbed;

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Knock {
    /// A connection to a listening socket.
    Tcp(u16),
    /// A datagram to a bound socket, which echoes it.
    Udp(u16),
    /// An INIT, answered by an INIT ACK.
    Sctp(u16),
    /// An echo request, answered by the kernel.
    Icmp,
}

/// A flow that was not tried before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// What is tried.
    pub knock: Knock,
    /// Over IPv6.
    pub v6: bool,
    /// Index of the source in [`Testbed::endpoints`].
    pub from: usize,
    /// Index of the destination.
    pub to: usize,
}

/// How far a flow came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Nothing arrived, although everything else arrived in less time.
    #[default]
    Nothing,
    /// It arrived, but the answer did not come back.
    Arrived,
    /// It arrived, and its answer came back.
    Answered,
}

impl Flow {
    /// Every pair of different endpoints with at least one pod, with every kind of
    /// probe, over every family that both have.
    pub fn all(cluster: &Testbed, knocks: &[Knock]) -> Vec<Self> {
        let endpoints = cluster.endpoints();
        let mut flows = Vec::new();
        for &knock in knocks {
            for v6 in [false, true] {
                for (from, source) in endpoints.iter().enumerate() {
                    for (to, destination) in endpoints.iter().enumerate() {
                        let both =
                            source.address(v6).is_some() && destination.address(v6).is_some();
                        if from != to && both && (source.is_pod() || destination.is_pod()) {
                            flows.push(Self { knock, v6, from, to });
                        }
                    }
                }
            }
        }
        flows
    }

    /// The first packet in the specification's words. `None` where a side lacks the
    /// family.
    ///
    /// A node has more addresses than the one that its pods report. The
    /// specification is asked about the reported one, because a node is one peer
    /// whatever source address it uses.
    pub fn packet(&self, cluster: &Testbed) -> Option<Packet> {
        let address = |index: usize| cluster.endpoints()[index].address(self.v6);
        let transport = match self.knock {
            Knock::Tcp(port) => ProtocolPort::Port(Protocol::Tcp, port),
            Knock::Udp(port) => ProtocolPort::Port(Protocol::Udp, port),
            Knock::Sctp(port) => ProtocolPort::Port(Protocol::Sctp, port),
            // IANA protocol numbers.
            Knock::Icmp => ProtocolPort::Other(if self.v6 { 58 } else { 1 }),
        };
        Some(Packet { source: address(self.from)?, destination: address(self.to)?, transport })
    }

    /// `dev/web -> dev/db TCP/80 IPv4`.
    pub fn describe(&self, cluster: &Testbed) -> String {
        let name = |index: usize| &cluster.endpoints()[index].name;
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        format!("{} -> {} {} {family}", name(self.from), name(self.to), self.knock)
    }
}

impl fmt::Display for Knock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "TCP/{port}"),
            Self::Udp(port) => write!(f, "UDP/{port}"),
            Self::Sctp(port) => write!(f, "SCTP/{port}"),
            Self::Icmp => f.write_str("ICMP"),
        }
    }
}
