//! Free ports on the loopback interface.
//!
//! mongod cannot be told to take port 0 and say which one it got, so a port is chosen first. It
//! is chosen below the range from which systems take the ports of outgoing connections: a port of
//! that range could be lost while a member is down between `kill` and `restart`. What stays
//! possible is another program taking the port in between; mongod then ends, and starting tries
//! again with others.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use parking_lot::Mutex;

/// Ports handed out by this process, so that two deployments starting at once get different ones.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
const ATTEMPTS: u64 = 2_000;

/// So many different ports of 127.0.0.1 that nothing listens on, none of which this function
/// returned before in this process.
///
/// # Errors
/// When no such ports were found after many attempts.
pub fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let random = RandomState::new();
    let mut taken = TAKEN.lock();
    let mut ports = Vec::with_capacity(count);
    for attempt in 0..ATTEMPTS {
        if ports.len() == count {
            break;
        }
        let offset = random.hash_one(attempt) % u64::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap_or(0);
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            ports.push(port);
        }
    }
    if ports.len() < count {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "no free port on 127.0.0.1 between 20000 and 31999",
        ));
    }
    Ok(ports)
}
