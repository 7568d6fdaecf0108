//! Asks the agent of this node.
//!
//! In: a question. Out: its lines. Never: an answer of anybody but root: any process in the
//! node's network can take the socket's name while there is no agent.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::protocol::{Line, Question, SOCKET, SOCKET_OF_PODS};
use super::{address, is_root};

/// How long an agent may be silent. A quiet one says so every ten seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// A line is no longer than this. The longest that an agent writes has some kilobytes.
const LINE_BYTES: u64 = 4 << 20;

/// The agent of this node cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is none in this network namespace.
    #[error("no agent answers in this network namespace (socket @nftpol-agent): {0}")]
    NoAgent(#[source] io::Error),
    /// Somebody else has the socket.
    #[error("the process that holds the socket @nftpol-agent is not root's: it is no agent")]
    Impostor,
    /// The connection failed.
    #[error("ask the agent: {0}")]
    Io(#[source] io::Error),
}

/// Whether there is an agent to ask.
pub fn is_there() -> bool {
    connect(SOCKET).is_ok()
}

fn connect(socket: &str) -> io::Result<UnixStream> {
    address(socket).and_then(|address| UnixStream::connect_addr(&address))
}

/// The lines of the answer, as they come.
///
/// # Errors
/// See [`AskError`].
pub fn ask(question: &Question) -> Result<Answer, AskError> {
    ask_at(SOCKET, question)
}

/// Those of the pod agent of this node.
///
/// # Errors
/// See [`AskError`].
pub fn ask_pod_agent(question: &Question) -> Result<Answer, AskError> {
    ask_at(SOCKET_OF_PODS, question)
}

fn ask_at(socket: &str, question: &Question) -> Result<Answer, AskError> {
    let mut stream = connect(socket).map_err(AskError::NoAgent)?;
    if !is_root(&stream) {
        return Err(AskError::Impostor);
    }
    stream.set_read_timeout(Some(SILENCE)).map_err(AskError::Io)?;
    let mut text = serde_json::to_string(question).map_err(|error| AskError::Io(error.into()))?;
    text.push('\n');
    match stream.write_all(text.as_bytes()) {
        // An agent that has too many readers answers without a question, and hangs up.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.map_err(AskError::Io)?,
    }
    Ok(Answer { reader: BufReader::new(stream) })
}

/// Lines of JSON.
#[derive(Debug)]
pub struct Answer {
    reader: BufReader<UnixStream>,
}

impl Answer {
    /// The next line as it came, without its end.
    ///
    /// # Errors
    /// The connection failed, or the agent was silent for a minute.
    pub fn text(&mut self) -> Result<Option<String>, AskError> {
        let mut text = String::new();
        let read = self.reader.by_ref().take(LINE_BYTES).read_line(&mut text);
        match read.map_err(AskError::Io)? {
            0 => Ok(None),
            _ => Ok(Some(text.trim_end().to_owned())),
        }
    }

    /// The next line that this version knows.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn line(&mut self) -> Result<Option<Line>, AskError> {
        loop {
            let Some(text) = self.text()? else { return Ok(None) };
            if let Ok(line) = serde_json::from_str(&text) {
                return Ok(Some(line));
            }
        }
    }
}
