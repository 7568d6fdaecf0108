//! A proxy between a client and the API server. It misbehaves on command, as
//! networks and servers do.
//!
//! The real server answers every request with the rights of the client that you
//! pass. The proxy records the requests, and counts the bytes in each direction.
//! Never: an answer of its own, except those that a test asks for.
//!
//! ```text
//! nftpol --plain HTTP/1.1--> proxy --kube::Client, TLS, token--> kube-apiserver
//! ```

mod call;
mod connection;
mod events;
mod forward;
mod lies;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use kube::Client;
use netbed::net::Namespace;
use samples::scratch::Folder;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::ApiServer;
use super::access::write_kubeconfig;
use super::inside::{Inside, borrowed};
pub use call::{Call, Verb};
use connection::Command;
use lies::Lies;
pub use lies::{Lie, WAYS_TO_GARBLE};

/// The proxy, as long as this value lives.
pub struct Proxy {
    address: SocketAddr,
    namespace: Namespace,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Command>,
    folder: Folder,
    /// Its thread drives the proxy, also while the server is stopped.
    _inside: Arc<Inside>,
}

/// Bytes on the wire, including HTTP headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client.
    pub received: u64,
    /// To the client.
    pub sent: u64,
}

/// State that the proxy's connections share.
struct Shared {
    upstream: Client,
    received: AtomicU64,
    sent: AtomicU64,
    without_watch_list: AtomicBool,
    /// Streaming lists have no end.
    without_end: AtomicBool,
    /// Resources of which lists are empty.
    emptied: Mutex<BTreeSet<String>>,
    lies: Lies,
    calls: Mutex<Vec<Call>>,
    /// Resources whose watch streams are paused.
    held: watch::Sender<BTreeSet<String>>,
    /// The open watch streams by resource, each with a way to end it.
    streams: Mutex<Vec<(String, mpsc::UnboundedSender<()>)>>,
}

impl Proxy {
    /// Listens on this address (port 0: any) in this namespace. Forwards to the
    /// server as this client: [`ApiServer::client`] or
    /// [`ApiServer::service_account_client`].
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn start(
        server: &ApiServer,
        namespace: &Namespace,
        address: SocketAddr,
        upstream: Client,
    ) -> Result<Self> {
        let namespace = borrowed(namespace)?;
        let listener = listen(&namespace, address)?;
        let address = listener.local_addr().context("ask for the proxy's port")?;
        let shared = Arc::new(Shared {
            upstream,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            without_watch_list: AtomicBool::new(false),
            without_end: AtomicBool::new(false),
            emptied: Mutex::default(),
            lies: Lies::default(),
            calls: Mutex::default(),
            held: watch::Sender::default(),
            streams: Mutex::default(),
        });
        let (orders, inbox) = mpsc::unbounded_channel();
        let inside = Arc::clone(&server.inside);
        inside.handle().spawn(connection::serve(Arc::clone(&shared), inbox));
        let folder = Folder::new("proxy")?;
        let proxy = Self { address, namespace, shared, orders, folder, _inside: inside };
        proxy.order(|done| Command::Listen(Some(listener), done))?;
        Ok(proxy)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig that leads to the proxy, without credentials.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let path = self.folder.path().join("kubeconfig");
        let cluster = json!({"server": format!("http://{}", self.address)});
        write_kubeconfig(&path, &cluster, json!({}))?;
        Ok(path)
    }

    /// The bytes of all connections so far.
    pub fn traffic(&self) -> Traffic {
        let received = self.shared.received.load(Ordering::Relaxed);
        Traffic { received, sent: self.shared.sent.load(Ordering::Relaxed) }
    }

    /// All requests so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// How many requests there were for this resource (`pods`) with this verb.
    pub fn count(&self, verb: Verb, resource: &str) -> usize {
        let calls = lock(&self.shared.calls);
        calls.iter().filter(|call| call.verb == verb && call.resource == resource).count()
    }

