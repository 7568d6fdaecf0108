//! The proxy's listener and its connections.
//!
//! Serves connections and counts their bytes until a command ends them. It does not
//! look at the content.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Shared;
use super::forward::forward;

/// Commands for the listener. It confirms each when it is done.
pub(super) enum Command {
    /// Close all connections.
    Cut(oneshot::Sender<()>),
    /// Accept connections from this listener, or accept none.
    Listen(Option<std::net::TcpListener>, oneshot::Sender<()>),
}

/// Carries out commands and serves connections until no sender is left.
pub(super) async fn serve(shared: Arc<Shared>, mut orders: mpsc::UnboundedReceiver<Command>) {
    let mut connections = JoinSet::new();
    let mut listener = None;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Command::Cut(done)) => {
                    connections.shutdown().await;
                    // The sender of the command may no longer be waiting.
                    let _ = done.send(());
                }
                Some(Command::Listen(socket, done)) => {
                    listener = socket.and_then(|socket| TcpListener::from_std(socket).ok());
                    let _ = done.send(());
                }
            },
            Ok(stream) = accept(listener.as_ref()) => {
                drop(connections.spawn(connection(Arc::clone(&shared), stream)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let counted = Counted { stream, shared: Arc::clone(&shared) };
    let service = service_fn(|request| forward(Arc::clone(&shared), request));
    // If a connection breaks, the client notices it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(counted), service).await;
}

/// A connection whose bytes are counted.
struct Counted {
    stream: TcpStream,
    shared: Arc<Shared>,
}

fn add(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(bytes as u64, Ordering::Relaxed);
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        add(&self.shared.received, buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            add(&self.shared.sent, written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
