//! File descriptors: every connection takes one, and a process has only so many.
//!
//! Clients are limited to what leaves room for links, logins, the admin side and the proxy's own work: a client that is
//! accepted can be served, and one too many is told so.

use std::fs::File;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Allows this process as many descriptors as the system lets it have. For the start of a program.
pub fn raise_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, all)?)
}

/// How many clients may be connected, and how many of their requests may wait at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimit {
    /// The number.
    pub clients: usize,
    /// Links beside `upstream.max_links` for requests that a server holds back until there is something new.
    pub awaiting: usize,
    /// Whether it is less than `server.max_clients`, for want of descriptors: the number of those.
    pub short_of: Option<u64>,
}

impl ClientLimit {
    /// The limit of this process under a configuration.
    pub(super) fn of(config: &Config, threads: usize) -> ClientLimit {
        ClientLimit::within(config, threads, getrlimit(Resource::Nofile).current)
    }

    fn within(config: &Config, threads: usize, descriptors: Option<u64>) -> ClientLimit {
        let wanted = config.server.max_clients;
        let Some(descriptors) = descriptors else {
            return ClientLimit {
                clients: wanted,
                awaiting: wanted,
                short_of: None,
            };
        };
        let upstream = &config.upstream;
        let others = upstream.max_links + upstream.max_login_links + PER_THREAD * threads + RESERVE;
        let room = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let room = room.saturating_sub(others);
        let room_of_clients = (room - room / SHARE_OF_AWAITING).max(FEWEST_CLIENTS);
        let clients = wanted.min(room_of_clients);
        ClientLimit {
            clients,
            awaiting: room.saturating_sub(clients).min(clients),
            short_of: (room_of_clients < wanted).then_some(descriptors),
        }
    }

    /// Tells the operator if the limit isn't the configured one.
    pub(super) fn warn(self, config: &Config) {
        if let Some(descriptors) = self.short_of {
            let max_clients = config.server.max_clients;
            tracing::warn!(target: "petiole::server", descriptors, clients = self.clients, max_clients,
                "this process may open too few files for server.max_clients beside upstream.max_links: fewer clients are served; \
                 raise its limit (ulimit -n, LimitNOFILE) or lower the keys");
        }
    }
}

/// A descriptor kept for the moment in which there is no other: with it a client can be accepted, and turned away, where
/// it would wait for ever.
pub(super) struct Spare(Option<File>);

impl Spare {
    pub fn new() -> Spare {
        Spare(File::open("/dev/null").ok())
    }

    /// Gives it up until the next [`Spare::fetch`].
    pub fn lend(&mut self) {
        self.0 = None;
    }

    pub fn fetch(&mut self) {
        *self = Spare::new();
    }
}

/// Whether an error says that there are no descriptors left.
pub(super) fn is_want_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

/// Connections of the admin side, monitors of servers, the driver's for side work, clients that are being turned away, logs.
const RESERVE: usize = 160;
/// Of a runtime: its poller and what wakes it.
const PER_THREAD: usize = 4;
/// Of what is left for clients, this part is for links on which their requests wait for something new.
const SHARE_OF_AWAITING: usize = 4;
/// However few descriptors there are.
const FEWEST_CLIENTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_room_for_links_and_the_admin_side() {
        let mut config = Config::default();
        config.server.max_clients = 1000;
        config.upstream.max_links = 50;
        config.upstream.max_login_links = 10;
        let within = |descriptors| ClientLimit::within(&config, 10, descriptors);
        let limit = |clients, awaiting, short_of| ClientLimit {
            clients,
            awaiting,
            short_of,
        };
        assert_eq!(within(None), limit(1000, 1000, None));
        assert_eq!(within(Some(1_000_000)), limit(1000, 1000, None));
        assert_eq!(within(Some(260 + 1500)), limit(1000, 500, None));
        assert_eq!(within(Some(260 + 1334)), limit(1000, 334, None));
        let short = Some(260 + 800);
        assert_eq!(within(short), limit(600, 200, short));
        assert_eq!(within(Some(100)), limit(FEWEST_CLIENTS, 0, Some(100)));
    }
}
