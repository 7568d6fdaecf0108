//! The servers in the pods of a demo that is kept, one on each port. Only the demo
//! starts them, inside the namespaces of the pods.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// The argument that starts the servers.
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
                    // A client that leaves early does not affect the others.
                    let _ = answer(stream, name);
                }
            });
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    // Reads the request, if there is one, because unread data would reset the
    // connection.
    let _ = stream.read(&mut [0; 4096]);
    let body = format!("hello from {name}\n");
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
