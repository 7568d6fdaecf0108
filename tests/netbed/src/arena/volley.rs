//! Forged and honest packets at full speed while something happens.
//!
//! All shots are fired in turn, by one thread. Another one counts, by their markers,
//! those that arrive at one endpoint.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{LinkAddr, MsgFlags, recvfrom, sendto};

use crate::forge::Marker;

/// One of this many rounds of shots has the honest ones, too, so that each of them
/// is seen.
const HONEST_EVERY: u64 = 50;

/// A frame that is sent again and again.
#[derive(Debug)]
pub struct Shot {
    /// What is forged.
    pub name: String,
    /// What the frame contains.
    pub marker: Marker,
    /// Whether it must arrive, always. All others must not, ever.
    pub honest: bool,
    pub(super) sender: OwnedFd,
    pub(super) link: LinkAddr,
    pub(super) frame: Vec<u8>,
}

/// How often a shot was sent and arrived.
#[derive(Debug, Default)]
pub struct Hits {
    sent: AtomicU64,
    arrived: AtomicU64,
}

impl Hits {
    /// Frames that the kernel took.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Frames that arrived.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }
}

/// Fires all shots while `meanwhile` runs. It gets the counts so far, in the order
/// of the shots. `ear` is where shots arrive.
///
/// # Errors
/// Those of `meanwhile`, and when a socket fails.
pub fn fire<T>(
    shots: &[Shot],
    ear: &OwnedFd,
    meanwhile: impl FnOnce(&[Hits]) -> Result<T>,
) -> Result<(T, Vec<Hits>)> {
    let hits: Vec<Hits> = shots.iter().map(|_| Hits::default()).collect();
    let (firing, counting) = (AtomicBool::new(true), AtomicBool::new(true));
    let result = thread::scope(|scope| {
        let gun = scope.spawn(|| shoot(shots, &hits, &firing));
        let counter = scope.spawn(|| count(shots, &hits, ear, &counting));
        let result = meanwhile(&hits);
        firing.store(false, Ordering::Release);
        let fired = gun.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // The last frames are still on their way.
        thread::sleep(Duration::from_millis(100));
        counting.store(false, Ordering::Release);
        let counted = counter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        fired.and(counted).and(result)
    })?;
    Ok((result, hits))
}

fn shoot(shots: &[Shot], hits: &[Hits], firing: &AtomicBool) -> Result<()> {
    for round in 0_u64.. {
        if !firing.load(Ordering::Acquire) {
            break;
        }
        for (shot, hits) in shots.iter().zip(hits) {
            if shot.honest && !round.is_multiple_of(HONEST_EVERY) {
                continue;
            }
            match sendto(shot.sender.as_raw_fd(), &shot.frame, &shot.link, MsgFlags::empty()) {
                Ok(_) => drop(hits.sent.fetch_add(1, Ordering::AcqRel)),
                // A full queue, or an interface that is down for a moment.
                Err(Errno::ENOBUFS | Errno::ENETDOWN | Errno::EAGAIN) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("send {}", shot.name));
                }
            }
        }
    }
    Ok(())
}

fn count(shots: &[Shot], hits: &[Hits], ear: &OwnedFd, counting: &AtomicBool) -> Result<()> {
    let mut buffer = [0; 2048];
    while counting.load(Ordering::Acquire) {
        poll(&mut [PollFd::new(ear.as_fd(), PollFlags::POLLIN)], PollTimeout::from(10_u8))?;
        loop {
            let (length, from) = match recvfrom::<LinkAddr>(ear.as_raw_fd(), &mut buffer) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error).context("count frames"),
            };
            if from.is_none_or(|from| from.pkttype() == super::station::OUTGOING) {
                continue;
            }
            let frame = &buffer[..length];
            for (shot, hits) in shots.iter().zip(hits) {
                if frame.windows(shot.marker.len()).any(|part| part == shot.marker) {
                    hits.arrived.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
    }
    Ok(())
}
