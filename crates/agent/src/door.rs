//! The agent's door: what commands on this node ask it.
//!
//! In: questions on an abstract Unix socket in the node's network namespace
//! ([`protocol::SOCKET`]). Out: answers of [`protocol`]. Never: a wait of the thread that
//! enforces; a change but what the CNI plugin announces; an answer to anybody but root.
//!
//! The socket is not the lock (`@nftpol`): `apply` takes that, too, and answers nothing.
//! Who may ask is the user id of the peer (SO_PEERCRED, unix(7)). Pods in the node's network
//! reach the socket; those of them that run as root outside of a user namespace are answered,
//! and can speak as the CNI plugin where the operator has installed it.
//! With CAP_NET_RAW they see the packets of all pods anyway (packet(7)). Without it they learn
//! more than they could: a peer's capabilities cannot be asked, as its process is in another
//! PID namespace.

mod bundle;
pub mod client;
mod judged;
mod serve;
pub mod told;

pub use author::live::protocol;

use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::drops::Ring;
use crate::enforcer::CniQuestion;
use crate::metrics::Metrics;
use crate::status::Status;
use crate::view::View;

/// How many ask at a time.
const CONNECTIONS: usize = 16;
/// How long a peer may take to ask, and to take a line.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before another attempt to listen: the agent before this one may still have the
/// socket.
const RETRY: Duration = Duration::from_secs(1);

/// What the door shows.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Its name: [`protocol::SOCKET`] or [`protocol::SOCKET_OF_PODS`].
    pub socket: &'static str,
    /// The node's name.
    pub node: String,
    /// What is known and in force.
    pub view: View,
    /// The packets that were denied; `None` if they are not read: why.
    pub drops: Result<Arc<Ring>, String>,
    /// The conditions.
    pub status: Status,
    /// The contact's age.
    pub metrics: Arc<Metrics>,
    /// When the agent started.
    pub started: Instant,
    /// To the loop that enforces, from the CNI plugin; `None`: the plugin is not answered.
    pub cni: Option<Sender<CniQuestion>>,
}

/// Opens the door, until the process ends.
///
/// # Errors
/// The system gives no thread.
pub fn open(behind: Behind) -> io::Result<()> {
    thread::Builder::new().name("door".to_owned()).spawn(move || listen(&behind)).map(drop)
}

fn address(socket: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(socket)
}

fn listen(behind: &Behind) {
    let mut was_logged = false;
    let listener = loop {
        match address(behind.socket).and_then(|address| UnixListener::bind_addr(&address)) {
            Ok(listener) => break listener,
            Err(error) if !was_logged && behind.started.elapsed() > 5 * RETRY => {
                was_logged = true;
                tracing::warn!(
                    "cannot answer `nftpol monitor` and `nftpol status`: listen on @{}: {error}; \
                     trying again",
                    behind.socket
                );
            }
            Err(_) => {}
        }
        thread::sleep(RETRY);
    };
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept() {
            Ok((stream, _)) => admit(stream, &open, behind),
            Err(error) => {
                tracing::debug!("accept on @{}: {error}", behind.socket);
                thread::sleep(RETRY);
            }
        }
    }
}

/// Answers root, a few at a time.
fn admit(stream: UnixStream, open: &Arc<AtomicUsize>, behind: &Behind) {
    if stream
        .set_write_timeout(Some(PATIENCE))
        .and(stream.set_read_timeout(Some(PATIENCE)))
        .is_err()
    {
        return;
    }
    // Nothing was written before, so these few bytes find room and nobody waits.
    if !is_root(&stream) {
        return serve::refuse(&stream, "only root is answered (user id 0)");
    }
    if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
        open.fetch_sub(1, Ordering::Relaxed);
        return serve::refuse(&stream, cni::wire::BUSY);
    }
    let (counter, behind) = (Arc::clone(open), behind.clone());
    let answer = move || {
        serve::answer(&stream, &behind);
        counter.fetch_sub(1, Ordering::Relaxed);
    };
    if thread::Builder::new().name("answer".to_owned()).spawn(answer).is_err() {
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the other end is root of this user namespace.
fn is_root(stream: &UnixStream) -> bool {
    getsockopt(&stream.as_fd(), PeerCredentials).is_ok_and(|peer| peer.uid() == 0)
}
