//! Asks the agent of this node.
//!
//! In: a question, until when. Out: its answer. Never: an answer of anybody but root: any
//! process in the node's network can take the socket's name while there is no agent; a
//! wait that lasts longer than it may.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::wire::{BUSY, Reply, Request, SOCKET};

/// The pause before another attempt: the agent may be starting.
const RETRY: Duration = Duration::from_millis(20);
/// No answer is longer.
const LONGEST: u64 = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent answers in this network namespace (socket @{SOCKET}): {0}")]
    NoAgent(#[source] io::Error),
    /// Somebody else has the socket.
    #[error("the process that holds the socket @{SOCKET} is not root's: it is no agent")]
    Impostor,
    /// The connection ended before the answer: the agent was killed, say.
    #[error("the agent went away without an answer: {0}")]
    Cut(#[source] io::Error),
    /// It answers others.
    #[error("the agent answers others")]
    Busy,
    /// It took too long.
    #[error("the agent gave no answer in {} ms", .0.as_millis())]
    TimedOut(Duration),
}

/// Asks until there is an answer: of this agent, or of the next one. `question` gets the
/// time that is left.
///
/// # Errors
/// There was none in time: why the last attempt failed.
pub fn ask(wait: Duration, question: impl Fn(Duration) -> Request) -> Result<Reply, AskError> {
    let start = Instant::now();
    let mut last = AskError::TimedOut(wait);
    loop {
        let left = wait.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(last);
        }
        match once(&question(left), left) {
            Ok(Reply::Error(why)) if why == BUSY => last = AskError::Busy,
            Ok(reply) => return Ok(reply),
            // An attempt that had little time says less than the one before.
            Err(AskError::TimedOut(_)) => {}
            Err(error) => last = error,
        }
        thread::sleep(RETRY.min(wait.saturating_sub(start.elapsed())));
    }
}

/// Asks once. Even a connect can take long, where the queue of the socket is full: so a
/// thread asks, and this one does not wait for its end.
fn once(question: &Request, wait: Duration) -> Result<Reply, AskError> {
    let (sender, receiver) = mpsc::channel();
    let question = question.clone();
    let asks = move || {
        // Nobody may be waiting any more.
        let _ = sender.send(talk(&question, wait));
    };
    let started = thread::Builder::new().name("ask".to_owned()).spawn(asks);
    started.map_err(AskError::NoAgent)?;
    receiver.recv_timeout(wait).unwrap_or(Err(AskError::TimedOut(wait)))
}

fn talk(question: &Request, wait: Duration) -> Result<Reply, AskError> {
    let address = SocketAddr::from_abstract_name(SOCKET).map_err(AskError::NoAgent)?;
    let mut stream = UnixStream::connect_addr(&address).map_err(AskError::NoAgent)?;
    if getsockopt(&stream.as_fd(), PeerCredentials).is_ok_and(|peer| peer.uid() != 0) {
        return Err(AskError::Impostor);
    }
    stream.set_read_timeout(Some(wait)).map_err(AskError::Cut)?;
    stream.set_write_timeout(Some(wait)).map_err(AskError::Cut)?;
    let mut text = serde_json::to_string(question).map_err(|error| AskError::Cut(error.into()))?;
    text.push('\n');
    stream.write_all(text.as_bytes()).map_err(AskError::Cut)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut answer).map_err(AskError::Cut)?;
    if answer.is_empty() {
        return Err(AskError::Cut(io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_str(&answer).map_err(|error| AskError::Cut(error.into()))
}
