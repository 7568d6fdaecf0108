//! Counts what the compiler looks at, in its own tests.
//!
//! In: each pod, policy or index entry that is compared with something.
//! Out: how many there were, on this thread. A test holds by this what an event
//! may cost. Other builds count nothing.

#[cfg(test)]
thread_local! {
    static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// One thing more was looked at.
#[inline]
pub(crate) fn look() {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + 1);
}

/// How many things a piece of work looks at.
#[cfg(test)]
pub(crate) fn looks(work: impl FnOnce()) -> usize {
    let before = LOOKS.get();
    work();
    LOOKS.get() - before
}
