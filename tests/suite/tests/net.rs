//! Namespaces come up, keep what is put into them, and leave nothing behind.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use netbed::net::{Namespace, veth};

#[test]
fn sockets_of_two_namespaces_talk_from_one_thread() -> Result<()> {
    let (left, right) = (Namespace::new("nt")?, Namespace::new("nt")?);
    veth((&left, "eth0"), (&right, "eth0"))?;
    left.ip("addr add 10.9.0.1/24 dev eth0\naddr add fd09::1/64 dev eth0 nodad")?;
    right.ip("addr add 10.9.0.2/24 dev eth0\naddr add fd09::2/64 dev eth0 nodad")?;
    for address in ["10.9.0.2:80", "[fd09::2]:81"] {
        let _listener = right.run(|| TcpListener::bind(address))??;
        left.run(|| TcpStream::connect(address))??;
    }
    Ok(())
}

#[test]
fn sysctls_are_the_namespace_s_own() -> Result<()> {
    let namespace = Namespace::new("nt")?;
    namespace.sysctl("ipv4.ip_default_ttl", "77")?;
    let output = namespace.command("cat").arg("/proc/sys/net/ipv4/ip_default_ttl").output()?;
    assert_eq!(String::from_utf8(output.stdout)?.trim(), "77");
    assert_ne!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl")?.trim(), "77");
    assert!(namespace.sysctl("ipv4.no_such_sysctl", "1").is_err());
    Ok(())
}

#[test]
fn a_dropped_namespace_takes_its_processes_along() -> Result<()> {
    let namespace = Namespace::new("nt")?;
    let name = namespace.name().to_owned();
    let mut sleeper = namespace.command("sleep").arg("1000").spawn()?;
    let started = Instant::now();
    // `ip netns exec` needs a moment to enter the namespace.
    std::thread::sleep(Duration::from_millis(200));
    drop(namespace);
    assert!(!sleeper.wait()?.success());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(Namespace::list(&name)?.is_empty());
    Ok(())
}

#[test]
fn ip_says_what_it_refused() -> Result<()> {
    let namespace = Namespace::new("nt")?;
    let error = namespace.ip("link set nothing up").unwrap_err();
    assert!(format!("{error:#}").contains("nothing"), "{error:#}");
    assert_eq!(namespace.run(|| Ipv4Addr::LOCALHOST)?, Ipv4Addr::LOCALHOST);
    Ok(())
}
