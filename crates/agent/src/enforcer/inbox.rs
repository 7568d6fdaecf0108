//! Messages to the loop from the thread that talks to the API server.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use watcher::api::Event;

/// To the loop that enforces.
#[derive(Debug)]
pub enum Message {
    /// An event of a watch, and when it came.
    Event(Instant, Event),
    /// Stop, and leave the rules.
    Stop,
}

/// What waiting for a message gives.
#[derive(Debug)]
pub enum Received {
    /// One.
    Message(Message),
    /// None came in time.
    Nothing,
    /// None will ever come: the thread that sends them is gone.
    Closed,
}

/// Where messages come from.
pub trait Inbox {
    /// Waits for a message, for this long at most.
    fn receive(&mut self, at_most: Duration) -> Received;
}

impl Inbox for Receiver<Message> {
    fn receive(&mut self, at_most: Duration) -> Received {
        match self.recv_timeout(at_most) {
            Ok(message) => Received::Message(message),
            Err(RecvTimeoutError::Timeout) => Received::Nothing,
            Err(RecvTimeoutError::Disconnected) => Received::Closed,
        }
    }
}
