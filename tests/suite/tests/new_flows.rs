//! Questions in new flows meet the rules that are added between them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use netbed::net::Namespace;
use netbed::new_flows::{NewFlows, Progress};
use netbed::program;
use netbed::testbed::{Endpoint, Role};

const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 8081;
/// Established flows pass, as with policies; new flows do not.
const DENY: &str = "table inet deny { chain in { type filter hook input priority 0; \
                    ct state established accept; udp dport 8081 drop; }; }";

/// An asker that is answered and then denied gets no further answer: no question uses
/// the flow of an answered one.
#[test]
fn rules_are_seen_by_questions_that_were_answered_before() -> Result<()> {
    let namespace = Namespace::new("fr")?;
    let address = Ipv4Addr::LOCALHOST.into();
    let to = SocketAddr::new(address, PORT);
    let server = namespace.run(|| UdpSocket::bind(to))??;
    server.set_read_timeout(Some(Duration::from_millis(20)))?;
    let from = Endpoint {
        name: "asker".to_owned(),
        role: Role::Outsider,
        namespace,
        addresses: vec![address],
    };
    let stop = AtomicBool::new(false);
    let ports = scope(|scope| {
        let serving = scope.spawn(|| echo(&server, &stop));
        let tried = answered_then_denied(&from, to);
        stop.store(true, Ordering::Relaxed);
        tried.map(|asked| (asked, serving.join()))
    });
    let (asked, Ok((questions, ports))) = ports? else { anyhow::bail!("the server panicked") };
    assert_eq!(ports.len() as u64, questions, "two questions from one port");
    assert!(questions >= asked.answered, "{questions} questions, {asked:?}");
    Ok(())
}

fn answered_then_denied(from: &Endpoint, to: SocketAddr) -> Result<Progress> {
    let fresh = NewFlows::start(from, to, u64::MAX)?;
    until(&fresh, |asked| asked.answered > 20)?;
    let mut nft = from.namespace.command("nft");
    nft.args(["-f", "-"]);
    program::finish(nft, DENY)?.success()?;
    let denied = Instant::now();
    until(&fresh, |asked| asked.unanswered > 100)?;
    let asked = fresh.asked();
    ensure!(asked.last.is_some_and(|last| last < denied), "{asked:?}, denied at {denied:?}");
    ensure!(asked.first < asked.last && asked.sent >= asked.answered + asked.unanswered);
    Ok(asked)
}

fn until(fresh: &NewFlows, holds: impl Fn(Progress) -> bool) -> Result<()> {
    let start = Instant::now();
    while !holds(fresh.asked()) {
        ensure!(start.elapsed() < PATIENCE, "{:?}", fresh.asked());
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Answers as agnhost's netexec does. Returns the number of questions and their
/// ports.
fn echo(server: &UdpSocket, stop: &AtomicBool) -> (u64, BTreeSet<u16>) {
    let (mut questions, mut ports) = (0, BTreeSet::new());
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = server.recv_from(&mut buffer) else { continue };
        let Some(answer) = buffer[..length].strip_prefix(b"echo ") else { continue };
        questions += 1;
        ports.insert(from.port());
        let _ = server.send_to(answer, from);
    }
    (questions, ports)
}
