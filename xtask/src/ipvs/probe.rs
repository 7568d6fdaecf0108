//! Who gets an answer from whom, inside the virtual machine: emulated, it is too slow for a
//! process a probe.
//!
//! Serves: sends back what comes, on one port. Asks: lines of `NAME PROTOCOL ADDRESS` on
//! stdin, all at once; prints `NAME yes` or `NAME no` for each. Hammers: asks one address
//! without a pause, and counts. Never: a reason for a no.

use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The port of [`serve`].
const PORT: u16 = 8080;
/// How long one waits for an answer. What arrives takes a second at most.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a datagram is sent, each after half of the time.
const DATAGRAMS: u32 = 2;
/// How long [`hammer`] waits for an answer before it asks again.
const PAUSE: Duration = Duration::from_millis(10);
/// For so long after the last question [`hammer`] counts answers.
const LATE: Duration = Duration::from_secs(1);
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

/// Asks an address by UDP, from a new port each time, so that each question is a new flow.
/// Ends when the file `until` is there. Prints how many questions were sent and answered, and
/// how long after the first answer the last one came.
pub fn hammer(address: &str, until: &Path) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let (mut sent, mut answered, mut first, mut last) = (0_u32, 0_u32, None, None);
    let mut asked = Vec::new();
    let mut end = None;
    while end.is_none_or(|end: Instant| end.elapsed() < LATE) {
        if end.is_none() {
            let socket = unbound(address)?;
            socket.set_nonblocking(true)?;
            socket.connect(address)?;
            // There may be no way to the address yet.
            if socket.send(QUESTION).is_ok() {
                sent += 1;
            }
            asked.push((Instant::now(), socket));
            end = until.exists().then(Instant::now);
        }
        thread::sleep(PAUSE);
        asked.retain(|(since, socket)| {
            let is_answered = socket.recv(&mut [0; QUESTION.len()]).is_ok();
            if is_answered {
                answered += 1;
                first.get_or_insert_with(Instant::now);
                last = Some(Instant::now());
            }
            !is_answered && since.elapsed() < LATE
        });
    }
    let took = last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first);
    println!("{address}: {sent} sent, {answered} answered within {} ms", took.as_millis());
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
    let socket = unbound(address)?;
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

/// A socket on any port, for an address of this family.
fn unbound(to: SocketAddr) -> io::Result<UdpSocket> {
    match to {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }
}
