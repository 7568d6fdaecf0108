//! Conversations by ordinary sockets: the client asks, the server answers.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use anyhow::Result;
use netbed::forge::marker;
use netbed::testbed::Endpoint;

use super::PATIENCE;
use crate::attack::Try;

pub fn endpoint<'a>(t: &Try<'a>, name: &str) -> Result<&'a Endpoint> {
    t.arena.endpoint(name)
}

pub fn any(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

pub fn udp_answers(t: &Try<'_>, to: IpAddr) -> Result<bool> {
    udp_at(t, t.fresh(to), None, &marker())
}

pub fn tcp_answers(t: &Try<'_>, to: IpAddr) -> Result<bool> {
    // The attackers' own kernels answer nobody at higher ports.
    tcp_at(t, SocketAddr::new(to, 10_000 + t.arena.port() % 10_000), None)
}

pub fn serves(t: &Try<'_>, at: SocketAddr) -> Result<bool> {
    Ok(udp_at(t, at, Some(8080), &marker())? && tcp_at(t, at, Some(8080))?)
}

pub fn udp_at(t: &Try<'_>, at: SocketAddr, listen: Option<u16>, data: &[u8]) -> Result<bool> {
    udp_by(t, t.arena.port(), at, listen, data)
}

/// The same from this port.
pub fn udp_by(
    t: &Try<'_>,
    own: u16,
    at: SocketAddr,
    listen: Option<u16>,
    data: &[u8],
) -> Result<bool> {
    let (client, server) = (endpoint(t, t.from)?, endpoint(t, t.to)?);
    let any = any(t.v6);
    // A node answers from the address that was asked.
    let listen = listen.map_or(at, |port| SocketAddr::new(any, port));
    let server = server.namespace.run(|| UdpSocket::bind(listen))??;
    let client = client.namespace.run(|| {
        let socket = UdpSocket::bind((any, own))?;
        socket.connect(at)?;
        socket.send(data)?;
        std::io::Result::Ok(socket)
    })??;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    let mut buffer = vec![0; 65_536];
    let Ok((length, from)) = server.recv_from(&mut buffer) else { return Ok(false) };
    let whole = buffer[..length] == *data;
    if server.send_to(&buffer[..length], from).is_err() {
        return Ok(false);
    }
    Ok(whole && client.recv(&mut buffer).is_ok_and(|length| buffer[..length] == *data))
}

fn tcp_at(t: &Try<'_>, at: SocketAddr, listen: Option<u16>) -> Result<bool> {
    let (client, server) = (endpoint(t, t.from)?, endpoint(t, t.to)?);
    let (any, port) = (any(t.v6), listen.unwrap_or(at.port()));
    let server = server.namespace.run(|| TcpListener::bind((any, port)))??;
    let client = client.namespace.run(|| TcpStream::connect_timeout(&at, PATIENCE))?;
    let Ok(mut client) = client else { return Ok(false) };
    let (mut served, _) = server.accept()?;
    let said = marker();
    client.write_all(&said)?;
    let mut heard = [0; 6];
    for stream in [&served, &client] {
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    Ok(served.read_exact(&mut heard).is_ok()
        && served.write_all(&heard).is_ok()
        && client.read_exact(&mut heard).is_ok()
        && heard == said)
}
