//! Who is connected: one line per client, for the admin side.
//!
//! A client's own task writes its line; requests are counted in a word of their own, so that
//! no two clients share a cache line for it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use dashmap::DashMap;

use super::at::At;
use crate::command::Command;
use crate::pipeline::{NO_PRINCIPAL, Principal};
use crate::wire::doc;

/// The clients that are connected now.
#[derive(Debug, Default)]
pub struct Roster(DashMap<u64, Arc<Client>>);

/// What is known of one client.
#[derive(Debug)]
pub struct Client {
    /// Its number in this process; its `connectionId`.
    pub id: u64,
    /// Where it connects from.
    pub address: Option<SocketAddr>,
    /// Since when.
    pub since: SystemTime,
    requests: AtomicU64,
    principal: ArcSwap<Principal>,
    introduction: OnceLock<Introduction>,
    /// The message that its task is at.
    pub(super) at: At,
}

/// What a driver says of itself in its first hello.
#[derive(Debug, Default)]
struct Introduction {
    application: Option<String>,
    driver: Option<String>,
}

impl Client {
    /// Messages handled so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Who it has proved to be.
    pub fn principal(&self) -> Arc<Principal> {
        self.principal.load_full()
    }

    /// The name that the application gives itself, if any.
    pub fn application(&self) -> Option<&str> {
        self.introduction.get()?.application.as_deref()
    }

    /// Name and version of its driver, if it told.
    pub fn driver(&self) -> Option<&str> {
        self.introduction.get()?.driver.as_deref()
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn authenticated(&self, principal: &Arc<Principal>) {
        self.principal.store(Arc::clone(principal));
    }

    /// Notes the `client` document of a hello; only the first one counts, as for mongod.
    pub(super) fn introduced(&self, hello: &Command) {
        if self.introduction.get().is_some() {
            return;
        }
        let Some(client) = doc::find(hello.body(), "client").and_then(|e| e.as_document()) else {
            return;
        };
        let part = |of: &str, key: &str| {
            let part = doc::find(client, of)?.as_document()?;
            let text = doc::find(part, key)?.as_str()?;
            Some(text.chars().take(LONGEST_NAME).collect::<String>())
        };
        let driver = part("driver", "name").map(|name| match part("driver", "version") {
            Some(version) => format!("{name} {version}"),
            None => name,
        });
        let application = part("application", "name");
        // (Set once: a client has one task.)
        let _ = self.introduction.set(Introduction {
            application,
            driver,
        });
    }
}

impl Roster {
    /// The clients, the oldest first.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.0.iter().map(|entry| Arc::clone(&entry)).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// One client.
    pub(super) fn client(&self, id: u64) -> Option<Arc<Client>> {
        self.0.get(&id).map(|entry| Arc::clone(&entry))
    }

    /// Adds a client, until the [`Seat`] is dropped.
    pub(super) fn enter(self: &Arc<Self>, id: u64, address: Option<SocketAddr>) -> Seat {
        let client = Arc::new(Client {
            id,
            address,
            since: SystemTime::now(),
            requests: AtomicU64::new(0),
            principal: ArcSwap::new(NO_PRINCIPAL.clone()),
            introduction: OnceLock::new(),
            at: At::default(),
        });
        self.0.insert(id, Arc::clone(&client));
        Seat {
            client,
            roster: Arc::clone(self),
        }
    }
}

/// A client's line in the roster, as long as it is connected.
pub(super) struct Seat {
    client: Arc<Client>,
    roster: Arc<Roster>,
}

impl std::ops::Deref for Seat {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roster.0.remove(&self.client.id);
    }
}

/// Longer names are cut: mongod itself takes at most 128 bytes of an application's name.
const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use bson::doc;
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_client_is_listed_while_it_is_connected() {
        let roster = Arc::new(Roster::default());
        let first = roster.enter(1, None);
        let second = roster.enter(2, None);
        second.request();
        let listed: Vec<_> = roster
            .clients()
            .iter()
            .map(|c| (c.id, c.requests()))
            .collect();
        assert_eq!(listed, [(1, 0), (2, 1)]);
        drop(first);
        assert_eq!(roster.clients().len(), 1);
    }

    #[test]
    fn the_first_hello_introduces_a_client() {
        let roster = Arc::new(Roster::default());
        let seat = roster.enter(1, None);
        for (application, driver) in [("shop", "PyMongo"), ("other", "other")] {
            let hello = doc! {"hello": 1, "$db": "admin", "client": {
            "application": {"name": application}, "driver": {"name": driver, "version": "4.1"}}};
            let body = Bytes::from(hello.to_vec().unwrap());
            seat.introduced(&Command::parse_body(&body).unwrap());
        }
        assert_eq!(seat.application(), Some("shop"));
        assert_eq!(seat.driver(), Some("PyMongo 4.1"));
    }
}
