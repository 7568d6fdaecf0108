//! How many testbeds there may be at once.
//!
//! In: whether a testbed must be alone. Out: a value to hold as long as it lives. Tests of
//! one program only; `xtask` decides which programs run at once.
//! Never: an order. A testbed that must be alone waits until no other is there.

use std::sync::{Condvar, Mutex, PoisonError};

/// How many testbeds may be there at once, none of which is alone.
///
/// The kernel's neighbour tables are shared by all namespaces. Each holds 1024 entries
/// (`gc_thresh3` in arp(7)), so this many testbeds of [`MOST_ENDPOINTS`] fit.
pub const PLACES: usize = 4;
/// The most endpoints of a testbed that has one place. Each may learn of each.
pub const MOST_ENDPOINTS: usize = 15;

/// Places that nobody has.
static FREE: Mutex<usize> = Mutex::new(PLACES);
/// Some place became free.
static FREED: Condvar = Condvar::new();

/// Places of the machine, until this value is dropped.
#[derive(Debug)]
pub struct Turn {
    places: usize,
}

impl Turn {
    /// All places: for what needs the whole machine or measures time.
    pub fn alone() -> Self {
        Self::take(PLACES)
    }

    /// One place: for what mostly waits, on at most [`MOST_ENDPOINTS`].
    pub fn beside() -> Self {
        Self::take(1)
    }

    /// Whether others may be there.
    pub fn is_beside(&self) -> bool {
        self.places < PLACES
    }

    fn take(places: usize) -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let free = FREED.wait_while(free, |free| *free < places);
        *free.unwrap_or_else(PoisonError::into_inner) -= places;
        Self { places }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.places;
        FREED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn who_is_alone_sees_nobody_and_others_are_few() {
        static THERE: AtomicUsize = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..40 {
                scope.spawn(move || {
                    let is_alone = number % 5 == 0;
                    let turn = if is_alone { Turn::alone() } else { Turn::beside() };
                    assert_eq!(turn.is_beside(), !is_alone);
                    let others = THERE.fetch_add(1, Ordering::SeqCst);
                    assert!(others < if is_alone { 1 } else { PLACES }, "{others} others");
                    thread::yield_now();
                    THERE.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
}
