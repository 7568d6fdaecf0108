//! Finds out with real packets who reaches whom.
//!
//! Returns how far each flow came. All flows of a run happen at once, so a run
//! takes about as long as one refusal.
//! Never: a flow that conntrack could know from an earlier run. What should pass is
//! decided in [`crate::verdict`], not here.

mod doors;
mod flow;
mod packet;
mod run;

use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::testbed::Testbed;
use doors::Door;
pub use flow::{Flow, Knock, Seen};
pub(crate) use packet::{crc32c, internet_checksum, transport_checksum};

/// Source ports, echo identifiers and run numbers start here. All probed ports are
/// lower.
const FIRST_RUN: u16 = 20_000;
static NEXT_RUN: AtomicU16 = AtomicU16::new(FIRST_RUN);

/// The listening sockets of a testbed.
#[derive(Debug)]
pub struct Prober<'a> {
    cluster: &'a Testbed,
    doors: Vec<Door>,
}

impl<'a> Prober<'a> {
    /// Opens the sockets that these kinds of probes need on every endpoint.
    ///
    /// # Errors
    /// When a port is 20000 or above, or a socket cannot be opened.
    pub fn new(cluster: &'a Testbed, knocks: &[Knock]) -> Result<Self> {
        allow_many_sockets()?;
        let below = knocks.iter().all(|knock| match *knock {
            Knock::Tcp(port) | Knock::Udp(port) | Knock::Sctp(port) => port < FIRST_RUN,
            Knock::Icmp => true,
        });
        ensure!(below, "ports from {FIRST_RUN} are source ports");
        let mut doors = Vec::new();
        for (index, endpoint) in cluster.endpoints().iter().enumerate() {
            doors.extend(doors::open(endpoint, index, knocks)?);
        }
        Ok(Self { cluster, doors })
    }

    /// Tries all these flows, each as a new one. Ends when nothing has arrived for
    /// 250 ms.
    ///
    /// # Errors
    /// When a packet cannot be sent or arrives at the wrong socket.
    pub fn run(&self, flows: &[Flow]) -> Result<Vec<Seen>> {
        let number = NEXT_RUN.fetch_add(1, Ordering::Relaxed);
        ensure!(number >= FIRST_RUN, "out of numbers for runs");
        run::run(self.cluster, &self.doors, flows, number)
    }

    /// Tries them again until all arrive. Interfaces, neighbours and routes need a
    /// moment after their creation.
    ///
    /// # Errors
    /// When some still do not arrive after 20 tries. The error names some of them.
    pub fn settle(&self, flows: &[Flow]) -> Result<()> {
        let mut missing = flows.to_vec();
        for _ in 0..20 {
            let seen = self.run(&missing)?;
            missing = missing
                .into_iter()
                .zip(seen)
                .filter(|&(_, seen)| seen != Seen::Answered)
                .map(|(flow, _)| flow)
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
        }
        let named: Vec<_> =
            missing.iter().take(10).map(|flow| flow.describe(self.cluster)).collect();
        anyhow::bail!("{} flows never pass, without any policy: {named:#?}", missing.len())
    }
}

fn allow_many_sockets() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(65_536);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(())
}
