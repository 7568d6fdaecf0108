//! One who asks.
//!
//! In: a connection. Out: its answers. Never: more memory than a question and a piece of an
//! answer; a reader who is waited for longer than `PATIENCE` for a line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cni::wire::{PodName, Reply, Request};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::protocol::{LeftOut, Line, Piece, QUESTION_BYTES, Question, Selection};
use super::{Behind, bundle, judged, told};
use crate::drops::{Entry, Ring};
use crate::enforcer::CniQuestion;
use crate::view::now_ms;

/// How long the loop may take for an answer beyond what the plugin waits: it may be in the
/// middle of a change.
const MARGIN: Duration = Duration::from_millis(1500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What the plugin is told where the operator has not installed it with this agent.
const REFUSED: &str = "the agent of this node does not answer the CNI plugin: it needs \
                       --cni-plugin (manifests/components/cni-agent), or the plugin has to go \
                       (manifests/overlays/cni-remove)";
/// How often the log has it.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Entries that are written in one piece.
const AT_ONCE: usize = 256;
/// The longest piece of a file. As JSON it may take six times as much, and a reader takes
/// lines of 4 MiB.
const PIECE_BYTES: usize = 256 << 10;
/// How long a wait for entries takes. After each it is looked whether the other end is there.
const WAIT: Duration = Duration::from_millis(500);
/// After how many waits in vain a line shows that the agent is there.
const QUIET: u32 = 20;

/// Says why there is no answer.
pub(super) fn refuse(stream: &UnixStream, why: &str) {
    let _ = write(stream, &[Line::Error(why.to_owned())]);
}

/// Answers one question.
pub(super) fn answer(stream: &UnixStream, behind: &Behind) {
    let mut text = String::new();
    let limited = stream.take(QUESTION_BYTES as u64 + 1);
    let read = BufReader::new(limited).read_line(&mut text);
    let question = match read {
        Ok(0) => return,
        Ok(length) if length > QUESTION_BYTES => Err("the question is too long".to_owned()),
        Ok(_) => match serde_json::from_str::<Request>(&text) {
            Ok(request) => return plugin(stream, behind, request),
            Err(_) => {
                serde_json::from_str(&text).map_err(|error| format!("not a question: {error}"))
            }
        },
        Err(error) => Err(format!("read the question: {error}")),
    };
    // Who goes without its answer is not interested.
    let _ = match question {
        Err(why) => write(stream, &[Line::Error(why)]),
        Ok(Question::Status { policy }) => {
            write(stream, &[Line::Status(told::status(behind, policy.as_deref()))])
        }
        Ok(Question::Bundle {}) => pieces(stream, behind),
        Ok(Question::Judge(packet)) => write(stream, &[judged::line(behind, &packet)]),
        Ok(Question::Denied(selection)) => match &behind.drops {
            Ok(ring) => denied(stream, ring, &selection, &behind.node),
            Err(why) => write(stream, &[Line::Error(why.clone())]),
        },
    };
}

/// The files of a support bundle. One at a time is made: it takes memory.
fn pieces(stream: &UnixStream, behind: &Behind) -> io::Result<()> {
    static ONE: Mutex<()> = Mutex::new(());
    let Ok(_one) = ONE.try_lock() else {
        let why = "a support bundle of this node is being made; try again later";
        return write(stream, &[Line::Error(why.to_owned())]);
    };
    for (file, text) in bundle::files(behind) {
        let mut rest = text.as_str();
        // An empty file is told of, too.
        loop {
            let end = (0..=PIECE_BYTES.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at));
            let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            let (file, text) = (file.to_owned(), piece.to_owned());
            write(stream, &[Line::Piece(Piece { file, text })])?;
            if rest.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

/// Answers the CNI plugin, if the operator has installed it. Any process that is root in the
/// node's network can say the same words.
fn plugin(mut stream: &UnixStream, behind: &Behind, request: Request) {
    let answer = match &behind.cni {
        Some(cni) => asked(cni, request),
        None => {
            if let Request::Attach { pod, .. } = &request {
                not_answered(pod);
            }
            Reply::Error(REFUSED.to_owned())
        }
    };
    let mut text = serde_json::to_vec(&answer).unwrap_or_default();
    text.push(b'\n');
    // Who goes without its answer is not interested.
    let _ = stream.write_all(&text);
}

/// Says in the log that a pod waits for what this agent was not told to do. Now and then:
/// kubelets try again.
fn not_answered(pod: &PodName) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_some_and(|said| said.elapsed() < SAID_EVERY) {
        return;
    }
    *said = Some(Instant::now());
    tracing::warn!("the CNI plugin asks for pod {:?}/{:?}: {REFUSED}", pod.namespace, pod.name);
}

/// What the loop that enforces answers.
fn asked(cni: &Sender<CniQuestion>, request: Request) -> Reply {
    let wait = match &request {
        Request::Attach { wait_ms, .. } => Duration::from_millis(*wait_ms),
        Request::Detach { .. }
        | Request::Check { .. }
        | Request::Status {}
        | Request::Keep { .. } => Duration::ZERO,
    };
    let (reply, replies) = mpsc::channel();
    let answer = match cni.send(CniQuestion { request, reply }) {
        Ok(()) => replies.recv_timeout(wait.min(LONGEST_WAIT) + MARGIN).ok(),
        Err(_) => None,
    };
    answer.unwrap_or_else(|| Reply::NotReady("the agent's loop did not answer in time".to_owned()))
}

fn denied(
    stream: &UnixStream,
    ring: &Arc<Ring>,
    selection: &Selection,
    node: &str,
) -> io::Result<()> {
    let is_wanted = |entry: &Entry| match &selection.namespace {
        Some(namespace) => told::is_in(entry, namespace),
        None => true,
    };
    let kept = ring.all();
    let mut first: Vec<Arc<Entry>> = match (selection.since_seconds, selection.last) {
        (None, None) if selection.follow => Vec::new(),
        _ => kept.entries.into_iter().filter(|one| is_wanted(one)).collect(),
    };
    if let Some(seconds) = selection.since_seconds {
        let since = now_ms().saturating_sub(seconds.saturating_mul(1000));
        first.retain(|entry| entry.time_ms() >= since);
    }
    let skip = selection.last.map_or(0, |last| first.len().saturating_sub(last));
    for piece in first[skip..].chunks(AT_ONCE) {
        write(stream, &lines(piece, node))?;
    }
    drop(first);
    let (mut place, mut quiet) = (kept.next, 0);
    while selection.follow && is_there(stream) {
        let news = ring.after(place, AT_ONCE, WAIT);
        place = news.next;
        let mut wanted: Vec<Line> = Vec::new();
        if news.missed > 0 {
            wanted.push(missed(news.missed, node));
        }
        let entries: Vec<_> = news.entries.into_iter().filter(|one| is_wanted(one)).collect();
        wanted.extend(lines(&entries, node));
        quiet = if wanted.is_empty() { quiet + 1 } else { 0 };
        if quiet > 0 && quiet % QUIET == 0 {
            wanted.push(Line::Quiet {});
        }
        write(stream, &wanted)?;
    }
    Ok(())
}

fn missed(packets: u64, node: &str) -> Line {
    let (node, reason) = (node.to_owned(), "slow_reader".to_owned());
    Line::LeftOut(LeftOut { time_ms: now_ms(), node, packets, pod: None, reason })
}

fn lines(entries: &[Arc<Entry>], node: &str) -> Vec<Line> {
    entries.iter().map(|entry| told::line(entry, node)).collect()
}

/// Whether the other end has not hung up. It says nothing after its question.
fn is_there(stream: &UnixStream) -> bool {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
    match recv(stream.as_raw_fd(), &mut [0], flags) {
        Ok(length) => length > 0,
        Err(errno) => errno == Errno::EAGAIN || errno == Errno::EINTR,
    }
}

/// Writes lines; gives up on a reader who takes nothing for `PATIENCE` (the socket's
/// time-out).
fn write(mut stream: &UnixStream, lines: &[Line]) -> io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).map_err(io::Error::other)?;
        text.push(b'\n');
    }
    stream.write_all(&text)
}
