//! The delay relay: passes bytes on in both directions, each half a round trip after it read them. It stands for the
//! distance to a MongoDB that is elsewhere.
//!
//! Order is kept and bandwidth isn't limited. One thread serves all connections, so that the delays of thousands of
//! them cost no threads. It's a process of its own (`petiole bench-relay`, hidden), killed by its owner.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::Peer;
use crate::bench::load::Target;
use crate::bench::process::{Child, ProcessError};
use crate::bench::reply::Protocol;

/// What the relay process prints before its address.
const READY: &str = "relay listening on ";

/// Arguments of the hidden command.
#[derive(Debug, Clone, clap::Args)]
pub struct RelayArgs {
    /// Where to.
    #[arg(long)]
    pub upstream: SocketAddr,
    /// The round trip that it adds, in microseconds.
    #[arg(long)]
    pub rtt_us: u64,
}

/// Starts a relay before `upstream` as a child process of this very program.
///
/// # Errors
/// The process can't be started, or says no address.
pub fn start(upstream: SocketAddr, rtt: Duration) -> Result<Peer, ProcessError> {
    let (upstream, rtt) = (upstream.to_string(), rtt.as_micros().to_string());
    let args = ["bench-relay", "--upstream", &upstream, "--rtt-us", &rtt];
    let mut child = Child::start_self("relay", &args)?;
    let line = child.wait_for_line(READY)?;
    let address = line.parse().map_err(io::Error::other)?;
    Ok(Peer {
        target: Target {
            address,
            protocol: Protocol::Mongo,
        },
        child,
    })
}

/// The hidden command: relays until the process is ended.
///
/// # Errors
/// The listener can't be bound, or the kernel refuses to be waited for.
pub fn serve(args: &RelayArgs) -> io::Result<()> {
    let mut relay = Relay::bind(args.upstream, Duration::from_micros(args.rtt_us) / 2)?;
    let address = relay.listener.local_addr()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{READY}{address}").and_then(|()| out.flush())?;
    drop(out);
    relay.run()
}

struct Relay {
    poll: Poll,
    listener: TcpListener,
    upstream: SocketAddr,
    delay: Duration,
    /// By token; a client's socket and its server's stand side by side.
    sides: Vec<Option<Side>>,
    free: Vec<usize>,
    /// What is on its way, in order of its arrival: all of it takes equally long.
    flying: VecDeque<Flight>,
}

/// One socket, and what has arrived for it that it hasn't taken yet.
struct Side {
    socket: TcpStream,
    outbox: VecDeque<u8>,
    /// The other side has ended, and all of its bytes are in the outbox.
    ends: bool,
}

struct Flight {
    due: Instant,
    /// The socket it goes to.
    to: usize,
    /// Counts up with each pair of sockets that a place has held.
    pair: u64,
    /// Empty: the end.
    bytes: Vec<u8>,
}

