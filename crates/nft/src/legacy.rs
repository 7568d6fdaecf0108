//! Chains of iptables-legacy, which nf_tables does not show.
//!
//! In: the name of a table that `/proc/net/ip_tables_names` lists. Out: the names of its own
//! chains. Never: a rule, a change; a table that is not there, because a question for it
//! makes it.

use std::io;
use std::net::UdpSocket;

use ruleset::Family;

use crate::socket_option::socket_option;

/// `IPT_SO_GET_INFO`, `IP6T_SO_GET_INFO` (include/uapi/linux/netfilter_ipv4/ip_tables.h).
const GET_INFO: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES`, `IP6T_SO_GET_ENTRIES`.
const GET_ENTRIES: libc::c_int = 65;
/// `struct ipt_getinfo`, and where its `size` is.
const INFO_BYTES: usize = 84;
const INFO_SIZE: usize = 80;
/// The length of a table's name, and where `struct ipt_get_entries` has its entries.
const NAME_BYTES: usize = 32;
const ENTRIES: usize = 40;
/// `struct xt_entry_target` and `struct xt_error_target`
/// (include/uapi/linux/netfilter/x_tables.h).
const TARGET_NAME: usize = 2;
const ERROR_NAME: usize = 32;
/// `XT_ERROR_TARGET`: the target of the entry that begins a chain, whose name it has. The
/// last entry of a table is one, too, of this very name.
const ERROR: &str = "ERROR";
/// More is no table that anybody has.
const BYTES_MAX: usize = 64 << 20;
/// Reads while others change the table.
const ATTEMPTS: u32 = 5;

/// Where `struct ipt_entry` and `struct ip6t_entry` have the offset of their target.
const fn target_offset(family: Family) -> usize {
    match family {
        Family::V4 => 88,
        Family::V6 => 140,
    }
}

/// The chains of a table of iptables-legacy (or of ip6tables-legacy) in this thread's
/// network namespace, without the built-in ones.
///
/// # Errors
/// There is no such table, `CAP_NET_ADMIN` is missing, or others keep changing the table.
pub fn legacy_chains(family: Family, table: &str) -> io::Result<Vec<String>> {
    let (socket, level) = match family {
        Family::V4 => (UdpSocket::bind("0.0.0.0:0")?, libc::IPPROTO_IP),
        Family::V6 => (UdpSocket::bind("[::]:0")?, libc::IPPROTO_IPV6),
    };
    let mut attempt = 1;
    loop {
        let mut info = named(table, INFO_BYTES)?;
        socket_option(&socket, level, GET_INFO, &mut info)?;
        let bytes = number(&info, INFO_SIZE).ok_or(io::ErrorKind::InvalidData)?;
        if bytes > BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut entries = named(table, ENTRIES + bytes)?;
        let size = u32::try_from(bytes).map_err(io::Error::other)?.to_ne_bytes();
        entries[NAME_BYTES..NAME_BYTES + size.len()].copy_from_slice(&size);
        match socket_option(&socket, level, GET_ENTRIES, &mut entries) {
            Ok(()) => return Ok(chains(family, &entries[ENTRIES..])),
            // The table has another size by now (net/ipv4/netfilter/ip_tables.c, `get_entries`).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// This many bytes that begin with the name of a table.
fn named(table: &str, bytes: usize) -> io::Result<Vec<u8>> {
    // Its last byte is zero.
    if table.len() >= NAME_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut buffer = vec![0; bytes];
    buffer[..table.len()].copy_from_slice(table.as_bytes());
    Ok(buffer)
}

/// The names of the chains that begin in these entries.
fn chains(family: Family, mut entries: &[u8]) -> Vec<String> {
    let at = target_offset(family);
    let mut found = Vec::new();
    while let (Some(target), Some(next)) = (short(entries, at), short(entries, at + 2)) {
        if let Some(name) = entries.get(target..).and_then(chain) {
            found.push(name);
        }
        // No entry is empty.
        let Some(rest) = entries.get(next..).filter(|_| next > 0) else { break };
        entries = rest;
    }
    // The end of the table is no chain.
    if found.last().is_some_and(|name| name == ERROR) {
        found.pop();
    }
    found
}

/// The chain that begins with the entry of this target.
fn chain(target: &[u8]) -> Option<String> {
    let is_error = text(target.get(TARGET_NAME..)?) == ERROR;
    is_error.then(|| target.get(ERROR_NAME..).map(text)).flatten()
}

/// A text up to its zero byte.
fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// Numbers of these structures are in the order of the host.
fn short(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of IPv4 with this target and, for the target of an error, this name.
    fn entry(target: &str, name: &str) -> Vec<u8> {
        let mut bytes = vec![0; 112 + 64];
        bytes[88..90].copy_from_slice(&112u16.to_ne_bytes());
        bytes[90..92].copy_from_slice(&176u16.to_ne_bytes());
        bytes[114..114 + target.len()].copy_from_slice(target.as_bytes());
        bytes[144..144 + name.len()].copy_from_slice(name.as_bytes());
        bytes
    }

    #[test]
    fn chains_begin_with_an_error_and_the_last_error_is_the_end() {
        let table = [
            entry("", ""),
            entry("ERROR", "KUBE-POD-FW-A"),
            entry("REJECT", "x"),
            entry("ERROR", "cali-x"),
            entry("ERROR", "ERROR"),
        ];
        assert_eq!(chains(Family::V4, &table.concat()), ["KUBE-POD-FW-A", "cali-x"]);
    }

    #[test]
    fn garbled_entries_end_the_list() {
        let whole = entry("ERROR", "a");
        for length in 0..whole.len() {
            assert!(chains(Family::V4, &whole[..length]).len() <= 1);
        }
        let mut endless = whole;
        endless[90..92].fill(0);
        assert_eq!(chains(Family::V4, &endless), ["a"]);
        assert!(named(&"x".repeat(32), INFO_BYTES).is_err());
    }
}
