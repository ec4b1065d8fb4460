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

    /// The link of a conversation that is done, and whom it speaks for now: `db.user` of each, sorted.
    pub(super) async fn finish(self) -> Result<(Link, Vec<String>), LoginError> {
        let mut link = self.turn.take().ok_or(LoginError::TooSlow)?;
        let asked = timeout_at(self.turn.deadline, users(&mut link));
        let users = asked.await.map_err(|_| LoginError::TooSlow)??;
        Ok((link, users))
    }
}

async fn users(link: &mut Link) -> Result<Vec<String>, LinkError> {
    let mut body = DocBuf::new();
    body.append_i32("connectionStatus", 1);
    body.append_str("$db", "admin");
    let bytes = build::op_msg(2, 0, 0, &body.finish());
    let reply = body_of(&link.exchange(&Frame { bytes }, false).await?);
    let users = doc::find(&reply, "authInfo")
        .and_then(|info| info.as_document())
        .and_then(|info| doc::find(info, "authenticatedUsers"))
        .and_then(|users| users.as_array())
        .into_iter()
        .flat_map(doc::elements)
        .flatten()
        .filter_map(|user| {
            let user = user.as_document()?;
            let name = doc::find(user, "user")?.as_str()?;
            Some(format!("{}.{name}", doc::find(user, "db")?.as_str()?))
        });
    let mut users: Vec<String> = users.collect();
    users.sort();
    Ok(users)
}

/// The principals that are connected now.
#[derive(Debug, Default)]
pub(super) struct Principals {
    by_name: DashMap<String, Weak<Principal>>,
    last: AtomicU64,
}

impl Principals {
    /// The principal of these users; the same one as long as anybody holds it.
    pub fn of(&self, users: &[String], mechanism: &str) -> Arc<Principal> {
        let name = format!("{} ({mechanism})", users.join(", "));
        let mut slot = self.by_name.entry(name.clone()).or_default();
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
        self.by_name
            .retain(|_, principal| principal.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_users_are_the_same_principal_only_while_somebody_holds_it() {
        let principals = Principals::default();
        let (a, b) = (["admin.a".to_owned()], ["admin.b".to_owned()]);
        let first = principals.of(&a, "SCRAM-SHA-256");
        assert_eq!(first.id, principals.of(&a, "SCRAM-SHA-256").id);
        assert_ne!(first.id, principals.of(&b, "SCRAM-SHA-256").id);
        assert_ne!(first.id, principals.of(&a, "SCRAM-SHA-1").id);
        let old = first.id;
        drop(first);
        principals.sweep();
        assert_ne!(old, principals.of(&a, "SCRAM-SHA-256").id);
    }
}
