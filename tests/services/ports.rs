//! Free TCP ports on the loopback address.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

const LOWEST: u16 = 10_000;
const ATTEMPTS: usize = 1_000;

/// Chooses `count` different ports on which nothing listens.
///
/// They lie outside the range from which the kernel takes source ports. While a server is down, a client that keeps
/// reconnecting to a port inside that range sooner or later gets it as its own source port, connects to itself, and
/// the server cannot come back on it. Binding port 0 would give exactly such a port.
pub(crate) fn free(count: usize) -> io::Result<Vec<u16>> {
    let ephemeral = ephemeral_range();
    let mut held = Vec::with_capacity(count);
    for _ in 0..ATTEMPTS {
        if held.len() == count {
            break;
        }
        let port = random_port();
        if ephemeral.contains(&port) {
            continue;
        }
        // Held until all are chosen, so that none is chosen twice.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    // A machine whose source ports span everything leaves no choice.
    while held.len() < count {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        held.push((listener.local_addr()?.port(), listener));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

fn random_port() -> u16 {
    let span = u64::from(u16::MAX - LOWEST) + 1;
    let offset = RandomState::new().build_hasher().finish() % span;
    LOWEST + u16::try_from(offset).unwrap_or(0)
}

fn ephemeral_range() -> RangeInclusive<u16> {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| parse_range(&text))
        .unwrap_or(32_768..=60_999)
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(low)), Some(Ok(high))) => Some(low..=high),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_outside_the_source_ports() {
        let ports = free(20).unwrap();
        let distinct: std::collections::HashSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), 20);
        let ephemeral = ephemeral_range();
        if *ephemeral.start() > LOWEST {
            assert!(ports.iter().all(|port| !ephemeral.contains(port)), "{ports:?}");
        }
    }

    #[test]
    fn the_kernel_separates_the_range_by_a_tab() {
        assert_eq!(parse_range("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(parse_range("nonsense"), None);
    }
}