impl Relay {
    fn bind(upstream: SocketAddr, delay: Duration) -> io::Result<Relay> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let registry = poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Relay {
            poll,
            listener,
            upstream,
            delay,
            sides: Vec::new(),
            free: Vec::new(),
            flying: VecDeque::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut pairs = Vec::new();
        loop {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept(&mut pairs)?;
                    continue;
                }
                let at = event.token().0;
                if event.is_readable() || event.is_read_closed() {
                    self.read(at, &pairs);
                }
                if event.is_writable() {
                    self.write(at);
                }
            }
            self.land(&pairs);
        }
    }

    /// How long nothing is due. epoll counts in milliseconds; for what is due sooner this thread sleeps.
    fn patience(&self) -> Option<Duration> {
        let wait = (self.flying.front()?.due).saturating_duration_since(Instant::now());
        if wait > Duration::from_millis(2) {
            return Some(wait - Duration::from_millis(1));
        }
        if !wait.is_zero() {
            std::thread::sleep(wait.min(SHORT));
        }
        Some(Duration::ZERO)
    }

    fn accept(&mut self, pairs: &mut Vec<u64>) -> io::Result<()> {
        loop {
            let mut client = match self.listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Its client has gone already, or there are no descriptors.
                Err(_) => return Ok(()),
            };
            let mut server = TcpStream::connect(self.upstream)?;
            let at = self.free.pop().unwrap_or_else(|| {
                self.sides.extend([None, None]);
                pairs.extend([0, 0]);
                self.sides.len() - 2
            });
            pairs[at] += 1;
            pairs[at + 1] += 1;
            let _ = client.set_nodelay(true);
            let both = Interest::READABLE | Interest::WRITABLE;
            let registry = self.poll.registry();
            registry.register(&mut client, Token(at), both)?;
            registry.register(&mut server, Token(at + 1), both)?;
            self.sides[at] = Some(Side::new(client));
            self.sides[at + 1] = Some(Side::new(server));
        }
    }

    /// Takes what a socket has, for the other one.
    fn read(&mut self, at: usize, pairs: &[u64]) {
        let (other, pair) = (at ^ 1, pairs[at]);
        let mut buffer = [0; 64 * 1024];
        loop {
            let Some(side) = &mut self.sides[at] else {
                return;
            };
            let due = Instant::now() + self.delay;
            let bytes = match side.socket.read(&mut buffer) {
                Ok(count) => buffer[..count].to_vec(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => Vec::new(),
            };
            let is_end = bytes.is_empty();
            self.flying.push_back(Flight {
                due,
                to: other,
                pair,
                bytes,
            });
            if is_end {
                return;
            }
        }
    }

    /// Hands over what is due.
    fn land(&mut self, pairs: &[u64]) {
        let now = Instant::now();
        while self.flying.front().is_some_and(|flight| flight.due <= now) {
            let Some(flight) = self.flying.pop_front() else {
                return;
            };
            if pairs[flight.to] != flight.pair {
                continue;
            }
            let Some(side) = &mut self.sides[flight.to] else {
                continue;
            };
            side.ends |= flight.bytes.is_empty();
            side.outbox.extend(flight.bytes);
            self.write(flight.to);
        }
    }

    /// Gives a socket what has arrived for it, as far as it takes it.
    fn write(&mut self, at: usize) {
        let Some(side) = &mut self.sides[at] else {
            return;
        };
        if side.flush().is_err() {
            return self.close(at);
        }
        if side.ends && side.outbox.is_empty() {
            let _ = side.socket.shutdown(Shutdown::Write);
            // Drivers end a connection as a whole.
            let is_over = (self.sides[at ^ 1].as_ref()).is_none_or(|s| s.outbox.is_empty());
            if is_over {
                self.close(at);
            }
        }
    }

    fn close(&mut self, at: usize) {
        let first = at & !1;
        if self.sides[first].take().is_some() | self.sides[first + 1].take().is_some() {
            self.free.push(first);
        }
    }
}

impl Side {
    fn new(socket: TcpStream) -> Side {
        Side {
            socket,
            outbox: VecDeque::new(),
            ends: false,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            let (head, _) = self.outbox.as_slices();
            match self.socket.write(head) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Not connected yet: it will say when it is.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

const LISTENER: Token = Token(usize::MAX);
/// Sleep at a time while something is due within two milliseconds.
const SHORT: Duration = Duration::from_micros(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::echo;
    use crate::bench::workload::message;
    use bson::rawdoc;

    #[test]
    fn what_passes_the_relay_comes_whole_in_order_and_no_sooner_than_a_round_trip() {
        let upstream = echo::spawn(300_000, 1).unwrap();
        let rtt = Duration::from_millis(20);
        let mut relay = Relay::bind(upstream, rtt / 2).unwrap();
        let address = relay.listener.local_addr().unwrap();
        std::thread::spawn(move || relay.run());
        let mut sockets: Vec<_> = (0..3)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        let asked = Instant::now();
        for (id, socket) in (1..).zip(&mut sockets) {
            for id in [id, id + 100] {
                socket
                    .write_all(&message(id, &rawdoc! {"ping": 1}))
                    .unwrap();
            }
        }
        for (id, socket) in (1_u32..).zip(&mut sockets) {
            for id in [id, id + 100] {
                let mut reply = vec![0; 300_000];
                socket.read_exact(&mut reply).unwrap();
                assert_eq!(reply[8..12], id.to_le_bytes());
            }
        }
        assert!(asked.elapsed() >= rtt);
    }
}
