//! What goes wrong with clients, counted, and logged at a bounded rate ([`Repeats`]): the first of a kind at once, then one
//! line with a count per interval.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

use crate::observe::repeats::{INTERVAL, Repeats};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Complaint {
    /// A request got an error of the proxy's own.
    RequestFailed,
    /// There was no memory for a request.
    RequestRefused,
    /// A message couldn't be read, or wasn't finished in time.
    BrokenMessage,
    /// The server refused a login.
    LoginFailed,
    /// The proxy refused a login, or ended it: too many at a time, too slow, or of a kind that can't be relayed.
    LoginRefused,
    /// A TLS handshake failed.
    TlsFailed,
    /// A client was turned away: there are too many.
    ClientRefused,
    /// The system didn't give a connection.
    AcceptFailed,
}

impl Complaint {
    /// All of them.
    pub const ALL: [Complaint; 8] = [
        Complaint::RequestFailed,
        Complaint::RequestRefused,
        Complaint::BrokenMessage,
        Complaint::LoginFailed,
        Complaint::LoginRefused,
        Complaint::TlsFailed,
        Complaint::ClientRefused,
        Complaint::AcceptFailed,
    ];

    /// The label, and the log's `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Complaint::RequestFailed => "request_failed",
            Complaint::RequestRefused => "request_refused",
            Complaint::BrokenMessage => "broken_message",
            Complaint::LoginFailed => "login_failed",
            Complaint::LoginRefused => "login_refused",
            Complaint::TlsFailed => "tls_failed",
            Complaint::ClientRefused => "client_refused",
            Complaint::AcceptFailed => "accept_failed",
        }
    }

    /// Whether it matters from where it comes: somebody may try passwords.
    fn is_by_address(self) -> bool {
        matches!(
            self,
            Complaint::LoginFailed | Complaint::LoginRefused | Complaint::TlsFailed
        )
    }
}

/// Where it comes from: the client's number, if it has one yet, and its address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whence {
    pub client: Option<u64>,
    pub address: Option<SocketAddr>,
}

/// One kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Line {
    complaint: Complaint,
    /// A fault's own name, where one complaint has several.
    what: &'static str,
    address: Option<IpAddr>,
}

/// What went wrong so far.
#[derive(Debug, Default)]
pub struct Complaints {
    counts: [AtomicU64; Complaint::ALL.len()],
    lines: Repeats<Line>,
}

impl Complaints {
    /// How often so far.
    pub fn count(&self, complaint: Complaint) -> u64 {
        let count = self.counts.get(complaint as usize);
        count.map_or(0, |count| count.load(Relaxed))
    }

    /// It has happened. `what` tells kinds of one complaint apart; `reason` is only read if a line is written.
    pub(super) fn note(
        &self,
        complaint: Complaint,
        what: &'static str,
        whence: Whence,
        reason: impl Display,
    ) {
        if let Some(count) = self.counts.get(complaint as usize) {
            count.fetch_add(1, Relaxed);
        }
        let address = whence.address.map(|address| address.ip());
        let by_address = complaint.is_by_address() && self.lines.kinds() < MOST_KINDS;
        let line = Line {
            complaint,
            what,
            address: address.filter(|_| by_address),
        };
        if self.lines.note(line, Instant::now()) {
            let reason = shortened(reason.to_string());
            let address = whence.address.map(tracing::field::display);
            tracing::warn!(target: "petiole::server", kind = complaint.as_str(), what, client = whence.client, address, reason,
                "{}", first(complaint));
        }
    }

    /// Logs what went on. To be called about once a second.
    pub(super) fn sweep(&self) {
        for repeated in self.lines.due(Instant::now()) {
            let Line {
                complaint,
                what,
                address,
            } = repeated.kind;
            let (count, seconds) = (repeated.count, INTERVAL.as_secs());
            let address = address.map(tracing::field::display);
            tracing::warn!(target: "petiole::server", kind = complaint.as_str(), what, count, seconds, address,
                "{}, again and again", first(complaint));
        }
    }
}

fn first(complaint: Complaint) -> &'static str {
    match complaint {
        Complaint::RequestFailed => "request failed",
        Complaint::RequestRefused => "request refused",
        Complaint::BrokenMessage => "a message can't be read",
        Complaint::LoginFailed => "login failed",
        Complaint::LoginRefused => "login refused",
        Complaint::TlsFailed => "TLS handshake failed",
        Complaint::ClientRefused => "client refused",
        Complaint::AcceptFailed => "a connection can't be accepted",
    }
}

/// Reasons may quote what clients sent.
fn shortened(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
    reason
}

/// From so many kinds of lines on, addresses share one: an attacker may have many.
const MOST_KINDS: usize = 64;
const LONGEST_REASON: usize = 512;
