//! A watch stream on its way through the proxy.
//!
//! It passes on whole lines of the server's JSON stream as soon as they may pass.
//! On command, the last line is 410 Expired.
//! Never: half a line before that one, or a changed line, unless a lie asks for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube::client::Body;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Shared;
use super::lies::{Lie, Said, Teller};

/// What the server sends for a compacted resource version (NewResourceExpired in
/// apimachinery/pkg/api/errors, Kubernetes 1.36).
const EXPIRED: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"The resourceVersion for the provided watch is too old.","reason":"Expired","code":410}}
"#;

/// The stream.
pub(super) struct Events {
    resource: String,
    body: Body,
    held: watch::Receiver<BTreeSet<String>>,
    ended: mpsc::UnboundedReceiver<()>,
    /// The part of a line that has arrived so far.
    rest: Vec<u8>,
    over: bool,
    /// A lie has ended it. Only a command ends the silence.
    silent: bool,
    hidden: Hidden,
    shared: Arc<Shared>,
    teller: Teller,
}

/// What does not pass, of the initial events of a streaming list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hidden {
    /// The objects.
    pub added: bool,
    /// The bookmark that ends them.
    pub end: bool,
}

impl Hidden {
    /// Takes the hidden lines out.
    fn hide(&mut self, lines: Bytes) -> Bytes {
        let mut left = Vec::new();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            let is_end = text.contains("k8s.io/initial-events-end");
            let is_hidden = self.end && is_end || self.added && text.contains("\"ADDED\"");
            self.added &= !is_end;
            if !is_hidden {
                left.extend_from_slice(line);
            }
        }
        left.into()
    }
}

impl Events {
    pub fn new(
        resource: String,
        body: Body,
        held: watch::Receiver<BTreeSet<String>>,
        ended: mpsc::UnboundedReceiver<()>,
        (shared, is_list): (Arc<Shared>, bool),
    ) -> Self {
        Self {
            resource,
            body,
            held,
            ended,
            rest: Vec::new(),
            over: false,
            silent: false,
            hidden: Hidden::default(),
            shared,
            teller: Teller::new(is_list),
        }
    }

    /// Without these lines.
    pub fn without(self, hidden: Hidden) -> Self {
        Self { hidden, ..self }
    }

    /// The next lines. `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, kube::Error>> {
        if self.over {
            return None;
        }
        let Self { resource, body, held, ended, rest, hidden, silent, .. } = self;
        let passed = async {
            if *silent {
                return std::future::pending().await;
            }
            let lines = lines(body, rest).await;
            // It fails only when the proxy is gone, and this stream with it.
            let _ = held.wait_for(|held| !held.contains(resource)).await;
            lines
        };
        let next = tokio::select! {
            biased;
            _ = ended.recv() => None,
            lines = passed => Some(lines),
        };
        match next {
            None => {
                self.over = true;
                Some(Ok(Bytes::from_static(EXPIRED.as_bytes())))
            }
            Some(None) => None,
            Some(Some(Err(error))) => Some(Err(error)),
            Some(Some(Ok(lines))) => {
                let lines = hidden.hide(lines);
                Some(Ok(self.told(&lines).await))
            }
        }
    }

    /// What becomes of lines.
    async fn told(&mut self, lines: &[u8]) -> Bytes {
        let lies = self.shared.lies.about(&self.resource);
        for lie in &lies {
            if let Lie::Lag(time) = lie {
                sleep(*time).await;
            }
        }
        let Said { bytes, then_silence, then_end } = self.teller.tell(&lies, lines);
        self.silent |= then_silence;
        self.over |= then_end;
        bytes.into()
    }
}

/// Reads until at least one line is complete.
async fn lines(body: &mut Body, rest: &mut Vec<u8>) -> Option<Result<Bytes, kube::Error>> {
    loop {
        let data = match body.frame().await {
            None if rest.is_empty() => return None,
            None => return Some(Ok(std::mem::take(rest).into())),
            Some(Err(error)) => return Some(Err(error)),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        rest.extend_from_slice(&data);
        if let Some(last) = rest.iter().rposition(|&byte| byte == b'\n') {
            let tail = rest.split_off(last + 1);
            return Some(Ok(std::mem::replace(rest, tail).into()));
        }
    }
}
