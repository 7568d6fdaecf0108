//! The servers in the pods of a demo that is kept: one on each port.
//!
//! The demo alone starts this, inside a pod's namespace.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// The word on the command line that starts it.
pub const FLAG: &str = "--serve";

/// Answers on all ports, over IPv4 and IPv6.
pub fn serve(name: &str) -> Result<()> {
    let listeners = super::PORTS
        .iter()
        .map(|&port| {
            TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).with_context(|| format!("port {port}"))
        })
        .collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(move || {
                for stream in listener.incoming().flatten() {
                    // A visitor who leaves early is no concern of others.
                    let _ = answer(stream, name);
                }
            });
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    // The request, if there is one: unread data would reset the connection.
    let _ = stream.read(&mut [0; 4096]);
    let body = format!("hello from {name}\n");
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
