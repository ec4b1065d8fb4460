//! Relayed authentication: a conversation runs over a fresh link of its own, in its turn ([`super::logins`]); when the
//! server says that it is done, that link belongs to the principal that the server names.
//! No password and no key is ever seen or kept.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::time::timeout_at;

use super::dial::body_of;
use super::link::{Link, LinkError};
use super::logins::Turn;
use crate::pipeline::Principal;
use crate::wire::build::{self, DocBuf};
use crate::wire::doc;
use crate::wire::frame::Frame;

/// A link with a SASL conversation under way.
#[derive(Debug)]
pub struct AuthLink {
    /// Has the link, while the client has the next word.
    turn: Turn,
    /// The hello reply of this link, which may hold the first step of the conversation.
    pub hello: Bytes,
    /// `SCRAM-SHA-256` and the like, from `saslStart` or `speculativeAuthenticate`.
    pub mechanism: String,
}

/// Why a login can't go on.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Its link is gone.
    #[error("the upstream connection was lost: {0}")]
    Lost(#[from] LinkError),
    /// The client, or the server, took too long.
    #[error(
        "the login wasn't done in time (server.login_timeout; less while others wait for a turn)"
    )]
    TooSlow,
}

impl AuthLink {
    pub(super) fn new(turn: Turn, link: Link, hello: Bytes, mechanism: String) -> AuthLink {
        turn.park(link);
        AuthLink {
            turn,
            hello,
            mechanism,
        }
    }

    /// Relays one step.
    pub async fn exchange(&mut self, frame: &Frame) -> Result<Frame, LoginError> {
        let mut link = self.turn.take().ok_or(LoginError::TooSlow)?;
        let exchanged = timeout_at(self.turn.deadline, link.exchange(frame, false));
        let reply = exchanged.await.map_err(|_| LoginError::TooSlow)??;
        self.turn.park(link);
        Ok(reply)
    }

    /// The link of a conversation that is done, and whom it speaks for now.
    pub(super) async fn finish(self) -> Result<(Link, Vec<User>), LoginError> {
        let mut link = self.turn.take().ok_or(LoginError::TooSlow)?;
        let asked = timeout_at(self.turn.deadline, users(&mut link));
        let users = asked.await.map_err(|_| LoginError::TooSlow)??;
        Ok((link, users))
    }
}

/// A user of the server's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct User {
    /// `db.name`.
    name: String,
    /// What tells this user from others that had the name before: a user that was dropped and created again has
    /// another one. Empty where the server doesn't say: before 4.0.9, and for users that are kept elsewhere (LDAP).
    id: Vec<u8>,
}

/// Whom a link speaks for, sorted.
async fn users(link: &mut Link) -> Result<Vec<User>, LinkError> {
    let mut body = DocBuf::new();
    body.append_i32("connectionStatus", 1);
    body.append_str("$db", "admin");
    let reply = ask(link, body).await?;
    let authenticated = doc::find(&reply, "authInfo")
        .and_then(|info| info.as_document())
        .and_then(|info| doc::find(info, "authenticatedUsers"))
        .and_then(|users| users.as_array())
        .into_iter()
        .flat_map(doc::elements)
        .flatten()
        .filter_map(|user| {
            let user = user.as_document()?;
            let name = doc::find(user, "user")?.as_str()?.to_owned();
            Some((name, doc::find(user, "db")?.as_str()?.to_owned()))
        });
    let authenticated: Vec<(String, String)> = authenticated.collect();
    let mut users = Vec::with_capacity(authenticated.len());
    for (name, db) in authenticated {
        let id = user_id(link, &name, &db).await?;
        let name = format!("{db}.{name}");
        users.push(User { name, id });
    }
    users.sort();
    Ok(users)
}

/// A user may always see its own record.
async fn user_id(link: &mut Link, name: &str, db: &str) -> Result<Vec<u8>, LinkError> {
    let mut user = DocBuf::new();
    user.append_str("user", name);
    user.append_str("db", db);
    let mut body = DocBuf::new();
    body.append_doc("usersInfo", &user.finish());
    body.append_str("$db", db);
    let reply = ask(link, body).await?;
    let id = doc::find(&reply, "users")
        .and_then(|users| users.as_array())
        .and_then(|users| doc::elements(users).flatten().next()?.as_document())
        .and_then(|user| doc::find(user, "userId"))
        .map(|id| id.value.to_vec());
    Ok(id.unwrap_or_default())
}

async fn ask(link: &mut Link, body: DocBuf) -> Result<Bytes, LinkError> {
    let bytes = build::op_msg(2, 0, 0, &body.finish());
    Ok(body_of(&link.exchange(&Frame { bytes }, false).await?))
}

/// The principals that are connected now.
#[derive(Debug, Default)]
pub(super) struct Principals {
    by_users: DashMap<(Vec<User>, String), Weak<Principal>>,
    last: AtomicU64,
}

impl Principals {
    /// The principal of these users; the same one as long as anybody holds it.
    pub fn of(&self, users: Vec<User>, mechanism: &str) -> Arc<Principal> {
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        let name = format!("{} ({mechanism})", names.join(", "));
        let mut slot = self
            .by_users
            .entry((users, mechanism.to_owned()))
            .or_default();
        if let Some(principal) = slot.upgrade() {
            return principal;
        }
        let id = self.last.fetch_add(1, Relaxed) + 1;
        let principal = Arc::new(Principal { id, name });
        *slot = Arc::downgrade(&principal);
        principal
    }

    /// Forgets those that nobody holds.
    pub fn sweep(&self) {
        self.by_users
            .retain(|_, principal| principal.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_users_are_the_same_principal_only_while_somebody_holds_it() {
        let principals = Principals::default();
        let user = |name: &str, id: u8| User {
            name: name.to_owned(),
            id: vec![id],
        };
        let (a, b) = (vec![user("admin.a", 1)], vec![user("admin.b", 2)]);
        let first = principals.of(a.clone(), "SCRAM-SHA-256");
        assert_eq!(first.id, principals.of(a.clone(), "SCRAM-SHA-256").id);
        assert_ne!(first.id, principals.of(b.clone(), "SCRAM-SHA-256").id);
        assert_ne!(first.id, principals.of(a.clone(), "SCRAM-SHA-1").id);
        let again = principals.of(vec![user("admin.a", 3)], "SCRAM-SHA-256");
        assert_ne!(first.id, again.id, "dropped and created again");
        assert_eq!(first.name, again.name);
        let old = first.id;
        drop(first);
        principals.sweep();
        assert_ne!(old, principals.of(a.clone(), "SCRAM-SHA-256").id);
    }
}
