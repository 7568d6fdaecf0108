//! Lines to standard error or standard output that do not stop their writer.
//!
//! In: lines. Out: the same lines, whole and in order, as fast as somebody reads them;
//! how many were lost. Never: a wait of more than `PATIENCE` in `RESTLESS`. A pipe
//! that nobody reads is full after 64 KiB (pipe(7)), and a write to it blocks its thread: a
//! log must not stop a process that enforces.
//!
//! While somebody reads, a line is written before its writer goes on: who sees what the
//! writer does next finds the reason in the log.
//!
//! ```text
//! any thread ── push ──▶ queue (QUEUE_MAX bytes) ──▶ a thread that writes ──▶ descriptor
//!                │ └─ full: the line is lost and counted; said once there is room again
//!                └─ waits until it is written, for PATIENCE at most
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The bytes that wait for their reader at most. Some thousand lines.
const QUEUE_MAX: usize = 1 << 20;
/// The bytes of a line at most. What is beyond is cut.
const LINE_MAX: usize = 4096;
/// How long a writer waits until its line is written.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long nobody waits after a wait was in vain.
const RESTLESS: Duration = Duration::from_secs(60);
/// How long to wait before another try at a descriptor that takes nothing now, such as a
/// pipe that its other owner made non-blocking.
const RETRY: Duration = Duration::from_millis(50);

/// A queue of lines, and the thread that writes them.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// A line came, or the last one was written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that came, and those of them that left, since the start.
    came: u64,
    left: u64,
    /// Until when nobody waits.
    restless_until: Option<Instant>,
    /// Lines lost since the start.
    lost: u64,
    /// Lines lost that the reader was not told of.
    untold: u64,
}

impl Lines {
    /// Writes to this descriptor from now on.
    ///
    /// # Errors
    /// When it cannot be duplicated, or the system gives no thread.
    pub fn to(descriptor: impl AsFd) -> io::Result<Self> {
        // Not the standard library's handle: its lock is held during a write, and a panic
        // elsewhere would wait for it.
        let file = File::from(descriptor.as_fd().try_clone_to_owned()?);
        Self::through(file)
    }

    fn through(writer: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self(Arc::default());
        let shared = Arc::clone(&lines.0);
        thread::Builder::new().name("lines".to_owned()).spawn(move || shared.write_to(writer))?;
        Ok(lines)
    }

    /// Queues a line. It is cut where it is longer than 4 KiB, and a line break in it is
    /// shown as `\n`, so that nobody's text can pass for a line of its own.
    pub fn push(&self, text: &str) {
        let line = line(text);
        let mut queue = self.0.queue();
        if queue.bytes + line.len() > QUEUE_MAX {
            queue.lost += 1;
            queue.untold += 1;
            return;
        }
        queue.tell();
        queue.add(line);
        let (last, now) = (queue.came, Instant::now());
        self.0.changed.notify_all();
        if queue.restless_until.is_none_or(|until| now >= until) {
            let mut queue = self.0.wait(queue, |queue| queue.left >= last, PATIENCE);
            if queue.left < last {
                queue.restless_until = Some(Instant::now() + RESTLESS);
            }
        }
    }

    /// How many lines were lost since the start.
    pub fn lost(&self) -> u64 {
        self.0.queue().lost
    }

    /// Waits until all lines are written, for this long at most.
    pub fn finish(&self, at_most: Duration) {
        drop(self.0.wait(self.0.queue(), |queue| queue.left == queue.came, at_most));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the queue is as wanted, for this long at most.
    fn wait<'a>(
        &'a self,
        queue: MutexGuard<'a, Queue>,
        is_wanted: impl Fn(&Queue) -> bool,
        at_most: Duration,
    ) -> MutexGuard<'a, Queue> {
        let waits = |queue: &mut Queue| !is_wanted(queue);
        let waited = self.changed.wait_timeout_while(queue, at_most, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Writes lines as they come.
    fn write_to(&self, mut writer: impl Write) -> ! {
        loop {
            let line = self.next();
            let written = write(&mut writer, &line);
            let mut queue = self.queue();
            queue.left += 1;
            if written.is_err() {
                queue.lost += 1;
                queue.untold += 1;
            } else if queue.lines.is_empty() {
                queue.tell();
            }
            drop(queue);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut queue = self.queue();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.bytes -= line.len();
                return line;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    fn add(&mut self, line: Vec<u8>) {
        self.came += 1;
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// Says what was lost, if anything was.
    fn tell(&mut self) {
        match std::mem::take(&mut self.untold) {
            0 => {}
            1 => self.add(line("warning: 1 line was lost here: nobody read this stream in time")),
            lost => {
                let text = format!(
                    "warning: {lost} lines were lost here: nobody read this stream in time"
                );
                self.add(line(&text));
            }
        }
    }
}

/// A text as a line.
fn line(text: &str) -> Vec<u8> {
    let text = text.trim_end_matches('\n');
    let end = (0..=LINE_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    let (shown, cut) = text.split_at(end.unwrap_or(0));
    let mut line = shown.replace('\n', "\\n");
    if !cut.is_empty() {
        line += &format!("... ({} more bytes)", cut.len());
    }
    line.push('\n');
    line.into_bytes()
}

/// Writes a whole line. Waits as long as nobody reads.
fn write(writer: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match writer.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => line = line.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
