//! What lies do to the lines of one watch.
//!
//! In: whole lines, and the lies that hold. Out: bytes, and whether the stream goes on.
//! Never: a lie that needs more than the line before.

use std::mem::take;

use serde_json::{Value, json};

use super::{Lie, garble};

/// What a piece of a watch becomes.
#[derive(Debug, Default)]
pub struct Said {
    pub bytes: Vec<u8>,
    /// Nothing follows.
    pub then_silence: bool,
    /// The connection ends.
    pub then_end: bool,
}

/// One watch's lines.
#[derive(Debug)]
pub struct Teller {
    /// Whether the initial events of a streaming list come.
    in_list: bool,
    before: Vec<u8>,
    held: Vec<u8>,
}

impl Teller {
    pub fn new(in_list: bool) -> Self {
        Self { in_list, before: Vec::new(), held: Vec::new() }
    }

    /// What becomes of these whole lines.
    pub fn tell(&mut self, lies: &[Lie], lines: &[u8]) -> Said {
        let mut said = Said::default();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.line(lies, line, &mut said);
            if said.then_silence || said.then_end {
                break;
            }
        }
        said
    }

    fn line(&mut self, lies: &[Lie], line: &[u8], said: &mut Said) {
        let text = String::from_utf8_lossy(line);
        let (is_bookmark, is_added) = (text.contains("\"BOOKMARK\""), text.contains("\"ADDED\""));
        let is_initial = self.in_list;
        self.in_list &= !text.contains("k8s.io/initial-events-end");
        let mut line = line.to_vec();
        for lie in lies {
            match lie {
                Lie::HalfLine | Lie::CutLine => {
                    said.bytes.extend_from_slice(&line[..line.len() / 2]);
                    said.then_silence = *lie == Lie::HalfLine;
                    said.then_end = !said.then_silence;
                    return;
                }
                Lie::Twice => said.bytes.extend_from_slice(&line),
                Lie::Noise => said.bytes.extend_from_slice(b"]}502 Bad Gateway\n"),
                Lie::NoEvents if !is_initial && !is_bookmark => line.clear(),
                Lie::NoBookmarks if is_bookmark => line.clear(),
                Lie::Empty if is_initial && is_added => line.clear(),
                Lie::Only(kept) if is_initial && is_added => {
                    if !text.contains(&format!("\"namespace\":\"{kept}\"")) {
                        line.clear();
                    }
                }
                Lie::AbsurdBookmarks if is_bookmark && !is_initial => {
                    change(&mut line, |object| {
                        object["metadata"]["resourceVersion"] = json!("9007199254740993");
                    });
                }
                Lie::Garbled(how) if !is_bookmark => change(&mut line, |one| garble(one, *how)),
                // A list without its last object would look complete.
                Lie::Swapped if is_initial && !self.in_list => {
                    line = [take(&mut self.held), line].concat();
                }
                Lie::Swapped => {
                    let next = take(&mut line);
                    line = match self.held.is_empty() {
                        true => Vec::new(),
                        false => [next.clone(), take(&mut self.held)].concat(),
                    };
                    if line.is_empty() {
                        self.held = next;
                    }
                }
                Lie::Again => line.extend_from_slice(&self.before.clone()),
                Lie::Lag(_)
                | Lie::Swallow
                | Lie::Answer(_)
                | Lie::NoStreams
                | Lie::NoEvents
                | Lie::NoBookmarks
                | Lie::AbsurdBookmarks
                | Lie::Empty
                | Lie::Pages(_)
                | Lie::LostPages(_)
                | Lie::HalfLists
                | Lie::Only(_)
                | Lie::Stale
                | Lie::Version(_)
                | Lie::Garbled(_) => {}
            }
        }
        said.bytes.extend_from_slice(&line);
        self.before = text.into_owned().into_bytes();
    }
}

/// Changes the object of a watch's line.
fn change(line: &mut Vec<u8>, how: impl FnOnce(&mut Value)) {
    if let Ok(mut event) = serde_json::from_slice::<Value>(line) {
        how(&mut event["object"]);
        *line = event.to_string().into_bytes();
        line.push(b'\n');
    }
}