    /// Closes all open connections, in the middle of what they carry.
    ///
    /// # Errors
    /// When the proxy has stopped.
    pub fn cut(&self) -> Result<()> {
        self.order(Command::Cut)
    }

    /// Refuses new connections like a closed port. Open ones stay.
    ///
    /// # Errors
    /// When the proxy has stopped.
    pub fn refuse(&self) -> Result<()> {
        self.order(|done| Command::Listen(None, done))
    }

    /// Accepts new connections again.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn accept(&self) -> Result<()> {
        self.refuse()?;
        let listener = listen(&self.namespace, self.address)?;
        self.order(|done| Command::Listen(Some(listener), done))
    }

    /// Pauses all watch streams of this resource, including those that open later.
    /// Lists are still answered.
    pub fn hold(&self, resource: &str) {
        self.shared.held.send_if_modified(|held| held.insert(resource.to_owned()));
    }

    /// Continues them, and delivers what has accumulated.
    pub fn release(&self, resource: &str) {
        self.shared.held.send_if_modified(|held| held.remove(resource));
    }

    /// Ends the open watch streams of this resource, or all of them, with the event
    /// ERROR and the Status 410 Expired. The server does this when it no longer
    /// knows the resource version. Events held by paused streams are lost. Returns
    /// how many streams there were.
    pub fn expire(&self, resource: Option<&str>) -> usize {
        let mut streams = lock(&self.shared.streams);
        let wanted = |of: &String| resource.is_none_or(|resource| resource == of);
        let ended = streams.extract_if(.., |(of, _)| wanted(of));
        // Streams without a reader do not count.
        ended.filter(|(_, end)| end.send(()).is_ok()).count()
    }

    /// How many watch streams of this resource, or of all resources, are open.
    pub fn watches(&self, resource: Option<&str>) -> usize {
        let streams = lock(&self.shared.streams);
        let open = streams.iter().filter(|(_, end)| !end.is_closed());
        open.filter(|(of, _)| resource.is_none_or(|resource| resource == of)).count()
    }

    /// Turns this on or off: requests with `sendInitialEvents` get 422 Invalid, as
    /// from a server without WatchList (KEP-3157).
    pub fn without_watch_list(&self, without: bool) {
        self.shared.without_watch_list.store(without, Ordering::Relaxed);
    }

    /// Turns this on or off: the bookmark that ends the initial events does not come,
    /// as from a proxy that drops what it does not know.
    pub fn without_end(&self, without: bool) {
        self.shared.without_end.store(without, Ordering::Relaxed);
    }

    /// Lists of this resource are empty from now on, plain ones and streaming ones.
    /// Lists with a limit and of single objects are not.
    pub fn empty(&self, resource: &str) {
        lock(&self.shared.emptied).insert(resource.to_owned());
    }

    /// Lists are complete again.
    pub fn fill(&self, resource: &str) {
        lock(&self.shared.emptied).remove(resource);
    }

    /// Lies about a resource, or about all, until [`Self::truth`].
    pub fn lie(&self, resource: Option<&str>, lie: Lie) {
        self.shared.lies.tell(resource, lie);
    }

    /// Ends all lies. What open streams did not tell, they never tell.
    pub fn truth(&self) {
        self.shared.lies.end();
    }

    /// Sends a command and waits until it is carried out.
    fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Command) -> Result<()> {
        let (done, carried_out) = oneshot::channel();
        // If it is gone, the next line reports it.
        let _ = self.orders.send(order(done));
        carried_out.blocking_recv().context("the proxy has stopped")
    }
}

fn listen(namespace: &Namespace, address: SocketAddr) -> Result<TcpListener> {
    let listener = namespace.run(|| TcpListener::bind(address))?;
    let listener = listener.with_context(|| format!("listen on {address}"))?;
    listener.set_nonblocking(true).context("make a socket non-blocking")?;
    Ok(listener)
}

/// A panic cannot leave these values half changed, so a poisoned lock is usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
