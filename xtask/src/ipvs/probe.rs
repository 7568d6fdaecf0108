//! Who gets an answer from whom, inside the virtual machine: emulated, it is too slow for a
//! process a probe.
//!
//! Serves: sends back what comes, on one port. Asks: lines of `NAME PROTOCOL ADDRESS` on
//! stdin, all at once; prints `NAME yes` or `NAME no` for each. Never: a reason for a no.

use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The port of [`serve`].
const PORT: u16 = 8080;
/// How long one waits for an answer. What arrives takes a second at most.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a datagram is sent, each after half of the time.
const DATAGRAMS: u32 = 2;
const QUESTION: &[u8] = b"question";

/// Sends back what comes by TCP and UDP, by both families, until it is killed.
pub fn serve() -> Result<()> {
    let any = (Ipv6Addr::UNSPECIFIED, PORT);
    let (listener, socket) = (TcpListener::bind(any)?, UdpSocket::bind(any)?);
    thread::spawn(move || -> io::Result<()> {
        let mut buffer = [0; 64];
        loop {
            let (length, from) = socket.recv_from(&mut buffer)?;
            // Who asked may be gone.
            let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
        }
    });
    for stream in listener.incoming().flatten() {
        thread::spawn(move || -> io::Result<()> {
            let mut stream = stream;
            let mut buffer = [0; QUESTION.len()];
            stream.read_exact(&mut buffer)?;
            stream.write_all(&buffer)
        });
    }
    Ok(())
}

/// Asks all at once.
pub fn ask() -> Result<()> {
    let lines: Vec<String> = io::stdin().lock().lines().collect::<Result<_, _>>()?;
    let asked = lines.into_iter().map(|line| thread::spawn(move || answer(&line)));
    let asked: Vec<_> = asked.collect();
    for one in asked {
        match one.join() {
            Ok(line) => println!("{}", line?),
            Err(_) => bail!("a thread panicked"),
        }
    }
    Ok(())
}

fn answer(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let (name, protocol) = (words.next().context("no name")?, words.next().context("no protocol")?);
    let address: SocketAddr = words.next().context("no address")?.parse()?;
    let answered = match protocol {
        "TCP" => by_tcp(address),
        "UDP" => by_udp(address),
        other => bail!("no protocol {other}"),
    };
    Ok(format!("{name} {}", if answered.is_ok() { "yes" } else { "no" }))
}

fn by_tcp(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(QUESTION)?;
    stream.read_exact(&mut [0; QUESTION.len()])
}

fn by_udp(address: SocketAddr) -> io::Result<()> {
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE / DATAGRAMS))?;
    let mut last = Ok(());
    for _ in 0..DATAGRAMS {
        socket.send(QUESTION)?;
        last = socket.recv(&mut [0; QUESTION.len()]).map(drop);
        if last.is_ok() {
            break;
        }
    }
    last
}
