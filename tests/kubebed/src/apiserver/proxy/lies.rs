//! What the proxy does to true answers.
//!
//! You name a lie and the resource that it is about. It holds for requests, lists and
//! lines of watches from then on, until [`super::Proxy::truth`]. A stream keeps what a lie
//! did to it: an event that was left out is not told later.
//! Never: a lie about a question, which is a list with a limit or of one name.

mod lines;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::lock;
pub(super) use lines::{Said, Teller};

/// What `continue` tokens of the proxy begin with.
const TOKEN: &str = "proxy-";

/// A misbehaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Each request, and each piece of a watch, comes later.
    Lag(Duration),
    /// Requests get no answer.
    Swallow,
    /// Requests get this status.
    Answer(u16),
    /// Streaming lists are refused, as by a server without WatchList.
    NoStreams,
    /// The next line of each watch ends in its middle, and nothing follows.
    HalfLine,
    /// The next line of each watch ends in its middle, and the connection with it.
    CutLine,
    /// Each line comes twice.
    Twice,
    /// After each line, the one before it comes again.
    Again,
    /// Each line comes after the one that follows it; the end of a streamed list stays its end.
    Swapped,
    /// Of each watch only bookmarks come.
    NoEvents,
    /// No bookmark comes.
    NoBookmarks,
    /// Bookmarks have a version that is far ahead.
    AbsurdBookmarks,
    /// Something that is no JSON comes before each line.
    Noise,
    /// Lists are empty.
    Empty,
    /// Lists come in pages of this many objects.
    Pages(usize),
    /// Lists come in pages of this many objects, and there is no second page (410).
    LostPages(usize),
    /// Lists end in their middle.
    HalfLists,
    /// Lists lack all objects but those of this namespace.
    Only(String),
    /// Lists are as the first one under this lie was.
    Stale,
    /// Lists claim this version.
    Version(String),
    /// Objects cannot be read. The number says what is wrong with them.
    Garbled(usize),
}

/// The lies of a proxy.
#[derive(Debug, Default)]
pub(super) struct Lies {
    told: Mutex<Vec<(Option<String>, Lie)>>,
    /// The lists under [`Lie::Stale`].
    stale: Mutex<BTreeMap<String, Bytes>>,
    /// The pages that were not asked for yet, by token.
    pages: Mutex<BTreeMap<String, Page>>,
}

/// The rest of a list.
#[derive(Clone, Debug)]
struct Page {
    list: Value,
    items: Vec<Value>,
    size: usize,
}

/// What a list becomes.
#[derive(Debug)]
pub(super) enum Told {
    Whole(Vec<u8>),
    Half(Vec<u8>),
    /// 410.
    Expired,
}

impl Lies {
    pub fn tell(&self, resource: Option<&str>, lie: Lie) {
        lock(&self.told).push((resource.map(str::to_owned), lie));
    }

    pub fn end(&self) {
        lock(&self.told).clear();
        lock(&self.stale).clear();
        lock(&self.pages).clear();
    }

    /// The lies about a resource now.
    pub fn about(&self, resource: &str) -> Vec<Lie> {
        let told = lock(&self.told);
        let about = told.iter().filter(|(of, _)| of.as_deref().is_none_or(|of| of == resource));
        about.map(|(_, lie)| lie.clone()).collect()
    }

    /// The page of this token, if the token is the proxy's.
    pub fn page(&self, token: &str) -> Option<Told> {
        if !token.starts_with(TOKEN) {
            return None;
        }
        let page = lock(&self.pages).remove(token);
        Some(page.map_or(Told::Expired, |page| self.first(page)))
    }

    /// What becomes of a list. `None`: nothing.
    pub fn list(&self, resource: &str, body: &Bytes) -> Option<Told> {
        let lies = self.about(resource);
        let mut list: Value = serde_json::from_slice(body).ok()?;
        let mut told = None;
        for lie in &lies {
            match lie {
                Lie::Empty => list["items"] = json!([]),
                Lie::Only(namespace) => {
                    if let Some(items) = list["items"].as_array_mut() {
                        items.retain(|item| item["metadata"]["namespace"] == json!(namespace));
                    }
                }
                Lie::Version(version) => list["metadata"]["resourceVersion"] = json!(version),
                Lie::Garbled(how) => {
                    let items = list["items"].as_array_mut();
                    items.into_iter().flatten().for_each(|item| garble(item, *how));
                }
                Lie::Stale => {
                    let mut stale = lock(&self.stale);
                    let first = stale.entry(resource.to_owned()).or_insert_with(|| body.clone());
                    list = serde_json::from_slice(first).ok()?;
                }
                Lie::Pages(size) | Lie::LostPages(size) => {
                    let items = list["items"].as_array().cloned().unwrap_or_default();
                    told = Some(self.first(Page { list: list.clone(), items, size: *size }));
                    if matches!(lie, Lie::LostPages(_)) {
                        lock(&self.pages).clear();
                    }
                }
                Lie::HalfLists => {
                    let mut text = list.to_string().into_bytes();
                    text.truncate(text.len() / 2);
                    told = Some(Told::Half(text));
                }
                Lie::Lag(_)
                | Lie::Swallow
                | Lie::Answer(_)
                | Lie::NoStreams
                | Lie::HalfLine
                | Lie::CutLine
                | Lie::Twice
                | Lie::Again
                | Lie::Swapped
                | Lie::NoEvents
                | Lie::NoBookmarks
                | Lie::AbsurdBookmarks
                | Lie::Noise => {}
            }
        }
        Some(told.unwrap_or_else(|| Told::Whole(list.to_string().into_bytes())))
    }

    /// The first page of this; the rest is stored.
    fn first(&self, Page { mut list, mut items, size }: Page) -> Told {
        let rest = items.split_off(size.clamp(1, items.len().max(1)).min(items.len()));
        list["items"] = Value::Array(items);
        if rest.is_empty() {
            list["metadata"]["continue"] = Value::Null;
        } else {
            let mut pages = lock(&self.pages);
            let token = format!("{TOKEN}{}-{}", pages.len(), rest.len());
            list["metadata"]["continue"] = json!(token);
            pages.insert(token, Page { list: list.clone(), items: rest, size });
        }
        Told::Whole(list.to_string().into_bytes())
    }
}

/// How many ways of `garble` there are.
pub const WAYS_TO_GARBLE: usize = 6;

fn garble(object: &mut Value, how: usize) {
    match how % WAYS_TO_GARBLE {
        0 => object["spec"] = json!(7),
        1 => object["metadata"]["labels"] = json!([1]),
        2 => object["spec"]["podSelector"] = json!("x"),
        3 => object["metadata"]["name"] = json!({}),
        4 => object["spec"] = (0..60).fold(json!(1), |inner, _| json!([inner])),
        _ => object["metadata"]["creationTimestamp"] = json!("yesterday"),
    }
}
